//! How the two sides of a start talk: messages from the child, single go-aheads from the parent.
//!
//! The socket is close-on-exec in both, so the parent sees its end close when the program is executed, and the child
//! sees its end close when the parent dies. After the system call filter is in force the child only reads and writes
//! single packets, which every sensible filter allows.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use skiff_sys::socket;

use super::{Stage, StageError};

/// What a child says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// From the intermediate process: the init was cloned; its pidfd comes along.
    Cloned(i32),
    /// The id maps can be written; said only where the parent has to wait for that.
    Unmapped,
    /// The mounts are there and nothing has been pivoted: the moment of the hooks in the runtime's namespaces.
    Mounted,
    /// The master of the terminal comes along.
    Console,
    /// The listener of the system call filter comes along.
    Listener,
    /// Everything is done but the execution of the program.
    Ready,
    /// It failed, and the process is about to end.
    Failed(StageError),
}

/// A report is short but for the detail of an error, which is cut to fit.
const MESSAGE_MAX: usize = 8192;
const DETAIL_MAX: usize = 4096;

/// Sends a report.
pub(super) fn report(socket: impl AsFd, report: &Report, fds: &[BorrowedFd<'_>]) -> Result<(), StageError> {
    let mut buffer = [0; MESSAGE_MAX];
    let message = postcard::to_slice(report, &mut buffer)
        .map_err(|error| StageError::refused(Stage::Sync, error.to_string()))?;
    let sent = if fds.is_empty() {
        rustix::io::write(socket, message).map(drop)
    } else {
        socket::send(socket, message, fds)
    };
    sent.map_err(|errno| lost(errno, "the parent is gone"))
}

/// Reports a failure, as well as it can be done.
pub(super) fn report_failure(socket: impl AsFd, mut error: StageError) {
    let mut end = error.detail.len().min(DETAIL_MAX);
    while !error.detail.is_char_boundary(end) {
        end -= 1;
    }
    error.detail.truncate(end);
    // If the parent is gone there is nobody left to tell.
    let _ = report(socket, &Report::Failed(error), &[]);
}

/// Waits for the parent's go-ahead.
pub(super) fn wait(socket: impl AsFd) -> Result<(), StageError> {
    let mut byte = [0];
    loop {
        match rustix::io::read(&socket, &mut byte) {
            Ok(0) => return Err(StageError::refused(Stage::Sync, "the parent is gone")),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(lost(errno, "waiting for the parent")),
        }
    }
}

/// Gives the child the go-ahead.
pub(super) fn go_ahead(socket: impl AsFd) -> Result<(), StageError> {
    socket::send(socket, b"g", &[]).map_err(|errno| lost(errno, "the process ended"))
}

/// Receives a report; `None` when the child's end is closed: by exec, or because it ended.
pub(super) fn next(socket: impl AsFd) -> Result<Option<(Report, Vec<OwnedFd>)>, StageError> {
    let mut buffer = [0; MESSAGE_MAX];
    let (length, fds) = loop {
        match socket::receive(&socket, &mut buffer) {
            Ok((0, _)) => return Ok(None),
            Ok(received) => break received,
            // A child that ends with messages unread resets the connection. That is told once, before what it has said itself.
            Err(Errno::CONNRESET) => {}
            Err(errno) => return Err(lost(errno, "reading from the process")),
        }
    };
    let report = postcard::from_bytes(&buffer[..length])
        .map_err(|error| StageError::refused(Stage::Sync, error.to_string()))?;
    Ok(Some((report, fds)))
}

fn lost(errno: Errno, what: &str) -> StageError {
    StageError::new(Stage::Sync, errno, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_child_said_is_heard_although_it_ended_with_a_message_unread() {
        let (ours, theirs) = socket::seqpacket_pair().unwrap();
        go_ahead(&ours).unwrap();
        report_failure(&theirs, StageError::new(Stage::Mount, Errno::NOENT, "/x"));
        drop(theirs);
        let Some((Report::Failed(error), _)) = next(&ours).unwrap() else { panic!("nothing was heard") };
        assert_eq!((error.stage, error.detail.as_str()), (Stage::Mount, "/x"));
        assert!(next(&ours).unwrap().is_none());
    }
}
