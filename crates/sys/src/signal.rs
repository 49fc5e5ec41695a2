//! The few signal dispositions that an engine's own processes set (sigaction(2)).

use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use rustix::{io::Errno, process::Signal};

use crate::call;

/// Ignores a signal. For SIGCHLD this also means that children leave no zombies.
///
/// # Errors
/// `EINVAL` for SIGKILL and SIGSTOP.
pub fn ignore(signal: Signal) -> Result<(), Errno> {
    set(signal, libc::SIG_IGN)
}

/// Gives a signal its default action.
///
/// # Errors
/// As [`ignore`].
pub fn default(signal: Signal) -> Result<(), Errno> {
    set(signal, libc::SIG_DFL)
}

/// Gives every signal its default action and blocks none: how a new program expects to start.
pub fn default_all() {
    // The kernel's `struct sigaction`: handler (SIG_DFL is 0), flags, restorer, mask. Not through the C library, which
    // keeps two signals for itself, whose dispositions would otherwise be inherited (its posix_spawn ignores them).
    let default = [0u64; 4];
    let no_old = std::ptr::null_mut::<u64>();
    for number in 1..=64 {
        // SAFETY: `default` is large enough for the structure on every architecture, and SIG_DFL is no function that could
        // run in this process. SIGKILL and SIGSTOP refuse, which leaves them as they should be.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, number, default.as_ptr(), no_old, 8usize) };
    }
    // SAFETY: an all-zero `sigset_t` is a valid value, which `sigemptyset` then sets up as the C library wants it.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

/// Makes a command start as [`default_all`] says, whatever this process blocks or ignores (`Command` passes both on).
pub fn default_in_child(command: &mut std::process::Command) -> &mut std::process::Command {
    use std::os::unix::process::CommandExt;
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; `default_all` makes system calls alone.
    unsafe {
        command.pre_exec(|| {
            default_all();
            Ok(())
        })
    }
}

/// Blocks every signal that can be waited for, and gives a close-on-exec, non-blocking descriptor that reads them
/// ([`next`]). The calling thread must be its process's only one for this to mean every signal of the process.
///
/// # Errors
/// The kernel's, when it is out of descriptors.
pub fn receive_all() -> Result<OwnedFd, Errno> {
    // SAFETY: an all-zero `sigset_t` is a valid value, which `sigfillset` then sets up as the C library wants it; the set
    // outlives both calls, and signalfd answers a new descriptor, which nobody else knows of.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        for fault in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGABRT] {
            libc::sigdelset(&mut all, fault);
        }
        call::result(libc::sigprocmask(libc::SIG_BLOCK, &all, std::ptr::null_mut()).into())?;
        let fd = call::result(libc::signalfd(-1, &all, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK).into())?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

/// The number of the next signal that waits at such a descriptor.
///
/// # Errors
/// `EAGAIN` if none waits.
pub fn next(signals: impl AsFd) -> Result<i32, Errno> {
    // `struct signalfd_siginfo` begins with the number and has 128 bytes.
    let mut info = [0; 128];
    rustix::io::read(signals, &mut info)?;
    Ok(i32::from_ne_bytes([info[0], info[1], info[2], info[3]]))
}

/// The signal of this number, real-time ones included; none below 1, above 64, or of those that the C library keeps for itself
/// (32 and 33).
pub fn from_number(number: i32) -> Option<Signal> {
    const FIRST_REAL_TIME: i32 = 34;
    Signal::from_named_raw(number).or_else(|| {
        // SAFETY: the number is a signal of the kernel's, and none of the C library's own.
        (FIRST_REAL_TIME..=64).contains(&number).then(|| unsafe { Signal::from_raw_unchecked(number) })
    })
}

fn set(signal: Signal, action: libc::sighandler_t) -> Result<(), Errno> {
    // SAFETY: neither SIG_IGN nor SIG_DFL is a function that could run in this process.
    let before = unsafe { libc::signal(signal.as_raw(), action) };
    call::result(if before == libc::SIG_ERR { -1 } else { 0 }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_signals_or_nothing() {
        assert_eq!(from_number(15), Some(Signal::TERM));
        assert_eq!(from_number(34).map(Signal::as_raw), Some(34));
        assert_eq!(from_number(64).map(Signal::as_raw), Some(64));
        for number in [-1, 0, 32, 33, 65] {
            assert_eq!(from_number(number), None, "{number}");
        }
    }
}
