//! The log of a container whose lines go elsewhere: how it lies on disk, and how it is read for the receiver.
//!
//! A spool is a directory. `entries/log` is the log itself, written and rotated by the container's monitor, with numbered lines;
//! `cursor` says how far the receiver has it; `destination.json` says where it goes. So lines that were not sent outlive the daemon
//! and, for a while, the container ([`crate::forward`]). A number that does not follow the one before means that lines in between
//! are gone: rotated away, or never written because the disk was full.

mod cursor;
mod reader;

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

pub(crate) use cursor::Cursor;
pub(crate) use reader::{Batch, SpoolReader};

use crate::{ContainerFacts, Options, entry::Entry, files, tail};

/// One container's spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spool {
    dir: PathBuf,
}

/// Where a spool's lines go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// The driver's name.
    pub driver: String,
    /// Its options.
    pub options: Options,
    /// Whose lines they are.
    pub facts: ContainerFacts,
}

impl Spool {
    /// The spool in this directory, there or not.
    pub fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The log's current file.
    pub fn log_path(&self) -> PathBuf {
        self.dir.join("entries/log")
    }

    fn cursor_path(&self) -> PathBuf {
        self.dir.join("cursor")
    }

    fn destination_path(&self) -> PathBuf {
        self.dir.join("destination.json")
    }

    /// Makes it ready to be written to. Answers the number of the next line.
    ///
    /// # Errors
    /// What the file system says.
    pub fn prepare(&self, destination: &Destination) -> io::Result<u64> {
        fs_err::create_dir_all(self.dir.join("entries"))?;
        let text = serde_json::to_vec(destination)?;
        if fs_err::read(self.destination_path()).is_ok_and(|there| there == text) {
            return self.next_number();
        }
        let new = self.dir.join("destination.json.new");
        // The options may hold a token.
        let mut options = fs_err::OpenOptions::new();
        fs_err::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.write(true).create(true).truncate(true).open(&new)?;
        io::Write::write_all(&mut file, &text)?;
        fs_err::rename(&new, self.destination_path())?;
        let number = self.next_number()?;
        if !self.cursor_path().exists() {
            Cursor::default().save(&self.cursor_path())?;
        }
        Ok(number)
    }

    /// Whether it was ever made ready.
    pub fn is_ready(&self) -> bool {
        self.destination_path().exists()
    }

    /// Where its lines go.
    ///
    /// # Errors
    /// It was never prepared, or is damaged.
    pub fn destination(&self) -> io::Result<Destination> {
        Ok(serde_json::from_slice(&fs_err::read(self.destination_path())?)?)
    }

    /// Removes it, with what has not been sent. One that is not there is no error.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove(&self) -> io::Result<()> {
        match fs_err::remove_dir_all(&self.dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    pub(crate) fn reader(&self) -> io::Result<SpoolReader> {
        SpoolReader::open(self.log_path(), Cursor::load(&self.cursor_path())?)
    }

    pub(crate) fn save(&self, cursor: &Cursor) -> io::Result<()> {
        cursor.save(&self.cursor_path())
    }

    /// The number behind that of the last line there is or was sent.
    fn next_number(&self) -> io::Result<u64> {
        let sent = Cursor::load(&self.cursor_path())?.map_or(0, |cursor| cursor.number);
        let tail = tail::last(files::open_all(&self.log_path())?, 1)?;
        let (mut last, mut skip) = (sent, tail.skip);
        for mut file in tail.files {
            while let Some(block) = file.next_block()? {
                for line in block.split(|b| *b == b'\n') {
                    if skip > 0 {
                        skip -= 1;
                    } else if let Some(number) = Entry::parse(line).and_then(|entry| entry.number) {
                        last = last.max(number);
                    }
                }
            }
        }
        Ok(last + 1)
    }
}

#[cfg(test)]
mod tests;
