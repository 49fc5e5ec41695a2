//! The log file: batches of entries, rotation, and what to do when the disk is full.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    process::{WaitId, WaitIdOptions},
};
use skiff_sys::{
    clone::{CloneFlags, Cloned, clone3},
    exec,
};

use super::{Message, json::Encoder, rotate};
use crate::monitor::{
    protocol::{JsonFile, LogHealth, UnixTime},
    stream::Stream,
};

/// A batch is written when it has this many bytes, or when there is nothing more to read for the moment.
const BATCH: usize = 128 << 10;

/// Entries of one read get times one nanosecond apart, so that every entry has a time of its own; they may run ahead of the clock
/// by this much before the clock, set back, is believed.
const AHEAD: i128 = 1_000_000;

/// The current log file and what is waiting to be written to it.
pub(crate) struct LogFile {
    config: JsonFile,
    file: OwnedFd,
    size: u64,
    encoder: Encoder,
    batch: Vec<u8>,
    last: UnixTime,
    health: LogHealth,
    compressor: Option<OwnedFd>,
}

impl LogFile {
    /// Opens the file, behind what it already has.
    pub(crate) fn open(config: JsonFile) -> io::Result<Self> {
        let file = open(&config)?;
        let size = rustix::fs::fstat(&file)?.st_size as u64;
        let encoder = Encoder::new(&config.attrs, config.first_number);
        let last = UnixTime { seconds: 0, nanoseconds: 0 };
        Ok(Self {
            config,
            file,
            size,
            encoder,
            batch: Vec::new(),
            last,
            health: LogHealth::default(),
            compressor: None,
        })
    }

    /// What was lost so far.
    pub(crate) fn health(&self) -> LogHealth {
        self.health
    }

    /// Takes an entry. Rotates before it when the file has reached its size.
    pub(crate) fn push(&mut self, message: Message<'_>, stream: Stream, now: UnixTime) {
        let at = self.after_last(now);
        let limit = self.config.max_size;
        if limit > 0 && self.size + self.batch.len() as u64 >= limit {
            self.flush();
            self.rotate();
        }
        if self.batch.capacity() == 0 {
            // One mapping, touched as far as it is used, in place of growing by copies.
            self.batch.reserve_exact(BATCH + self.encoder.longest());
        }
        self.encoder.entry(message, stream, at, &mut self.batch);
        if self.batch.len() >= BATCH {
            self.flush();
        }
    }

    fn after_last(&mut self, now: UnixTime) -> UnixTime {
        let nanos = |t: UnixTime| i128::from(t.seconds) * 1_000_000_000 + i128::from(t.nanoseconds);
        let (last, mut at) = (nanos(self.last), nanos(now));
        if (at..at + AHEAD).contains(&last) {
            at = last + 1;
        }
        self.last = UnixTime {
            seconds: at.div_euclid(1_000_000_000) as i64,
            nanoseconds: at.rem_euclid(1_000_000_000) as u32,
        };
        self.last
    }

    /// Writes what is waiting.
    pub(crate) fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let (written, errno) = self.write_batch();
        self.size += written as u64;
        self.health.errno = errno.map(Errno::raw_os_error);
        if errno.is_some() {
            self.health.lost += memchr::memchr_iter(b'\n', &self.batch[written..]).count() as u64;
        }
        self.batch.clear();
    }

    /// How much of the batch is now in the file, always whole entries, and why not more.
    fn write_batch(&self) -> (usize, Option<Errno>) {
        let mut written = 0;
        let errno = loop {
            match rustix::io::write(&self.file, &self.batch[written..]) {
                Ok(n) if written + n == self.batch.len() => return (self.batch.len(), None),
                Ok(n) => written += n,
                Err(Errno::INTR) => {}
                Err(errno) => break errno,
            }
        };
        let whole = memchr::memrchr(b'\n', &self.batch[..written]).map_or(0, |at| at + 1);
        if whole < written {
            // Half an entry would spoil the next one too. If this fails as well, readers skip the line.
            let size = rustix::fs::fstat(&self.file).map_or(0, |stat| stat.st_size as u64);
            let _ = rustix::fs::ftruncate(&self.file, size.saturating_sub((written - whole) as u64));
        }
        (whole, Some(errno))
    }

    fn rotate(&mut self) {
        // Somebody may have truncated the file to make room.
        self.size = rustix::fs::fstat(&self.file).map_or(self.size, |stat| stat.st_size as u64);
        if self.size < self.config.max_size {
            return;
        }
        self.wait_for_compressor();
        let compress = self.config.compress && self.config.max_files > 1;
        let new = rotate::shift(&self.config.path, self.config.max_files, compress)
            .and_then(|()| open(&self.config));
        match new {
            Ok(file) => {
                self.file = file;
                self.size = 0;
                if compress {
                    self.compress();
                }
            }
            // Going on with a file that is too large loses nothing; the next entry tries again.
            Err(e) => self.health.errno = e.raw_os_error(),
        }
    }

    /// Compresses in a process of its own: neither the container's output nor its attached clients wait.
    fn compress(&mut self) {
        match clone3(CloneFlags::empty(), None) {
            Ok(Cloned::Child) => {
                // Nobody may see a pipe or a socket stay open because of this.
                let _ = skiff_sys::fd::close_from(3);
                let _ = rustix::process::nice(10);
                exec::exit_now(u8::from(rotate::compress(&self.config.path).is_err()))
            }
            Ok(Cloned::Parent { pidfd, .. }) => self.compressor = Some(pidfd),
            // The plain file stays, and is read as well.
            Err(_) => {}
        }
    }

    /// Two generations cannot be compressed into one name at a time.
    fn wait_for_compressor(&mut self) {
        if let Some(pidfd) = self.compressor.take() {
            let exited = WaitIdOptions::EXITED;
            let _ =
                rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), exited));
        }
    }

    /// Ends the log: all is written, and compressed.
    pub(crate) fn close(&mut self) {
        self.flush();
        self.wait_for_compressor();
    }

    /// Lets go of memory between bursts.
    pub(crate) fn shrink(&mut self) {
        self.batch = Vec::new();
        let done = self.compressor.as_ref().is_some_and(|pidfd| {
            let now = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            !matches!(rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), now), Ok(None))
        });
        if done {
            self.compressor = None;
        }
    }
}

fn open(config: &JsonFile) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOCTTY;
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP;
    Ok(rustix::fs::open(&config.path, flags, mode)?)
}

#[cfg(test)]
mod tests;
