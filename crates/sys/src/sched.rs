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

/// Lets the calling thread take its processor from others as soon as it is woken, for it never needs one for long: it asks
/// for turns of 100 µs, the shortest there are, where Linux gives 3 ms. Since Linux 6.12 (EEVDF slices, sched(7)); older
/// kernels take it for no change. With `except_children`, threads and processes that it makes have the usual turns again. A
/// thread that somebody has given another policy than `SCHED_OTHER` is left alone.
pub fn short_turns(except_children: bool) -> Result<(), Errno> {
    const RESET_ON_FORK: u64 = 1;
    const SHORTEST: u64 = 100_000;
    if !is_usual()? {
        return Ok(());
    }
    let flags = if except_children { RESET_ON_FORK } else { 0 };
    let nice = rustix::process::getpriority_process(None)?;
    set_scheduler(&SchedAttr { flags, nice, runtime: SHORTEST, ..SchedAttr::default() })
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

/// Whether the calling thread has the policy that threads have.
fn is_usual() -> Result<bool, Errno> {
    // SAFETY: only integers are passed.
    let policy = call::result(unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0) })?;
    Ok(policy & !i64::from(libc::SCHED_RESET_ON_FORK) == i64::from(libc::SCHED_OTHER))
}

/// Takes [`short_turns`] back for the calling thread: it works in the background.
pub fn usual_turns() -> Result<(), Errno> {
    if !is_usual()? {
        return Ok(());
    }
    let nice = rustix::process::getpriority_process(None)?;
    set_scheduler(&SchedAttr { nice, ..SchedAttr::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The calling thread's slice in nanoseconds, as the kernel tells it.
    fn slice() -> u64 {
        let mut raw = [0u8; size_of::<Raw>()];
        let size = raw.len();
        // SAFETY: the kernel writes at most `size` bytes into a buffer of that size.
        let answer = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, raw.as_mut_ptr(), size, 0) };
        call::result(answer).unwrap();
        u64::from_ne_bytes(raw[24..32].try_into().unwrap())
    }

    #[test]
    fn short_turns_are_not_inherited_when_children_are_excepted() {
        std::thread::spawn(|| {
            let before = slice();
            short_turns(true).unwrap();
            let shown = slice();
            let of_child = std::thread::spawn(slice).join().unwrap();
            assert_eq!(of_child, before);
            usual_turns().unwrap();
            assert_eq!(slice(), before);
            short_turns(false).unwrap();
            assert_eq!(std::thread::spawn(slice).join().unwrap(), shown);
        })
        .join()
        .unwrap();
    }
}
