//! What a container uses, as `GET /containers/{id}/stats` tells it.

use std::{borrow::Cow, collections::BTreeMap};

use super::Timestamp;

/// What one container used at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// Id in full.
    pub id: String,
    /// Name without the leading slash.
    pub name: String,
    /// When it was read; none while the container does not run.
    pub read: Option<Timestamp>,
    /// None while it does not run.
    pub usage: Option<Usage>,
}

/// Figures of a running container. Times are nanoseconds, amounts bytes; what this kernel does not tell is zero or empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Read from cgroup v2, where some figures do not exist or mean something else.
    pub is_v2: bool,
    /// All processor time.
    pub cpu_total: u64,
    /// In user mode.
    pub cpu_user: u64,
    /// In the kernel.
    pub cpu_kernel: u64,
    /// By processor; v1 only.
    pub per_cpu: Vec<u64>,
    /// Processor time of the whole host, idle time included.
    pub cpu_system: u64,
    /// Processors of the host.
    pub cpus: u32,
    /// Quota periods that have passed.
    pub periods: u64,
    /// Those in which the quota ran out.
    pub throttled_periods: u64,
    /// Time spent throttled.
    pub throttled: u64,
    /// Memory, page cache included.
    pub memory: u64,
    /// The most there was; v1 only.
    pub memory_peak: u64,
    /// The bound, or the host's memory if that is less.
    pub memory_limit: u64,
    /// v1: failed charges. v2: how often memory ran out.
    pub memory_failures: u64,
    /// Processes killed for want of memory.
    pub oom_kills: u64,
    /// Lines of `memory.stat`, those that Docker shows.
    pub memory_stat: BTreeMap<Cow<'static, str>, u64>,
    /// Processes and threads.
    pub pids: u64,
    /// Their bound; 0 for none on v1, `u64::MAX` on v2.
    pub pids_limit: u64,
    /// Bytes by device and operation.
    pub io_bytes: Vec<IoCount>,
    /// Operations by device and operation.
    pub io_operations: Vec<IoCount>,
    /// Interfaces by name; none without a network of its own.
    pub networks: BTreeMap<String, Interface>,
}

/// A count of one block device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IoCount {
    /// The device's major number.
    pub major: u64,
    /// The device's minor number.
    pub minor: u64,
    /// `Read`, `Write`, …
    pub operation: String,
    /// Bytes or operations.
    pub value: u64,
}

/// What went through an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Interface {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}
