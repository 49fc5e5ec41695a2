//! Where archives are written to.

use std::{
    fs::File,
    io::{self, Read, Write},
};

/// Bytes of a piece: large, but it stays in the processor's cache.
const PIECE: u64 = 256 << 10;

/// Where an archive is written to. A sink that can take a file's bytes without copying them once more overrides
/// [`copy_file`](Self::copy_file) and [`copy_live_file`](Self::copy_live_file).
pub trait ArchiveSink: Write {
    /// Writes the next `len` bytes of `file`, from its current position.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if it is shorter.
    fn copy_file(&mut self, file: &mut File, len: u64) -> io::Result<()> {
        match copy(file, len, self)? {
            0 => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// The same of a file that somebody may be writing to: zeros stand for what it turns out to lack.
    ///
    /// # Errors
    /// Those of reading and writing.
    fn copy_live_file(&mut self, file: &mut File, len: u64) -> io::Result<()> {
        let missing = copy(file, len, self)?;
        copy(&mut io::repeat(0), missing, self).map(drop)
    }
}

impl ArchiveSink for Vec<u8> {}

/// Copies up to `len` bytes; how many there were not.
fn copy(from: &mut impl Read, len: u64, to: &mut (impl Write + ?Sized)) -> io::Result<u64> {
    let mut piece = vec![0; len.min(PIECE) as usize];
    let mut left = len;
    while left > 0 {
        let want = left.min(PIECE) as usize;
        match from.read(&mut piece[..want]) {
            Ok(0) => break,
            Ok(n) => {
                to.write_all(&piece[..n])?;
                left -= n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(left)
}
