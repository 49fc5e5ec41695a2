//! Save: images as an archive.

use std::{
    fs::File,
    io::{self, Read, Write},
};

/// Where `save` writes to. A sink that can take a file's bytes without their passing through this process overrides
/// [`copy_file`](Self::copy_file).
pub trait ArchiveSink: Write {
    /// Writes the next `len` bytes of `file`, from its current position.
    fn copy_file(&mut self, file: &mut File, len: u64) -> io::Result<()> {
        let mut buf = vec![0; 1 << 20];
        let mut left = len;
        while left > 0 {
            let want = left.min(buf.len() as u64) as usize;
            file.read_exact(&mut buf[..want])?;
            self.write_all(&buf[..want])?;
            left -= want as u64;
        }
        Ok(())
    }
}

impl ArchiveSink for Vec<u8> {}
