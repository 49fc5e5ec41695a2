//! The record of a layer's archive: everything of it but the files' contents, so that it can be put together again bit for
//! bit from the unpacked files.
//!
//! A zstd stream of segments, little-endian: `0 len:u32 bytes` are bytes of the archive (headers, padding, what follows
//! the end), `1 path_len:u32 path extents:u32 (offset:u64 len:u64)…` is the contents of a file of the layer, by its path when
//! its entry was read. A path that a later entry of the same layer took over was moved aside before: the layer's
//! [`Shadow`]s say where.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use serde::{Deserialize, Serialize};

use crate::{path_text::PathText, tar::Extent};

/// Something of the layer that a later entry replaced, and that its record still needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shadow {
    /// How many contents segments stand before the replacement.
    pub(crate) after: u64,
    /// The path that was taken over.
    pub(crate) path: PathText,
}

const LITERAL: u8 = 0;
const CONTENTS: u8 = 1;

/// Literal bytes that are written at once.
const MAX_LITERAL: usize = 64 << 10;

/// Passes a stream on and writes its record.
pub(crate) struct Recorder<R> {
    source: R,
    out: zstd::Encoder<'static, BufWriter<fs_err::File>>,
    literal: Vec<u8>,
    /// Bytes of a file's contents that are still to pass by without being recorded.
    contents: u64,
    segments: u64,
}

impl<R: BufRead> Recorder<R> {
    /// A recorder that writes to `file`.
    pub(crate) fn new(source: R, file: fs_err::File) -> io::Result<Self> {
        let out = zstd::Encoder::new(BufWriter::new(file), 1)?;
        Ok(Self { source, out, literal: Vec::new(), contents: 0, segments: 0 })
    }

    /// The next bytes, as many as the extents have, are what the file at `path` has there.
    pub(crate) fn contents(&mut self, path: &[u8], extents: &[Extent]) -> io::Result<()> {
        self.flush_literal()?;
        self.out.write_all(&[CONTENTS])?;
        self.out.write_all(&(path.len() as u32).to_le_bytes())?;
        self.out.write_all(path)?;
        self.out.write_all(&(extents.len() as u32).to_le_bytes())?;
        for extent in extents {
            self.out.write_all(&extent.offset.to_le_bytes())?;
            self.out.write_all(&extent.len.to_le_bytes())?;
        }
        self.contents = extents.iter().map(|e| e.len).sum();
        self.segments += 1;
        Ok(())
    }

    /// Contents segments so far.
    pub(crate) fn segments(&self) -> u64 {
        self.segments
    }

    /// Takes the rest of the stream and completes the record.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        loop {
            let n = self.fill_buf()?.len();
            if n == 0 {
                break;
            }
            self.consume(n);
        }
        self.flush_literal()?;
        self.out.finish()?.flush()
    }

    fn flush_literal(&mut self) -> io::Result<()> {
        if !self.literal.is_empty() {
            self.out.write_all(&[LITERAL])?;
            self.out.write_all(&(self.literal.len() as u32).to_le_bytes())?;
            self.out.write_all(&self.literal)?;
            self.literal.clear();
        }
        Ok(())
    }
}

impl<R: BufRead> BufRead for Recorder<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.literal.len() >= MAX_LITERAL {
            self.flush_literal()?;
        }
        self.source.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        let skipped = self.contents.min(amount as u64);
        self.contents -= skipped;
        if skipped < amount as u64 {
            // The bytes are still there: `fill_buf` does not read before they are consumed.
            if let Ok(bytes) = self.source.fill_buf() {
                self.literal.extend_from_slice(&bytes[skipped as usize..amount]);
            }
        }
        self.source.consume(amount);
    }
}

impl<R: BufRead> Read for Recorder<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buf)?;
        self.consume(n);
        Ok(n)
    }
}

/// Puts an archive together again.
pub(crate) struct Replay {
    record: BufReader<zstd::Decoder<'static, BufReader<fs_err::File>>>,
    diff: OwnedFd,
    shadow_dir: Option<OwnedFd>,
    shadows: Vec<Shadow>,
    segments: u64,
    current: Segment,
}

enum Segment {
    Literal { left: u64 },
    Contents { file: File, extents: std::vec::IntoIter<Extent>, current: Extent },
}

impl Replay {
    /// Replays the record of the layer whose files lie in `diff`; what was moved aside lies in `shadow_dir` by number.
    pub(crate) fn open(
        record: &Path,
        diff: &Path,
        shadow_dir: &Path,
        shadows: Vec<Shadow>,
    ) -> io::Result<Self> {
        let record = BufReader::new(zstd::Decoder::new(fs_err::File::open(record)?)?);
        let diff = fs_err::File::open(diff)?.into_file().into();
        let shadow_dir = match shadows.is_empty() {
            true => None,
            false => Some(fs_err::File::open(shadow_dir)?.into_file().into()),
        };
        Ok(Self { record, diff, shadow_dir, shadows, segments: 0, current: Segment::Literal { left: 0 } })
    }

    /// Begins the next segment; `false` at the end of the record.
    fn next_segment(&mut self) -> io::Result<bool> {
        let mut tag = [0];
        if self.record.read(&mut tag)? == 0 {
            return Ok(false);
        }
        self.current = match tag[0] {
            LITERAL => Segment::Literal { left: u64::from(self.u32()?) },
            CONTENTS => {
                let mut path = vec![0; self.u32()? as usize];
                self.record.read_exact(&mut path)?;
                let count = self.u32()?;
                let extents: Vec<Extent> = (0..count)
                    .map(|_| Ok(Extent { offset: self.u64()?, len: self.u64()? }))
                    .collect::<io::Result<_>>()?;
                let file = self.open_contents(path)?;
                self.segments += 1;
                Segment::Contents {
                    file,
                    extents: extents.into_iter(),
                    current: Extent { offset: 0, len: 0 },
                }
            }
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "layer record is damaged")),
        };
        Ok(true)
    }

    /// Opens the file that was at `path`, wherever it has been moved since.
    fn open_contents(&self, mut path: Vec<u8>) -> io::Result<File> {
        let mut dir = self.diff.as_fd();
        for (number, shadow) in self.shadows.iter().enumerate().filter(|(_, s)| s.after > self.segments) {
            let rest = match path.strip_prefix(&shadow.path[..]) {
                Some(rest) if rest.is_empty() || rest.starts_with(b"/") => rest,
                _ => continue,
            };
            path = [number.to_string().as_bytes(), rest].concat();
            if let Some(shadow_dir) = &self.shadow_dir {
                dir = shadow_dir.as_fd();
            }
            break;
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let file = openat2(dir, &path[..], flags, Mode::empty(), resolve)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.escape_ascii())))?;
        Ok(File::from(file))
    }

    fn u32(&mut self) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.record.read_exact(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn u64(&mut self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.record.read_exact(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

impl Read for Replay {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            match &mut self.current {
                Segment::Literal { left } if *left > 0 => {
                    let want = buf.len().min(*left as usize);
                    let n = self.record.read(&mut buf[..want])?;
                    *left -= n as u64;
                    return if n == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(n) };
                }
                Segment::Contents { file, current, .. } if current.len > 0 => {
                    let want = buf.len().min(usize::try_from(current.len).unwrap_or(usize::MAX));
                    let n = std::os::unix::fs::FileExt::read_at(file, &mut buf[..want], current.offset)?;
                    if n == 0 {
                        return Err(io::Error::new(
                            io::ErrorKind::InvalidData,
                            "a file of the layer has been truncated",
                        ));
                    }
                    current.offset += n as u64;
                    current.len -= n as u64;
                    return Ok(n);
                }
                Segment::Contents { extents, current, .. } => match extents.next() {
                    Some(next) => *current = next,
                    None => {
                        if !self.next_segment()? {
                            return Ok(0);
                        }
                    }
                },
                Segment::Literal { .. } => {
                    if !self.next_segment()? {
                        return Ok(0);
                    }
                }
            }
        }
    }
}
