//! Serving in the daemon what the kernel does not forward: one thread over epoll for all published ports. It accepts
//! TCP connections, which tokio then copies, and passes UDP datagrams on itself.
//!
//! Closing a port is synchronous: the descriptors are owned by the table behind the lock, which the thread holds while
//! it uses one. So a port is free for the next container the moment it was withdrawn.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{EventfdFlags, Timespec, epoll, eventfd},
    io::Errno,
};
use skiff_sys::datagram::{self, Via};
use tokio::runtime::Handle;

use crate::ports::Protocol;

/// How long a UDP client may be silent before its answers are no longer waited for; as conntrack does it with flows
/// that were answered, and Docker's proxy.
const IDLE: Duration = Duration::from_secs(90);
/// How often silent clients are looked for.
const SWEEP: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };
/// How many UDP clients a port has at once; further ones are not served.
const MAX_SESSIONS: usize = 1024;
/// How much of one port is served before the others get their turn.
const ROUND: usize = 64;
/// The largest datagram.
const DATAGRAM: usize = 64 << 10;
/// The token of the descriptor that ends the thread.
const STOP: u64 = 0;

/// The thread and what it serves.
#[derive(Debug)]
pub(super) struct Relay {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    epoll: OwnedFd,
    stop: OwnedFd,
    runtime: Handle,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<u64, Entry>,
    last_token: u64,
}

/// Who sent a datagram, and by which address of the host: answers must come from that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Client {
    address: SocketAddr,
    via: Via,
}

#[derive(Debug)]
enum Entry {
    /// A port that is only kept from others.
    Kept { _socket: OwnedFd },
    /// A TCP port.
    Listener { socket: TcpListener, target: SocketAddr },
    /// A UDP port, with the tokens of its clients.
    Port { socket: UdpSocket, target: SocketAddr, clients: HashMap<Client, u64> },
    /// The way to the container for one UDP client of a port.
    Way { socket: UdpSocket, port: u64, client: Client, last_used: Instant },
}

impl Relay {
    /// Serves nothing yet; the thread starts with the first port. Must be called inside a tokio runtime.
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC)?;
        epoll::add(&epoll, &stop, epoll::EventData::new_u64(STOP), epoll::EventFlags::IN)?;
        let table = Mutex::new(Table { entries: HashMap::new(), last_token: STOP });
        Ok(Self { shared: Arc::new(Shared { epoll, stop, runtime, table }), thread: None })
    }

    /// Takes a bound socket, which must not block, and passes what comes in to `target`; or keeps it only, if not
    /// `active`.
    pub(super) fn serve(
        &mut self,
        socket: OwnedFd,
        protocol: Protocol,
        target: SocketAddr,
        active: bool,
    ) -> io::Result<u64> {
        let entry = match protocol {
            _ if !active => Entry::Kept { _socket: socket },
            Protocol::Tcp => Entry::Listener { socket: TcpListener::from(socket), target },
            Protocol::Udp | Protocol::Sctp => {
                Entry::Port { socket: UdpSocket::from(socket), target, clients: HashMap::new() }
            }
        };
        if active && self.thread.is_none() {
            let shared = Arc::clone(&self.shared);
            let thread = thread::Builder::new().name("port-relay".to_owned()).stack_size(256 << 10);
            self.thread = Some(thread.spawn(move || shared.run())?);
        }
        self.shared.lock().insert(&self.shared.epoll, entry)
    }

    /// Closes a port's socket, and its UDP clients'. Copied connections end when one of their sides does.
    pub(super) fn close(&self, token: u64) {
        let mut table = self.shared.lock();
        if let Some(Entry::Port { clients, .. }) = table.entries.remove(&token) {
            clients.values().for_each(|client| drop(table.entries.remove(client)));
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Adding one to a fresh eventfd cannot fail.
        let _ = rustix::io::write(&self.shared.stop, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Table {
    fn insert(&mut self, epoll: &OwnedFd, entry: Entry) -> io::Result<u64> {
        self.last_token += 1;
        let token = self.last_token;
        let fd = match &entry {
            Entry::Kept { .. } => None,
            Entry::Listener { socket, .. } => Some(socket.as_fd()),
            Entry::Port { socket, .. } | Entry::Way { socket, .. } => Some(socket.as_fd()),
        };
        if let Some(fd) = fd {
            epoll::add(epoll, fd, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?;
        }
        self.entries.insert(token, entry);
        Ok(token)
    }

    fn has_clients(&self) -> bool {
        self.entries.values().any(|entry| matches!(entry, Entry::Way { .. }))
    }

    fn forget_silent_clients(&mut self) {
        let silent: Vec<_> = self
            .entries
            .iter()
            .filter_map(|(token, entry)| match entry {
                Entry::Way { last_used, .. } if last_used.elapsed() > IDLE => Some(*token),
                _ => None,
            })
            .collect();
        silent.into_iter().for_each(|token| self.forget_client(token));
    }

    fn forget_client(&mut self, token: u64) {
        let Some(Entry::Way { port, client, .. }) = self.entries.remove(&token) else { return };
        if let Some(Entry::Port { clients, .. }) = self.entries.get_mut(&port) {
            clients.remove(&client);
        }
    }

    /// The token of a client's way to the container, which is made if it is new.
    fn way(
        &mut self,
        epoll: &OwnedFd,
        port: u64,
        client: Client,
        target: SocketAddr,
    ) -> io::Result<Option<u64>> {
        let Some(Entry::Port { clients, .. }) = self.entries.get(&port) else { return Ok(None) };
        if let Some(token) = clients.get(&client) {
            return Ok(Some(*token));
        }
        if clients.len() >= MAX_SESSIONS {
            return Ok(None);
        }
        let any = match target {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.set_nonblocking(true)?;
        socket.connect(target)?;
        let token = self.insert(epoll, Entry::Way { socket, port, client, last_used: Instant::now() })?;
        if let Some(Entry::Port { clients, .. }) = self.entries.get_mut(&port) {
            clients.insert(client, token);
        }
        Ok(Some(token))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut buffer = vec![0; DATAGRAM];
        let mut events = Vec::with_capacity(ROUND);
        let mut sweep = false;
        loop {
            events.clear();
            let timeout = sweep.then_some(&SWEEP);
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(%error, "published ports are no longer served by the daemon");
                    return;
                }
            }
            for event in &events {
                match event.data.u64() {
                    STOP => return,
                    token => self.ready(token, &mut buffer),
                }
            }
            let mut table = self.lock();
            sweep = table.has_clients();
            if sweep && events.is_empty() {
                table.forget_silent_clients();
            }
        }
    }

    /// Serves one descriptor. A port that was closed in the meantime is not in the table any more.
    fn ready(&self, token: u64, buffer: &mut [u8]) {
        let mut table = self.lock();
        match table.entries.get(&token) {
            Some(Entry::Listener { socket, target }) => self.accept(socket, *target),
            Some(Entry::Port { target, .. }) => {
                let target = *target;
                for _ in 0..ROUND {
                    if !self.pass_in(&mut table, token, target, buffer) {
                        break;
                    }
                }
            }
            Some(Entry::Way { .. }) => self.pass_back(&mut table, token, buffer),
            Some(Entry::Kept { .. }) | None => {}
        }
    }

    fn accept(&self, listener: &TcpListener, target: SocketAddr) {
        for _ in 0..ROUND {
            match listener.accept() {
                Ok((client, _)) => {
                    self.runtime.spawn(copy(client, target));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Out of descriptors or memory: the connection stays in the queue, so do not spin.
                    tracing::warn!(%error, "a connection to a published port could not be accepted");
                    thread::sleep(Duration::from_millis(50));
                    return;
                }
            }
        }
    }

    /// Passes one datagram on to the container; false if there is none.
    fn pass_in(&self, table: &mut Table, port: u64, target: SocketAddr, buffer: &mut [u8]) -> bool {
        let Some(Entry::Port { socket, .. }) = table.entries.get(&port) else { return false };
        let (length, client) = match datagram::receive(socket, buffer) {
            Ok((length, address, via)) => (length, Client { address, via }),
            Err(errno) => return errno != Errno::AGAIN,
        };
        let token = match table.way(&self.epoll, port, client, target) {
            Ok(Some(token)) => token,
            // As if the datagram were lost on its way: that is what UDP's users count with.
            Ok(None) => return true,
            Err(error) => {
                tracing::debug!(%error, %target, "a datagram could not be passed on");
                return true;
            }
        };
        if let Some(Entry::Way { socket, last_used, .. }) = table.entries.get_mut(&token) {
            *last_used = Instant::now();
            // Refused or not: the next datagram may fare better.
            let _ = socket.send(&buffer[..length]);
        }
        true
    }

    /// Passes the container's answers back to a client.
    fn pass_back(&self, table: &mut Table, token: u64, buffer: &mut [u8]) {
        for _ in 0..ROUND {
            let Some(Entry::Way { socket, port, client, last_used }) = table.entries.get_mut(&token) else {
                return;
            };
            let (port, client) = (*port, *client);
            let length = match socket.recv(buffer) {
                Ok(length) => length,
                // An ICMP error has been delivered (and is cleared): the container does not listen.
                Err(_) => return,
            };
            *last_used = Instant::now();
            if let Some(Entry::Port { socket, .. }) = table.entries.get(&port) {
                let _ = datagram::send(socket, &buffer[..length], client.address, client.via);
            }
        }
    }
}

/// Copies a connection in both directions until both have ended. A container that refuses it sees to its end.
async fn copy(client: TcpStream, target: SocketAddr) {
    let both = async {
        client.set_nonblocking(true)?;
        let mut client = tokio::net::TcpStream::from_std(client)?;
        let mut container = tokio::net::TcpStream::connect(target).await?;
        let nodelay = client.set_nodelay(true).and_then(|()| container.set_nodelay(true));
        nodelay?;
        tokio::io::copy_bidirectional(&mut client, &mut container).await
    };
    if let Err(error) = both.await {
        tracing::debug!(%error, %target, "a connection to a published port ended");
    }
}
