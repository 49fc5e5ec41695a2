//! The terminal of a container, given away to whoever listens at a socket, or joined to our own.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::termios::{OptionalActions, OutputModes, Termios};

use super::OciError;

/// Sends the terminal's master to a Unix socket, with a name beside it, as runc does.
pub(super) fn send(socket: &Path, master: &OwnedFd) -> Result<(), OciError> {
    let stream = UnixStream::connect(socket)
        .map_err(|error| OciError::Argument(format!("console socket {}: {error}", socket.display())))?;
    skiff_sys::socket::send(&stream, b"/dev/ptmx", &[master.as_fd()])
        .map_err(OciError::kernel(format!("console socket {}", socket.display())))
}

/// Our own terminal in raw mode; as it was before when dropped.
#[derive(Debug)]
pub(super) struct RawTerminal {
    before: Option<Termios>,
}

impl RawTerminal {
    /// Makes standard input raw if it is a terminal.
    pub(super) fn enter() -> Self {
        let before = rustix::termios::tcgetattr(rustix::stdio::stdin()).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            // Lines end with a line feed alone where they come from (see `adopt`).
            raw.output_modes |= OutputModes::OPOST;
            // A terminal that refuses stays as it is; the bytes pass all the same.
            let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw);
        }
        Self { before }
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // Nothing can be done about a terminal that is gone.
            let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Prepares the container's terminal for being copied to our own standard streams. Its line feeds stay as they are: what
/// comes out in a file or a pipe is then what the program would have written there by itself, and our own terminal, if
/// there is one, adds the carriage returns.
pub(super) fn adopt(master: &OwnedFd) {
    copy_size(master);
    if let Ok(mut modes) = rustix::termios::tcgetattr(master) {
        modes.output_modes.remove(OutputModes::ONLCR);
        // A terminal that refuses stays as it is; the text can be read all the same.
        let _ = rustix::termios::tcsetattr(master, OptionalActions::Now, &modes);
    }
}

/// Gives the container's terminal the size of ours.
pub(super) fn copy_size(master: &OwnedFd) {
    if let Ok(size) = rustix::termios::tcgetwinsize(rustix::stdio::stdin()) {
        // A terminal whose other end is gone needs no size.
        let _ = rustix::termios::tcsetwinsize(master, size);
    }
}
