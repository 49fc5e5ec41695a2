//! Compressed streams, told by their first bytes.

use std::{
    io::{self, Cursor, Read},
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

use liblzma::stream::{CONCATENATED, Stream};

/// What a stream is compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

impl Compression {
    /// By the magic number that begins the stream.
    pub(crate) fn detect(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            // A zstd stream may begin with a skippable frame.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [b'B', b'Z', b'h', ..] => Self::Bzip2,
            _ => Self::None,
        }
    }
}

/// What decompressing xz may take in bytes: twelve times what `xz -9` writes for, and a limit to what a stranger asks for.
const XZ_MEMORY: u64 = 768 << 20;

/// How many bytes tell a stream's compression, and whether it is a tar.
pub(crate) const HEAD: usize = 512;

/// Reads a stream's first bytes, fewer at its end, and gives back the whole stream.
pub(crate) fn peek<'a>(mut input: impl Read + Send + 'a) -> io::Result<(Vec<u8>, impl Read + Send + 'a)> {
    let mut head = Vec::with_capacity(HEAD);
    input.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(input)))
}

/// Gives `work` the plain bytes of a stream that may be compressed.
///
/// # Errors
/// The stream's beginning cannot be read.
pub fn plain<T>(
    input: &mut (dyn Read + Send),
    work: impl FnOnce(&mut (dyn Read + Send)) -> T,
) -> io::Result<T> {
    let (head, mut input) = peek(input)?;
    decompressed(&mut input, Compression::detect(&head), work)
}

/// Gives `work` the stream's plain bytes. Decompression has a thread of its own.
pub(crate) fn decompressed<T>(
    input: &mut (dyn Read + Send),
    compression: Compression,
    work: impl FnOnce(&mut (dyn Read + Send)) -> T,
) -> io::Result<T> {
    if compression == Compression::None {
        return Ok(work(input));
    }
    let mut decoder = decoder(input, compression)?;
    Ok(thread::scope(|scope| {
        let (sender, receiver) = sync_channel::<io::Result<Vec<u8>>>(4);
        scope.spawn(move || {
            loop {
                let (chunk, result) = read_chunk(&mut *decoder);
                let last = chunk.is_empty();
                if (!last || result.is_ok()) && (sender.send(Ok(chunk)).is_err() || last) {
                    return;
                }
                if let Err(e) = result {
                    let _ = sender.send(Err(e));
                    return;
                }
            }
        });
        work(&mut Ahead { receiver, chunk: Cursor::new(Vec::new()), finished: false })
    }))
}

fn decoder<'a>(
    input: &'a mut (dyn Read + Send),
    compression: Compression,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let input = io::BufReader::with_capacity(128 << 10, input);
    Ok(match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(input)?),
        Compression::Xz => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
        }
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
    })
}

/// The next bytes, and what is wrong behind them: what was read before an error counts, and may be all that is wanted.
fn read_chunk(input: &mut dyn Read) -> (Vec<u8>, io::Result<()>) {
    const CHUNK: u64 = 256 << 10;
    let mut chunk = Vec::with_capacity(CHUNK as usize);
    let result = input.take(CHUNK).read_to_end(&mut chunk);
    (chunk, result.map(drop))
}

/// What the other thread has decompressed.
struct Ahead {
    receiver: Receiver<io::Result<Vec<u8>>>,
    chunk: Cursor<Vec<u8>>,
    finished: bool,
}

impl Read for Ahead {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.chunk.read(buf)?;
            if n > 0 || buf.is_empty() || self.finished {
                return Ok(n);
            }
            match self.receiver.recv() {
                Ok(chunk) => self.chunk = Cursor::new(chunk?),
                // It ended with an error that has been read already.
                Err(_) => self.finished = true,
            }
            self.finished |= self.chunk.get_ref().is_empty();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn compress(compression: Compression, bytes: &[u8]) -> Vec<u8> {
        match compression {
            Compression::None => bytes.to_vec(),
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Zstd => zstd::encode_all(bytes, 1).unwrap(),
            Compression::Xz => {
                let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Bzip2 => {
                let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
        }
    }

    #[test]
    fn every_compression_is_told_and_undone_also_in_several_parts() {
        let plain: Vec<u8> = (0..900_000u32).map(|i| (i / 7) as u8).collect();
        for compression in
            [Compression::None, Compression::Gzip, Compression::Zstd, Compression::Xz, Compression::Bzip2]
        {
            let packed: Vec<u8> =
                plain.chunks(400_000).flat_map(|part| compress(compression, part)).collect();
            let (head, mut whole) = peek(&packed[..]).unwrap();
            assert_eq!(Compression::detect(&head), compression);
            let mut read = Vec::new();
            decompressed(&mut whole, compression, |input| input.read_to_end(&mut read)).unwrap().unwrap();
            assert!(read == plain, "{compression:?}");
            if compression != Compression::None {
                let cut = &packed[..packed.len() - 20];
                let error =
                    decompressed(&mut &cut[..], compression, |i| io::copy(i, &mut io::sink())).unwrap();
                assert!(error.is_err(), "{compression:?} cut short");
            }
        }
    }
}
