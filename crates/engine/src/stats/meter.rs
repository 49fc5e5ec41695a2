//! Reading: a container's control group, its interfaces, and the host's processors.

use std::{collections::BTreeMap, os::unix::fs::FileExt, sync::Arc};

use skiff_runtime::cgroups::{BlockIoEntry, Cgroup, CgroupPath, Meter, Reading};

use crate::{
    container::{Container, Live},
    containers::Parts,
    model::{Interface, IoCount, Sample, Timestamp, Usage},
    validate::{self, NetworkMode},
};

/// A tick of the kernel's clock in nanoseconds.
const TICK: u64 = 10_000_000;

/// The host's processors; keeps its file open.
#[derive(Debug, Default)]
pub(super) struct HostMeter(Option<fs_err::File>);

/// What the host's processors had done at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Host {
    cpu: u64,
    cpus: u32,
}

impl HostMeter {
    pub(super) fn read(&mut self) -> Host {
        if self.0.is_none() {
            self.0 = fs_err::File::open("/proc/stat").ok();
        }
        self.0.as_ref().map(|file| host(&text_of(file.file()))).unwrap_or_default()
    }
}

/// The text of a file of /proc, from its beginning.
fn text_of(file: &std::fs::File) -> String {
    /// What the kernel writes at once, as long as another line fits.
    const PAGE: usize = 4096;
    const LONGEST_LINE: usize = 1024;
    let mut text = vec![0; PAGE];
    let mut at = 0;
    loop {
        match file.read_at(&mut text[at..], at as u64) {
            Ok(0) | Err(_) => break,
            Ok(n) => at += n,
        }
        // To ask for more would have the kernel write it all again.
        if at < PAGE - LONGEST_LINE {
            break;
        }
        if at == text.len() {
            text.resize(at * 2, 0);
        }
    }
    text.truncate(at);
    String::from_utf8(text).unwrap_or_default()
}

/// The first line of /proc/stat without guests, whose time is the users' too, and the number of the lines after it.
fn host(stat: &str) -> Host {
    let mut lines = stat.lines();
    let all = lines.next().and_then(|line| line.strip_prefix("cpu ")).unwrap_or_default();
    let ticks: u64 = all.split_ascii_whitespace().take(7).filter_map(|n| n.parse::<u64>().ok()).sum();
    let cpus = lines.take_while(|line| line.starts_with("cpu")).count();
    Host { cpu: ticks * TICK, cpus: cpus as u32 }
}

/// A container's open files, made anew for each of its runs.
#[derive(Default)]
pub(super) struct Metered(Option<Open>);

struct Open {
    live: Arc<Live>,
    meter: Meter,
    interfaces: Option<std::fs::File>,
}

impl Metered {
    /// Reads. Blocks for a moment.
    pub(super) fn read(&mut self, parts: &Parts, container: &Container, host: &Host) -> Sample {
        let mut sample = Sample { id: container.id.to_string(), name: container.name(), ..Sample::default() };
        let Ok(live) = container.live() else {
            self.0 = None;
            return sample;
        };
        if self.0.as_ref().is_none_or(|open| !Arc::ptr_eq(&open.live, &live)) {
            self.0 = open(parts, container, live);
        }
        let Some(open) = &mut self.0 else { return sample };
        let interfaces = open.interfaces.as_ref().map(text_of).unwrap_or_default();
        let usage = usage(open.meter.read(), interfaces_of(&interfaces), host, parts.host.memory);
        sample.read = Some(Timestamp::now());
        sample.usage = Some(usage);
        sample
    }
}

fn open(parts: &Parts, container: &Container, live: Arc<Live>) -> Option<Open> {
    let path = CgroupPath::parse(&live.cgroup).ok()?;
    let meter = Cgroup::open(&parts.host.facts.cgroups, &path).meter();
    let of_host = match validate::network_mode(&container.record().host.network_mode) {
        NetworkMode::Host => true,
        NetworkMode::Container(other) => {
            parts.registry.resolve(&other).is_ok_and(|other| other.record().host.network_mode == "host")
        }
        _ => false,
    };
    let interfaces = match of_host {
        true => None,
        false => {
            fs_err::File::open(format!("/proc/{}/net/dev", live.pid)).ok().map(|file| file.into_parts().0)
        }
    };
    Some(Open { live, meter, interfaces })
}

fn usage(reading: Reading, networks: BTreeMap<String, Interface>, host: &Host, memory: i64) -> Usage {
    let count = |entry: BlockIoEntry| IoCount {
        major: entry.major,
        minor: entry.minor,
        operation: entry.operation,
        value: entry.value,
    };
    // v2's "max" is shown as it is; v1 leaves it out.
    let pids_limit = match reading.pids_limit {
        u64::MAX if !reading.is_v2 => 0,
        limit => limit,
    };
    let activity = reading.activity;
    Usage {
        is_v2: reading.is_v2,
        cpu_total: activity.cpu_total,
        cpu_user: activity.cpu_user,
        cpu_kernel: activity.cpu_kernel,
        per_cpu: reading.per_cpu,
        cpu_system: host.cpu,
        cpus: host.cpus,
        periods: activity.periods,
        throttled_periods: activity.throttled_periods,
        throttled: activity.throttled,
        memory: reading.memory,
        memory_peak: activity.memory_peak,
        memory_limit: reading.memory_limit.min(u64::try_from(memory).unwrap_or(u64::MAX)),
        memory_failures: activity.memory_failures,
        oom_kills: activity.oom_kills,
        memory_stat: reading.memory_stat,
        pids: activity.pids,
        pids_limit,
        io_bytes: reading.io_bytes.into_iter().map(count).collect(),
        io_operations: reading.io_operations.into_iter().map(count).collect(),
        networks,
    }
}

/// Lines of /proc/net/dev after its two of heads: a name, a colon, eight numbers received and eight sent.
fn interfaces_of(text: &str) -> BTreeMap<String, Interface> {
    let one = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let n: Vec<u64> = numbers.split_ascii_whitespace().filter_map(|n| n.parse().ok()).collect();
        let [
            rx_bytes,
            rx_packets,
            rx_errors,
            rx_dropped,
            _,
            _,
            _,
            _,
            tx_bytes,
            tx_packets,
            tx_errors,
            tx_dropped,
            ..,
        ] = n[..]
        else {
            return None;
        };
        let interface = Interface {
            rx_bytes,
            rx_packets,
            rx_errors,
            rx_dropped,
            tx_bytes,
            tx_packets,
            tx_errors,
            tx_dropped,
        };
        Some((name.trim().to_owned(), interface))
    };
    text.lines().skip(2).filter_map(one).filter(|(name, _)| name != "lo").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_time_is_all_of_it_but_that_of_guests() {
        let stat = "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 1 1 1 1 1 1 0 0 0\ncpu1 0 0 0 0\nintr 99\n";
        assert_eq!(host(stat), Host { cpu: 28 * TICK, cpus: 2 });
        assert_eq!(host(""), Host::default());
    }

    #[test]
    fn interfaces_are_read_without_the_loopback() {
        let text = "Inter-|   Receive\n face |bytes\n    lo: 1 1 1 1 0 0 0 0 1 1 1 1 0 0 0 0\n  \
                    eth0:646 7 1 2 0 0 0 0 84 2 3 4 0 0 0 0\n";
        let read = interfaces_of(text);
        assert_eq!(read.len(), 1);
        let eth0 = read["eth0"];
        assert_eq!((eth0.rx_bytes, eth0.rx_packets, eth0.rx_errors, eth0.rx_dropped), (646, 7, 1, 2));
        assert_eq!((eth0.tx_bytes, eth0.tx_packets, eth0.tx_errors, eth0.tx_dropped), (84, 2, 3, 4));
    }

    #[test]
    fn limits_beyond_the_hosts_memory_are_the_hosts_memory() {
        let shown = |reading: Reading| usage(reading, BTreeMap::new(), &Host::default(), 1 << 30);
        let unlimited = Reading { memory_limit: u64::MAX, pids_limit: u64::MAX, ..Reading::default() };
        let v1 = shown(unlimited.clone());
        assert_eq!((v1.memory_limit, v1.pids_limit), (1 << 30, 0));
        let v2 = shown(Reading { is_v2: true, memory_limit: 1 << 20, ..unlimited });
        assert_eq!((v2.memory_limit, v2.pids_limit), (1 << 20, u64::MAX));
    }
}
