//! A netlink socket: send a batch, hear of each message's fate.

use std::{
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::{self, Errno},
    net::{
        self, AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType,
        netlink::SocketAddrNetlink, sockopt,
    },
};

use super::message::{self, Batch, u32_at};

/// `NLMSG_ERROR`: an errno, zero for success.
const ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a dump.
const DONE: u16 = 3;
/// The kernel fills datagrams of a dump up to 32 KiB at most.
const RECEIVE_BUFFER: usize = 32 << 10;

/// A message the kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Which message of the batch; the first one that failed.
    pub(crate) message: u32,
    /// The kernel's answer.
    pub(crate) errno: Errno,
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self { message: 0, errno }
    }
}

/// A netlink socket. It belongs to the network namespace of the thread that opened it, wherever it is used later.
#[derive(Debug)]
pub(crate) struct Netlink {
    fd: OwnedFd,
    /// Whether a batch is one transaction, whose outcome may be told by an answer to its first message.
    transactional: bool,
    /// The next sequence number. Answers to earlier batches are recognised by theirs and dropped.
    next: u32,
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Netlink {
    /// For links, addresses and routes (`NETLINK_ROUTE` is zero, the default): messages stand for themselves.
    pub(crate) fn route() -> io::Result<Self> {
        Self::open(None, false)
    }

    /// For nftables: a batch is a transaction.
    pub(crate) fn netfilter() -> io::Result<Self> {
        let this = Self::open(Some(net::netlink::NETFILTER), true)?;
        // A transaction is one datagram; a thousand published ports are 100 KiB.
        let size = 8 << 20;
        sockopt::set_socket_send_buffer_size_force(&this.fd, size)
            .or_else(|_| sockopt::set_socket_send_buffer_size(&this.fd, size))?;
        Ok(this)
    }

    /// The port by which the kernel knows this socket.
    pub(crate) fn port(&self) -> io::Result<u32> {
        let own = net::getsockname(&self.fd)?;
        Ok(SocketAddrNetlink::try_from(own).map_err(|_| Errno::AFNOSUPPORT)?.pid())
    }

    fn open(protocol: Option<Protocol>, transactional: bool) -> io::Result<Self> {
        let fd = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        net::bind(&fd, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self { fd, transactional, next: 1 })
    }

    /// Sends the batch and waits for the answer to its last message, which must ask for one (an acknowledgement or a
    /// dump). Objects in the answers go to `each`, with their message type.
    pub(crate) fn exchange(&mut self, batch: Batch, each: impl FnMut(u16, &[u8])) -> Result<(), Failure> {
        let messages = batch.count();
        self.exchange_until(batch, messages, each)
    }

    /// As [`Self::exchange`], where only the first `messages` of the batch are answered.
    pub(crate) fn exchange_until(
        &mut self,
        mut batch: Batch,
        messages: u32,
        mut each: impl FnMut(u16, &[u8]),
    ) -> Result<(), Failure> {
        let first = self.next;
        self.next = first.wrapping_add(batch.count());
        batch.number(first);
        net::sendto(&self.fd, batch.bytes(), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut failure = None;
        let mut buffer = [MaybeUninit::<u8>::uninit(); RECEIVE_BUFFER];
        loop {
            let ((datagram, _), _) = match net::recv(&self.fd, &mut buffer[..], RecvFlags::empty()) {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            for answer in message::messages(datagram) {
                let position = answer.sequence.wrapping_sub(first);
                if position >= messages {
                    continue;
                }
                let errno = match answer.kind {
                    ERROR => u32_at(answer.body, 0).unwrap_or(0) as i32,
                    DONE => 0,
                    kind => {
                        each(kind, answer.body);
                        continue;
                    }
                };
                if errno != 0 && failure.is_none() {
                    let errno = Errno::from_raw_os_error(-errno);
                    failure = Some(Failure { message: position, errno });
                }
                let whole = self.transactional && position == 0 && errno != 0;
                if position + 1 == messages || whole {
                    return failure.map_or(Ok(()), Err);
                }
            }
        }
    }
}
