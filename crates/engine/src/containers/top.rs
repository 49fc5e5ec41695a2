//! Top: what `ps` would show of a container's processes, read from `/proc` by ourselves.

use std::{collections::HashMap, sync::Arc};

use skiff_runtime::cgroups::{Cgroup, CgroupPath};

use super::parts::{Parts, blocking};
use crate::{
    Error, Result,
    model::{Timestamp, Top},
};

pub(super) async fn top(parts: &Arc<Parts>, reference: &str, args: Option<&str>) -> Result<Top> {
    let args = args.map(str::trim).filter(|a| !a.is_empty()).unwrap_or("-ef");
    let columns = columns(args)?;
    let container = parts.registry.resolve(reference)?;
    let live = container.live()?;
    let path = CgroupPath::parse(&live.cgroup).map_err(|e| Error::Internal(e.to_string()))?;
    let group = Cgroup::open(&parts.host.facts.cgroups, &path);
    let top = blocking(move || {
        let pids = group.pids().map_err(|e| Error::Internal(format!("cannot list processes: {e}")))?;
        Ok(table(&pids, &columns))
    })
    .await?;
    parts.tell(&container, "top", &[]);
    top
}

/// A column: its head, and what it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Column(&'static str, Field);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    User,
    Uid,
    Group,
    Gid,
    Pid,
    Ppid,
    Pgid,
    Sid,
    Cpu,
    CpuShort,
    Memory,
    Vsz,
    Rss,
    Tty,
    State,
    StateShort,
    Start,
    Time,
    TimeShort,
    Elapsed,
    Nice,
    Priority,
    Threads,
    Command,
    Name,
}

const FULL: &[Column] = &[
    Column("UID", Field::User),
    Column("PID", Field::Pid),
    Column("PPID", Field::Ppid),
    Column("C", Field::CpuShort),
    Column("STIME", Field::Start),
    Column("TTY", Field::Tty),
    Column("TIME", Field::Time),
    Column("CMD", Field::Command),
];

const USER: &[Column] = &[
    Column("USER", Field::User),
    Column("PID", Field::Pid),
    Column("%CPU", Field::Cpu),
    Column("%MEM", Field::Memory),
    Column("VSZ", Field::Vsz),
    Column("RSS", Field::Rss),
    Column("TTY", Field::Tty),
    Column("STAT", Field::State),
    Column("START", Field::Start),
    Column("TIME", Field::TimeShort),
    Column("COMMAND", Field::Command),
];

const EVERY: &[Column] = &[
    Column("PID", Field::Pid),
    Column("TTY", Field::Tty),
    Column("TIME", Field::Time),
    Column("CMD", Field::Name),
];

/// Names that `-o` takes.
const BY_NAME: &[(&str, Column)] = &[
    ("user", Column("USER", Field::User)),
    ("euser", Column("EUSER", Field::User)),
    ("uname", Column("USER", Field::User)),
    ("ruser", Column("RUSER", Field::User)),
    ("uid", Column("UID", Field::Uid)),
    ("euid", Column("EUID", Field::Uid)),
    ("group", Column("GROUP", Field::Group)),
    ("gid", Column("GID", Field::Gid)),
    ("pid", Column("PID", Field::Pid)),
    ("ppid", Column("PPID", Field::Ppid)),
    ("pgid", Column("PGID", Field::Pgid)),
    ("pgrp", Column("PGRP", Field::Pgid)),
    ("sid", Column("SID", Field::Sid)),
    ("sess", Column("SESS", Field::Sid)),
    ("%cpu", Column("%CPU", Field::Cpu)),
    ("pcpu", Column("%CPU", Field::Cpu)),
    ("c", Column("C", Field::CpuShort)),
    ("%mem", Column("%MEM", Field::Memory)),
    ("pmem", Column("%MEM", Field::Memory)),
    ("vsz", Column("VSZ", Field::Vsz)),
    ("vsize", Column("VSZ", Field::Vsz)),
    ("rss", Column("RSS", Field::Rss)),
    ("rssize", Column("RSS", Field::Rss)),
    ("tty", Column("TT", Field::Tty)),
    ("tt", Column("TT", Field::Tty)),
    ("tname", Column("TTY", Field::Tty)),
    ("stat", Column("STAT", Field::State)),
    ("s", Column("S", Field::StateShort)),
    ("state", Column("S", Field::StateShort)),
    ("start", Column("START", Field::Start)),
    ("stime", Column("STIME", Field::Start)),
    ("start_time", Column("START", Field::Start)),
    ("time", Column("TIME", Field::Time)),
    ("cputime", Column("TIME", Field::Time)),
    ("etime", Column("ELAPSED", Field::Elapsed)),
    ("ni", Column("NI", Field::Nice)),
    ("nice", Column("NI", Field::Nice)),
    ("pri", Column("PRI", Field::Priority)),
    ("nlwp", Column("NLWP", Field::Threads)),
    ("thcount", Column("THCNT", Field::Threads)),
    ("args", Column("COMMAND", Field::Command)),
    ("cmd", Column("CMD", Field::Command)),
    ("command", Column("COMMAND", Field::Command)),
    ("comm", Column("COMMAND", Field::Name)),
    ("ucmd", Column("CMD", Field::Name)),
    ("ucomm", Column("COMMAND", Field::Name)),
];

/// The columns that `ps` would show with these arguments.
fn columns(args: &str) -> Result<Vec<Column>> {
    let mut words = args.split_whitespace();
    let mut preset: &[Column] = EVERY;
    let mut chosen = Vec::new();
    while let Some(word) = words.next() {
        let list = match word {
            "-o" | "o" | "-eo" | "-Ao" | "--format" => words.next(),
            word => word
                .strip_prefix("--format=")
                .or_else(|| word.strip_prefix("-eo"))
                .or_else(|| word.strip_prefix("-o")),
        };
        if let Some(list) = list {
            for name in list.split(',') {
                chosen.push(by_name(name)?);
            }
            continue;
        }
        preset = match word.trim_start_matches('-') {
            "ef" | "f" | "Af" | "fe" => FULL,
            "aux" | "u" | "ux" | "auxw" | "auxww" => USER,
            "e" | "A" | "a" | "x" | "ax" | "w" | "ww" => preset,
            other => {
                return Err(Error::Invalid(format!("ps: error: unsupported option {other:?}")));
            }
        };
    }
    if chosen.is_empty() {
        chosen = preset.to_vec();
    }
    if !chosen.iter().any(|c| c.0 == "PID") {
        return Err(Error::Internal("Couldn't find PID field in ps output".into()));
    }
    Ok(chosen)
}

fn by_name(name: &str) -> Result<Column> {
    let (name, _heading) = name.split_once('=').unwrap_or((name, ""));
    BY_NAME
        .iter()
        .find(|(n, _)| *n == name)
        .map(|(_, column)| *column)
        .ok_or_else(|| Error::Internal(format!("ps: error: unknown user-defined format specifier {name:?}")))
}

/// What a table is made with.
struct Facts {
    /// `sysconf(_SC_CLK_TCK)`.
    ticks: u64,
    page: u64,
    memory: u64,
    /// Seconds since the epoch at which the host started.
    boot: i64,
    /// Seconds since then.
    uptime: f64,
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl Facts {
    fn read() -> Self {
        let text = |path: &str| fs_err::read_to_string(path).unwrap_or_default();
        let names = |path: &str| {
            let mut out = HashMap::new();
            for line in text(path).lines() {
                let mut fields = line.split(':');
                if let (Some(name), Some(id)) = (fields.next(), fields.nth(1).and_then(|id| id.parse().ok()))
                {
                    out.entry(id).or_insert_with(|| name.to_owned());
                }
            }
            out
        };
        let stat = text("/proc/stat");
        let boot = stat.lines().find_map(|l| l.strip_prefix("btime ")?.parse().ok()).unwrap_or(0);
        let uptime = text("/proc/uptime");
        let uptime = uptime.split(' ').next().and_then(|s| s.parse().ok()).unwrap_or(0.0);
        Self {
            ticks: rustix::param::clock_ticks_per_second(),
            page: rustix::param::page_size() as u64,
            memory: rustix::system::sysinfo().totalram,
            boot,
            uptime,
            users: names("/etc/passwd"),
            groups: names("/etc/group"),
        }
    }
}

fn table(pids: &[i32], columns: &[Column]) -> Top {
    let facts = Facts::read();
    let mut processes = Vec::new();
    let mut pids = pids.to_vec();
    pids.sort_unstable();
    for pid in pids {
        // One that has ended meanwhile is not shown.
        if let Some(process) = Process::read(pid) {
            processes.push(columns.iter().map(|c| process.show(c.1, &facts)).collect());
        }
    }
    Top { titles: columns.iter().map(|c| c.0.to_owned()).collect(), processes }
}

/// One line of `/proc`: `stat` and `status` (proc_pid_stat(5)).
struct Process {
    pid: i32,
    name: String,
    command: String,
    uid: u32,
    gid: u32,
    /// The fields of `stat` behind the name, from the state on.
    stat: Vec<String>,
}

impl Process {
    fn read(pid: i32) -> Option<Self> {
        let file = |name: &str| fs_err::read(format!("/proc/{pid}/{name}")).ok();
        let stat = String::from_utf8_lossy(&file("stat")?).into_owned();
        let (before, after) = stat.rsplit_once(')')?;
        let name = before.split_once('(')?.1.to_owned();
        let status = String::from_utf8_lossy(&file("status")?).into_owned();
        let id = |key: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(key))?;
            line.split_whitespace().nth(1)?.parse().ok()
        };
        let command = String::from_utf8_lossy(&file("cmdline")?).trim_end_matches('\0').replace('\0', " ");
        Some(Self {
            pid,
            command: if command.is_empty() { format!("[{name}]") } else { command },
            name,
            uid: id("Uid:")?,
            gid: id("Gid:")?,
            stat: after.split_whitespace().map(str::to_owned).collect(),
        })
    }

    /// A field by its number in proc_pid_stat(5), which counts from 1 and begins here at 3.
    fn text(&self, field: usize) -> &str {
        self.stat.get(field - 3).map_or("0", String::as_str)
    }

    fn number(&self, field: usize) -> i64 {
        self.text(field).parse().unwrap_or(0)
    }

    fn cpu_seconds(&self, facts: &Facts) -> f64 {
        (self.number(14) + self.number(15)) as f64 / facts.ticks as f64
    }

    /// Seconds since it started.
    fn age(&self, facts: &Facts) -> f64 {
        (facts.uptime - self.number(22) as f64 / facts.ticks as f64).max(0.0)
    }

    fn cpu(&self, facts: &Facts) -> f64 {
        match self.age(facts) {
            age if age > 0.0 => 100.0 * self.cpu_seconds(facts) / age,
            _ => 0.0,
        }
    }

    fn show(&self, field: Field, facts: &Facts) -> String {
        let name =
            |names: &HashMap<u32, String>, id: u32| names.get(&id).cloned().unwrap_or_else(|| id.to_string());
        match field {
            Field::User => name(&facts.users, self.uid),
            Field::Uid => self.uid.to_string(),
            Field::Group => name(&facts.groups, self.gid),
            Field::Gid => self.gid.to_string(),
            Field::Pid => self.pid.to_string(),
            Field::Ppid => self.number(4).to_string(),
            Field::Pgid => self.number(5).to_string(),
            Field::Sid => self.number(6).to_string(),
            Field::Cpu => format!("{:.1}", self.cpu(facts)),
            Field::CpuShort => format!("{:.0}", self.cpu(facts).min(99.0)),
            Field::Memory => {
                let share = self.number(24) as f64 * facts.page as f64 / facts.memory.max(1) as f64;
                format!("{:.1}", 100.0 * share)
            }
            Field::Vsz => (self.number(23) / 1024).to_string(),
            Field::Rss => (self.number(24) * facts.page as i64 / 1024).to_string(),
            Field::Tty => terminal(self.number(7)),
            Field::State => self.state(),
            Field::StateShort => self.text(3).to_owned(),
            Field::Start => self.started(facts),
            Field::Time => clock(self.cpu_seconds(facts) as i64),
            Field::TimeShort => {
                let seconds = self.cpu_seconds(facts) as i64;
                format!("{}:{:02}", seconds / 60, seconds % 60)
            }
            Field::Elapsed => elapsed(self.age(facts) as i64),
            Field::Nice => self.number(19).to_string(),
            Field::Priority => (39 - self.number(18)).to_string(),
            Field::Threads => self.number(20).to_string(),
            Field::Command => self.command.clone(),
            Field::Name => self.name.clone(),
        }
    }

    /// The letter, and what goes with it: `<` and `N` for priorities, `s` for a session leader, `l` for threads, `+` for the
    /// foreground.
    fn state(&self) -> String {
        let mut out = self.text(3).to_owned();
        out.push_str(match self.number(19) {
            ..0 => "<",
            0 => "",
            1.. => "N",
        });
        if self.number(6) == i64::from(self.pid) {
            out.push('s');
        }
        if self.number(20) > 1 {
            out.push('l');
        }
        if self.number(8) == self.number(5) && self.number(8) > 0 {
            out.push('+');
        }
        out
    }

    /// Hour and minute today, month and day before.
    fn started(&self, facts: &Facts) -> String {
        let at = facts.boot + self.number(22) / facts.ticks as i64;
        let Ok(at) = Timestamp::from_second(at) else { return "?".into() };
        let zone = jiff::tz::TimeZone::system();
        let at = at.to_zoned(zone.clone());
        let now = Timestamp::now().to_zoned(zone);
        match at.date() == now.date() {
            true => at.strftime("%H:%M").to_string(),
            false => at.strftime("%b%d").to_string(),
        }
    }
}

/// The name of a terminal by its device number, `?` for none.
fn terminal(number: i64) -> String {
    let (major, minor) = ((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xfff00));
    match major {
        0 => "?".into(),
        4 if minor < 64 => format!("tty{minor}"),
        4 => format!("ttyS{}", minor - 64),
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        _ => "?".into(),
    }
}

fn clock(seconds: i64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn elapsed(seconds: i64) -> String {
    match seconds {
        ..3600 => format!("{:02}:{:02}", seconds / 60, seconds % 60),
        3600..86400 => clock(seconds),
        _ => format!("{}-{}", seconds / 86400, clock(seconds % 86400)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads(args: &str) -> Result<String> {
        Ok(columns(args)?.iter().map(|c| c.0).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn arguments_choose_columns_as_ps_does() {
        for (args, shown) in [
            ("-ef", "UID PID PPID C STIME TTY TIME CMD"),
            ("aux", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"),
            ("-o pid,comm", "PID COMMAND"),
            ("-eo pid,user -o args", "PID USER COMMAND"),
            ("-e", "PID TTY TIME CMD"),
        ] {
            assert_eq!(heads(args).unwrap(), shown);
        }
        for (args, message) in [
            ("-o foo", r#"ps: error: unknown user-defined format specifier "foo""#),
            ("-o comm", "Couldn't find PID field in ps output"),
        ] {
            assert_eq!(heads(args).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn this_very_process_is_shown() {
        let pid = std::process::id() as i32;
        let top = table(&[pid, -1], &columns("-ef").unwrap());
        assert_eq!(top.processes.len(), 1);
        assert_eq!(top.processes[0][1], pid.to_string());
        assert!(top.processes[0][4].contains(':'), "{:?}", top.processes[0]);
    }

    #[test]
    fn terminals_and_times_have_their_names() {
        assert_eq!(terminal(0), "?");
        assert_eq!(terminal(0x8803), "pts/3");
        assert_eq!(terminal(0x401), "tty1");
        assert_eq!(elapsed(90_061), "1-01:01:01");
        assert_eq!(clock(3661), "01:01:01");
    }
}
