//! Hearing of what others do to the table: somebody flushes the whole rule set, or another program's reload does.

use std::{
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    io::{self, Errno},
    net::{
        self, AddressFamily, RecvFlags, SocketFlags, SocketType, netlink, netlink::SocketAddrNetlink, sockopt,
    },
};

use crate::netlink::message::{attribute, messages};

/// `1 << (NFNLGRP_NFTABLES - 1)`.
const GROUP: u32 = 1 << 6;
/// `NFNL_SUBSYS_NFTABLES`.
const SUBSYSTEM: u16 = 10;
/// The attribute that names the table: the first one of tables, chains, rules, sets and elements alike.
const TABLE: u16 = 1;

/// A socket that is told of every change of the rule set.
#[derive(Debug)]
pub(crate) struct Watch {
    socket: OwnedFd,
    stop: OwnedFd,
    table: &'static str,
    own_port: u32,
}

/// What made [`Watch::wait`] return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Somebody else changed the table.
    Changed,
    /// There was more than the socket could hold: whether the table was among it is not known.
    Overrun,
    /// [`Watch::stopper`]'s descriptor was written to.
    Stopped,
}

impl Watch {
    /// Listens for changes of a table that are not made through the socket with `own_port`. Nothing that happens from
    /// now on is missed.
    pub(crate) fn open(table: &'static str, own_port: u32) -> io::Result<Self> {
        let protocol = Some(netlink::NETFILTER);
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        // Our own transactions arrive here too, a message for each element.
        let size = 1 << 20;
        sockopt::set_socket_recv_buffer_size_force(&socket, size)
            .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, size))?;
        net::bind(&socket, &SocketAddrNetlink::new(0, GROUP))?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC)?;
        Ok(Self { socket, stop, table, own_port })
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

    /// Reads all there is; true if some of it is about the table.
    fn drain(&self) -> io::Result<bool> {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 16 << 10];
        let mut changed = false;
        loop {
            match net::recv(self.socket.as_fd(), &mut buffer[..], RecvFlags::empty()) {
                Ok(((datagram, _), _)) => {
                    changed |= messages(datagram).any(|message| {
                        message.kind >> 8 == SUBSYSTEM
                            && message.port != self.own_port
                            && message.body.get(4..).is_some_and(|body| self.names_table(body))
                    });
                }
                Err(Errno::AGAIN) => return Ok(changed),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    fn names_table(&self, body: &[u8]) -> bool {
        attribute(body, TABLE).and_then(|name| name.strip_suffix(&[0])) == Some(self.table.as_bytes())
    }
}
