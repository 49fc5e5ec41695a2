//! What a cgroup has used: the figures behind `docker stats` and `runc events --stats`.
//!
//! A file that is missing (a controller that is not there, an older kernel) leaves its figures at zero or empty; any other fault is an error.
//! Times are nanoseconds, amounts bytes.

mod v1;
mod v2;

use std::collections::BTreeMap;
use std::path::Path;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

pub(super) use self::{v1::parse_entries as parse_io_v1, v2::parse_io as parse_io_v2};
use super::files::read_text;
use super::{Cgroup, CgroupError};

/// One reading.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Processor time.
    pub cpu: CpuStats,
    /// Memory and swap.
    pub memory: MemoryStats,
    /// Tasks.
    pub pids: PidsStats,
    /// Block devices.
    pub block_io: BlockIoStats,
    /// Huge pages, by page size as the kernel writes it (`2MB`).
    pub hugetlb: BTreeMap<String, HugetlbStats>,
}

/// Processor time, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CpuStats {
    /// All of it.
    pub total: u64,
    /// In user mode.
    pub user: u64,
    /// In the kernel.
    pub kernel: u64,
    /// All of it by processor; empty on v2.
    pub per_cpu: Vec<u64>,
    /// In user mode by processor; empty on v2.
    pub per_cpu_user: Vec<u64>,
    /// In the kernel by processor; empty on v2.
    pub per_cpu_kernel: Vec<u64>,
    /// Quota periods that have passed.
    pub periods: u64,
    /// Periods in which the quota ran out.
    pub throttled_periods: u64,
    /// Time spent throttled.
    pub throttled: u64,
    /// Time lost waiting for a processor; v2 only.
    pub pressure: Option<Pressure>,
}

/// An amount, its bound, its highest value so far, and how often the bound was hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryLimit {
    /// Now.
    pub usage: u64,
    /// `u64::MAX` is none; v1's "unlimited" stays the large number it is.
    pub limit: u64,
    /// The most there was; zero where the kernel does not say.
    pub max_usage: u64,
    /// v1: failed charges. v2: the `oom` events.
    pub failures: u64,
}

/// Memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MemoryStats {
    /// Memory, page cache included.
    pub usage: MemoryLimit,
    /// v1: memory and swap together. v2: memory and swap added up, in usage and limit.
    pub swap: MemoryLimit,
    /// Kernel memory; v1 only.
    pub kernel: MemoryLimit,
    /// TCP buffers; v1 only.
    pub kernel_tcp: MemoryLimit,
    /// The page cache.
    pub cache: u64,
    /// Every line of `memory.stat`.
    pub raw: BTreeMap<String, u64>,
    /// Time lost waiting for memory; v2 only.
    pub pressure: Option<Pressure>,
}

/// Tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PidsStats {
    /// Processes and threads now.
    pub current: u64,
    /// `u64::MAX` is none.
    pub limit: u64,
}

/// Block devices.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BlockIoStats {
    /// Bytes by device and operation.
    pub service_bytes: Vec<BlockIoEntry>,
    /// Operations by device and operation.
    pub serviced: Vec<BlockIoEntry>,
    /// Time lost waiting for I/O; v2 only.
    pub pressure: Option<Pressure>,
}

/// One count of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockIoEntry {
    /// The device's major number.
    pub major: u64,
    /// The device's minor number.
    pub minor: u64,
    /// `Read`, `Write`, and on v1 `Sync`, `Async`, `Discard`, `Total`.
    pub operation: String,
    /// Bytes or operations.
    pub value: u64,
}

/// Huge pages of one size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HugetlbStats {
    /// Now.
    pub usage: u64,
    /// The most there was; v1 only.
    pub max_usage: u64,
    /// How often the limit was hit.
    pub failures: u64,
}

/// Pressure stall information; see the kernel's accounting/psi.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pressure {
    /// Some task waited.
    pub some: PressureLine,
    /// Every task waited.
    pub full: PressureLine,
}

/// Shares of time in per cent over the last 10, 60 and 300 seconds, and the total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct PressureLine {
    pub avg10: f64,
    pub avg60: f64,
    pub avg300: f64,
    /// Microseconds.
    pub total: u64,
}

impl Cgroup {
    /// Reads everything there is.
    ///
    /// # Errors
    /// When a file is there and cannot be read.
    pub fn stats(&self) -> Result<Stats, CgroupError> {
        if self.limits_in_v2() { v2::read(self) } else { v1::read(self) }
    }
}

/// A file's text; a missing one is empty.
fn text(directory: &Path, file: &str) -> Result<String, CgroupError> {
    let path = directory.join(file);
    read_text(&path).or_else(|error| {
        let absent = [Errno::NOENT, Errno::NODEV, Errno::OPNOTSUPP].map(Errno::raw_os_error);
        if error.errno().is_some_and(|errno| absent.contains(&errno)) {
            Ok(String::new())
        } else {
            Err(error)
        }
    })
}

/// A file with one number; `max` and `-1` are `u64::MAX`, a missing file is zero.
fn number(directory: &Path, file: &str) -> Result<u64, CgroupError> {
    let text = text(directory, file)?;
    Ok(match text.trim() {
        "max" | "-1" => u64::MAX,
        other => other.parse().unwrap_or(0),
    })
}

/// Lines of `key value`.
pub(super) fn table(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key, value.trim().parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_their_absence() {
        let directory = tempfile::tempdir().expect("a directory");
        for (text, expected) in [("max\n", u64::MAX), ("-1\n", u64::MAX), ("42\n", 42), ("odd\n", 0)] {
            fs_err::write(directory.path().join("x"), text).expect("written");
            assert_eq!(number(directory.path(), "x"), Ok(expected));
        }
        assert_eq!(number(directory.path(), "missing"), Ok(0));
        assert!(number(directory.path(), "x/y").is_err(), "a file is no directory");
    }

    #[test]
    fn tables_skip_what_is_no_number() {
        let lines: Vec<_> = table("cache 5\nrss 7\nname text\n\nlonely").collect();
        assert_eq!(lines, [("cache", 5), ("rss", 7)]);
    }
}
