//! Connections to receivers: TCP, TLS, Unix sockets of both kinds, UDP. Every wait has an end.
//!
//! What is written to a stream is in the kernel's hands, and gone if the receiver dies then. So [`Stream::confirm`] waits until the
//! other side has taken it, and looks whether that side is still there.

use std::{
    io,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpStream, UdpSocket, UnixDatagram, UnixStream},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, pki_types::ServerName},
};

use super::SendError;

/// To find and reach somebody.
const CONNECT: Duration = Duration::from_secs(10);
/// For one batch to be taken, or one answer to come.
pub(super) const TRANSFER: Duration = Duration::from_secs(30);

/// Whom to reach.
#[derive(Clone, Debug)]
pub(super) enum Address {
    Tcp { host: String, port: u16 },
    Tls { host: String, port: u16, config: Arc<ClientConfig>, name: ServerName<'static> },
    Unix(PathBuf),
}

impl Address {
    fn io(&self, source: io::Error) -> SendError {
        SendError::Io { address: self.to_string(), source }
    }

    /// Not what the protocol has at this place.
    pub(super) fn protocol(&self, reason: impl Into<String>) -> SendError {
        SendError::Protocol { address: self.to_string(), reason: reason.into() }
    }

    async fn limited<T>(
        &self,
        limit: Duration,
        what: &'static str,
        work: impl Future<Output = io::Result<T>>,
    ) -> Result<T, SendError> {
        match tokio::time::timeout(limit, work).await {
            Ok(done) => done.map_err(|e| self.io(e)),
            Err(_) => Err(SendError::Timeout { address: self.to_string(), what, limit }),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "tcp {host}:{port}"),
            Self::Tls { host, port, .. } => write!(f, "tls {host}:{port}"),
            Self::Unix(path) => write!(f, "unix {}", path.display()),
        }
    }
}

/// A stream to a receiver that is connected when it is needed.
pub(super) struct Stream {
    address: Address,
    socket: Option<Socket>,
    /// For one batch to be taken, or one answer to come.
    limit: Duration,
}

/// A connection.
pub(super) enum Socket {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl Stream {
    pub(super) fn new(address: Address) -> Self {
        Self { address, socket: None, limit: TRANSFER }
    }

    /// With another limit for a batch to be taken.
    pub(super) fn limited(address: Address, limit: Duration) -> Self {
        Self { limit, ..Self::new(address) }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Sends bytes, and returns when the other side has them. After a failure nobody knows how much it has; the connection is given up.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        let (address, limit) = (self.address.clone(), self.limit);
        let sent = match self.try_write(bytes).await {
            Ok(socket) => address.limited(limit, "to take it", confirm(socket)).await,
            Err(e) => Err(e),
        };
        if sent.is_err() {
            self.socket = None;
        }
        sent
    }

    /// Sends bytes to which the other side will [answer](Self::receive).
    pub(super) async fn ask(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        let written = self.try_write(bytes).await.map(drop);
        if written.is_err() {
            self.socket = None;
        }
        written
    }

    /// Lets go of the connection.
    pub(super) fn close(&mut self) {
        self.socket = None;
    }

    /// Says good-bye, as TLS wants it, and lets go of the connection.
    pub(super) async fn finish(&mut self) {
        /// Nothing depends on it.
        const LIMIT: Duration = Duration::from_secs(2);
        if let Some(mut socket) = self.socket.take() {
            let _ = tokio::time::timeout(LIMIT, socket.shutdown()).await;
        }
    }

    async fn try_write(&mut self, bytes: &[u8]) -> Result<&mut Socket, SendError> {
        // The receiver may have gone since the last time; it may be back, too.
        if self.socket.as_mut().is_some_and(|socket| socket.look().is_err()) {
            self.socket = None;
        }
        let (address, limit) = (self.address.clone(), self.limit);
        let mut socket = match self.socket.take() {
            Some(socket) => socket,
            None => dial(&address).await?,
        };
        let write = async {
            socket.write_all(bytes).await?;
            socket.flush().await
        };
        address.limited(limit, "to send", write).await?;
        Ok(self.socket.insert(socket))
    }

    /// Reads something of an answer.
    pub(super) async fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, SendError> {
        let address = self.address.clone();
        let Some(socket) = &mut self.socket else { return Err(address.protocol("not connected")) };
        match address.limited(self.limit, "to answer", socket.read(buffer)).await {
            Ok(0) => Err(address.io(io::ErrorKind::UnexpectedEof.into())),
            read => read,
        }
    }
}

/// Connects.
pub(super) async fn dial(address: &Address) -> Result<Socket, SendError> {
    address.limited(CONNECT, "to connect", connect(address)).await
}

async fn connect(address: &Address) -> io::Result<Socket> {
    Ok(match address {
        Address::Unix(path) => Socket::Unix(UnixStream::connect(path).await?),
        Address::Tcp { host, port } => Socket::Tcp(tcp(host, *port).await?),
        Address::Tls { host, port, config, name } => {
            let connector = TlsConnector::from(config.clone());
            Socket::Tls(Box::new(connector.connect(name.clone(), tcp(host, *port).await?).await?))
        }
    })
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let socket = TcpStream::connect((host, port)).await?;
    let _ = socket.set_nodelay(true);
    Ok(socket)
}

/// Waits until the other side has everything.
async fn confirm(socket: &mut Socket) -> io::Result<()> {
    const LONGEST: Duration = Duration::from_millis(200);
    let mut pause = Duration::from_millis(1);
    while socket.untaken()? > 0 {
        socket.look()?;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
    socket.look()
}

impl Socket {
    fn untaken(&self) -> io::Result<u32> {
        Ok(match self {
            Self::Tcp(socket) => skiff_sys::socket::untaken(socket),
            Self::Tls(socket) => skiff_sys::socket::untaken(socket.get_ref().0),
            Self::Unix(socket) => skiff_sys::socket::untaken(socket),
        }?)
    }

    /// Whether the other side is still there. What it has said without being asked is dropped.
    fn look(&mut self) -> io::Result<()> {
        /// One that never stops talking is looked at again the next time.
        const ROUNDS: usize = 16;
        let mut space = [0; 4096];
        for _ in 0..ROUNDS {
            let mut buffer = ReadBuf::new(&mut space);
            let mut context = Context::from_waker(std::task::Waker::noop());
            match Pin::new(&mut *self).poll_read(&mut context, &mut buffer) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(e)) => return Err(e),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                Poll::Ready(Ok(())) => {}
            }
        }
        Ok(())
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_read(context, buffer),
            Self::Tls(socket) => Pin::new(socket).poll_read(context, buffer),
            Self::Unix(socket) => Pin::new(socket).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write(context, bytes),
            Self::Tls(socket) => Pin::new(socket).poll_write(context, bytes),
            Self::Unix(socket) => Pin::new(socket).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_flush(context),
            Self::Tls(socket) => Pin::new(socket).poll_flush(context),
            Self::Unix(socket) => Pin::new(socket).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Tls(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Unix(socket) => Pin::new(socket).poll_shutdown(context),
        }
    }
}

/// Where datagrams go.
#[derive(Clone, Debug)]
pub(super) enum Post {
    Udp {
        host: String,
        port: u16,
    },
    /// The first of these that is there.
    Unix(Vec<PathBuf>),
}

impl std::fmt::Display for Post {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Udp { host, port } => write!(f, "udp {host}:{port}"),
            Self::Unix(paths) => {
                let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
                write!(f, "unix {}", names.join(" or "))
            }
        }
    }
}

/// A datagram socket that is connected when it is needed.
pub(super) struct Datagrams {
    post: Post,
    socket: Option<DatagramSocket>,
}

enum DatagramSocket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Datagrams {
    pub(super) fn new(post: Post) -> Self {
        Self { post, socket: None }
    }

    pub(super) fn io(&self, source: io::Error) -> SendError {
        SendError::Io { address: self.post.to_string(), source }
    }

    /// Sends one message. That nobody is there may be known only from the next one on.
    pub(super) async fn send(&mut self, message: &[u8]) -> Result<(), SendError> {
        let sent = match tokio::time::timeout(TRANSFER, self.try_send(message)).await {
            Ok(sent) => sent.map_err(|e| self.io(e)),
            Err(_) => {
                Err(SendError::Timeout { address: self.post.to_string(), what: "to send", limit: TRANSFER })
            }
        };
        match &sent {
            // A message that is too long says nothing against the connection.
            Err(SendError::Io { source, .. }) if is_too_long(source) => {}
            Err(_) => self.socket = None,
            Ok(()) => {}
        }
        sent
    }

    /// Sends messages, not faster than a receiver of this host takes them.
    pub(super) async fn send_all(
        &mut self,
        messages: impl Iterator<Item = Vec<u8>>,
    ) -> Result<(), SendError> {
        /// Fewer than the smallest usual buffer holds.
        const AT_ONCE: usize = 64;
        const PAUSE: Duration = Duration::from_millis(1);
        for (i, message) in messages.enumerate() {
            if i > 0 && i % AT_ONCE == 0 {
                self.look()?;
                tokio::time::sleep(PAUSE).await;
            }
            self.send(&message).await?;
        }
        self.look()
    }

    /// What is known by now of the messages sent so far: on the way to this host's own receivers, all.
    fn look(&mut self) -> Result<(), SendError> {
        let error = match &self.socket {
            Some(DatagramSocket::Udp(socket)) => socket.take_error(),
            Some(DatagramSocket::Unix(socket)) => socket.take_error(),
            None => Ok(None),
        };
        match error {
            Ok(None) => Ok(()),
            Ok(Some(e)) | Err(e) => {
                self.socket = None;
                Err(self.io(e))
            }
        }
    }

    /// Sends a descriptor in place of a message.
    pub(super) async fn send_descriptor(&mut self, fd: std::os::fd::BorrowedFd<'_>) -> Result<(), SendError> {
        let Some(DatagramSocket::Unix(socket)) = &self.socket else {
            return Err(self.io(io::ErrorKind::NotConnected.into()));
        };
        let send = socket.async_io(tokio::io::Interest::WRITABLE, || {
            skiff_sys::socket::send(socket, &[], &[fd]).map_err(io::Error::from)
        });
        match tokio::time::timeout(TRANSFER, send).await {
            Ok(sent) => sent.map_err(|e| self.io(e)),
            Err(_) => {
                Err(SendError::Timeout { address: self.post.to_string(), what: "to send", limit: TRANSFER })
            }
        }
    }

    async fn try_send(&mut self, message: &[u8]) -> io::Result<()> {
        if self.socket.is_none() {
            self.socket = Some(open(&self.post).await?);
        }
        match &self.socket {
            Some(DatagramSocket::Udp(socket)) => socket.send(message).await?,
            Some(DatagramSocket::Unix(socket)) => socket.send(message).await?,
            None => 0,
        };
        Ok(())
    }
}

/// Whether a message was refused for its length alone.
pub(super) fn is_too_long(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MSGSIZE, Errno::NOBUFS].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

async fn open(post: &Post) -> io::Result<DatagramSocket> {
    match post {
        Post::Udp { host, port } => {
            let found = tokio::net::lookup_host((host.as_str(), *port)).await?.next();
            let to = found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).await?;
            socket.connect(to).await?;
            Ok(DatagramSocket::Udp(socket))
        }
        Post::Unix(paths) => {
            let socket = UnixDatagram::unbound()?;
            let mut last = io::ErrorKind::NotFound.into();
            for path in paths {
                match socket.connect(path) {
                    Ok(()) => return Ok(DatagramSocket::Unix(socket)),
                    Err(e) => last = e,
                }
            }
            Err(last)
        }
    }
}
