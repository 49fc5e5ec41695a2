//! What happened, on disk: a line of JSON for each event, appended as it happens.
//!
//! Two files, each at most [`MOST`] bytes: when the newer is full it takes the older one's place. A write goes to the page cache and
//! is not flushed: it outlives a daemon that is killed, and a power cut takes at most the last moments. A line that was
//! cut off is skipped. No two events have the same time, so that a time says exactly which of them a reader has seen.

use std::{
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use crate::model::{Event, Timestamp};

/// Bytes of one file.
const MOST: u64 = 4 << 20;
/// Bytes that surely hold the last event.
const TAIL: u64 = 256 << 10;

/// Where to begin to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// With the first of this time or later.
    At(Timestamp),
    /// With the first that is later.
    After(Timestamp),
}

impl From {
    fn takes(self, time: Timestamp) -> bool {
        match self {
            Self::At(from) => time >= from,
            Self::After(seen) => time > seen,
        }
    }
}

/// The writing end.
#[derive(Debug)]
pub(super) struct Journal {
    newer: PathBuf,
    older: PathBuf,
    file: Option<fs_err::File>,
    size: u64,
    most: u64,
    /// The last write failed, perhaps in the middle of a line.
    cut: bool,
}

impl Journal {
    /// Opens it in a directory that is there. A journal that cannot be written keeps nothing, and says so once.
    pub(super) fn open(dir: &Path) -> Self {
        Self::with_size(dir, MOST)
    }

    fn with_size(dir: &Path, most: u64) -> Self {
        let mut journal = Self {
            newer: dir.join("events.jsonl"),
            older: dir.join("events.1.jsonl"),
            file: None,
            size: 0,
            most,
            cut: false,
        };
        journal.reopen();
        // What a crash cut off must not swallow the next line.
        if journal.size > 0 && tail(&journal.newer).last() != Some(&b'\n') {
            journal.append_bytes(b"\n");
        }
        journal
    }

    fn reopen(&mut self) {
        let opened = fs_err::OpenOptions::new().create(true).append(true).open(&self.newer);
        let opened = opened.and_then(|file| Ok((file.metadata()?.len(), file)));
        match opened {
            Ok((size, file)) => (self.size, self.file) = (size, Some(file)),
            Err(e) => tracing::warn!("events are not kept: {e}"),
        }
    }

    /// Keeps an event.
    pub(super) fn append(&mut self, event: &Event) {
        let mut line = serde_json::to_vec(event).expect("events are plain data");
        line.push(b'\n');
        if self.size > 0 && self.size + line.len() as u64 > self.most {
            self.file = None;
            if fs_err::rename(&self.newer, &self.older).is_ok() {
                self.reopen();
            }
        }
        self.append_bytes(&line);
    }

    fn append_bytes(&mut self, bytes: &[u8]) {
        let Some(file) = &mut self.file else { return };
        // What was cut off must not swallow this one.
        let before: &[u8] = if self.cut { b"\n" } else { b"" };
        match file.write_all(before).and_then(|()| file.write_all(bytes)) {
            Ok(()) => (self.size, self.cut) = (self.size + bytes.len() as u64, false),
            // A full disk: the next one is tried again.
            Err(e) => {
                self.cut = true;
                tracing::debug!("an event is not kept: {e}");
            }
        }
    }

    /// Where a reader finds what is kept.
    pub(super) fn reader(&self) -> Reader {
        Reader { files: [self.older.clone(), self.newer.clone()] }
    }
}

/// The end of a file.
fn tail(path: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    let read = fs_err::File::open(path).and_then(|mut file| {
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(TAIL)))?;
        file.read_to_end(&mut text)
    });
    if read.is_err() {
        text.clear();
    }
    text
}

/// The reading end. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    /// Oldest first.
    files: [PathBuf; 2],
}

impl Reader {
    /// At most so many events, oldest first, and whether there may be older ones that are not kept any more. Blocks.
    pub(super) fn read(&self, from: From, until: Option<Timestamp>, most: usize) -> (Vec<Event>, bool) {
        let mut out = Vec::new();
        let mut oldest = None;
        // A file that takes the other's place meanwhile would be read twice or not at all: its events have times.
        for file in &self.files {
            let Ok(file) = fs_err::File::open(file) else { continue };
            for line in BufReader::with_capacity(64 << 10, file).split(b'\n').map_while(Result::ok) {
                let Ok(event) = serde_json::from_slice::<Event>(&line) else { continue };
                oldest.get_or_insert(event.time);
                if until.is_some_and(|until| event.time > until) {
                    break;
                }
                let seen = out.last().is_some_and(|last: &Event| last.time >= event.time);
                if from.takes(event.time) && !seen {
                    out.push(event);
                    if out.len() == most {
                        return (out, is_cut(from, oldest));
                    }
                }
            }
        }
        (out, is_cut(from, oldest))
    }

    /// The time of the newest event. Blocks.
    pub(super) fn last(&self) -> Option<Timestamp> {
        self.files.iter().rev().find_map(|file| {
            let text = tail(file);
            let parse = |line: &[u8]| serde_json::from_slice::<Event>(line).ok();
            text.split(|b| *b == b'\n').rev().find_map(parse).map(|event| event.time)
        })
    }
}

/// Whether everything that is kept is newer than what a reader saw last; one that has seen nothing yet misses nothing.
fn is_cut(from: From, oldest: Option<Timestamp>) -> bool {
    let none = Timestamp::UNIX_EPOCH;
    matches!((from, oldest), (From::After(seen), Some(oldest)) if seen > none && oldest > seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Actor, EventKind};

    fn event(n: i64) -> Event {
        let actor = Actor { id: "a".repeat(64), attributes: Default::default() };
        let time = Timestamp::from_second(n).unwrap();
        Event { kind: EventKind::Container, action: format!("act {n}"), actor, time }
    }

    fn seconds(events: &[Event]) -> Vec<i64> {
        events.iter().map(|event| event.time.as_second()).collect()
    }

    fn at(second: i64) -> From {
        From::At(Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn what_was_kept_is_read_by_another_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path());
        (1..=5).for_each(|n| journal.append(&event(n)));
        drop(journal);
        // Killed in the middle of a line.
        let path = dir.path().join("events.jsonl");
        let mut text = fs_err::read(&path).unwrap();
        text.truncate(text.len() - 10);
        fs_err::write(&path, text).unwrap();
        let mut journal = Journal::open(dir.path());
        journal.append(&event(6));
        let reader = journal.reader();
        assert_eq!(seconds(&reader.read(at(2), None, 99).0), [2, 3, 4, 6]);
        assert_eq!(seconds(&reader.read(at(2), Timestamp::from_second(3).ok(), 99).0), [2, 3]);
        let after = From::After(Timestamp::from_second(2).unwrap());
        assert_eq!(seconds(&reader.read(after, None, 2).0), [3, 4]);
        assert_eq!(reader.last(), Timestamp::from_second(6).ok());
    }

    #[test]
    fn old_files_go_and_their_readers_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let line = serde_json::to_vec(&event(1)).unwrap().len() as u64 + 1;
        let mut journal = Journal::with_size(dir.path(), line * 3);
        (1..=8).for_each(|n| journal.append(&event(n)));
        let (kept, cut) = journal.reader().read(From::After(Timestamp::from_second(2).unwrap()), None, 99);
        assert_eq!((seconds(&kept), cut), (vec![4, 5, 6, 7, 8], true));
        let (kept, cut) = journal.reader().read(From::After(Timestamp::from_second(5).unwrap()), None, 99);
        assert_eq!((seconds(&kept), cut), (vec![6, 7, 8], false));
    }
}
