//! Finds where the last lines begin: plain files are read from their end, compressed ones have to be unpacked.

use std::{
    io::{self, Read, Seek},
    os::unix::fs::FileExt,
};

use fs_err::File;

use crate::{
    files::LogFile,
    lines::{Input, Lines},
};

const BLOCK: usize = 64 << 10;

/// What of a log to read: files, oldest first, and lines of the first to skip.
pub(crate) struct Tail {
    pub(crate) files: Vec<Lines>,
    /// A compressed file cannot be sought in.
    pub(crate) skip: u64,
}

/// Chooses the last `count` lines of `files`.
///
/// # Errors
/// What reading gives.
pub(crate) fn last(files: Vec<LogFile>, mut count: u64) -> io::Result<Tail> {
    let mut chosen = Vec::new();
    let mut skip = 0;
    for file in files.into_iter().rev() {
        if count == 0 && !chosen.is_empty() {
            break;
        }
        let mut lines = match file.input {
            Input::Plain(file) => {
                let (position, found) = from_end(&file, count)?;
                count -= found;
                let mut lines = Lines::new(Input::Plain(file));
                lines.seek(position)?;
                lines
            }
            Input::Gzip(decoder) => {
                // The decoder has read the header already.
                let mut file = decoder.into_inner();
                file.rewind()?;
                let total = count_lines(&mut Input::gzip(file.try_clone()?))?;
                file.rewind()?;
                skip = total.saturating_sub(count);
                count = count.saturating_sub(total);
                Lines::new(Input::gzip(file))
            }
        };
        lines.shrink();
        chosen.push(lines);
    }
    chosen.reverse();
    Ok(Tail { files: chosen, skip })
}

/// Where the last `count` lines of a file begin, and how many there are at most. Half a line at the end does not count.
fn from_end(file: &File, count: u64) -> io::Result<(u64, u64)> {
    let mut end = file.metadata()?.len();
    let mut block = vec![0; BLOCK];
    let mut newlines = 0;
    while end > 0 {
        let len = end.min(BLOCK as u64) as usize;
        let start = end - len as u64;
        file.file().read_exact_at(&mut block[..len], start)?;
        for at in memchr::memrchr_iter(b'\n', &block[..len]) {
            // The newline before the first wanted line.
            if newlines == count {
                return Ok((start + at as u64 + 1, count));
            }
            newlines += 1;
        }
        end = start;
    }
    Ok((0, newlines))
}

fn count_lines(input: &mut Input) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    let mut lines = 0;
    loop {
        match input.read(&mut block) {
            Ok(0) => return Ok(lines),
            Ok(len) => lines += memchr::memchr_iter(b'\n', &block[..len]).count() as u64,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
