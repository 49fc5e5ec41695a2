//! sync_file_range(2): starting to write a file out while it is still being made.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::call;

/// Starts writing `len` bytes from `offset` to the disk and does not wait. This makes nothing durable; it leaves less to
/// do for the fdatasync(2) that does.
///
/// # Errors
/// `EIO`, `ENOSPC`, and `ESPIPE` for what is no file.
fn start(fd: BorrowedFd<'_>, offset: u64, len: u64) -> Result<(), Errno> {
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

/// Bytes that may wait to be written out.
const BEHIND: u64 = 8 << 20;

/// Has the disk follow a file that is being written from its beginning to its end: the flush at the end is short then.
#[derive(Debug)]
pub struct Follower {
    started: u64,
}

impl Follower {
    /// From this offset on.
    pub fn from(offset: u64) -> Self {
        Self { started: offset }
    }

    /// The file is written so far. What cannot be started is left to the flush, which tells what fails.
    pub fn follow(&mut self, fd: BorrowedFd<'_>, written: u64) {
        let behind = written - self.started;
        if behind >= BEHIND {
            let _ = start(fd, self.started, behind);
            self.started = written;
        }
    }
}
