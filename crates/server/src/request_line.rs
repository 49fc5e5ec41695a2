//! The request line as people type it: `curl '…/containers/json?filters={"status":["running"]}'` sends what a URL may not
//! have. Go's server takes it, hyper's parser does not, so it is escaped before hyper sees it.
//!
//! Only the first request of a connection is looked at. Where a later one begins depends on the bodies before it, and who
//! keeps a connection has a library that escapes by itself.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is read at once of the line.
const PIECE: usize = 4096;

/// A stream that escapes its first line.
pub(crate) struct RequestLine<S> {
    stream: S,
    in_line: bool,
    /// What was read and is still to be given on.
    pending: BytesMut,
}

impl<S> RequestLine<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, in_line: true, pending: BytesMut::new() }
    }

    /// The stream, and what was read of it ahead.
    pub(crate) fn into_parts(self) -> (S, BytesMut) {
        (self.stream, self.pending)
    }

    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.in_line &= *byte != b'\n';
            match byte {
                b'"' | b'<' | b'>' | b'`' | 0x80.. if self.in_line => {
                    self.pending.put_slice(format!("%{byte:02X}").as_bytes());
                }
                byte => self.pending.put_u8(*byte),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for RequestLine<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.pending.is_empty() {
            if !self.in_line {
                return Pin::new(&mut self.stream).poll_read(cx, buf);
            }
            let mut piece = [0; PIECE];
            let mut read = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
            self.take(read.filled());
        }
        let len = self.pending.len().min(buf.remaining());
        buf.put_slice(&self.pending[..len]);
        self.pending.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for RequestLine<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn only_the_first_line_is_escaped() {
        let sent = b"GET /x?filters={\"a\":[\"<b>\"]}&c=\xff HTTP/1.1\r\nHost: \"d\"\r\n\r\n\"body\"";
        let mut read = Vec::new();
        RequestLine::new(&sent[..]).read_to_end(&mut read).await.unwrap();
        let line = "GET /x?filters={%22a%22:[%22%3Cb%3E%22]}&c=%FF HTTP/1.1\r\n";
        assert_eq!(String::from_utf8(read).unwrap(), format!("{line}Host: \"d\"\r\n\r\n\"body\""));
    }
}
