//! Rows about memory: the proportional set size of an engine's own processes.

use std::{collections::HashMap, ops::Range, os::unix::net::UnixStream, thread, time::Duration};

use anyhow::{Context, Result};
use rustix::net::sockopt::socket_peercred;

use super::{Row, containers, report::Unit, subject::Subject};

pub(super) const ROWS: &[Row] = &[
    Row::new("idle daemon with its helpers (PSS)", Unit::Kibibytes, 1, |s| {
        thread::sleep(IDLE);
        engine_pss(s)
    })
    .target(8192.0),
    Row::new("memory per running container (PSS)", Unit::Kibibytes, 1, per_container).target(300.0),
];

const CONTAINERS: usize = 20;

/// After it an engine keeps nothing ready for the next container.
pub(super) const IDLE: Duration = Duration::from_secs(8);

fn per_container(subject: &mut Subject) -> Result<f64> {
    let before = helpers_pss(subject)?;
    for _ in 0..CONTAINERS {
        containers::one_running(subject)?;
    }
    thread::sleep(IDLE);
    let after = helpers_pss(subject)?;
    subject.remove_containers()?;
    Ok((after - before) / CONTAINERS as f64)
}

/// KiB of the daemon and all that works for it.
pub(super) fn engine_pss(subject: &Subject) -> Result<f64> {
    let daemon = daemon_pid(subject)?;
    Ok(pss(daemon)? + helpers_pss(subject)?)
}

/// The processor time that the daemon and all that works for it have used so far.
pub(super) fn engine_time(subject: &Subject) -> Result<Duration> {
    engine_times(subject, OWN)
}

/// The same with that of the processes they have started and waited for.
pub(super) fn engine_time_with_children(subject: &Subject) -> Result<Duration> {
    engine_times(subject, OWN.start..CHILDREN.end)
}

/// The processor time of the processes that this one has started and waited for.
pub(super) fn children_time() -> Result<Duration> {
    times(std::process::id(), CHILDREN)
}

/// utime and stime of proc_pid_stat(5), counted from the state.
const OWN: Range<usize> = 11..13;
/// cutime and cstime.
const CHILDREN: Range<usize> = 13..15;

fn engine_times(subject: &Subject, fields: Range<usize>) -> Result<Duration> {
    let helpers = helpers(subject)?;
    let ended_by_now = |pid| times(pid, fields.clone()).unwrap_or_default();
    Ok(times(daemon_pid(subject)?, fields.clone())? + helpers.into_iter().map(ended_by_now).sum::<Duration>())
}

fn times(pid: u32, fields: Range<usize>) -> Result<Duration> {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(") ").context("no name in stat")?;
    let fields = rest.split(' ').skip(fields.start).take(fields.len());
    let ticks: u64 = fields.filter_map(|time| time.parse::<u64>().ok()).sum();
    Ok(Duration::from_secs(ticks) / rustix::param::clock_ticks_per_second() as u32)
}

fn helpers_pss(subject: &Subject) -> Result<f64> {
    Ok(helpers(subject)?.into_iter().filter_map(|pid| pss(pid).ok()).sum())
}

/// The processes that work for the daemon: those below it and the shims that other engines leave beside it,
/// without the processes inside containers.
fn helpers(subject: &Subject) -> Result<Vec<u32>> {
    let daemon = daemon_pid(subject)?;
    let own_namespace = fs_err::read_link("/proc/self/ns/pid")?;
    let processes = processes()?;
    let descends = |mut pid: u32| {
        while let Some(process) = processes.get(&pid) {
            if process.parent == daemon {
                return true;
            }
            pid = process.parent;
        }
        false
    };
    let mut out = Vec::new();
    for (&pid, process) in &processes {
        let shim = subject.daemon.is_none() && process.name.starts_with("containerd-shim");
        let outside = fs_err::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|ns| ns == own_namespace);
        if outside && (shim || descends(pid)) {
            out.push(pid);
        }
    }
    Ok(out)
}

fn daemon_pid(subject: &Subject) -> Result<u32> {
    if let Some(daemon) = &subject.daemon {
        return daemon.pid().context("the daemon is down");
    }
    let stream = UnixStream::connect(subject.client.socket())?;
    let pid = socket_peercred(&stream)?.pid.as_raw_nonzero().get();
    Ok(pid.unsigned_abs())
}

struct Process {
    parent: u32,
    name: String,
}

fn processes() -> Result<HashMap<u32, Process>> {
    let mut all = HashMap::new();
    for entry in fs_err::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|n| n.parse().ok()) else { continue };
        // A process may end while we look.
        let Ok(stat) = fs_err::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let Some((head, tail)) = stat.rsplit_once(") ") else { continue };
        let parent = tail.split(' ').nth(1).and_then(|p| p.parse().ok()).unwrap_or(0);
        let name = head.split_once('(').map(|(_, n)| n.to_owned()).unwrap_or_default();
        all.insert(pid, Process { parent, name });
    }
    Ok(all)
}

/// KiB of a process.
pub(super) fn pss(pid: u32) -> Result<f64> {
    let rollup = fs_err::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|l| l.strip_prefix("Pss:")).context("no Pss line")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
