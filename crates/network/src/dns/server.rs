//! The two sockets in a container's namespace, and who reads them.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdTcpListener, UdpSocket as StdUdpSocket},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};

use super::{
    forward::Transport,
    redirect::{self, ADDRESS, Ports},
    resolver::{Resolver, Step},
};

/// Longer queries are none.
const LONGEST_QUERY: usize = 2048;
/// How many datagrams are read before others have their turn.
const BURST: usize = 64;
/// How many connections a container may have; others wait in the listener's queue.
const MOST_CONNECTIONS: usize = 32;
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(8);
/// How long to wait after the kernel refused to accept a connection.
const REST: Duration = Duration::from_millis(100);

/// Sockets in a container's namespace, with the way to them.
#[derive(Debug)]
pub(super) struct Sockets {
    udp: StdUdpSocket,
    tcp: StdTcpListener,
}

impl Sockets {
    /// Opens them in the namespace of the calling thread.
    pub(super) fn open() -> io::Result<Self> {
        let any: SocketAddr = (ADDRESS, 0).into();
        let (udp, tcp) = (StdUdpSocket::bind(any)?, StdTcpListener::bind(any)?);
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        redirect::write(Ports { udp: udp.local_addr()?.port(), tcp: tcp.local_addr()?.port() })?;
        Ok(Self { udp, tcp })
    }

    /// Serves until the tasks are dropped. Must be called inside a tokio runtime.
    pub(super) fn serve(self, resolver: &Arc<Resolver>) -> io::Result<JoinSet<()>> {
        let (udp, tcp) = (UdpSocket::from_std(self.udp)?, TcpListener::from_std(self.tcp)?);
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(Arc::new(udp), resolver.clone()));
        tasks.spawn(serve_tcp(tcp, resolver.clone()));
        Ok(tasks)
    }
}

async fn serve_udp(socket: Arc<UdpSocket>, resolver: Arc<Resolver>) {
    // What is under way ends with us.
    let mut asking = JoinSet::new();
    loop {
        if let Err(error) = socket.readable().await {
            tracing::error!(%error, "a container's names are no longer served");
            return;
        }
        for _ in 0..BURST {
            if !answer_one(&socket, &resolver, &mut asking) {
                break;
            }
        }
        while asking.try_join_next().is_some() {}
        tokio::task::yield_now().await;
    }
}

/// Whether there may be more to read. What cannot be sent at once is lost, as datagrams are.
fn answer_one(socket: &Arc<UdpSocket>, resolver: &Arc<Resolver>, asking: &mut JoinSet<()>) -> bool {
    let mut buffer = [0; LONGEST_QUERY];
    let (length, client) = match socket.try_recv_from(&mut buffer) {
        Ok(received) => received,
        Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
    };
    match resolver.take(&buffer[..length], Transport::Udp) {
        Step::Nothing => {}
        Step::Answer(answer) => {
            let _ = socket.try_send_to(&answer, client);
        }
        Step::Ask(question) => {
            let (socket, resolver) = (socket.clone(), resolver.clone());
            asking.spawn(async move {
                if let Some(answer) = resolver.ask(question).await {
                    let _ = socket.try_send_to(&answer, client);
                }
            });
        }
    }
    true
}

async fn serve_tcp(listener: TcpListener, resolver: Arc<Resolver>) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let resolver = resolver.clone();
                connections.spawn(async move {
                    // How a connection ends is the client's business.
                    let _ = converse(stream, &resolver).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection to a container's resolver was not accepted");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// Questions one after the other, each behind its length (RFC 1035, 4.2.2).
async fn converse(mut stream: TcpStream, resolver: &Resolver) -> io::Result<()> {
    loop {
        let length = usize::from(timeout(IDLE, stream.read_u16()).await??);
        if length > LONGEST_QUERY {
            return Ok(());
        }
        let mut message = vec![0; length];
        timeout(IDLE, stream.read_exact(&mut message)).await??;
        let answer = match resolver.take(&message, Transport::Tcp) {
            Step::Nothing => return Ok(()),
            Step::Answer(answer) => Some(answer),
            Step::Ask(question) => resolver.ask(question).await,
        };
        let Some(mut answer) = answer else { return Ok(()) };
        let length = u16::try_from(answer.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        answer.splice(0..0, length.to_be_bytes());
        timeout(IDLE, stream.write_all(&answer)).await??;
    }
}
