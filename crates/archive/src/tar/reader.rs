//! The streaming reader.
//!
//! It trusts nothing: every number is checked, extension headers are bounded, and an archive that ends within an entry is
//! [`Error::Truncated`]. It stops at the end marker (two zero blocks; one, or none at all, is accepted at the end of the
//! stream as Go and GNU tar do) and leaves what follows unread.

use std::io::{self, BufRead, Write};

use super::{
    Entry, EntryKind, Error, Extent, Position, Timestamp,
    header::{BLOCK, Header, sparse_table, until_nul},
    pax::Pax,
    sparse,
};

/// The longest extension header that is accepted, in bytes.
const MAX_EXTENSION: u64 = 1 << 20;

/// Reads an archive entry by entry.
pub struct Reader<R> {
    source: R,
    /// Bytes consumed so far.
    offset: u64,
    /// Contents of the current entry that are still to be read.
    left: u64,
    /// Padding behind them.
    padding: u64,
    finished: bool,
}

/// Extension headers seen in front of an entry.
#[derive(Default)]
struct Extensions {
    pax: Option<Pax>,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<R: BufRead> Reader<R> {
    /// A reader at the beginning of an archive.
    pub fn new(source: R) -> Self {
        Self { source, offset: 0, left: 0, padding: 0, finished: false }
    }

    /// The stream, for what stands in it behind the archive.
    pub fn source(&mut self) -> &mut R {
        &mut self.source
    }

    /// Gives the stream back, behind the archive's end marker.
    pub fn into_source(self) -> R {
        self.source
    }

    /// Bytes of the stream consumed so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next entry; what was not read of the last one's contents is skipped.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        self.skip_contents()?;
        let start = self.offset;
        let mut extensions = Extensions::default();
        loop {
            let at = self.offset;
            let Some(block) = self.header_block()? else {
                // Extensions of nothing are nothing, as for Go's reader.
                return Ok(None);
            };
            let header = Header::parse(&block, at)?;
            match header.kind() {
                b'x' | b'X' => {
                    let pax = Pax::default().parse(&self.extension(&header)?);
                    extensions.pax = Some(pax.ok_or_else(|| header.invalid("PAX record"))?);
                }
                b'g' => {
                    // Docker reads global headers, and does not apply them.
                    let global = Pax::default().parse(&self.extension(&header)?);
                    global.ok_or_else(|| header.invalid("PAX record"))?;
                }
                b'L' => extensions.path = Some(until_nul(&self.extension(&header)?).to_vec()),
                b'K' => extensions.link = Some(until_nul(&self.extension(&header)?).to_vec()),
                _ => return self.entry(&header, extensions, start).map(Some),
            }
        }
    }

    /// The next stored bytes of the current entry, without copying them; empty at their end. Say with
    /// [`consume`](Self::consume) how many were used.
    pub fn fill(&mut self) -> Result<&[u8], Error> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let bytes = fill(&mut self.source)?;
        match bytes.len() as u64 {
            0 => Err(Error::Truncated),
            len => Ok(&bytes[..len.min(self.left) as usize]),
        }
    }

    /// Marks `len` bytes of what [`fill`](Self::fill) gave as read.
    pub fn consume(&mut self, len: usize) {
        self.source.consume(len);
        self.offset += len as u64;
        self.left -= len as u64;
    }

    /// Writes the rest of the current entry's stored contents to `out`.
    pub fn copy_contents(&mut self, out: &mut dyn Write) -> Result<u64, Error> {
        let len = self.left;
        while self.left > 0 {
            let bytes = self.fill()?;
            let n = bytes.len();
            out.write_all(bytes).map_err(Error::Io)?;
            self.consume(n);
        }
        Ok(len)
    }

    fn skip_contents(&mut self) -> Result<(), Error> {
        while self.left > 0 {
            let n = self.fill()?.len();
            self.consume(n);
        }
        self.left = std::mem::take(&mut self.padding);
        while self.left > 0 {
            match self.fill() {
                Ok(bytes) => {
                    let n = bytes.len();
                    self.consume(n);
                }
                // Go's reader does not miss the last padding either.
                Err(Error::Truncated) => {
                    self.left = 0;
                    self.finished = true;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// The next block that is not the end marker.
    fn header_block(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        if self.finished {
            return Ok(None);
        }
        let at = self.offset;
        let Some(block) = self.block()? else {
            self.finished = true;
            return Ok(None);
        };
        if block != [0; BLOCK] {
            return Ok(Some(block));
        }
        self.finished = true;
        match self.block()? {
            Some(second) if second != [0; BLOCK] => {
                Err(Error::Header { offset: at, reason: "lone zero block" })
            }
            _ => Ok(None),
        }
    }

    /// One block; nothing at the end of the stream.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        let mut block = [0; BLOCK];
        let mut len = 0;
        while len < BLOCK {
            let bytes = fill(&mut self.source)?;
            if bytes.is_empty() {
                return if len == 0 { Ok(None) } else { Err(Error::Truncated) };
            }
            let n = bytes.len().min(BLOCK - len);
            block[len..len + n].copy_from_slice(&bytes[..n]);
            len += n;
            self.source.consume(n);
            self.offset += n as u64;
        }
        Ok(Some(block))
    }

    /// The contents of an extension header.
    fn extension(&mut self, header: &Header<'_>) -> Result<Vec<u8>, Error> {
        let size = header.size()?;
        if size > MAX_EXTENSION {
            return Err(Error::TooLong { offset: self.offset - BLOCK as u64 });
        }
        self.begin_contents(size);
        let mut body = Vec::with_capacity(size as usize);
        self.copy_contents(&mut body)?;
        self.skip_contents()?;
        Ok(body)
    }

    fn begin_contents(&mut self, stored: u64) {
        self.left = stored;
        self.padding = stored.next_multiple_of(BLOCK as u64) - stored;
    }

    /// The entry that a header block and the extensions before it describe.
    fn entry(&mut self, header: &Header<'_>, extensions: Extensions, start: u64) -> Result<Entry, Error> {
        let Extensions { pax, path, link } = extensions;
        let pax = pax.unwrap_or_default();
        let path = path.or(pax.path).unwrap_or_else(|| header.path());
        let link = link.or(pax.link).unwrap_or_else(|| header.link());
        let id = |n: i64| u32::try_from(n).ok().filter(|n| *n != u32::MAX).ok_or(header.invalid("owner"));
        let mut entry = Entry {
            kind: kind(header, &path, link, start)?,
            path,
            mode: header.mode()?,
            uid: id(pax.uid.map_or_else(|| header.uid(), Ok)?)?,
            gid: id(pax.gid.map_or_else(|| header.gid(), Ok)?)?,
            mtime: match pax.mtime {
                Some(mtime) => mtime,
                None => Timestamp { secs: header.mtime()?, nanos: 0 },
            },
            xattrs: pax.xattrs,
            size: 0,
            sparse: None,
            position: Position { header: start, data: self.offset, stored: 0 },
        };
        if entry.kind != EntryKind::File {
            return Ok(entry);
        }
        let stored = pax.size.map_or_else(|| header.size(), Ok)?;
        if stored > i64::MAX as u64 {
            return Err(header.invalid("size"));
        }
        entry.size = stored;
        if header.kind() == b'S' {
            let (map, size) = self.gnu_sparse(header)?;
            entry.sparse = Some(map);
            entry.size = size;
        }
        self.begin_contents(stored);
        if let Some(pax) = pax.sparse {
            entry.size = pax.real_size.ok_or_else(|| header.invalid("sparse file without its size"))?;
            entry.path = pax.name.unwrap_or(entry.path);
            entry.sparse = Some(if pax.map_in_data { self.map_in_data(start)? } else { pax.map });
        }
        entry.position.data = self.offset;
        entry.position.stored = self.left;
        if let Some(map) = &entry.sparse {
            sparse::check(map, entry.size, self.left).ok_or_else(|| header.invalid("sparse map"))?;
        }
        Ok(entry)
    }

    /// The map of an old GNU sparse file and the file's length.
    fn gnu_sparse(&mut self, header: &Header<'_>) -> Result<(Vec<Extent>, u64), Error> {
        let (mut map, mut more, size) = header.gnu_sparse()?;
        while more {
            let at = self.offset;
            let block = self.block()?.ok_or(Error::Truncated)?;
            map.extend(sparse_table(&block[..504], at)?);
            more = block[504] != 0;
            if map.len() > sparse::MAX_EXTENTS {
                return Err(Error::TooLong { offset: at });
            }
        }
        Ok((map, size))
    }

    /// The map of sparse format 1.0: decimal lines in front of the contents, padded to a block.
    fn map_in_data(&mut self, start: u64) -> Result<Vec<Extent>, Error> {
        let mut map = sparse::MapParser::default();
        loop {
            if self.left < BLOCK as u64 {
                return Err(Error::Header { offset: start, reason: "sparse map" });
            }
            let block = self.block()?.ok_or(Error::Truncated)?;
            self.left -= BLOCK as u64;
            match map.feed(&block) {
                Ok(true) => return Ok(map.finish()),
                Ok(false) => {}
                Err(sparse::Invalid) => return Err(Error::Header { offset: start, reason: "sparse map" }),
            }
        }
    }
}

/// What the type flag says, with the trailing slash that made a directory before POSIX.
fn kind(header: &Header<'_>, path: &[u8], link: Vec<u8>, start: u64) -> Result<EntryKind, Error> {
    Ok(match header.kind() {
        0 if path.ends_with(b"/") => EntryKind::Directory,
        0 | b'0' | b'7' | b'S' => EntryKind::File,
        b'1' => EntryKind::HardLink(link),
        b'2' => EntryKind::Symlink(link),
        b'3' => EntryKind::CharDevice(header.device()?),
        b'4' => EntryKind::BlockDevice(header.device()?),
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        other => return Err(Error::Unsupported { offset: start, kind: other }),
    })
}

/// `fill_buf`, again after an interruption.
fn fill<R: BufRead>(source: &mut R) -> Result<&[u8], Error> {
    // The borrow checker cannot see that a failed call returned no borrow, so the data is asked for once more.
    loop {
        match source.fill_buf() {
            Ok(_) => break,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(source.fill_buf()?)
}

#[cfg(test)]
mod tests;
