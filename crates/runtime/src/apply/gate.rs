//! The start gate: how a process that `create` has left waiting learns from a later process that it may go on, and
//! tells it if it cannot.
//!
//! Two FIFOs in the container's state directory. The waiting process holds both open and only reads and writes, which
//! every system call filter allows; `start` writes one byte to the first, and reads the second until exec closes it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Stage, StageError};

/// The FIFO that carries the start signal. It exists as long as the container is created but not started.
pub const START: &str = "start.fifo";
const REPORTS: &str = "reports.fifo";

/// The start signal; any other byte means that there will be none.
const GO: [u8; 1] = [b'g'];

/// What fits into a FIFO in one piece (`PIPE_BUF`), with room for the rest of an error.
const DETAIL_MAX: usize = 2048;

/// Both FIFOs, open in the parent of the process that will wait.
#[derive(Debug)]
pub struct Gate<'fd> {
    /// Carries the start signal.
    pub start: BorrowedFd<'fd>,
    /// Carries the error, if there is one.
    pub reports: BorrowedFd<'fd>,
}

/// Both FIFOs, owned.
#[derive(Debug)]
pub struct OwnedGate {
    /// Carries the start signal.
    pub start: OwnedFd,
    /// Carries the error, if there is one.
    pub reports: OwnedFd,
}

impl OwnedGate {
    /// Makes the FIFOs in a directory, and opens both so that neither end ever waits for the other to be opened.
    ///
    /// # Errors
    /// The kernel's.
    pub fn create(directory: &Path) -> Result<Self, Errno> {
        let open = |name: &str| {
            let path = directory.join(name);
            let mode = Mode::RUSR | Mode::WUSR;
            rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, mode, 0)?;
            rustix::fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        };
        Ok(Self { start: open(START)?, reports: open(REPORTS)? })
    }

    /// The same, borrowed.
    pub fn borrow(&self) -> Gate<'_> {
        Gate { start: self.start.as_fd(), reports: self.reports.as_fd() }
    }
}

/// Gives the start signal to the process waiting at the gate in that directory, and waits until it has executed its
/// program.
///
/// # Errors
/// `ENOENT` if it was started already; the reason why the program could not be executed.
pub fn open(directory: &Path) -> Result<(), StageError> {
    let failed = |errno| StageError::new(Stage::Sync, errno, "start gate");
    let start = directory.join(START);
    let signal = rustix::fs::open(&start, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
        .map_err(failed)?;
    let reports = directory.join(REPORTS);
    let reports =
        rustix::fs::open(&reports, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
            .map_err(failed)?;
    rustix::io::write(&signal, &GO).map_err(failed)?;
    rustix::fs::unlink(&start).map_err(failed)?;
    let mut buffer = [0; 4096];
    // A FIFO whose only writer has gone is at its end; one whose writer is silent has nothing yet.
    rustix::fs::fcntl_setfl(&reports, OFlags::RDONLY).map_err(failed)?;
    match rustix::io::retry_on_intr(|| rustix::io::read(&reports, &mut buffer)).map_err(failed)? {
        0 => Ok(()),
        length => Err(postcard::from_bytes(&buffer[..length])
            .unwrap_or_else(|error| StageError::refused(Stage::Sync, error.to_string()))),
    }
}

/// Sends home whoever waits at the gate in that directory, if there is one.
pub fn dismiss(directory: &Path) {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    if let Ok(signal) = rustix::fs::open(directory.join(START), flags, Mode::empty()) {
        // It may have gone meanwhile.
        let _ = rustix::io::write(&signal, b"q");
    }
}

/// Waits for the start signal.
pub(super) fn wait(start: &OwnedFd) -> Result<(), StageError> {
    let mut signal = [0];
    rustix::io::retry_on_intr(|| rustix::io::read(start, &mut signal))
        .map_err(|errno| StageError::new(Stage::Sync, errno, "start gate"))?;
    if signal == GO { Ok(()) } else { Err(StageError::refused(Stage::Sync, "the container was deleted")) }
}

/// Tells whoever gave the start signal what failed.
pub(super) fn report(reports: &OwnedFd, mut error: StageError) {
    let mut end = error.detail.len().min(DETAIL_MAX);
    while !error.detail.is_char_boundary(end) {
        end -= 1;
    }
    error.detail.truncate(end);
    if let Ok(message) = postcard::to_allocvec(&error) {
        // If nobody listens any more, nobody is to be told.
        let _ = rustix::io::write(reports, &message);
    }
}
