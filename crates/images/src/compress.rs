//! gzip and zstd on all processors: a layer is cut into blocks, each of which becomes a member (RFC 1952, section 2.2) or a frame
//! (RFC 8878, section 3.1) of its own.
//!
//! The same bytes give the same blob, always and everywhere: what was interrupted goes on where it stopped, and a registry that
//! has a layer from us has it under the name that we will give it the next time.

use std::{
    io::{self, Read},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use bytes::Bytes;
use libdeflater::{CompressionLvl, Compressor};

/// The uncompressed size of a block: large enough that cutting costs little, small enough that many fit in memory.
const BLOCK: usize = 512 << 10;

/// The same for zstd, which looks further back: at level 3 over 2 MiB.
const ZSTD_BLOCK: usize = 2 << 20;

/// The library's own default.
const ZSTD_LEVEL: i32 = 3;

/// How hard it is tried: a level more costs more time than it saves on any link that is not very slow (ADR 27).
const LEVEL: i32 = 1;

/// Gives the stream of `input`, compressed by gzip, to `output`, piece by piece in order.
///
/// # Errors
/// Those of both.
pub fn gzip(
    input: &mut (dyn Read + Send),
    output: &mut dyn FnMut(Bytes) -> io::Result<()>,
) -> io::Result<()> {
    in_blocks(input, output, BLOCK, || {
        let level = CompressionLvl::new(LEVEL).expect("a level of the library");
        let mut compressor = Compressor::new(level);
        Ok(move |block: &[u8]| Ok(member(&mut compressor, block)))
    })
}

/// Gives the stream of `input`, compressed by zstd, to `output`, piece by piece in order.
///
/// # Errors
/// Those of both.
pub fn zstd(
    input: &mut (dyn Read + Send),
    output: &mut dyn FnMut(Bytes) -> io::Result<()>,
) -> io::Result<()> {
    in_blocks(input, output, ZSTD_BLOCK, || {
        let mut compressor = ::zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
        Ok(move |block: &[u8]| compressor.compress(block).map(Bytes::from))
    })
}

/// A block that is compressed, or why it could not be.
type Compressed = io::Result<Bytes>;

/// Compresses a stream block by block; each thread makes a compressor of its own.
fn in_blocks<C: FnMut(&[u8]) -> Compressed>(
    input: &mut (dyn Read + Send),
    output: &mut dyn FnMut(Bytes) -> io::Result<()>,
    block: usize,
    compressor: impl Fn() -> io::Result<C> + Sync,
) -> io::Result<()> {
    let workers = thread::available_parallelism().map_or(1, usize::from).min(8);
    thread::scope(|scope| {
        let (jobs, queue) = sync_channel::<(Vec<u8>, SyncSender<Compressed>)>(1);
        let queue = std::sync::Arc::new(std::sync::Mutex::new(queue));
        // The order in which blocks were read is the order in which they are written.
        let (promise, promised) = sync_channel::<Receiver<Compressed>>(2 * workers);
        let reader = scope.spawn(move || read(input, block, &jobs, &promise));
        for _ in 0..workers {
            let (queue, compressor) = (std::sync::Arc::clone(&queue), &compressor);
            scope.spawn(move || {
                let mut compressor = compressor();
                loop {
                    let job = queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).recv();
                    let Ok((block, done)) = job else { return };
                    let compressed = match &mut compressor {
                        Ok(compress) => compress(&block),
                        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
                    };
                    // Nobody may be waiting any more.
                    let _ = done.send(compressed);
                }
            });
        }
        drop(queue);
        for block in promised {
            output(block.recv().map_err(io::Error::other)??)?;
        }
        reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Cuts the input into blocks until its end, an error, or until nobody takes them any more. There is at least one block.
fn read(
    input: &mut dyn Read,
    size: usize,
    jobs: &SyncSender<(Vec<u8>, SyncSender<Compressed>)>,
    promise: &SyncSender<Receiver<Compressed>>,
) -> io::Result<()> {
    for first in std::iter::once(true).chain(std::iter::repeat(false)) {
        let mut block = Vec::with_capacity(size);
        if input.take(size as u64).read_to_end(&mut block)? == 0 && !first {
            break;
        }
        let (done, result) = sync_channel(1);
        if promise.send(result).is_err() || jobs.send((block, done)).is_err() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
    }
    Ok(())
}

/// A block as a member without a name and time.
fn member(compressor: &mut Compressor, block: &[u8]) -> Bytes {
    let mut out = vec![0; compressor.gzip_compress_bound(block.len())];
    let len = compressor.gzip_compress(block, &mut out).expect("the bound is enough for any block");
    out.truncate(len);
    out.into()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn whole(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        gzip(&mut &bytes[..], &mut |piece| out.write_all(&piece))?;
        Ok(out)
    }

    #[test]
    fn what_goes_in_comes_out() {
        let mut noise = 1u64;
        let mut random = move |_| {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            noise as u8
        };
        for len in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 77, 2 * ZSTD_BLOCK + 5] {
            let text: Vec<u8> = (0..len).map(|i| (i / 11) as u8).collect();
            let noise: Vec<u8> = (0..len).map(&mut random).collect();
            for bytes in [text, noise] {
                let mut packed = Vec::new();
                zstd(&mut &bytes[..], &mut |piece| packed.write_all(&piece)).unwrap();
                assert!(::zstd::decode_all(&packed[..]).unwrap() == bytes, "{len}");
                let packed = whole(&bytes).unwrap();
                let mut plain = Vec::new();
                flate2::bufread::MultiGzDecoder::new(&packed[..]).read_to_end(&mut plain).unwrap();
                assert!(plain == bytes, "{len}");
                assert_eq!(whole(&bytes).unwrap(), packed);
            }
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
        let many = vec![7; 9 * BLOCK];
        let error = gzip(&mut (&many[..]).chain(Broken), &mut |_| Ok(())).unwrap_err();
        assert_eq!(error.to_string(), "broken");
        let full = gzip(&mut io::repeat(1), &mut |_| Err(io::ErrorKind::StorageFull.into())).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    }
}
