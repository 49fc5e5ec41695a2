//! execve(2) with argument lists that were prepared beforehand, and leaving a child at once.

use std::convert::Infallible;
use std::ffi::{CStr, CString, c_char};
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

/// A list of C strings as execve wants it: prepared once, so that the call itself allocates nothing.
#[derive(Debug)]
pub struct StringList {
    strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl StringList {
    /// Takes the strings over.
    pub fn new(strings: Vec<CString>) -> Self {
        let pointers =
            strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>();
        Self { strings, pointers }
    }

    /// The strings.
    pub fn strings(&self) -> &[CString] {
        &self.strings
    }
}

/// Replaces the program of the calling process; returns only if that failed.
pub fn execve(path: &CStr, args: &StringList, env: &StringList) -> Result<Infallible, Errno> {
    // SAFETY: both lists end with a null pointer and point into strings which the lists own.
    let answer = unsafe {
        libc::syscall(libc::SYS_execve, path.as_ptr(), args.pointers.as_ptr(), env.pointers.as_ptr())
    };
    Err(failed(answer))
}

/// Replaces the program of the calling process by the one `file` is open on; returns only if that failed.
///
/// A script cannot be run through a close-on-exec descriptor; a binary can.
pub fn execveat(file: BorrowedFd<'_>, args: &StringList, env: &StringList) -> Result<Infallible, Errno> {
    // SAFETY: as for `execve`; the empty path is a constant C string.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            args.pointers.as_ptr(),
            env.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Err(failed(answer))
}

fn failed(answer: libc::c_long) -> Errno {
    crate::call::result(answer).err().unwrap_or(Errno::INVAL)
}

/// Ends the calling process at once: no destructors, no exit handlers, no flushing. What a forked child does.
pub fn exit_now(code: u8) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(i32::from(code)) }
}
