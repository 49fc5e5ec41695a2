//! Archives for the suite.

use std::io::Write;

use crate::tar::{Device, END, Entry, EntryKind, Timestamp, encode, padding};

/// An archive that is being made; every entry belongs to root, and its time is 1,000,000,000 s and 5 ns.
#[derive(Clone, Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
}

impl Archive {
    /// An archive without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry with contents.
    pub fn entry(mut self, entry: &Entry, contents: &[u8]) -> Self {
        encode(entry, &mut self.bytes);
        self.bytes.extend_from_slice(contents);
        self.bytes.resize(self.bytes.len() + padding(contents.len() as u64), 0);
        self
    }

    /// Adds a regular file, mode 0644.
    pub fn file(self, path: &str, contents: &str) -> Self {
        let entry = Entry { size: contents.len() as u64, ..node(path, EntryKind::File, 0o644) };
        self.entry(&entry, contents.as_bytes())
    }

    /// Adds a directory, mode 0755.
    pub fn dir(self, path: &str) -> Self {
        self.entry(&node(path, EntryKind::Directory, 0o755), b"")
    }

    /// Adds a symbolic link.
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(&node(path, EntryKind::Symlink(target.into()), 0o777), b"")
    }

    /// Adds a hard link.
    pub fn link(self, path: &str, target: &str) -> Self {
        self.entry(&node(path, EntryKind::HardLink(target.into()), 0o644), b"")
    }

    /// Adds a character device.
    pub fn device(self, path: &str, major: u32, minor: u32) -> Self {
        self.entry(&node(path, EntryKind::CharDevice(Device { major, minor }), 0o600), b"")
    }

    /// Adds a pipe.
    pub fn fifo(self, path: &str) -> Self {
        self.entry(&node(path, EntryKind::Fifo, 0o600), b"")
    }

    /// Adds bytes as they are.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.write_all(bytes).expect("writing to memory");
        self
    }

    /// The archive with its end marker.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&END);
        self.bytes
    }

    /// What there is so far, without an end marker.
    pub fn unfinished(self) -> Vec<u8> {
        self.bytes
    }
}

/// An entry without contents.
pub(super) fn node(path: &str, kind: EntryKind, mode: u32) -> Entry {
    let mtime = Timestamp { secs: 1_000_000_000, nanos: 5 };
    Entry { path: path.into(), kind, mode, mtime, ..Entry::default() }
}
