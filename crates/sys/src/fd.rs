//! Descriptor housekeeping: close_range(2), and moving descriptors to given numbers before exec.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

use crate::call;

const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;

/// Marks every descriptor from `first` on close-on-exec: what a container must not inherit.
pub fn cloexec_from(first: RawFd) -> Result<(), Errno> {
    // SAFETY: marking descriptors close-on-exec invalidates none of them.
    unsafe { close_range(first, RawFd::MAX, CLOSE_RANGE_CLOEXEC) }
}

/// Makes the descriptor number `target` refer to what `fd` refers to, without close-on-exec.
///
/// Only for the numbers that a program finds open by convention: 0 to 2, and those which follow them
/// (`LISTEN_FDS`). Whatever was open at `target` is closed, so `target` must not belong to an `OwnedFd`.
pub fn place_at(fd: BorrowedFd<'_>, target: RawFd) -> Result<(), Errno> {
    if fd.as_raw_fd() == target {
        return rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty());
    }
    // SAFETY: dup3 touches no memory; the contract about `target` is the caller's, and breaking it can confuse
    // descriptors but not memory.
    let answer = unsafe { libc::syscall(libc::SYS_dup3, fd.as_raw_fd(), target, 0) };
    call::result(answer).map(drop)
}

/// Takes over a descriptor number that the parent process left open by convention (`--preserve-fds`,
/// `LISTEN_FDS`).
///
/// # Errors
/// `EBADF` if nothing is open there.
pub fn adopt(number: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: F_GETFD only reads the flags of a number, valid or not.
    let answer = unsafe { libc::fcntl(number, libc::F_GETFD) };
    call::result(answer.into())?;
    // SAFETY: the number is open, and by convention with the parent nobody in this process owns it yet.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Closes every descriptor from `first` on.
///
/// Only for a process that owns no descriptor there which it will still use: one that has only just begun, or a forked child
/// that is about to end. Whatever was open is closed under its owner.
pub fn close_from(first: RawFd) -> Result<(), Errno> {
    close_from_but(first, &[])
}

/// As [`close_from`], but leaves those in `keep` open. The same contract holds for the rest.
pub fn close_from_but(first: RawFd, keep: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut keep: Vec<RawFd> = keep.iter().map(AsRawFd::as_raw_fd).filter(|fd| *fd >= first).collect();
    keep.sort_unstable();
    let mut first = first;
    for kept in keep {
        if kept > first {
            // SAFETY: as below.
            unsafe { close_range(first, kept - 1, 0) }?;
        }
        first = kept + 1;
    }
    // SAFETY: that nobody uses what is closed here is the caller's contract; breaking it can confuse descriptors but not
    // memory.
    unsafe { close_range(first, RawFd::MAX, 0) }
}

/// close_range(2), both ends included.
///
/// # Safety
/// Without [`CLOSE_RANGE_CLOEXEC`], nobody may use the descriptors any more that are open there.
unsafe fn close_range(first: RawFd, last: RawFd, flags: libc::c_uint) -> Result<(), Errno> {
    // SAFETY: touches no memory; the descriptors are the caller's business.
    let answer =
        unsafe { libc::syscall(libc::SYS_close_range, first as libc::c_uint, last as libc::c_uint, flags) };
    call::result(answer).map(drop)
}
