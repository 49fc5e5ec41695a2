//! The thread that sends on what the host's policy let in.
//!
//! The first packet of a connection from outside passes the host's input filters as what it is, a packet for the host. The
//! table ends it behind them (see judged.rs), and this thread gets a copy, which it sends to the host's own address once
//! more, as a program of the host would: there the table translates it like all that the host sends to a published port,
//! and the sender's address stays. What follows belongs to the connection that this makes known to conntrack, and the
//! kernel alone forwards it.
//!
//! Nothing depends on this thread that could let a packet in. When it lags behind, senders try again.

use std::{
    mem::MaybeUninit,
    net::{SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsFd, OwnedFd},
    thread,
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, eventfd, poll},
    io::Errno,
    net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, sockopt},
};

use super::{judged::GROUP, packet::Packet};
use crate::{
    NetworkError, conntrack,
    netlink::{
        Batch, Failure, Netlink,
        message::{ACK, attribute, messages},
    },
    sysctl,
};

/// `NFNL_SUBSYS_ULOG`.
const SUBSYSTEM: u16 = 4;
/// `NFULNL_MSG_PACKET` and `NFULNL_MSG_CONFIG`.
const PACKET: u16 = 0;
const CONFIG: u16 = 1;
const NFULA_PAYLOAD: u16 = 9;
/// The longest packet, and the attributes around it.
const BUFFER: usize = (64 << 10) + 512;

/// Room for some thousand copies that wait.
const RECEIVE: usize = 4 << 20;

/// Sends on until it is dropped.
#[derive(Debug)]
pub(crate) struct Usher {
    stop: OwnedFd,
    thread: Option<thread::JoinHandle<()>>,
}

impl Usher {
    /// Starts for the calling thread's network namespace.
    pub(crate) fn start() -> Result<Self, NetworkError> {
        let sockets = Sockets::open().map_err(NetworkError::kernel("listen to netfilter's log"))?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(NetworkError::kernel("make an eventfd"))?;
        let stopped = stop.try_clone()?;
        let thread = thread::Builder::new().name("usher".to_owned()).stack_size(256 << 10);
        let thread = thread.spawn(move || sockets.run(&stopped))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Usher {
    fn drop(&mut self) {
        // Adding one to a fresh eventfd cannot fail.
        let _ = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Debug)]
struct Sockets {
    /// Where copies come in.
    log: Netlink,
    /// Where they go out, of each family.
    raw4: OwnedFd,
    raw6: Option<OwnedFd>,
    /// For what is said of their connections.
    conntrack: Netlink,
}

impl Sockets {
    fn open() -> Result<Self, Errno> {
        // Both take packets with their header.
        let raw = |family| {
            net::socket_with(
                family,
                SocketType::RAW,
                SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
                Some(ipproto::RAW),
            )
        };
        let mut this = Self {
            log: Netlink::netfilter()?,
            raw4: raw(AddressFamily::INET)?,
            raw6: sysctl::has_ipv6().then(|| raw(AddressFamily::INET6)).transpose()?,
            conntrack: Netlink::netfilter()?,
        };
        this.listen()?;
        Ok(this)
    }

    fn run(mut self, stop: &OwnedFd) {
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
        loop {
            let mut fds = [PollFd::new(&self.log, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
            match poll(&mut fds, None) {
                Err(Errno::INTR) => continue,
                Err(errno) => {
                    tracing::error!(%errno, "the first packets to published ports are no longer sent on");
                    return;
                }
                Ok(_) => {}
            }
            if !fds[1].revents().is_empty() {
                return;
            }
            self.drain(&mut buffer);
        }
    }

    /// Asks for whole packets of the group.
    fn listen(&mut self) -> Result<(), Errno> {
        /// `NFULNL_CFG_CMD_BIND`, and `NFULNL_COPY_PACKET` behind the length.
        const BIND: u8 = 1;
        const COPY_PACKET: u8 = 2;
        sockopt::set_socket_recv_buffer_size_force(&self.log, RECEIVE)
            .or_else(|_| sockopt::set_socket_recv_buffer_size(&self.log, RECEIVE))?;
        let mut batch = Batch::default();
        let mut ask = |attribute: u16, value: &[u8]| {
            batch.push(SUBSYSTEM << 8 | CONFIG, ACK, |m| {
                let [high, low] = GROUP.to_be_bytes();
                m.fixed(&[0, 0, high, low]);
                m.bytes(attribute, value);
            });
        };
        ask(1, &[BIND]);
        ask(2, &[0, 0, 0xff, 0xff, COPY_PACKET, 0]);
        self.log.exchange(batch, |_, _| {}).map_err(|Failure { errno, .. }| errno)
    }

    /// Sends on all that has come.
    fn drain(&mut self, buffer: &mut [MaybeUninit<u8>]) {
        loop {
            let packets: Vec<Packet> = match net::recv(self.log.as_fd(), &mut *buffer, RecvFlags::DONTWAIT) {
                Ok(((datagram, _), _)) => messages(datagram)
                    .filter(|message| message.kind == SUBSYSTEM << 8 | PACKET)
                    .filter_map(|message| Packet::read(attribute(message.body.get(4..)?, NFULA_PAYLOAD)?))
                    .collect(),
                // Some were lost; they are sent again.
                Err(Errno::NOBUFS | Errno::INTR) => continue,
                Err(_) => return,
            };
            packets.iter().for_each(|packet| self.send(packet));
        }
    }

    fn send(&mut self, packet: &Packet) {
        let (socket, to) = match (packet.destination.ip(), &self.raw6) {
            (std::net::IpAddr::V4(ip), _) => (&self.raw4, SocketAddr::V4(SocketAddrV4::new(ip, 0))),
            (std::net::IpAddr::V6(ip), Some(raw6)) => (raw6, SocketAddr::V6(SocketAddrV6::new(ip, 0, 0, 0))),
            (std::net::IpAddr::V6(_), None) => return,
        };
        if let Err(errno) = net::sendto(socket, &packet.bytes, SendFlags::empty(), &to) {
            tracing::debug!(%errno, source = %packet.source, destination = %packet.destination, "a first packet was not sent on");
            return;
        }
        // The host's forward policy has no say in what its input policy let in: the connection counts as established.
        let established =
            conntrack::establish(&mut self.conntrack, packet.protocol, packet.source, packet.destination);
        if let Err(errno) = established {
            tracing::debug!(%errno, source = %packet.source, destination = %packet.destination, "a connection was not established");
        }
    }
}
