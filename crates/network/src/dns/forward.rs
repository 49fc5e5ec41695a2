//! Asking name servers.
//!
//! Servers are asked in their order, at most [`MOST_SERVERS`]; the next one joins in as soon as one has failed or was
//! silent for [`PATIENCE`], and whoever answers first is believed. So a dead server costs a quarter of a second and not a
//! timeout, and all of it together never takes longer than [`TOTAL`]. Every question goes out under a random id from a
//! socket of its own, at a port that the kernel draws, connected to the server: an answer must come from there, carry the id
//! and repeat the question. Whoever sends [`MOST_WRONG`] others is guessing, and the server is asked over TCP instead.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::BorrowedFd,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, UdpSocket},
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};

use crate::opener::Opener;

use super::{
    query::{Query, Question},
    redirect::PORT,
    response::Response,
};

/// How many servers are asked.
pub(super) const MOST_SERVERS: usize = 3;
/// How long a server may be silent before the next one is asked as well.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long a silent server is asked last.
pub(super) const SULK: Duration = Duration::from_secs(10);
/// How long all of it may take. Programs ask again after five seconds.
const TOTAL: Duration = Duration::from_millis(4500);
/// After which a question over UDP is sent again: datagrams get lost.
const AGAIN: [Duration; 2] = [Duration::from_millis(1000), Duration::from_millis(2500)];
/// How many wrong answers are taken for bad luck.
const MOST_WRONG: u32 = 16;
/// A datagram is not longer.
const LONGEST_DATAGRAM: usize = 64 << 10;

/// How a question came, and how it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// Where questions are asked from.
#[derive(Clone, Debug)]
pub(super) enum From {
    /// The daemon's network namespace.
    Host,
    /// A container's.
    Container(Arc<std::os::fd::OwnedFd>),
}

/// A question on its way: all of it is owned, for it is asked by several tasks.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) message: Box<[u8]>,
    pub(super) transport: Transport,
    pub(super) from: From,
    pub(super) opener: Arc<Opener>,
}

/// How it ended.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The answer and what it says; nothing if nobody gave any.
    pub(super) answer: Option<(Vec<u8>, Response)>,
    /// The servers that did not answer in time.
    pub(super) silent: Vec<IpAddr>,
}

/// Asks the servers for what the errand's message asks.
pub(super) async fn ask(errand: Arc<Errand>, servers: &[IpAddr]) -> Outcome {
    let deadline = Instant::now() + TOTAL;
    let mut waiting: Vec<IpAddr> = Vec::new();
    let mut silent = Vec::new();
    let mut failure = None;
    let mut next = servers.iter().take(MOST_SERVERS).copied();
    // Dropped with us, and every task and socket with it.
    let mut asked = JoinSet::new();
    let mut patience = Instant::now();
    let mut more = true;
    let answer = loop {
        if more && (patience <= Instant::now() || asked.is_empty()) {
            match next.next() {
                Some(server) => {
                    silent.append(&mut waiting);
                    waiting.push(server);
                    let errand = errand.clone();
                    asked.spawn(async move { (server, errand.ask_one(server, deadline).await) });
                    patience = Instant::now() + PATIENCE;
                }
                None => more = false,
            }
        }
        if asked.is_empty() {
            break failure;
        }
        tokio::select! {
            Some(done) = asked.join_next() => {
                let Ok((server, answer)) = done else { continue };
                waiting.retain(|s| *s != server);
                match answer {
                    Ok((message, response)) if !response.is_failure() => {
                        silent.retain(|s| *s != server);
                        break Some((message, response));
                    }
                    Ok(failed) => failure = failure.or(Some(failed)),
                    Err(error) => tracing::debug!(%server, %error, "a name server gave no answer"),
                }
                // Whoever has failed need not be waited for.
                patience = Instant::now();
            }
            () = sleep_until(patience), if more => {}
        }
    };
    Outcome { answer, silent }
}

impl Errand {
    async fn ask_one(&self, server: IpAddr, deadline: Instant) -> io::Result<(Vec<u8>, Response)> {
        let id = rand::random();
        let query = Query::read(&self.message).map_err(|_| io::Error::other("not a query"))?;
        let onward = query.onward(id);
        let late = || io::Error::from(io::ErrorKind::TimedOut);
        if self.transport == Transport::Udp {
            let udp = self.over_udp(server, &onward, id, &query.question, deadline);
            if let Some(answer) = timeout_at(deadline, udp).await.map_err(|_| late())?? {
                return Ok(answer);
            }
        }
        let tcp = self.over_tcp(server, &onward, id, &query.question);
        timeout_at(deadline, tcp).await.map_err(|_| late())?
    }

    /// Nothing if somebody is guessing.
    async fn over_udp(
        &self,
        server: IpAddr,
        onward: &[u8],
        id: u16,
        question: &Question<'_>,
        deadline: Instant,
    ) -> io::Result<Option<(Vec<u8>, Response)>> {
        let any: SocketAddr = match server {
            IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let open = move || {
            let socket = std::net::UdpSocket::bind(any)?;
            socket.connect((server, PORT))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket = UdpSocket::from_std(self.open(open).await?)?;
        let mut wrong = 0;
        let started = Instant::now();
        let mut again = AGAIN.into_iter();
        loop {
            socket.send(onward).await?;
            let until = again.next().map_or(deadline, |after| started + after);
            while let Ok(ready) = timeout_at(until, socket.readable()).await {
                ready?;
                let Some(message) = receive(&socket)? else { continue };
                match Response::read(&message, id, question) {
                    Some(response) => return Ok(Some((message, response))),
                    None => wrong += 1,
                }
                if wrong >= MOST_WRONG {
                    return Ok(None);
                }
            }
            if until >= deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    async fn over_tcp(
        &self,
        server: IpAddr,
        onward: &[u8],
        id: u16,
        question: &Question<'_>,
    ) -> io::Result<(Vec<u8>, Response)> {
        let open = move || {
            use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
            let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = socket_with(family, SocketType::STREAM, flags, None)?;
            Ok(std::net::TcpStream::from(socket))
        };
        let socket = TcpSocket::from_std_stream(self.open(open).await?);
        let mut stream = socket.connect((server, PORT).into()).await?;
        let length = u16::try_from(onward.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        stream.write_all(&[&length.to_be_bytes()[..], onward].concat()).await?;
        let length = stream.read_u16().await?;
        // Memory follows what arrives, not what is announced.
        let mut message = Vec::new();
        stream.take(length.into()).read_to_end(&mut message).await?;
        let response = Some(&message).filter(|m| m.len() == usize::from(length));
        let response = response.and_then(|message| Response::read(message, id, question));
        response.map(|response| (message, response)).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    async fn open<T: Send + 'static>(
        &self,
        open: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        match &self.from {
            From::Host => open(),
            From::Container(netns) => {
                let netns: BorrowedFd<'_> = std::os::fd::AsFd::as_fd(&**netns);
                self.opener.inside_soon(netns, open).await
            }
        }
    }
}

/// Nothing if nothing was there.
fn receive(socket: &UdpSocket) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = [0; LONGEST_DATAGRAM];
    match socket.try_recv(&mut buffer) {
        Ok(length) => Ok(Some(buffer[..length].to_vec())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
