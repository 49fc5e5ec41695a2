//! sync_file_range(2): starting to write a file out while it is still being made.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::call;

/// Starts writing `len` bytes from `offset` to the disk and does not wait. This makes nothing durable; it leaves less to
/// do for the fdatasync(2) that does.
///
/// # Errors
/// `EIO`, `ENOSPC`, and `ESPIPE` for what is no file.
pub fn start(fd: BorrowedFd<'_>, offset: u64, len: u64) -> Result<(), Errno> {
    // SAFETY: the call takes no pointers, and writing cached pages out changes no data.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_sync_file_range,
            fd.as_raw_fd(),
            offset as libc::off64_t,
            len as libc::off64_t,
            libc::SYNC_FILE_RANGE_WRITE,
        )
    };
    call::result(answer).map(drop)
}
