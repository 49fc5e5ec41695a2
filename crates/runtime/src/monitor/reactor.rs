//! epoll(7), level-triggered: which descriptor is watched for what, and to whom an event belongs.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::Rc,
    time::Duration,
};

use rustix::{
    event::{Timespec, epoll},
    io::Errno,
};

use super::stream::Stream;

pub(crate) use epoll::EventFlags;

/// Whom an event is for. Numbers are never used twice in a monitor's life, so an event that comes late finds nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A daemon connects.
    Listener,
    /// A connected daemon.
    Client(u32),
    /// A child ends.
    Exit(u32),
    /// A child's output.
    Output(u32, Stream),
    /// A child's input.
    Input(u32),
    /// An attached client: of which child, and which.
    Attached(u32, u32),
    /// The cgroup's out-of-memory events.
    Oom,
    /// A program of another runtime ends.
    Program(u32),
}

impl Token {
    /// Kind in the top byte, child in the 24 bits below the upper half's top, the rest in the lower half.
    fn pack(self) -> u64 {
        let (kind, child, rest) = match self {
            Self::Listener => (0, 0, 0),
            Self::Client(n) => (1, 0, n),
            Self::Exit(child) => (2, child, 0),
            Self::Output(child, Stream::Stdout) => (3, child, 0),
            Self::Output(child, Stream::Stderr) => (4, child, 0),
            Self::Input(child) => (5, child, 0),
            Self::Attached(child, n) => (6, child, n),
            Self::Oom => (7, 0, 0),
            Self::Program(n) => (8, 0, n),
        };
        kind << 56 | u64::from(child & 0xff_ffff) << 32 | u64::from(rest)
    }

    fn unpack(value: u64) -> Option<Self> {
        let (child, rest) = ((value >> 32) as u32 & 0xff_ffff, value as u32);
        Some(match value >> 56 {
            0 => Self::Listener,
            1 => Self::Client(rest),
            2 => Self::Exit(child),
            3 => Self::Output(child, Stream::Stdout),
            4 => Self::Output(child, Stream::Stderr),
            5 => Self::Input(child),
            6 => Self::Attached(child, rest),
            7 => Self::Oom,
            8 => Self::Program(rest),
            _ => return None,
        })
    }
}

/// The epoll instance. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Reactor(Rc<OwnedFd>);

/// How many events one wait gives at most.
const EVENTS: usize = 32;

impl Reactor {
    pub(crate) fn new() -> Result<Self, Errno> {
        Ok(Self(Rc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?)))
    }

    /// Waits for events, `timeout` at most if there is one. No event means that the time is over.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> Result<Events, Errno> {
        let timeout =
            timeout.map(|t| Timespec { tv_sec: t.as_secs() as i64, tv_nsec: i64::from(t.subsec_nanos()) });
        let mut list =
            [epoll::Event { flags: EventFlags::empty(), data: epoll::EventData::new_u64(0) }; EVENTS];
        match epoll::wait(&*self.0, &mut list[..], timeout.as_ref()) {
            Ok(len) => Ok(Events { list, len, next: 0 }),
            Err(Errno::INTR) => Ok(Events { list, len: 0, next: 0 }),
            Err(e) => Err(e),
        }
    }
}

/// What one wait found.
pub(crate) struct Events {
    list: [epoll::Event; EVENTS],
    len: usize,
    next: usize,
}

impl Events {
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Iterator for Events {
    type Item = (Token, EventFlags);

    fn next(&mut self) -> Option<Self::Item> {
        while self.next < self.len {
            let event = self.list[self.next];
            self.next += 1;
            if let Some(token) = Token::unpack(event.data.u64()) {
                return Some((token, event.flags));
            }
        }
        None
    }
}

/// A descriptor in the reactor's care. Dropping it ends the watch before the descriptor is closed, which matters: a forked child
/// may hold a copy for a moment, and epoll watches what is open, not a number.
#[derive(Debug)]
pub(crate) struct Watch {
    fd: OwnedFd,
    token: Token,
    reactor: Reactor,
    wanted: Option<EventFlags>,
}

impl Watch {
    /// Takes a descriptor over, not yet watched.
    pub(crate) fn new(reactor: &Reactor, fd: OwnedFd, token: Token) -> Self {
        Self { fd, token, reactor: reactor.clone(), wanted: None }
    }

    /// Watches for `wanted`, and for hang-up and errors, which the kernel always reports; with `None`, not at all.
    pub(crate) fn want(&mut self, wanted: Option<EventFlags>) {
        if self.wanted == wanted {
            return;
        }
        let data = epoll::EventData::new_u64(self.token.pack());
        let done = match (self.wanted, wanted) {
            (None, Some(flags)) => epoll::add(&*self.reactor.0, &self.fd, data, flags),
            (Some(_), Some(flags)) => epoll::modify(&*self.reactor.0, &self.fd, data, flags),
            (_, None) => epoll::delete(&*self.reactor.0, &self.fd),
        };
        // Only memory can be short here. What is then not watched is taken for ended by its owner's deadlines.
        if done.is_ok() {
            self.wanted = wanted;
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.want(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_packing() {
        for token in [
            Token::Listener,
            Token::Client(u32::MAX),
            Token::Exit(0xff_ffff),
            Token::Output(7, Stream::Stdout),
            Token::Output(7, Stream::Stderr),
            Token::Input(1),
            Token::Attached(0xff_fffe, u32::MAX),
            Token::Oom,
            Token::Program(9),
        ] {
            assert_eq!(Token::unpack(token.pack()), Some(token));
        }
        assert_eq!(Token::unpack(u64::MAX), None);
    }

    #[test]
    fn a_dropped_watch_is_silent_even_while_a_copy_is_open() {
        let reactor = Reactor::new().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        let copy = rustix::io::dup(&read).unwrap();
        let mut watch = Watch::new(&reactor, read, Token::Oom);
        watch.want(Some(EventFlags::IN));
        rustix::io::write(&write, b"x").unwrap();
        let now = Some(Duration::ZERO);
        assert_eq!(reactor.wait(now).unwrap().next(), Some((Token::Oom, EventFlags::IN)));
        drop(watch);
        assert!(reactor.wait(now).unwrap().is_empty());
        drop(copy);
    }
}
