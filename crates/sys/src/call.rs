//! The one place that turns the C library's `-1` and `errno` into a `Result`.

use rustix::io::Errno;

/// Interprets what `libc::syscall` answered.
pub(crate) fn result(answer: libc::c_long) -> Result<libc::c_long, Errno> {
    if answer == -1 {
        // SAFETY: `__errno_location` always gives a valid pointer to this thread's errno.
        let errno = unsafe { *libc::__errno_location() };
        Err(Errno::from_raw_os_error(errno))
    } else {
        Ok(answer)
    }
}
