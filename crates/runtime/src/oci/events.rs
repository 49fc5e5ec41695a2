//! `events`: statistics, and out-of-memory kills as they happen, one JSON object per line in runc's form.

use std::collections::BTreeMap;

use rustix::event::{PollFd, PollFlags, Timespec};
use serde::Serialize;
use serde_json::{Value, json};

use super::args::Global;
use super::record::{self, Status};
use super::{OciError, print_json};
use crate::cgroups::{BlockIoEntry, MemoryLimit, Stats};

/// Prints statistics once, or every so often until the container ends.
pub(super) fn events(global: &Global, id: &str, interval: &str, once: bool) -> Result<(), OciError> {
    let pause = duration(interval)?;
    let (directory, record) = record::find(global, id)?;
    if matches!(record.status(&directory), Status::Stopped | Status::Creating) {
        return Err(OciError::State(format!("container with id {id} is not running")));
    }
    let cgroup = record.cgroup();
    if once {
        return print_event("stats", id, shown(&cgroup.stats()?));
    }
    let Some((_, pidfd)) = record.open_process() else { return Ok(()) };
    let oom = cgroup.watch_oom()?;
    let mut kills = cgroup.oom_kills()?;
    loop {
        let mut waiting = [PollFd::new(&pidfd, PollFlags::IN), PollFd::new(&oom, PollFlags::IN)];
        let ready = rustix::io::retry_on_intr(|| rustix::event::poll(&mut waiting, Some(&pause)))
            .map_err(OciError::kernel("poll"))?;
        if !waiting[0].revents().is_empty() {
            return Ok(());
        }
        if ready == 0 {
            print_event("stats", id, shown(&cgroup.stats()?))?;
            continue;
        }
        oom.drain();
        let now = cgroup.oom_kills()?;
        if now > kills {
            print_event("oom", id, Value::Null)?;
        }
        kills = now;
    }
}

/// A number of seconds, or Go's notation for one unit: `500ms`, `5s`, `1m`.
fn duration(text: &str) -> Result<Timespec, OciError> {
    let invalid = || OciError::Argument(format!("{text:?} is not a duration"));
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: i64 = number.parse().map_err(|_| invalid())?;
    let milliseconds = match unit {
        "ms" => number,
        "" | "s" => number * 1000,
        "m" => number * 60_000,
        "h" => number * 3_600_000,
        _ => return Err(invalid()),
    };
    if milliseconds <= 0 {
        return Err(invalid());
    }
    Ok(Timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 })
}

/// An event, in the order of runc's fields: people read them.
#[derive(Debug, Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Value::is_null")]
    data: Value,
}

fn print_event(kind: &str, id: &str, data: Value) -> Result<(), OciError> {
    print_json(&Event { kind, id, data })
}

fn shown(stats: &Stats) -> Value {
    let limit = |limit: &MemoryLimit| json!({"limit": limit.limit, "usage": limit.usage, "max": limit.max_usage, "failcnt": limit.failures});
    let entries = |list: &[BlockIoEntry]| -> Vec<Value> {
        let one = |entry: &BlockIoEntry| json!({"major": entry.major, "minor": entry.minor, "op": entry.operation, "value": entry.value});
        list.iter().map(one).collect()
    };
    let hugetlb: BTreeMap<&String, Value> = stats
        .hugetlb
        .iter()
        .map(|(size, it)| (size, json!({"usage": it.usage, "max": it.max_usage, "failcnt": it.failures})))
        .collect();
    let (cpu, memory) = (&stats.cpu, &stats.memory);
    json!({
        "cpu": {
            "usage": {
                "total": cpu.total, "kernel": cpu.kernel, "user": cpu.user, "percpu": cpu.per_cpu,
                "percpu_kernel": cpu.per_cpu_kernel, "percpu_user": cpu.per_cpu_user,
            },
            "throttling": {
                "periods": cpu.periods, "throttledPeriods": cpu.throttled_periods, "throttledTime": cpu.throttled,
            },
        },
        "cpuset": {},
        "memory": {
            "cache": memory.cache, "usage": limit(&memory.usage), "swap": limit(&memory.swap),
            "kernel": limit(&memory.kernel), "kernelTCP": limit(&memory.kernel_tcp), "raw": memory.raw,
        },
        "pids": {"current": stats.pids.current, "limit": stats.pids.limit},
        "blkio": {
            "ioServiceBytesRecursive": entries(&stats.block_io.service_bytes),
            "ioServicedRecursive": entries(&stats.block_io.serviced),
        },
        "hugetlb": hugetlb,
        "intel_rdt": {},
        "network_interfaces": null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_or_gos() {
        assert_eq!(duration("5").unwrap().tv_sec, 5);
        assert_eq!(duration("2m").unwrap().tv_sec, 120);
        assert_eq!(duration("1500ms").unwrap(), Timespec { tv_sec: 1, tv_nsec: 500_000_000 });
        for text in ["", "0", "s", "5x", "-1"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
