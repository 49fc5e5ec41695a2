//! A connected daemon.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{
    protocol::{Call, Event},
    reactor::{EventFlags, Reactor, Token, Watch},
    wire::{self, WireError},
};

/// A connected daemon. One that does not read its events is disconnected: it can connect again and is then told everything.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) number: u32,
    watch: Watch,
    gone: bool,
}

impl Client {
    /// Takes over a connected socket.
    pub(crate) fn new(reactor: &Reactor, number: u32, socket: OwnedFd) -> Self {
        let gone = rustix::io::ioctl_fionbio(&socket, true).is_err();
        let mut watch = Watch::new(reactor, socket, Token::Client(number));
        watch.want(Some(EventFlags::IN));
        Self { number, watch, gone }
    }

    pub(crate) fn tell(&mut self, event: &Event, fds: &[BorrowedFd<'_>]) {
        if !self.gone {
            self.gone = wire::send(self.watch.as_fd(), event, fds).is_err();
        }
    }

    /// The next request, if there is one.
    pub(crate) fn next(&mut self) -> Option<(Call, Vec<OwnedFd>)> {
        if self.gone {
            return None;
        }
        match wire::receive(self.watch.as_fd()) {
            Ok(call) => Some(call),
            Err(WireError::System { source: rustix::io::Errno::AGAIN, .. }) => None,
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
