//! One output stream of a process, from the pipe or the terminal's master.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use super::{
    log::Splitter,
    reactor::{EventFlags, Reactor, Token, Watch},
};

/// Pipes begin with 64 KiB. One that is found full grows to this, once: memory is only taken by a process that writes much.
/// Without CAP_SYS_RESOURCE all pipes of a user share 64 MiB, after which new ones get 8 KiB, so more would be theft.
const LARGE_PIPE: usize = 256 << 10;
const PIPE: usize = 64 << 10;

/// A stream to read.
#[derive(Debug)]
pub(crate) struct Output {
    source: Option<Watch>,
    grown: bool,
    /// Cuts it into log entries.
    pub(crate) splitter: Splitter,
}

/// What one read gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// So many bytes.
    Bytes(usize),
    /// Nothing at the moment.
    Nothing,
    /// Nothing ever again.
    End,
}

impl Output {
    pub(crate) fn new(reactor: &Reactor, token: Token, fd: Option<OwnedFd>, terminal: bool) -> Self {
        let source = fd.map(|fd| Watch::new(reactor, fd, token));
        let mut new = Self { source, grown: terminal, splitter: Splitter::default() };
        new.hold(false);
        new
    }

    /// Whether all has been read.
    pub(crate) fn has_ended(&self) -> bool {
        self.source.is_none()
    }

    /// Reads once.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Read {
        let Some(source) = &self.source else { return Read::End };
        match rustix::io::retry_on_intr(|| rustix::io::read(source.as_fd(), &mut *buffer)) {
            Ok(len) if len > 0 => {
                if len >= PIPE && !self.grown {
                    self.grown = true;
                    // Not allowed is no harm.
                    let _ = rustix::pipe::fcntl_setpipe_size(source.as_fd(), LARGE_PIPE);
                }
                Read::Bytes(len)
            }
            Err(Errno::AGAIN) => Read::Nothing,
            // A terminal says EIO when everybody has closed it.
            Ok(_) | Err(_) => {
                self.source = None;
                Read::End
            }
        }
    }

    /// Stops or resumes reading: the process waits when the pipe is full.
    pub(crate) fn hold(&mut self, hold: bool) {
        if let Some(source) = &mut self.source {
            source.want((!hold).then_some(EventFlags::IN));
        }
    }

    /// Gives up what somebody else still holds open.
    pub(crate) fn abandon(&mut self) {
        self.source = None;
    }
}
