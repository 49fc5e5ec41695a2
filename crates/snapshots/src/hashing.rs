//! Hashing a stream on one thread while another one works on it.

use std::{
    io::{self, BufRead, Read},
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    thread,
};

use skiff_types::{Digest, Hasher};

use crate::{Error, Result};

/// The size of what is passed from thread to thread.
const CHUNK: usize = 512 << 10;

/// How many chunks may wait to be worked on.
const DEPTH: usize = 4;

/// What a whole stream amounted to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hashed {
    /// The SHA-256 of all of it.
    pub(crate) digest: Digest,
    /// Its length in bytes.
    pub(crate) len: u64,
}

/// Gives `work` the stream, and reads and hashes it up to its very end on another thread meanwhile. `each` sees every chunk,
/// in order, before `work` does, on `work`'s thread, also those that `work` leaves unread.
///
/// # Errors
/// Those of `work` and `each`, which stop the reading, and those of the stream as [`Error::Archive`].
pub(crate) fn hashed<T>(
    input: &mut (dyn Read + Send),
    each: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    work: impl FnOnce(&mut Chunks<'_>) -> Result<T>,
) -> Result<(T, Hashed)> {
    thread::scope(|scope| {
        let (full_sender, full) = sync_channel(DEPTH);
        let (empty, empty_receiver) = channel();
        let reader = scope.spawn(move || read_and_hash(input, &full_sender, &empty_receiver));
        let mut chunks = Chunks { full, empty, chunk: Vec::new(), position: 0, each, each_error: None };
        let result = work(&mut chunks);
        if let Some(e) = chunks.each_error.take() {
            return Err(Error::Io(e));
        }
        let result = result?;
        while chunks
            .advance()
            .map_err(|e| chunks.each_error.take().map_or_else(|| Error::Archive(e.into()), Error::Io))?
        {
        }
        let hashed = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((result, hashed))
    })
}

/// Reads until the end, an error, or until nobody takes the chunks any more.
fn read_and_hash(
    input: &mut dyn Read,
    full: &SyncSender<io::Result<Vec<u8>>>,
    empty: &Receiver<Vec<u8>>,
) -> Hashed {
    let mut hash = Hasher::default();
    let mut len = 0;
    loop {
        let mut chunk = empty.try_recv().unwrap_or_else(|_| vec![0; CHUNK]);
        chunk.resize(CHUNK, 0);
        let filled = fill(input, &mut chunk);
        let result = filled.map(|n| {
            chunk.truncate(n);
            hash.update(&chunk);
            len += n as u64;
            chunk
        });
        let last = result.as_ref().map_or(true, Vec::is_empty);
        if full.send(result).is_err() || last {
            return Hashed { digest: hash.finish(), len };
        }
    }
}

/// Reads until the buffer is full or the stream ends.
fn fill(input: &mut dyn Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buf.len() {
        match input.read(&mut buf[len..]) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(len)
}

/// The stream as the working side sees it.
pub(crate) struct Chunks<'a> {
    full: Receiver<io::Result<Vec<u8>>>,
    empty: Sender<Vec<u8>>,
    chunk: Vec<u8>,
    position: usize,
    each: &'a mut dyn FnMut(&[u8]) -> io::Result<()>,
    /// The error of `each`, which is not one of the stream.
    each_error: Option<io::Error>,
}

impl Chunks<'_> {
    /// Takes the next chunk; `false` at the end of the stream.
    fn advance(&mut self) -> io::Result<bool> {
        let next = match self.full.recv() {
            Ok(next) => next?,
            // The sender is gone: it said before that the stream ended.
            Err(_) => Vec::new(),
        };
        if next.is_empty() {
            self.chunk.clear();
            self.position = 0;
            return Ok(false);
        }
        if let Err(e) = (self.each)(&next) {
            let kind = e.kind();
            self.each_error = Some(e);
            return Err(kind.into());
        }
        let old = std::mem::replace(&mut self.chunk, next);
        // The reader may have ended already.
        let _ = self.empty.send(old);
        self.position = 0;
        Ok(true)
    }
}

impl BufRead for Chunks<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.position == self.chunk.len() {
            self.advance()?;
        }
        Ok(&self.chunk[self.position..])
    }

    fn consume(&mut self, amount: usize) {
        self.position += amount;
    }
}

impl Read for Chunks<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buf)?;
        self.consume(n);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &[u8]) -> io::Result<()> {
        Ok(())
    }

    #[test]
    fn the_whole_stream_is_hashed_however_much_is_read() {
        let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i * 7) as u8).collect();
        let want = Digest::of(&bytes);
        for wanted in [0, 1, 700_000, 3_000_000] {
            let mut seen = Vec::new();
            let (read, hashed) = hashed(
                &mut &bytes[..],
                &mut |chunk| {
                    seen.extend_from_slice(chunk);
                    Ok(())
                },
                |chunks| {
                    let mut read = vec![0; wanted];
                    chunks.read_exact(&mut read)?;
                    Ok(read)
                },
            )
            .unwrap();
            assert_eq!((hashed.digest, hashed.len), (want, 3_000_000));
            assert!(read == bytes[..wanted] && seen == bytes);
        }
    }

    #[test]
    fn errors_of_either_side_end_it() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let drained = hashed(&mut (&[1u8; 10][..]).chain(Broken), &mut nothing, |_| Ok(()));
        assert!(matches!(drained, Err(Error::Archive(_))));
        let refused = hashed(&mut io::repeat(1), &mut nothing, |_| -> Result<()> { Err(Error::NoDriver) });
        assert!(matches!(refused, Err(Error::NoDriver)));
        let full = hashed(&mut io::repeat(1), &mut |_| Err(io::ErrorKind::StorageFull.into()), |chunks| {
            Ok(io::copy(chunks, &mut io::sink()).map(drop)?)
        });
        assert!(matches!(full, Err(Error::Io(e)) if e.kind() == io::ErrorKind::StorageFull));
    }
}
