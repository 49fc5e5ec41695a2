//! Large bodies between HTTP and code that blocks: uploads are read, downloads are written on another thread.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes};
use futures_util::{Stream, stream};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::mpsc;

use crate::reply::BodyError;

/// Pieces under way at once, each at most a few hundred KiB.
const PIECES: usize = 8;

/// The body as a blocking reader. It fails, and does not end, when the client leaves before the body is whole: nobody
/// takes half an archive for a whole one.
pub(crate) fn reader(mut body: Incoming) -> impl Read + Send + 'static {
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::spawn(async move {
        loop {
            let piece = match body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => Ok(Some(data)),
                    Err(_trailers) => continue,
                },
                Some(Err(error)) => Err(broken(error)),
                None => Ok(None),
            };
            let last = !matches!(piece, Ok(Some(_)));
            if last {
                let _ = sender.send(piece).await;
                return;
            }
            if sender.send(piece).await.is_err() {
                break;
            }
        }
        // Refused before it was read to the end. A connection closed with unread bytes in it is reset, and the answer lost.
        while let Some(Ok(_)) = body.frame().await {}
    });
    BodyReader { receiver, current: Bytes::new(), ended: false }
}

/// A client that left has Go's words.
fn broken(error: hyper::Error) -> io::Error {
    let source = std::error::Error::source(&error).and_then(|e| e.downcast_ref::<io::Error>());
    match source.map(io::Error::kind) {
        Some(kind @ io::ErrorKind::UnexpectedEof) => io::Error::new(kind, "unexpected EOF"),
        _ => io::Error::other(error),
    }
}

struct BodyReader {
    receiver: mpsc::Receiver<io::Result<Option<Bytes>>>,
    current: Bytes,
    ended: bool,
}

impl Read for BodyReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.receiver.blocking_recv() {
                Some(Ok(Some(piece))) => self.current = piece,
                Some(Ok(None)) => self.ended = true,
                Some(Err(error)) => return Err(error),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let n = out.len().min(self.current.len());
        self.current.copy_to_slice(&mut out[..n]);
        Ok(n)
    }
}

/// Runs `write` on a thread that may block; what it writes is the stream. An error cuts the stream short.
pub(crate) fn written<F>(write: F) -> impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static
where
    F: FnOnce(&mut dyn Write) -> Result<(), BodyError> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let mut out = io::BufWriter::with_capacity(256 << 10, PieceWriter(sender.clone()));
        let result = write(&mut out).and_then(|()| Ok(out.flush()?));
        if let Err(error) = result {
            let _ = sender.blocking_send(Err(error));
        }
    });
    stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|piece| (piece, receiver)) })
}

struct PieceWriter(mpsc::Sender<Result<Bytes, BodyError>>);

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes))).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
