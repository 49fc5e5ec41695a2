//! Hearing of what others do to what we write or rely on: rules, routes.

use std::{
    fmt,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    io::{self, Errno},
    net::{
        self, AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, netlink::SocketAddrNetlink,
        sockopt,
    },
};

use super::message::{Received, messages};

type IsMeant = dyn Fn(&Received<'_>) -> bool + Send;

/// A socket that is told of changes of some kind.
pub(crate) struct Watch {
    socket: OwnedFd,
    stop: OwnedFd,
    is_meant: Box<IsMeant>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// What made [`Watch::wait`] return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// There was a change that is meant.
    Changed,
    /// There was more than the socket could hold: whether one that is meant was among it is not known.
    Overrun,
    /// [`Watch::stopper`]'s descriptor was written to.
    Stopped,
}

impl Watch {
    /// Listens for changes that these groups of a protocol are told of (`NETLINK_ROUTE` if none is named) and that are meant. None that
    /// happens from now on is missed.
    pub(crate) fn open(
        protocol: Option<Protocol>,
        groups: u32,
        is_meant: impl Fn(&Received<'_>) -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        // Our own transactions arrive here too, a message for each element.
        let size = 1 << 20;
        sockopt::set_socket_recv_buffer_size_force(&socket, size)
            .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, size))?;
        net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC)?;
        Ok(Self { socket, stop, is_meant: Box::new(is_meant) })
    }

    /// An eventfd that ends the waiting.
    pub(crate) fn stopper(&self) -> std::io::Result<OwnedFd> {
        self.stop.try_clone()
    }

    /// Whether the waiting was ended.
    pub(crate) fn stopped(&self) -> bool {
        let mut fds = [PollFd::new(&self.stop, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Waits until there is something to be told.
    pub(crate) fn wait(&self) -> io::Result<Seen> {
        loop {
            let mut fds = [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(&self.stop, PollFlags::IN)];
            match poll(&mut fds, None) {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            if !fds[1].revents().is_empty() {
                return Ok(Seen::Stopped);
            }
            match self.drain() {
                Err(Errno::NOBUFS) => return Ok(Seen::Overrun),
                Ok(true) => return Ok(Seen::Changed),
                Ok(false) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Reads all there is; true if some of it is meant.
    fn drain(&self) -> io::Result<bool> {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 16 << 10];
        let mut changed = false;
        loop {
            match net::recv(self.socket.as_fd(), &mut buffer[..], RecvFlags::empty()) {
                Ok(((datagram, _), _)) => changed |= messages(datagram).any(|it| (self.is_meant)(&it)),
                Err(Errno::AGAIN) => return Ok(changed),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}
