//! What feeds a process: bytes on their way from attached clients to its standard input.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use super::{
    protocol::Stdin,
    reactor::{EventFlags, Reactor, Token, Watch},
};

/// A process's standard input.
#[derive(Debug)]
pub(crate) struct Input {
    sink: Option<Watch>,
    /// What the pipe did not take; attached clients are not read while there is any.
    pending: Vec<u8>,
    /// Closed once all is written.
    ending: bool,
    closes_with_client: bool,
}

impl Input {
    pub(crate) fn new(
        reactor: &Reactor,
        token: Token,
        fd: Option<OwnedFd>,
        mode: Stdin,
        terminal: bool,
    ) -> Self {
        Self {
            sink: fd.map(|fd| Watch::new(reactor, fd, token)),
            pending: Vec::new(),
            ending: false,
            closes_with_client: mode == Stdin::Once && !terminal,
        }
    }

    /// Whether the end of a client's input is the end of the process's.
    pub(crate) fn closes_with_client(&self) -> bool {
        self.closes_with_client
    }

    /// Whether more must wait.
    pub(crate) fn is_full(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Writes bytes. What a closed input gets is thrown away, as what a process never reads.
    pub(crate) fn write(&mut self, data: &[u8]) {
        if self.sink.is_none() || self.ending {
            return;
        }
        self.pending.extend_from_slice(data);
        self.flush();
    }

    /// Writes what waits, as far as the process takes it.
    pub(crate) fn flush(&mut self) {
        let Some(sink) = &mut self.sink else { return };
        let mut done = 0;
        let mut broken = false;
        while done < self.pending.len() {
            match rustix::io::write(sink.as_fd(), &self.pending[done..]) {
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => {
                    broken = true;
                    break;
                }
            }
        }
        self.pending.drain(..done);
        if broken || (self.ending && self.pending.is_empty()) {
            self.close_now();
        } else if self.pending.is_empty() {
            self.pending = Vec::new();
            sink.want(None);
        } else {
            sink.want(Some(EventFlags::OUT));
        }
    }

    /// Closes it after what waits, if the end of a client is its end.
    pub(crate) fn end(&mut self) {
        if self.closes_with_client {
            self.ending = true;
            self.flush();
        }
    }

    /// Closes it.
    pub(crate) fn close_now(&mut self) {
        self.sink = None;
        self.pending = Vec::new();
    }
}
