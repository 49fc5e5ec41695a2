//! Connections that stop speaking HTTP and become streams.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{self as io_split, AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream, tcp, unix},
};
use tokio_rustls::client::TlsStream;

use crate::{Error, Response};

/// A stream both ways. Dropping the write half closes that direction only.
#[derive(Debug)]
pub struct Hijacked {
    /// From the engine.
    pub read: ReadHalf,
    /// To the engine.
    pub write: WriteHalf,
    /// Whether output comes in frames (`skiff_api::stream`); `None` if the engine did not say.
    pub multiplexed: Option<bool>,
}

/// The engine's bytes.
#[derive(Debug)]
pub struct ReadHalf {
    /// What arrived together with the answer's head.
    early: Bytes,
    socket: ReadSocket,
}

#[derive(Debug)]
enum ReadSocket {
    Unix(unix::OwnedReadHalf),
    Tcp(tcp::OwnedReadHalf),
    Tls(io_split::ReadHalf<TlsStream<TcpStream>>),
}

/// Bytes to the engine; shutting down tells it that there is no more input.
#[derive(Debug)]
pub enum WriteHalf {
    /// Over a unix socket.
    Unix(unix::OwnedWriteHalf),
    /// Over TCP.
    Tcp(tcp::OwnedWriteHalf),
    /// Over TLS.
    Tls(io_split::WriteHalf<TlsStream<TcpStream>>),
}

/// Takes the connection out of HTTP's hands.
pub(crate) async fn take_over(response: Response) -> Result<Hijacked, Error> {
    let status = response.status();
    if status != 101 {
        return Err(Error::NotUpgraded(status));
    }
    let multiplexed = match response.header("content-type") {
        Some(skiff_api::stream::MULTIPLEXED) => Some(true),
        Some(skiff_api::stream::RAW) => Some(false),
        _ => None,
    };
    let operation = response.operation.clone();
    let upgraded =
        hyper::upgrade::on(response.inner).await.map_err(|source| Error::Connection { operation, source })?;
    let (read, write) = split(upgraded).ok_or(Error::NotUpgraded(status))?;
    Ok(Hijacked { read, write, multiplexed })
}

fn split(upgraded: Upgraded) -> Option<(ReadHalf, WriteHalf)> {
    match upgraded.downcast::<TokioIo<UnixStream>>() {
        Ok(parts) => {
            let (read, write) = parts.io.into_inner().into_split();
            Some((ReadHalf { early: parts.read_buf, socket: ReadSocket::Unix(read) }, WriteHalf::Unix(write)))
        }
        Err(upgraded) => {
            let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
                Ok(parts) => {
                    let (read, write) = parts.io.into_inner().into_split();
                    let read = ReadHalf { early: parts.read_buf, socket: ReadSocket::Tcp(read) };
                    return Some((read, WriteHalf::Tcp(write)));
                }
                Err(upgraded) => upgraded,
            };
            let parts = upgraded.downcast::<TokioIo<TlsStream<TcpStream>>>().ok()?;
            let (read, write) = io_split::split(parts.io.into_inner());
            Some((ReadHalf { early: parts.read_buf, socket: ReadSocket::Tls(read) }, WriteHalf::Tls(write)))
        }
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.early.is_empty() {
            let n = self.early.len().min(buf.remaining());
            buf.put_slice(&self.early[..n]);
            self.early.advance(n);
            return Poll::Ready(Ok(()));
        }
        match &mut self.socket {
            ReadSocket::Unix(socket) => Pin::new(socket).poll_read(cx, buf),
            ReadSocket::Tcp(socket) => Pin::new(socket).poll_read(cx, buf),
            ReadSocket::Tls(socket) => Pin::new(socket).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Unix(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Tls(socket) => Pin::new(socket).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Unix(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}
