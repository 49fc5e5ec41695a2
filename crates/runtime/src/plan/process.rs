//! A process: what it runs, as whom, with which privileges and limits.

use serde::{Deserialize, Serialize};

/// One process of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// The program and its arguments; never empty.
    pub args: Vec<String>,
    /// Its whole environment, `NAME=value`.
    pub env: Vec<String>,
    /// Its working directory, absolute in the container.
    pub cwd: String,
    /// User id in the container.
    pub uid: u32,
    /// Group id in the container.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// File mode mask; 0o022 unless said otherwise.
    pub umask: u32,
    /// Whether it gets a pseudo terminal.
    pub terminal: bool,
    /// Columns and rows of the terminal.
    pub console_size: Option<(u16, u16)>,
    /// Capability sets; what the user id gives if there are none.
    pub capabilities: Option<Capabilities>,
    /// No gain of privileges by exec.
    pub no_new_privs: bool,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// How willingly the kernel kills it when memory runs out, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// AppArmor profile.
    pub apparmor: Option<String>,
    /// SELinux label.
    pub selinux: Option<String>,
    /// I/O class (`IOPRIO_CLASS_*`) and level.
    pub io_priority: Option<(u8, u8)>,
    /// CPU scheduling.
    pub scheduling: Option<Scheduling>,
    /// CPUs while it joins its cgroup (exec only).
    pub initial_cpus: Option<Vec<u32>>,
    /// CPUs once it has joined its cgroup (exec only).
    pub final_cpus: Option<Vec<u32>>,
    /// Execution domain, as personality(2) takes it.
    pub personality: Option<u32>,
    /// System call filter.
    pub seccomp: Option<SeccompFilter>,
}

/// Capability sets, as the kernel's bit masks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// What can ever be had.
    pub bounding: u64,
    /// What counts.
    pub effective: u64,
    /// What passes exec of a file with the same bits.
    pub inheritable: u64,
    /// What can be made effective.
    pub permitted: u64,
    /// What passes exec of any file.
    pub ambient: u64,
}

/// One resource limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// `RLIMIT_*`.
    pub resource: u32,
    /// Soft limit; `u64::MAX` is none.
    pub soft: u64,
    /// Hard limit; `u64::MAX` is none.
    pub hard: u64,
}

/// CPU scheduling, as sched_setattr(2) takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduling {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// Nice value.
    pub nice: i32,
    /// Static priority.
    pub priority: u32,
    /// Run time per period, nanoseconds.
    pub runtime: u64,
    /// Relative deadline, nanoseconds.
    pub deadline: u64,
    /// Period, nanoseconds.
    pub period: u64,
}

/// A compiled system call filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeccompFilter {
    /// Instructions of classic BPF: operation, jump if true, jump if false, operand.
    pub program: Vec<(u16, u8, u8, u32)>,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u32,
    /// Who answers notifications.
    pub listener: Option<SeccompListener>,
}

/// Who answers the notifications of a filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeccompListener {
    /// The Unix socket that receives the descriptor.
    pub path: String,
    /// What is passed on to it.
    pub metadata: String,
}
