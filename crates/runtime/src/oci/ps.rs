//! `ps`.

use super::args::{Format, Global};
use super::{OciError, list, print_json, record};

/// Lists the processes of a container. The table is made here from procfs: no program is run for it.
pub(super) fn ps(global: &Global, id: &str, format: Format, options: &[String]) -> Result<(), OciError> {
    let (_, record) = record::find(global, id)?;
    if !options.is_empty() {
        let reason = "options of ps(1) are not supported: this runtime runs no other program";
        return Err(OciError::Argument(reason.to_owned()));
    }
    let cgroup = record.cgroup();
    if !cgroup.exists() {
        let reason = "without a cgroup the processes of a container cannot be found";
        return Err(OciError::State(reason.to_owned()));
    }
    let mut pids = cgroup.pids()?;
    pids.sort_unstable();
    if format == Format::Json {
        return print_json(&pids);
    }
    let head = ["UID", "PID", "PPID", "CMD"].map(str::to_owned);
    // A process may end between both looks.
    list::table(head, pids.into_iter().filter_map(row).collect());
    Ok(())
}

fn row(pid: i32) -> Option<[String; 4]> {
    let status = fs_err::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_ascii_whitespace().next().map(str::to_owned)
    };
    let command = fs_err::read(format!("/proc/{pid}/cmdline")).ok()?;
    let command = String::from_utf8_lossy(&command).trim_end_matches('\0').replace('\0', " ");
    let command = if command.is_empty() { format!("[{}]", field("Name")?) } else { command };
    Some([field("Uid")?, pid.to_string(), field("PPid")?, command])
}
