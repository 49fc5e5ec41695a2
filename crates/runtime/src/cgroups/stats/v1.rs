//! The v1 files.

use std::path::Path;

use super::super::{Cgroup, CgroupError, Controller};
use super::{
    BlockIoEntry, BlockIoStats, CpuStats, HugetlbStats, MemoryLimit, MemoryStats, PidsStats, Stats, number,
    table, text,
};

pub(super) fn read(group: &Cgroup) -> Result<Stats, CgroupError> {
    let mut stats = Stats::default();
    if let Some(directory) = group.directory(Controller::Cpuacct) {
        usage(directory, &mut stats.cpu)?;
    }
    if let Some(directory) = group.directory(Controller::Cpu) {
        for (key, value) in table(&text(directory, "cpu.stat")?) {
            match key {
                "nr_periods" => stats.cpu.periods = value,
                "nr_throttled" => stats.cpu.throttled_periods = value,
                "throttled_time" => stats.cpu.throttled = value,
                _ => {}
            }
        }
    }
    if let Some(directory) = group.directory(Controller::Memory) {
        stats.memory = memory(directory)?;
    }
    if let Some(directory) = group.directory(Controller::Pids) {
        stats.pids =
            PidsStats { current: number(directory, "pids.current")?, limit: number(directory, "pids.max")? };
    }
    if let Some(directory) = group.directory(Controller::Io) {
        stats.block_io = block_io(directory)?;
    }
    if let Some(directory) = group.directory(Controller::Hugetlb) {
        for size in page_sizes() {
            let value = |what: &str| number(directory, &format!("hugetlb.{size}.{what}"));
            let one = HugetlbStats {
                usage: value("usage_in_bytes")?,
                max_usage: value("max_usage_in_bytes")?,
                failures: value("failcnt")?,
            };
            stats.hugetlb.insert(size, one);
        }
    }
    Ok(stats)
}

/// `cpuacct.usage_all` holds lines of `cpu user system`; the totals by processor are in a file of their own, since the former are sampled.
fn usage(directory: &Path, cpu: &mut CpuStats) -> Result<(), CgroupError> {
    let totals = text(directory, "cpuacct.usage_percpu")?;
    cpu.per_cpu = totals.split_ascii_whitespace().filter_map(|value| value.parse().ok()).collect();
    cpu.total = cpu.per_cpu.iter().sum();
    for line in text(directory, "cpuacct.usage_all")?.lines().skip(1) {
        let mut columns =
            line.split_ascii_whitespace().skip(1).map(|value| value.parse::<u64>().unwrap_or(0));
        let (user, kernel) = (columns.next().unwrap_or(0), columns.next().unwrap_or(0));
        cpu.per_cpu_user.push(user);
        cpu.per_cpu_kernel.push(kernel);
        cpu.user += user;
        cpu.kernel += kernel;
    }
    Ok(())
}

fn memory(directory: &Path) -> Result<MemoryStats, CgroupError> {
    let limit = |prefix: &str| -> Result<MemoryLimit, CgroupError> {
        let value = |what: &str| number(directory, &format!("{prefix}.{what}"));
        Ok(MemoryLimit {
            usage: value("usage_in_bytes")?,
            limit: value("limit_in_bytes")?,
            max_usage: value("max_usage_in_bytes")?,
            failures: value("failcnt")?,
        })
    };
    let raw: std::collections::BTreeMap<_, _> =
        table(&text(directory, "memory.stat")?).map(|(key, value)| (key.to_owned(), value)).collect();
    Ok(MemoryStats {
        usage: limit("memory")?,
        swap: limit("memory.memsw")?,
        kernel: limit("memory.kmem")?,
        kernel_tcp: limit("memory.kmem.tcp")?,
        cache: raw.get("cache").copied().unwrap_or(0),
        raw,
        pressure: None,
    })
}

/// The scheduler's own counts where it keeps any (BFQ; CFQ on old kernels), else those of the throttling layer.
fn block_io(directory: &Path) -> Result<BlockIoStats, CgroupError> {
    let first = |files: &[&str]| -> Result<Vec<BlockIoEntry>, CgroupError> {
        for file in files {
            let entries = parse_entries(&text(directory, file)?);
            if !entries.is_empty() {
                return Ok(entries);
            }
        }
        Ok(Vec::new())
    };
    Ok(BlockIoStats {
        service_bytes: first(&[
            "blkio.bfq.io_service_bytes_recursive",
            "blkio.io_service_bytes_recursive",
            "blkio.throttle.io_service_bytes_recursive",
            "blkio.throttle.io_service_bytes",
        ])?,
        serviced: first(&[
            "blkio.bfq.io_serviced_recursive",
            "blkio.io_serviced_recursive",
            "blkio.throttle.io_serviced_recursive",
            "blkio.throttle.io_serviced",
        ])?,
        pressure: None,
    })
}

/// Lines of `8:0 Read 4096`; the last one, `Total 4096`, has no device.
pub(in super::super) fn parse_entries(text: &str) -> Vec<BlockIoEntry> {
    let parse = |line: &str| {
        let mut columns = line.split_ascii_whitespace();
        let (major, minor) = columns.next()?.split_once(':')?;
        Some(BlockIoEntry {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
            operation: columns.next()?.to_owned(),
            value: columns.next()?.parse().ok()?,
        })
    };
    text.lines().filter_map(parse).collect()
}

/// The sizes this kernel has, from `/sys/kernel/mm/hugepages/hugepages-2048kB`, in the words of the cgroup files.
pub(super) fn page_sizes() -> Vec<String> {
    let Ok(entries) = fs_err::read_dir("/sys/kernel/mm/hugepages") else { return Vec::new() };
    let size = |name: String| {
        let kib: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        Some(match kib {
            gib if gib.is_multiple_of(1 << 20) => format!("{}GB", gib >> 20),
            mib if mib.is_multiple_of(1 << 10) => format!("{}MB", mib >> 10),
            kib => format!("{kib}KB"),
        })
    };
    entries.filter_map(Result::ok).filter_map(|entry| size(entry.file_name().into_string().ok()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_io_lines_are_parsed() {
        let entries = parse_entries("8:0 Read 4096\n8:0 Write 0\n259:12 Total 7\nTotal 4103\n");
        assert_eq!(entries.len(), 3);
        let expected = BlockIoEntry { major: 259, minor: 12, operation: "Total".to_owned(), value: 7 };
        assert_eq!(entries[2], expected);
    }
}
