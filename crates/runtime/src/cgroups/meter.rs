//! The figures that people watch, read again and again: a [`Meter`] keeps the files open, so that a reading costs a system call
//! a file and no look-up of a path.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode as FileMode, OFlags};

use super::stats::{parse_io_v1, parse_io_v2, table};
use super::{BlockIoEntry, Cgroup, Controller};

/// A tick of the kernel's clock, in which v1 tells user and system time, in nanoseconds.
const TICK: u64 = 10_000_000;

/// The lines of `memory.stat` that a meter tells on v1: those of Docker's `stats`.
const MEMORY_V1: [&str; 32] = [
    "cache",
    "rss",
    "rss_huge",
    "mapped_file",
    "dirty",
    "writeback",
    "pgpgin",
    "pgpgout",
    "pgfault",
    "pgmajfault",
    "inactive_anon",
    "active_anon",
    "inactive_file",
    "active_file",
    "unevictable",
    "hierarchical_memory_limit",
    "hierarchical_memsw_limit",
    "total_cache",
    "total_rss",
    "total_rss_huge",
    "total_mapped_file",
    "total_dirty",
    "total_writeback",
    "total_pgpgin",
    "total_pgpgout",
    "total_pgfault",
    "total_pgmajfault",
    "total_inactive_anon",
    "total_active_anon",
    "total_inactive_file",
    "total_active_file",
    "total_unevictable",
];
/// And on v2.
const MEMORY_V2: [&str; 31] = [
    "anon",
    "file",
    "kernel_stack",
    "slab",
    "sock",
    "shmem",
    "file_mapped",
    "file_dirty",
    "file_writeback",
    "anon_thp",
    "inactive_anon",
    "active_anon",
    "inactive_file",
    "active_file",
    "unevictable",
    "slab_reclaimable",
    "slab_unreclaimable",
    "pgfault",
    "pgmajfault",
    "workingset_refault",
    "workingset_activate",
    "workingset_nodereclaim",
    "pgrefill",
    "pgscan",
    "pgsteal",
    "pgactivate",
    "pgdeactivate",
    "pglazyfree",
    "pglazyfreed",
    "thp_fault_alloc",
    "thp_collapse_alloc",
];

/// One reading. What the kernel does not tell is zero, empty or none. Times are nanoseconds, amounts bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Read from v2 files: some figures mean something else there.
    pub is_v2: bool,
    /// By processor; v1 only.
    pub per_cpu: Vec<u64>,
    /// What the cgroup's tasks did.
    pub activity: Activity,
    /// Memory, page cache included.
    pub memory: u64,
    /// Its bound; `u64::MAX` for none on v2, a number beyond all memory on v1.
    pub memory_limit: u64,
    /// Lines of `memory.stat`, those that Docker's `stats` shows.
    pub memory_stat: BTreeMap<Cow<'static, str>, u64>,
    /// The bound of its tasks; `u64::MAX` for none.
    pub pids_limit: u64,
    /// Bytes by device and operation.
    pub io_bytes: Vec<BlockIoEntry>,
    /// Operations by device and operation.
    pub io_operations: Vec<BlockIoEntry>,
}

/// What changes only when a task of the cgroup runs, and so together with its processor time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// All processor time.
    pub cpu_total: u64,
    /// In user mode.
    pub cpu_user: u64,
    /// In the kernel.
    pub cpu_kernel: u64,
    /// Quota periods that have passed. One in which nothing ran may be told with the next one.
    pub periods: u64,
    /// Those in which the quota ran out.
    pub throttled_periods: u64,
    /// Time spent throttled.
    pub throttled: u64,
    /// The most memory there was; v1 only.
    pub memory_peak: u64,
    /// v1: failed charges. v2: how often memory ran out.
    pub memory_failures: u64,
    /// Processes killed for want of memory.
    pub oom_kills: u64,
    /// Tasks.
    pub pids: u64,
}

/// The open files of one cgroup. A file that is not there, or goes with its cgroup, counts as empty.
#[derive(Debug)]
pub struct Meter {
    files: Files,
    buffer: Vec<u8>,
    /// As it was read last.
    activity: Activity,
}

#[derive(Debug)]
enum Files {
    V1(Box<[Option<OwnedFd>; 15]>),
    V2(Box<[Option<OwnedFd>; 8]>),
}

impl Cgroup {
    /// Opens what a meter reads.
    pub fn meter(&self) -> Meter {
        let open = |(controller, file): (Controller, &str)| open(self.directory(controller)?, file);
        let files = match self.limits_in_v2() {
            true => {
                let files = [
                    "cpu.stat",
                    "memory.current",
                    "memory.max",
                    "memory.stat",
                    "memory.events",
                    "pids.current",
                    "pids.max",
                    "io.stat",
                ];
                Files::V2(Box::new(files.map(|file| open((Controller::Memory, file)))))
            }
            false => Files::V1(Box::new(
                [
                    (Controller::Cpuacct, "cpuacct.usage_percpu"),
                    (Controller::Cpuacct, "cpuacct.stat"),
                    (Controller::Cpu, "cpu.stat"),
                    (Controller::Memory, "memory.usage_in_bytes"),
                    (Controller::Memory, "memory.max_usage_in_bytes"),
                    (Controller::Memory, "memory.limit_in_bytes"),
                    (Controller::Memory, "memory.failcnt"),
                    (Controller::Memory, "memory.stat"),
                    (Controller::Pids, "pids.current"),
                    (Controller::Pids, "pids.max"),
                    (Controller::Memory, "memory.oom_control"),
                    // The scheduler's own counts, then those of the throttling layer.
                    (Controller::Io, "blkio.bfq.io_service_bytes_recursive"),
                    (Controller::Io, "blkio.throttle.io_service_bytes_recursive"),
                    (Controller::Io, "blkio.bfq.io_serviced_recursive"),
                    (Controller::Io, "blkio.throttle.io_serviced_recursive"),
                ]
                .map(open),
            )),
        };
        Meter { files, buffer: Vec::with_capacity(4096), activity: Activity::default() }
    }
}

fn open(directory: &Path, file: &str) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open(directory.join(file), flags, FileMode::empty()).ok()
}

/// The whole text of an open file. The kernel writes each of these in one piece: what comes short is complete.
fn text<'a>(file: Option<&OwnedFd>, buffer: &'a mut Vec<u8>) -> &'a str {
    buffer.clear();
    let Some(file) = file else { return "" };
    loop {
        if buffer.capacity() - buffer.len() < 1024 {
            buffer.reserve(4096);
        }
        let (at, room) = (buffer.len() as u64, buffer.capacity() - buffer.len());
        match rustix::io::pread(file, rustix::buffer::spare_capacity(buffer), at) {
            Ok(n) if n == room => {}
            Ok(_) | Err(_) => return std::str::from_utf8(buffer).unwrap_or_default(),
        }
    }
}

/// The lines with these names; fastest if they come in this order, whatever is between them.
fn shown(text: &str, names: &[&'static str]) -> BTreeMap<Cow<'static, str>, u64> {
    let mut next = 0;
    let mut known = |key: &str| {
        let (before, after) = names.split_at(next);
        let skipped = after.iter().chain(before).position(|name| *name == key)?;
        let found = (next + skipped) % names.len();
        next = found + 1;
        Some(Cow::Borrowed(names[found]))
    };
    table(text).filter_map(|(key, value)| Some((known(key)?, value))).collect()
}

fn number(text: &str) -> u64 {
    match text.trim() {
        "max" | "-1" => u64::MAX,
        other => other.parse().unwrap_or(0),
    }
}

impl Meter {
    /// Reads everything that may have changed: nothing of an [`Activity`] whose processor time is what it was.
    pub fn read(&mut self) -> Reading {
        let reading = match &self.files {
            Files::V1(files) => v1(files, &mut self.buffer, &self.activity),
            Files::V2(files) => v2(files, &mut self.buffer, &self.activity),
        };
        self.activity = reading.activity;
        reading
    }
}

fn v1(files: &[Option<OwnedFd>; 15], buffer: &mut Vec<u8>, before: &Activity) -> Reading {
    let mut out = Reading::default();
    let mut read = |at: usize, take: &mut dyn FnMut(&str)| take(text(files[at].as_ref(), buffer));
    // First: what runs from now on is noticed by the next reading.
    read(0, &mut |text| out.per_cpu = text.split_ascii_whitespace().filter_map(|n| n.parse().ok()).collect());
    let activity = &mut out.activity;
    activity.cpu_total = out.per_cpu.iter().sum();
    if activity.cpu_total > 0 && activity.cpu_total == before.cpu_total {
        *activity = *before;
    } else {
        read(1, &mut |text| {
            for (key, value) in table(text) {
                match key {
                    "user" => activity.cpu_user = value * TICK,
                    "system" => activity.cpu_kernel = value * TICK,
                    _ => {}
                }
            }
        });
        read(2, &mut |text| {
            for (key, value) in table(text) {
                match key {
                    "nr_periods" => activity.periods = value,
                    "nr_throttled" => activity.throttled_periods = value,
                    "throttled_time" => activity.throttled = value,
                    _ => {}
                }
            }
        });
        read(4, &mut |text| activity.memory_peak = number(text));
        read(6, &mut |text| activity.memory_failures = number(text));
        read(8, &mut |text| activity.pids = number(text));
        read(10, &mut |text| {
            activity.oom_kills = table(text).find(|(key, _)| *key == "oom_kill").map_or(0, |(_, n)| n);
        });
    }
    read(3, &mut |text| out.memory = number(text));
    read(5, &mut |text| out.memory_limit = number(text));
    read(7, &mut |text| out.memory_stat = shown(text, &MEMORY_V1));
    read(9, &mut |text| out.pids_limit = number(text));
    for (bytes, operations) in [(11, 13), (12, 14)] {
        if out.io_bytes.is_empty() {
            read(bytes, &mut |text| out.io_bytes = parse_io_v1(text));
            // Both files have a device or neither has.
            if !out.io_bytes.is_empty() {
                read(operations, &mut |text| out.io_operations = parse_io_v1(text));
            }
        }
    }
    out
}

fn v2(files: &[Option<OwnedFd>; 8], buffer: &mut Vec<u8>, before: &Activity) -> Reading {
    let mut out = Reading { is_v2: true, ..Reading::default() };
    let mut read = |at: usize, take: &mut dyn FnMut(&str)| take(text(files[at].as_ref(), buffer));
    let activity = &mut out.activity;
    // First, as on v1.
    read(0, &mut |text| {
        for (key, value) in table(text) {
            match key {
                "usage_usec" => activity.cpu_total = value * 1_000,
                "user_usec" => activity.cpu_user = value * 1_000,
                "system_usec" => activity.cpu_kernel = value * 1_000,
                "nr_periods" => activity.periods = value,
                "nr_throttled" => activity.throttled_periods = value,
                "throttled_usec" => activity.throttled = value * 1_000,
                _ => {}
            }
        }
    });
    if activity.cpu_total > 0 && activity.cpu_total == before.cpu_total {
        (activity.memory_failures, activity.oom_kills) = (before.memory_failures, before.oom_kills);
        activity.pids = before.pids;
    } else {
        read(4, &mut |text| {
            for (key, value) in table(text) {
                match key {
                    "oom" => activity.memory_failures = value,
                    "oom_kill" => activity.oom_kills = value,
                    _ => {}
                }
            }
        });
        read(5, &mut |text| activity.pids = number(text));
    }
    read(1, &mut |text| out.memory = number(text));
    read(2, &mut |text| out.memory_limit = number(text));
    read(3, &mut |text| out.memory_stat = shown(text, &MEMORY_V2));
    read(6, &mut |text| out.pids_limit = number(text));
    read(7, &mut |text| {
        (out.io_bytes, out.io_operations) = parse_io_v2(text);
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, files: &[(&str, &str)]) {
        for (file, text) in files {
            fs_err::write(dir.join(file), text).expect("written");
        }
    }

    #[test]
    fn what_is_read_again_is_new() {
        let dir = tempfile::tempdir().expect("a directory");
        write(
            dir.path(),
            &[
                ("cpu.stat", "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n"),
                ("memory.current", "8192\n"),
                ("memory.max", "max\n"),
                ("memory.stat", "pglazyfree 7\nthp_collapse_alloc 8\nanon 10\nzswap 1\nfile 4096\n"),
                ("memory.events", "oom 2\noom_kill 1\n"),
                ("pids.current", "3\n"),
                ("io.stat", "8:0 rbytes=4096 wbytes=1 rios=2 wios=0 dbytes=0 dios=0\n"),
            ],
        );
        let names = [
            "cpu.stat",
            "memory.current",
            "memory.max",
            "memory.stat",
            "memory.events",
            "pids.current",
            "pids.max",
            "io.stat",
        ];
        let files = names.map(|file| open(dir.path(), file));
        assert!(files[6].is_none());
        let mut buffer = Vec::new();
        let first = v2(&files, &mut buffer, &Activity::default());
        let activity = Activity {
            cpu_total: 1_500_000,
            cpu_user: 1_000_000,
            cpu_kernel: 500_000,
            memory_failures: 2,
            oom_kills: 1,
            pids: 3,
            ..Activity::default()
        };
        assert_eq!(first.activity, activity);
        assert_eq!((first.memory, first.memory_limit, first.pids_limit), (8192, u64::MAX, 0));
        let stat: Vec<_> = first.memory_stat.iter().map(|(name, value)| (&**name, *value)).collect();
        assert_eq!(stat, [("anon", 10), ("file", 4096), ("pglazyfree", 7), ("thp_collapse_alloc", 8)]);
        assert_eq!((first.io_bytes[0].value, first.io_operations[0].value), (4096, 2));
        write(
            dir.path(),
            &[("memory.current", "4096\n"), ("cpu.stat", "usage_usec 1501\n"), ("pids.current", "4\n")],
        );
        let second = v2(&files, &mut buffer, &activity);
        assert_eq!((second.memory, second.activity.pids), (4096, 4));
    }

    /// What cannot have changed is not looked at: these files tell of tasks that never ran.
    #[test]
    fn where_nothing_ran_tasks_are_what_they_were() {
        let dir = tempfile::tempdir().expect("a directory");
        write(
            dir.path(),
            &[
                ("usage_percpu", "7 8\n"),
                ("usage_in_bytes", "10\n"),
                ("pids.current", "99\n"),
                ("cpu.stat", "usage_usec 15\n"),
                ("memory.current", "20\n"),
            ],
        );
        let mut v1_files = [const { None }; 15];
        for (at, file) in [(0, "usage_percpu"), (3, "usage_in_bytes"), (8, "pids.current")] {
            v1_files[at] = open(dir.path(), file);
        }
        let mut v2_files = [const { None }; 8];
        for (at, file) in [(0, "cpu.stat"), (1, "memory.current"), (5, "pids.current")] {
            v2_files[at] = open(dir.path(), file);
        }
        let mut buffer = Vec::new();
        let before = Activity { cpu_total: 15, pids: 3, oom_kills: 1, ..Activity::default() };
        let v1 = |before: &Activity, buffer: &mut Vec<u8>| v1(&v1_files, buffer, before);
        let still = v1(&before, &mut buffer);
        assert_eq!((still.activity, still.memory), (before, 10));
        let ran = v1(&Activity { cpu_total: 14, ..before }, &mut buffer).activity;
        assert_eq!((ran.pids, ran.oom_kills), (99, 0));
        let before = Activity { cpu_total: 15_000, ..before };
        let still = v2(&v2_files, &mut buffer, &before);
        assert_eq!((still.activity, still.memory), (before, 20));
    }
}
