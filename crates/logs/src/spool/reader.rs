//! Reads the lines of a spool in order, once each, and counts those that are gone.
//!
//! Only one file is open at a time: a file that is rotated away while the receiver is absent frees its room. The next one is found by
//! what the last one is called by then; if that is gone too, by the numbers of lines.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

use super::Cursor;
use crate::{
    Time,
    entry::Entry,
    files::{self, LogFile},
    lines::Lines,
    remote::{Line, Part},
    watch,
};

/// Reads from where a cursor stands.
pub(crate) struct SpoolReader {
    path: PathBuf,
    /// None before the first file is there.
    current: Option<Lines>,
    cursor: Cursor,
    /// Where to begin is not known: the first line is taken as it comes.
    fresh: bool,
    wakeup: OwnedFd,
}

/// Lines that are sent together, and where the cursor stands once they are.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) lines: Vec<Line>,
    pub(crate) end: Cursor,
}

impl SpoolReader {
    pub(super) fn open(path: PathBuf, cursor: Option<Cursor>) -> io::Result<Self> {
        // Before the files are looked at: what comes later is announced.
        let wakeup = watch::directory_of(&path)?;
        let mut new =
            Self { path, current: None, fresh: cursor.is_none(), cursor: cursor.unwrap_or_default(), wakeup };
        let files = files::open_all(&new.path)?;
        let known = files.iter().position(|file| file.identity == new.cursor.file);
        let offset = new.cursor.offset;
        if let Some(file) = files.into_iter().nth(known.unwrap_or(0)) {
            new.enter(file);
        }
        if let (Some(_), Some(lines)) = (known, &mut new.current)
            && lines.file().is_some_and(|file| file.metadata().is_ok_and(|found| found.len() >= offset))
        {
            lines.seek(offset)?;
        }
        Ok(new)
    }

    /// Becomes readable when there may be more.
    pub(crate) fn wakeup(&self) -> BorrowedFd<'_> {
        self.wakeup.as_fd()
    }

    /// Lines that are gone so far.
    pub(crate) fn lost(&self) -> u64 {
        self.cursor.lost
    }

    /// The next lines, some hundred kilobytes at most; none if there are no more for the moment. Blocks.
    ///
    /// # Errors
    /// What reading gives. The same place is tried again by the next call.
    pub(crate) fn next_batch(&mut self) -> io::Result<Option<Batch>> {
        watch::drain(&self.wakeup);
        loop {
            let lines = self.read_block()?;
            match lines {
                Some(lines) if lines.is_empty() => {}
                Some(lines) => return Ok(Some(Batch { lines, end: self.cursor })),
                None if self.next_file()? => {}
                None => {
                    if let Some(current) = &mut self.current {
                        current.shrink();
                    }
                    return Ok(None);
                }
            }
        }
    }

    fn enter(&mut self, file: LogFile) {
        self.cursor.file = file.identity;
        self.current = Some(Lines::new(file.input));
    }

    /// The lines of one block that were not sent yet; none at the end of the file.
    fn read_block(&mut self) -> io::Result<Option<Vec<Line>>> {
        let Some(current) = &mut self.current else { return Ok(None) };
        let compressed = current.file().is_none();
        let mut block = match current.next_block() {
            Ok(Some(block)) => block,
            Ok(None) => return Ok(None),
            // A compressed file ends where it is damaged; the lines behind that are missed by their numbers.
            Err(_) if compressed => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut out = Vec::new();
        while let Some(end) = memchr::memchr(b'\n', block) {
            let line = &block[..end];
            block = &block[end + 1..];
            out.extend(take(&mut self.cursor, &mut self.fresh, line));
        }
        self.cursor.offset = current.given();
        Ok(Some(out))
    }

    /// At the end of a file: goes on with the one behind it. False if there is none, and nothing more in this one.
    fn next_file(&mut self) -> io::Result<bool> {
        let mut files = files::open_all(&self.path)?;
        let at = files.iter().position(|file| file.identity == self.cursor.file);
        let Some(current) = &mut self.current else {
            return Ok(match files.is_empty() {
                true => false,
                false => {
                    self.enter(files.swap_remove(0));
                    true
                }
            });
        };
        if at.is_some_and(|at| at + 1 == files.len()) {
            let Some(file) = current.file() else { return Ok(false) };
            let size = file.metadata()?.len();
            if size < current.position() {
                // Somebody emptied it to make room.
                current.seek(0)?;
            }
            return Ok(size != current.position());
        }
        // Between its last read and its renaming it may have grown; after that nobody writes to it.
        if current.file().is_some_and(|file| file.metadata().is_ok_and(|f| f.len() > current.position())) {
            return Ok(true);
        }
        let next = at.map_or(0, |at| at + 1);
        if next < files.len() {
            self.enter(files.swap_remove(next));
            return Ok(true);
        }
        Ok(false)
    }
}

/// A line of the file, if it was not sent yet, and the cursor behind it.
fn take(cursor: &mut Cursor, fresh: &mut bool, line: &[u8]) -> Option<Line> {
    let entry = Entry::parse(line)?;
    let number = entry.number?;
    let time = Time::parse(&entry.time)?;
    let mut text = Vec::with_capacity(line.len());
    if !entry.text.push(&mut text) {
        text.clear();
        Entry::any_shape(line)?.text.push(&mut text);
    }
    if std::mem::take(fresh) {
        cursor.number = number.saturating_sub(1);
    }
    if number <= cursor.number {
        return None;
    }
    let gone = number - cursor.number - 1;
    cursor.lost += gone;
    cursor.number = number;
    let ends = text.pop_if(|last| *last == b'\n').is_some();
    let begun = if gone > 0 { 0 } else { cursor.begun };
    let part = match (begun, ends) {
        (0, true) => None,
        (0, false) => Some(Part { first: number, ordinal: 1, last: false }),
        (first, last) => Some(Part { first, ordinal: cursor.parts + 1, last }),
    };
    (cursor.begun, cursor.parts) = match &part {
        Some(part) if !part.last => (part.first, part.ordinal),
        _ => (0, 0),
    };
    Some(Line { number, time, stderr: entry.stderr, text, part })
}
