//! gzip on all processors: a layer is cut into blocks that are deflated independently and joined to one member.
//!
//! The same bytes give the same blob, always and everywhere: what was interrupted goes on where it stopped, and a registry that
//! has a layer from us has it under the name that we will give it the next time.

use std::{
    io::{self, Read},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// The uncompressed size of a block: large enough that cutting costs little, small enough that many fit in memory.
const BLOCK: usize = 512 << 10;

/// How hard it is tried: a level more costs more time than it saves on any link that is not very slow (ADR 21).
const LEVEL: u32 = 3;

/// Header of a member without a name and time (RFC 1952, section 2.3).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// An empty last block: those before it were all cut off at a byte, and none of them is the last (RFC 1951, section 3.2.3).
const LAST: [u8; 2] = [3, 0];

/// Gives the compressed stream of `input` to `output`, piece by piece in order.
///
/// # Errors
/// Those of both.
pub fn gzip(
    input: &mut (dyn Read + Send),
    output: &mut dyn FnMut(Bytes) -> io::Result<()>,
) -> io::Result<()> {
    let workers = thread::available_parallelism().map_or(1, usize::from).min(8);
    thread::scope(|scope| {
        let (jobs, queue) = sync_channel::<(Vec<u8>, SyncSender<Bytes>)>(1);
        let queue = std::sync::Arc::new(std::sync::Mutex::new(queue));
        // The order in which blocks were read is the order in which they are written.
        let (promise, promised) = sync_channel::<Receiver<Bytes>>(2 * workers);
        let reader = scope.spawn(move || read(input, &jobs, &promise));
        for _ in 0..workers {
            let queue = std::sync::Arc::clone(&queue);
            scope.spawn(move || {
                loop {
                    let job = queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).recv();
                    let Ok((block, done)) = job else { return };
                    // Nobody may be waiting any more.
                    let _ = done.send(deflate(&block));
                }
            });
        }
        drop(queue);
        output(Bytes::from_static(&HEADER))?;
        for block in promised {
            output(block.recv().map_err(io::Error::other)?)?;
        }
        let (crc, read) = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        read?;
        let mut end = LAST.to_vec();
        end.extend_from_slice(&crc.sum().to_le_bytes());
        end.extend_from_slice(&crc.amount().to_le_bytes());
        output(end.into())
    })
}

/// Cuts the input into blocks until its end, an error, or until nobody takes them any more.
fn read(
    input: &mut dyn Read,
    jobs: &SyncSender<(Vec<u8>, SyncSender<Bytes>)>,
    promise: &SyncSender<Receiver<Bytes>>,
) -> (Crc, io::Result<()>) {
    let mut crc = Crc::new();
    loop {
        let mut block = Vec::with_capacity(BLOCK);
        match input.take(BLOCK as u64).read_to_end(&mut block) {
            Err(error) => return (crc, Err(error)),
            Ok(0) => return (crc, Ok(())),
            Ok(_) => {}
        }
        crc.update(&block);
        let (done, result) = sync_channel(1);
        if promise.send(result).is_err() || jobs.send((block, done)).is_err() {
            return (crc, Err(io::ErrorKind::BrokenPipe.into()));
        }
    }
}

/// A block, deflated up to a byte's end.
fn deflate(block: &[u8]) -> Bytes {
    let mut state = Compress::new(Compression::new(LEVEL), false);
    let mut out = Vec::with_capacity(block.len() + block.len() / 512 + 256);
    loop {
        let read = state.total_in() as usize;
        let status = state.compress_vec(&block[read..], &mut out, FlushCompress::Sync);
        let all_read = state.total_in() as usize == block.len();
        match status {
            Ok(Status::Ok | Status::BufError) if all_read && out.len() < out.capacity() => return out.into(),
            _ => out.reserve(block.len() / 8 + 256),
        }
    }
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
    fn one_member_comes_out_whatever_goes_in() {
        let mut noise = 1u64;
        let mut random = move |_| {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            noise as u8
        };
        for len in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 77] {
            let text: Vec<u8> = (0..len).map(|i| (i / 11) as u8).collect();
            let noise: Vec<u8> = (0..len).map(&mut random).collect();
            for bytes in [text, noise] {
                let packed = whole(&bytes).unwrap();
                let mut plain = Vec::new();
                // Only the first member, and nothing behind it.
                let mut rest = &packed[..];
                flate2::bufread::GzDecoder::new(&mut rest).read_to_end(&mut plain).unwrap();
                assert!(plain == bytes && rest.is_empty(), "{len}");
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
