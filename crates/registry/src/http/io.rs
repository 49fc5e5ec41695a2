//! A client's socket, of which bytes can be given back: hyper reads ahead, and [`super::connection`] takes the socket
//! from it to send a file.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

use super::patience::Patient;

/// A client's connection.
#[derive(Debug)]
pub(crate) enum Socket {
    /// TCP.
    Tcp(Patient<TcpStream>),
    /// TCP with TLS.
    Tls(Box<tokio_rustls::server::TlsStream<Patient<TcpStream>>>),
    /// The operator's socket: only who may read the registry's files can connect.
    Operator(Patient<UnixStream>),
}

/// The socket, with bytes that are read before it.
#[derive(Debug)]
pub(super) struct Rewind {
    ahead: Bytes,
    pub(super) socket: Socket,
    /// How often everything written was flushed: hyper flushes only when it has nothing left.
    flushes: Arc<AtomicU64>,
}

impl Rewind {
    pub(super) fn new(socket: Socket) -> Self {
        Self { ahead: Bytes::new(), socket, flushes: Arc::default() }
    }

    /// These bytes come first again.
    pub(super) fn unread(&mut self, bytes: Bytes) {
        self.ahead = if self.ahead.is_empty() { bytes } else { [bytes, self.ahead.clone()].concat().into() };
    }

    pub(super) fn flushes(&self) -> Arc<AtomicU64> {
        self.flushes.clone()
    }
}

macro_rules! delegate {
    ($self:ident, $method:ident($($argument:expr),*)) => {
        match &mut $self.get_mut().socket {
            Socket::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            Socket::Tls(stream) => Pin::new(stream).$method($($argument),*),
            Socket::Operator(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Rewind {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return delegate!(self, poll_read(cx, buf));
        }
        let n = self.ahead.len().min(buf.remaining());
        buf.put_slice(&self.ahead[..n]);
        self.ahead.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewind {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushes = self.flushes.clone();
        let flushed = delegate!(self, poll_flush(cx));
        if let Poll::Ready(Ok(())) = flushed {
            flushes.fetch_add(1, Ordering::Relaxed);
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.socket {
            Socket::Tcp(stream) => stream.is_write_vectored(),
            Socket::Tls(stream) => stream.is_write_vectored(),
            Socket::Operator(stream) => stream.is_write_vectored(),
        }
    }
}
