//! A connected daemon.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::{
    protocol::{Call, Event},
    reactor::{EventFlags, Reactor, Token, Watch},
    wire::{self, WireError},
};

/// A connected daemon. One that lets its events lie until its socket is full misses some, and is told the whole state once it reads
/// again.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) number: u32,
    watch: Watch,
    missed: bool,
    gone: bool,
}

impl Client {
    /// Takes over a connected socket.
    pub(crate) fn new(reactor: &Reactor, number: u32, socket: OwnedFd) -> Self {
        let gone = rustix::io::ioctl_fionbio(&socket, true).is_err();
        let mut watch = Watch::new(reactor, socket, Token::Client(number));
        watch.want(Some(EventFlags::IN));
        Self { number, watch, missed: false, gone }
    }

    /// Tells an event.
    pub(crate) fn tell(&mut self, event: &Event, fds: &[BorrowedFd<'_>]) {
        if self.gone || self.missed {
            return;
        }
        match wire::send(self.watch.as_fd(), event, fds) {
            Ok(()) => {}
            // Of all events an answer cannot be told again: who waits for it must learn that it will not come.
            Err(WireError::System { source: Errno::AGAIN, .. }) if !matches!(event, Event::Answer { .. }) => {
                self.missed = true;
                self.watch.want(Some(EventFlags::OUT));
            }
            Err(_) => self.gone = true,
        }
    }

    /// Whether it can be told again, and has missed something.
    pub(crate) fn catches_up(&mut self, flags: EventFlags) -> bool {
        if self.missed && flags.contains(EventFlags::OUT) {
            self.missed = false;
            self.watch.want(Some(EventFlags::IN));
            return true;
        }
        // One that has gone is reported for ever.
        self.gone |= self.missed && flags.intersects(EventFlags::HUP | EventFlags::ERR);
        false
    }

    /// The next request, if there is one.
    pub(crate) fn next(&mut self) -> Option<(Call, Vec<OwnedFd>)> {
        if self.gone || self.missed {
            return None;
        }
        match wire::receive(self.watch.as_fd()) {
            Ok(call) => Some(call),
            Err(WireError::System { source: Errno::AGAIN, .. }) => None,
            // Somebody who speaks nonsense is no daemon of ours, or of another time.
            Err(_) => {
                self.gone = true;
                None
            }
        }
    }

    /// Whether it can be dropped.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }
}
