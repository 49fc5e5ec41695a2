//! Whole lines out of a file, plain or compressed, in blocks as large as the buffer.

use std::io::{self, Read, Seek, SeekFrom};

use flate2::read::MultiGzDecoder;
use fs_err::File;

/// One read.
const BLOCK: usize = 256 << 10;
/// A line that is longer than this is no log entry (they have a hundred kilobytes at most).
const LONGEST: usize = 16 << 20;

/// Where bytes come from.
pub(crate) enum Input {
    Plain(File),
    Gzip(Box<MultiGzDecoder<File>>),
}

impl Input {
    pub(crate) fn gzip(file: File) -> Self {
        Self::Gzip(Box::new(MultiGzDecoder::new(file)))
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
        }
    }
}

/// A reader of lines. A plain file may grow behind its end; asking again then goes on.
pub(crate) struct Lines {
    input: Input,
    buffer: Vec<u8>,
    /// What was read and not yet given.
    filled: std::ops::Range<usize>,
    /// How far the input has been read.
    position: u64,
}

impl Lines {
    pub(crate) fn new(input: Input) -> Self {
        Self { input, buffer: Vec::new(), filled: 0..0, position: 0 }
    }

    /// Goes on at `position` of a plain file.
    pub(crate) fn seek(&mut self, position: u64) -> io::Result<()> {
        if let Input::Plain(file) = &mut self.input {
            file.seek(SeekFrom::Start(position))?;
            self.position = position;
            self.filled = 0..0;
        }
        Ok(())
    }

    /// The file, if it is plain.
    pub(crate) fn file(&self) -> Option<&File> {
        match &self.input {
            Input::Plain(file) => Some(file),
            Input::Gzip(_) => None,
        }
    }

    /// How far the input has been read.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// How much of the input has been given away.
    pub(crate) fn given(&self) -> u64 {
        self.position - self.filled.len() as u64
    }

    /// The next lines, newlines included; nothing at the end, where half a line is kept until the rest of it comes.
    pub(crate) fn next_block(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            let fresh = self.read_more()?;
            if fresh.is_empty() {
                return Ok(None);
            }
            if let Some(at) = memchr::memrchr(b'\n', &self.buffer[fresh.clone()]) {
                let end = fresh.start + at + 1;
                let block = self.filled.start..end;
                self.filled.start = end;
                return Ok(Some(&self.buffer[block]));
            }
            if self.filled.len() > LONGEST {
                self.filled = 0..0;
            }
        }
    }

    /// Lets go of the buffer, if nothing is in it.
    pub(crate) fn shrink(&mut self) {
        if self.filled.is_empty() {
            self.buffer = Vec::new();
            self.filled = 0..0;
        }
    }

    /// Reads once, behind what is there; the range of the new bytes.
    fn read_more(&mut self) -> io::Result<std::ops::Range<usize>> {
        self.buffer.copy_within(self.filled.clone(), 0);
        self.filled = 0..self.filled.len();
        let start = self.filled.end;
        if self.buffer.len() < start + BLOCK {
            self.buffer.resize(start + BLOCK, 0);
        }
        let len = loop {
            match self.input.read(&mut self.buffer[start..]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                done => break done?,
            }
        };
        self.position += len as u64;
        self.filled.end = start + len;
        Ok(start..start + len)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn all(lines: &mut Lines) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some(block) = lines.next_block().unwrap() {
            assert!(block.ends_with(b"\n"));
            out.extend_from_slice(block);
        }
        out
    }

    #[test]
    fn half_a_line_waits_for_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut writer = File::create(&path).unwrap();
        writer.write_all(b"one\ntw").unwrap();
        let mut lines = Lines::new(Input::Plain(File::open(&path).unwrap()));
        assert_eq!(all(&mut lines), b"one\n");
        lines.shrink();
        writer.write_all(b"o\nthree").unwrap();
        assert_eq!(all(&mut lines), b"two\n");
        assert_eq!(lines.position(), 13);
        lines.seek(4).unwrap();
        assert_eq!(all(&mut lines), b"two\n");
    }

    #[test]
    fn lines_longer_than_a_block_stay_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let long = [vec![b'x'; 3 * BLOCK + 5], b"\nshort\n".to_vec()].concat();
        fs_err::write(&path, &long).unwrap();
        assert!(all(&mut Lines::new(Input::Plain(File::open(&path).unwrap()))) == long);
    }
}
