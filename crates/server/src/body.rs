//! Bodies. Those of requests are read to their end whatever their handlers do; large ones pass between HTTP and code that
//! blocks: uploads are read, downloads are written on another thread.

use std::{
    fs::File,
    io::{self, Read, Write},
};

use bytes::{Buf, Bytes};
use futures_util::{Stream, stream};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Incoming};
use skiff_engine::ArchiveSink;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, SemaphorePermit, mpsc},
};

use crate::reply::BodyError;

/// Pieces under way at once, each at most a few hundred KiB.
const PIECES: usize = 8;

/// How many archives may be under way at once. Each holds a thread of those that block, at its client's pace, and other
/// requests need some too.
static TURNS: Semaphore = Semaphore::const_new(256);

type Turn = SemaphorePermit<'static>;

async fn turn() -> Turn {
    TURNS.acquire().await.expect("it is never closed")
}

/// Bytes that are read of what nobody wanted to read, as by Go's server: whoever sends more is cut off.
const REST: u64 = 256 << 10;

/// The body of a request. What nobody has read of it is read when it is dropped, beside the answer: a connection that is
/// closed with unread bytes in it is reset, and the answer lost. Clients send the head of a request before its body.
pub(crate) struct RequestBody {
    body: Option<Incoming>,
    /// Bytes that are read when it is dropped.
    rest: u64,
}

impl RequestBody {
    pub(crate) fn new(body: Incoming) -> Self {
        Self { body: Some(body), rest: REST }
    }

    /// Length of what is still to come if it is known; none for a chunked body.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.body.as_ref().map_or(Some(0), |body| body.size_hint().exact())
    }

    /// The next piece, and nothing after the last.
    async fn next(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            match self.body.as_mut()?.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => return Some(Ok(data)),
                    Err(_trailers) => continue,
                },
                Some(Err(error)) => {
                    self.body = None;
                    return Some(Err(error));
                }
                None => {
                    self.body = None;
                    return None;
                }
            }
        }
    }

    /// All of it.
    pub(crate) async fn whole(&mut self, limit: usize) -> Result<Bytes, BodyError> {
        let Some(body) = &mut self.body else { return Ok(Bytes::new()) };
        let whole = Limited::new(body, limit).collect().await?.to_bytes();
        self.body = None;
        Ok(whole)
    }

    /// Leaves the rest of it to whoever takes over the connection.
    pub(crate) fn leave(&mut self) {
        self.body = None;
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take().filter(|body| !body.is_end_stream()) else { return };
        let mut rest = self.rest;
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                while rest > 0
                    && let Some(Ok(frame)) = body.frame().await
                {
                    rest = rest.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
                }
            });
        }
    }
}

/// The body as a blocking reader. It fails, and does not end, when the client leaves before the body is whole: nobody
/// takes half an archive for a whole one.
pub(crate) async fn reader(mut body: RequestBody) -> impl Read + Send + 'static {
    let turn = turn().await;
    let (sender, receiver) = mpsc::channel(PIECES);
    // Who uploads takes the answer when all is sent, even if that is a refusal.
    body.rest = u64::MAX;
    tokio::spawn(async move {
        loop {
            let piece = body.next().await.transpose().map_err(broken);
            let last = !matches!(piece, Ok(Some(_)));
            if sender.send(piece).await.is_err() || last {
                return;
            }
        }
    });
    BodyReader { receiver, current: Bytes::new(), ended: false, _turn: turn }
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
    _turn: Turn,
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
pub(crate) async fn written<F>(write: F) -> impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static
where
    F: FnOnce(&mut dyn ArchiveSink) -> Result<(), BodyError> + Send + 'static,
{
    let turn = turn().await;
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let mut out = PieceWriter { sender: sender.clone(), piece: Vec::new() };
        let result = write(&mut out).and_then(|()| Ok(out.flush()?));
        if let Err(error) = result {
            let _ = sender.blocking_send(Err(error));
        }
        drop(turn);
    });
    stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|piece| (piece, receiver)) })
}

/// Bytes of a piece.
const PIECE: usize = 256 << 10;

struct PieceWriter {
    sender: mpsc::Sender<Result<Bytes, BodyError>>,
    piece: Vec<u8>,
}

impl PieceWriter {
    fn send(&mut self, piece: Bytes) -> io::Result<()> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.sender.blocking_send(Ok(piece)).map_err(gone)
    }
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match std::mem::take(&mut self.piece) {
            piece if piece.is_empty() => Ok(()),
            piece => self.send(piece.into()),
        }
    }
}

impl ArchiveSink for PieceWriter {
    /// Reads into the pieces themselves.
    fn copy_live_file(&mut self, file: &mut File, len: u64) -> io::Result<()> {
        if len < PIECE as u64 / 4 {
            // Small files share a piece.
            let start = self.piece.len();
            file.take(len).read_to_end(&mut self.piece)?;
            self.piece.resize(start + len as usize, 0);
            return if self.piece.len() >= PIECE { self.flush() } else { Ok(()) };
        }
        self.flush()?;
        let mut left = len;
        while left > 0 {
            let want = left.min(PIECE as u64);
            let mut piece = Vec::with_capacity(want as usize);
            file.take(want).read_to_end(&mut piece)?;
            piece.resize(want as usize, 0);
            left -= want;
            self.send(piece.into())?;
        }
        Ok(())
    }

    /// Reads into the pieces themselves.
    fn copy_file(&mut self, file: &mut File, len: u64) -> io::Result<()> {
        self.flush()?;
        let mut left = len;
        while left > 0 {
            let want = left.min(PIECE as u64);
            let mut piece = Vec::with_capacity(want as usize);
            if file.take(want).read_to_end(&mut piece)? as u64 != want {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left -= want;
            self.send(piece.into())?;
        }
        Ok(())
    }
}
