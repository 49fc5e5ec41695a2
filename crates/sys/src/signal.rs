//! The few signal dispositions that an engine's own processes set (sigaction(2)).

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
