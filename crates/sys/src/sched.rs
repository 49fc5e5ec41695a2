//! How a process is scheduled: sched_setattr(2), ioprio_set(2), personality(2).

use rustix::io::Errno;

use crate::call;

/// What sched_setattr takes. Times are nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedAttr {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// Nice value, of `SCHED_OTHER` and `SCHED_BATCH`.
    pub nice: i32,
    /// Static priority, of `SCHED_FIFO` and `SCHED_RR`.
    pub priority: u32,
    /// `SCHED_DEADLINE`: run time per period.
    pub runtime: u64,
    /// `SCHED_DEADLINE`: relative deadline.
    pub deadline: u64,
    /// `SCHED_DEADLINE`: period.
    pub period: u64,
}

/// `struct sched_attr`, as of Linux 5.3 (size 56).
#[repr(C)]
struct Raw {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    util_min: u32,
    util_max: u32,
}

/// Sets the scheduling policy of the calling thread.
pub fn set_scheduler(attributes: &SchedAttr) -> Result<(), Errno> {
    let SchedAttr { policy, flags, nice, priority, runtime, deadline, period } = *attributes;
    let size = size_of::<Raw>() as u32;
    let mut raw =
        Raw { size, policy, flags, nice, priority, runtime, deadline, period, util_min: 0, util_max: 0 };
    // SAFETY: `raw` is a valid `sched_attr` which says its own size and outlives the call.
    let answer = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw mut raw, 0) };
    call::result(answer).map(drop)
}

/// Sets the I/O priority of the calling thread: `class` is `IOPRIO_CLASS_*` (1 to 3), `level` 0 to 7.
pub fn set_io_priority(class: u8, level: u8) -> Result<(), Errno> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    let priority = libc::c_int::from(class) << 13 | libc::c_int::from(level);
    // SAFETY: only integers are passed.
    let answer = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, priority) };
    call::result(answer).map(drop)
}

/// Sets the execution domain (`PER_LINUX`, `PER_LINUX32`) of the calling process.
pub fn set_personality(persona: u32) -> Result<(), Errno> {
    // SAFETY: only integers are passed; the domains offered change what uname(2) reports, nothing in memory.
    let answer = unsafe { libc::syscall(libc::SYS_personality, libc::c_ulong::from(persona)) };
    call::result(answer).map(drop)
}
