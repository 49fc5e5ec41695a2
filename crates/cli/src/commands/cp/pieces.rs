//! Archives in pieces, between the connection and a thread that reads or writes files.

use std::{
    fs::File,
    io::{self, BufRead, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Buf, Bytes};
use skiff_archive::ArchiveSink;
use skiff_client::Response;
use tokio::sync::mpsc;

use crate::failure::Outcome;

/// Pieces under way at once.
pub(super) const PIECES: usize = 8;

/// Bytes of a piece that is sent.
const PIECE: usize = 256 << 10;

/// An archive that comes in, for a thread that may block.
pub(super) struct Incoming {
    queue: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Incoming {
    /// The archive, and what has to be awaited for it to come.
    pub(super) fn new(
        mut response: Response,
        count: Arc<AtomicU64>,
    ) -> (Self, impl Future<Output = Outcome> + use<>) {
        let (pieces, queue) = mpsc::channel(PIECES);
        let receive = async move {
            while let Some(piece) = response.chunk().await? {
                count.fetch_add(piece.len() as u64, Ordering::Relaxed);
                // What stands behind the archive's end nobody takes.
                let _ = pieces.send(piece).await;
            }
            Ok(())
        };
        (Self { queue, piece: Bytes::new() }, receive)
    }
}

impl BufRead for Incoming {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.piece.is_empty() {
            match self.queue.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => break,
            }
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, amount: usize) {
        self.piece.advance(amount);
    }
}

impl Read for Incoming {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buf)?;
        self.consume(n);
        Ok(n)
    }
}

/// An archive that goes out, from a thread that may block.
pub(super) struct Outgoing {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
    count: Arc<AtomicU64>,
}

impl Outgoing {
    pub(super) fn new(pieces: mpsc::Sender<io::Result<Bytes>>, count: Arc<AtomicU64>) -> Self {
        Self { pieces, piece: Vec::new(), count }
    }

    /// Cuts the archive short.
    pub(super) fn fail(&mut self, error: &io::Error) {
        let _ = self.pieces.blocking_send(Err(io::Error::new(error.kind(), error.to_string())));
    }

    fn send(&mut self, piece: Vec<u8>) -> io::Result<()> {
        self.count.fetch_add(piece.len() as u64, Ordering::Relaxed);
        self.pieces.blocking_send(Ok(piece.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Outgoing {
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
            piece => self.send(piece),
        }
    }
}

impl ArchiveSink for Outgoing {
    /// Reads into the pieces themselves.
    fn copy_live_file(&mut self, file: &mut File, len: u64) -> io::Result<()> {
        let mut left = len;
        while left > 0 {
            let room = PIECE - self.piece.len().min(PIECE - 1);
            let want = left.min(room as u64);
            let start = self.piece.len();
            self.piece.reserve(want as usize);
            file.take(want).read_to_end(&mut self.piece)?;
            // Zeros stand for what the file turns out to lack.
            self.piece.resize(start + want as usize, 0);
            left -= want;
            if self.piece.len() >= PIECE {
                self.flush()?;
            }
        }
        Ok(())
    }
}
