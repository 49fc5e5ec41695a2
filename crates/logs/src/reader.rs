//! Reads a log from where a query begins to where it ends, across rotations.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use crate::{
    Query, Time,
    entry::Entry,
    files::{self, LogFile},
    lines::Lines,
    render::{self, Rendered},
    tail, watch,
};

/// A chunk is complete when it has this many bytes.
const CHUNK: usize = 256 << 10;

/// How far a call to [`Reader::fill`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more to read at once.
    More,
    /// Everything written so far is read; more may come. Only while following.
    CaughtUp,
    /// There will be nothing more.
    End,
}

/// A log being read. See the crate's documentation.
pub struct Reader {
    path: PathBuf,
    query: Query,
    /// Still to be read, oldest first; the last one is the current file.
    files: VecDeque<Lines>,
    /// Device and inode of the current file.
    current: Option<(u64, u64)>,
    /// Lines of the first file to pass over.
    skip: u64,
    /// Entries up to this time have been seen: set when a rotation left no better way to know.
    after: Option<Time>,
    wakeup: Option<OwnedFd>,
    producer_ended: bool,
    finished: bool,
}

impl Reader {
    /// Opens the log whose current file is `path`. A log that has no file yet is empty; its directory must exist if it is to be followed.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(path: &Path, query: Query) -> io::Result<Self> {
        // Before the files are looked at: what comes later is announced.
        let wakeup = if query.follow { Some(watch::directory_of(path)?) } else { None };
        let files = files::open_all(path)?;
        let current = files.last().map(|file| file.identity);
        let (files, skip) = match query.tail {
            Some(count) => {
                let tail = tail::last(files, count)?;
                (tail.files, tail.skip)
            }
            None => (files.into_iter().map(|file| Lines::new(file.input)).collect(), 0),
        };
        Ok(Self {
            path: path.to_owned(),
            producer_ended: false,
            finished: false,
            files: files.into(),
            after: None,
            query,
            current,
            skip,
            wakeup,
        })
    }

    /// The descriptor that becomes readable when [`Progress::CaughtUp`] may be over (it may be, too, when nothing has come). Only while following.
    pub fn wakeup(&self) -> Option<BorrowedFd<'_>> {
        self.wakeup.as_ref().map(AsFd::as_fd)
    }

    /// Nobody writes to the log any more: from now on its end is [`Progress::End`].
    pub fn producer_ended(&mut self) {
        self.producer_ended = true;
    }

    /// Appends entries to `out`, until a chunk of a few hundred kilobytes is complete or nothing more is there.
    ///
    /// # Errors
    /// What reading gives; a damaged compressed file among it.
    pub fn fill(&mut self, out: &mut Vec<u8>) -> io::Result<Progress> {
        if let Some(wakeup) = &self.wakeup {
            watch::drain(wakeup);
        }
        let full = out.len() + CHUNK;
        while !self.finished {
            if out.len() >= full {
                return Ok(Progress::More);
            }
            if self.read_block(out)? {
                continue;
            }
            if self.files.len() > 1 {
                self.files.pop_front();
                self.skip = 0;
            } else if !self.query.follow {
                self.finished = true;
            } else if !self.go_on()? {
                if !self.producer_ended {
                    if let Some(current) = self.files.front_mut() {
                        current.shrink();
                    }
                    return Ok(Progress::CaughtUp);
                }
                self.finished = true;
            }
        }
        Ok(Progress::End)
    }

    /// Renders one block of the first file; false at its end.
    fn read_block(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        let Some(lines) = self.files.front_mut() else { return Ok(false) };
        let Some(mut block) = lines.next_block()? else { return Ok(false) };
        // Entries are shorter than their lines.
        out.reserve(block.len());
        while let Some(end) = memchr::memchr(b'\n', block) {
            let line = &block[..end];
            block = &block[end + 1..];
            if self.skip > 0 {
                self.skip -= 1;
            } else if render::line(line, &self.query, self.after, out) == Rendered::TooLate {
                self.finished = true;
                break;
            }
        }
        Ok(true)
    }

    /// At the end of the current file: looks whether it is still that, and whether more has come. False when there is nothing to read.
    fn go_on(&mut self) -> io::Result<bool> {
        let now = files::identity(&self.path)?;
        if now != self.current && now.is_some() {
            return self.follow_rotation();
        }
        let Some(lines) = self.files.front_mut() else { return Ok(false) };
        let Some(file) = lines.file() else { return Ok(false) };
        let size = file.metadata()?.len();
        if size < lines.position() {
            // Somebody emptied it to make room.
            lines.seek(0)?;
        }
        Ok(size != lines.position())
    }

    /// Another file is current. The one that was may have grown between its last read and its renaming, so that it comes first once
    /// more; then those that became current in between, if several did.
    fn follow_rotation(&mut self) -> io::Result<bool> {
        let succeeds =
            |current| Ok::<_, io::Error>(files::identity(&files::previous(&self.path))? == current);
        let mut newer: Vec<LogFile> = Vec::new();
        if self.current.is_none() || succeeds(self.current)? {
            newer.extend(files::open(&self.path, false)?);
        }
        // Asked again: it may have been rotated once more meanwhile.
        if newer.is_empty() || (self.current.is_some() && !succeeds(self.current)?) {
            // Compressed, removed or no longer the one before: its successors are those with later entries.
            self.after = self.last_time()?.or(self.after);
            newer = files::open_all(&self.path)?;
        }
        newer.retain(|file| Some(file.identity) != self.current);
        let Some(newest) = newer.last() else { return Ok(false) };
        self.current = Some(newest.identity);
        self.files.extend(newer.into_iter().map(|file| Lines::new(file.input)));
        Ok(true)
    }

    /// The time of the last entry of the file that was current.
    fn last_time(&self) -> io::Result<Option<Time>> {
        let Some(file) = self.files.front().and_then(Lines::file) else { return Ok(None) };
        let identity = self.current.unwrap_or_default();
        let copy = fs_err::File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file)))?;
        let file = LogFile { input: crate::lines::Input::Plain(copy), identity };
        let mut tail = tail::last(vec![file], 1)?.files;
        let Some(block) = tail.first_mut().map(Lines::next_block).transpose()?.flatten() else {
            return Ok(None);
        };
        let line = block.strip_suffix(b"\n").unwrap_or(block);
        Ok(Entry::parse(line).and_then(|entry| Time::parse(&entry.time)))
    }
}

#[cfg(test)]
mod tests;
