//! The v2 files.

use std::path::Path;

use super::super::{Cgroup, CgroupError, Controller};
use super::{
    BlockIoEntry, BlockIoStats, CpuStats, HugetlbStats, MemoryLimit, MemoryStats, PidsStats, Pressure,
    PressureLine, Stats, number, table, text,
};

pub(super) fn read(group: &Cgroup) -> Result<Stats, CgroupError> {
    let Some(directory) = group.directory(Controller::Memory) else { return Ok(Stats::default()) };
    let mut stats = Stats {
        cpu: cpu(directory)?,
        memory: memory(directory)?,
        pids: PidsStats {
            current: number(directory, "pids.current")?,
            limit: number(directory, "pids.max")?,
        },
        block_io: block_io(directory)?,
        ..Stats::default()
    };
    for size in super::v1::page_sizes() {
        let events = text(directory, &format!("hugetlb.{size}.events"))?;
        let failures = table(&events).find(|(key, _)| *key == "max").map_or(0, |(_, value)| value);
        let usage = number(directory, &format!("hugetlb.{size}.current"))?;
        stats.hugetlb.insert(size, HugetlbStats { usage, max_usage: 0, failures });
    }
    Ok(stats)
}

fn cpu(directory: &Path) -> Result<CpuStats, CgroupError> {
    let mut stats = CpuStats { pressure: pressure(directory, "cpu.pressure")?, ..CpuStats::default() };
    for (key, value) in table(&text(directory, "cpu.stat")?) {
        match key {
            "usage_usec" => stats.total = value * 1_000,
            "user_usec" => stats.user = value * 1_000,
            "system_usec" => stats.kernel = value * 1_000,
            "nr_periods" => stats.periods = value,
            "nr_throttled" => stats.throttled_periods = value,
            "throttled_usec" => stats.throttled = value * 1_000,
            _ => {}
        }
    }
    Ok(stats)
}

fn memory(directory: &Path) -> Result<MemoryStats, CgroupError> {
    let raw: std::collections::BTreeMap<_, _> =
        table(&text(directory, "memory.stat")?).map(|(key, value)| (key.to_owned(), value)).collect();
    let events = text(directory, "memory.events")?;
    let event = |name: &str| table(&events).find(|(key, _)| *key == name).map_or(0, |(_, value)| value);
    let usage = MemoryLimit {
        usage: number(directory, "memory.current")?,
        limit: number(directory, "memory.max")?,
        max_usage: number(directory, "memory.peak")?,
        failures: event("oom"),
    };
    // v1 counts memory and swap together, and that is what the callers expect under this name.
    let swap = MemoryLimit {
        usage: usage.usage.saturating_add(number(directory, "memory.swap.current")?),
        limit: usage.limit.saturating_add(number(directory, "memory.swap.max")?),
        max_usage: number(directory, "memory.swap.peak")?,
        failures: 0,
    };
    let cache = raw.get("file").copied().unwrap_or(0);
    let pressure = pressure(directory, "memory.pressure")?;
    Ok(MemoryStats { usage, swap, cache, raw, pressure, ..MemoryStats::default() })
}

/// `io.stat` has lines of `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`.
fn block_io(directory: &Path) -> Result<BlockIoStats, CgroupError> {
    let (service_bytes, serviced) = parse_io(&text(directory, "io.stat")?);
    Ok(BlockIoStats { service_bytes, serviced, pressure: pressure(directory, "io.pressure")? })
}

/// Bytes and operations.
pub(in super::super) fn parse_io(text: &str) -> (Vec<BlockIoEntry>, Vec<BlockIoEntry>) {
    let (mut bytes, mut operations) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut columns = line.split_ascii_whitespace();
        let Some((major, minor)) = columns.next().and_then(|device| device.split_once(':')) else { continue };
        let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) else { continue };
        for (key, value) in columns.filter_map(|column| column.split_once('=')) {
            let (list, operation) = match key {
                "rbytes" => (&mut bytes, "Read"),
                "wbytes" => (&mut bytes, "Write"),
                "dbytes" => (&mut bytes, "Discard"),
                "rios" => (&mut operations, "Read"),
                "wios" => (&mut operations, "Write"),
                "dios" => (&mut operations, "Discard"),
                _ => continue,
            };
            let value = value.parse().unwrap_or(0);
            list.push(BlockIoEntry { major, minor, operation: operation.to_owned(), value });
        }
    }
    (bytes, operations)
}

/// `None` where the kernel keeps no pressure figures.
fn pressure(directory: &Path, file: &str) -> Result<Option<Pressure>, CgroupError> {
    Ok(parse_pressure(&text(directory, file)?))
}

/// Lines of `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`.
fn parse_pressure(text: &str) -> Option<Pressure> {
    let line = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
        let mut parsed = PressureLine::default();
        for (key, value) in line.split_ascii_whitespace().filter_map(|column| column.split_once('=')) {
            match key {
                "avg10" => parsed.avg10 = value.parse().ok()?,
                "avg60" => parsed.avg60 = value.parse().ok()?,
                "avg300" => parsed.avg300 = value.parse().ok()?,
                "total" => parsed.total = value.parse().ok()?,
                _ => {}
            }
        }
        Some(parsed)
    };
    Some(Pressure { some: line("some ")?, full: line("full ").unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_directory_is_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = [
            ("cpu.stat", "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\nnr_throttled 3\n"),
            ("cpu.pressure", "some avg10=1.50 avg60=0.10 avg300=0.00 total=99\n"),
            ("memory.stat", "anon 10\nfile 4096\n"),
            ("memory.events", "low 0\noom 2\noom_kill 1\n"),
            ("memory.current", "8192\n"),
            ("memory.max", "max\n"),
            ("memory.swap.current", "1\n"),
            ("memory.swap.max", "max\n"),
            ("io.stat", "8:0 rbytes=4096 wbytes=1 rios=2 wios=0 dbytes=0 dios=0\n"),
        ];
        for (file, text) in files {
            fs_err::write(directory.path().join(file), text).expect("written");
        }
        let cpu = cpu(directory.path()).expect("read");
        assert_eq!(
            (cpu.total, cpu.user, cpu.kernel, cpu.throttled_periods),
            (1_500_000, 1_000_000, 500_000, 3)
        );
        assert_eq!(cpu.pressure.map(|it| (it.some.avg10, it.some.total)), Some((1.5, 99)));
        let memory = memory(directory.path()).expect("read");
        assert_eq!((memory.usage.usage, memory.usage.limit, memory.usage.failures), (8192, u64::MAX, 2));
        assert_eq!((memory.swap.usage, memory.swap.limit, memory.cache), (8193, u64::MAX, 4096));
        let io = block_io(directory.path()).expect("read");
        assert_eq!((io.service_bytes[0].value, io.serviced[0].value, io.serviced.len()), (4096, 2, 3));
    }
}
