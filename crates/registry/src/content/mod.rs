//! The files of blobs, by digest: `blobs/<algorithm>/<two digits>/<hex>`.
//!
//! A file here is trusted only while the catalog names its digest: whatever else lies here is what a crash or a removal
//! left. [`Content::pin`] gives one task at a time the right to put a digest's file in its place; a file is taken away
//! only while nobody has it ([`Content::discard`]). So a blob that is pushed again while it is collected is there
//! afterwards, and a file that somebody relies on is never replaced.

mod upload;

use std::{
    collections::HashMap,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::OwnedMutexGuard;

use crate::{
    Error,
    digest::{Algorithm, Digest},
    error::at,
};

pub(crate) use upload::{Received, UploadId, Uploads, Writing, hash_file};

/// The files.
#[derive(Debug)]
pub(crate) struct Content {
    root: PathBuf,
    pins: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
    next: AtomicU64,
}

/// The right to put one digest's file in its place.
#[derive(Debug)]
pub(crate) struct Pin {
    digest: Digest,
    _guard: OwnedMutexGuard<()>,
}

impl Pin {
    pub(crate) fn digest(&self) -> &Digest {
        &self.digest
    }
}

impl Content {
    /// Opens the directories below `root`, or makes them; empties those of unfinished work.
    pub(crate) fn open(root: &Path) -> Result<Self, Error> {
        for sub in ["staging", "trash"] {
            let path = root.join(sub);
            match fs_err::remove_dir_all(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(path)(error)),
                _ => fs_err::create_dir_all(&path).map_err(at(&path))?,
            }
        }
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let path = root.join("blobs").join(algorithm.name());
            fs_err::create_dir_all(&path).map_err(at(&path))?;
        }
        let all = root.join("blobs").join(Algorithm::Sha256.name());
        for n in 0..=255 {
            let path = all.join(format!("{n:02x}"));
            match fs_err::create_dir(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at(path)(error)),
                _ => {}
            }
        }
        for dir in [&all, &root.join("blobs"), root] {
            sync_directory(dir)?;
        }
        Ok(Self { root: root.to_owned(), pins: Mutex::default(), next: AtomicU64::new(0) })
    }

    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.root.join("blobs").join(digest.algorithm().name()).join(&hex[..2]).join(hex)
    }

    /// A blob's file. That it is missing although the catalog names it is damage.
    pub(crate) fn file(&self, digest: &Digest) -> Result<File, Error> {
        let path = self.path(digest);
        Ok(fs_err::File::open(&path).map_err(at(path))?.into_parts().0)
    }

    /// A small blob, whole.
    pub(crate) fn read(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let path = self.path(digest);
        fs_err::read(&path).map_err(at(path))
    }

    /// Waits for the right to place a digest.
    pub(crate) async fn pin(&self, digest: &Digest) -> Pin {
        let lock = {
            let mut pins = self.pins.lock().expect("no panic under this lock");
            if pins.len() > 1024 {
                pins.retain(|_, pin| pin.strong_count() > 0);
            }
            match pins.get(digest).and_then(Weak::upgrade) {
                Some(lock) => lock,
                None => {
                    let lock = Arc::<tokio::sync::Mutex<()>>::default();
                    pins.insert(digest.clone(), Arc::downgrade(&lock));
                    lock
                }
            }
        };
        Pin { digest: digest.clone(), _guard: lock.lock_owned().await }
    }

    /// A path for a file under way, on the file system of the blobs.
    pub(crate) fn staging(&self) -> PathBuf {
        self.root.join("staging").join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// Moves a verified file to its place and flushes both. Blocks. Only when this has returned may the catalog name the
    /// digest.
    pub(crate) fn place(&self, pin: &Pin, from: &Path) -> Result<(), Error> {
        let to = self.path(pin.digest());
        let parent = to.parent().expect("a blob lies in a directory");
        match fs_err::rename(from, &to) {
            Err(_) if !parent.exists() => {
                fs_err::create_dir_all(parent).map_err(at(parent))?;
                sync_directory(parent.parent().expect("the algorithm's"))?;
                fs_err::rename(from, &to).map_err(at(&to))?;
            }
            other => other.map_err(at(&to))?,
        }
        // Flushed where it lies: on file systems with a journal, this flushes the move too. Nobody reads it before.
        fs_err::File::open(&to).and_then(|file| file.sync_all()).map_err(at(&to))?;
        sync_directory(parent)
    }

    /// Writes a small blob to its place and flushes it. Blocks.
    pub(crate) fn write(&self, pin: &Pin, bytes: &[u8]) -> Result<(), Error> {
        let path = self.staging();
        let placed = fs_err::write(&path, bytes).map_err(at(&path)).and_then(|()| self.place(pin, &path));
        if placed.is_err() {
            let _ = fs_err::remove_file(&path);
        }
        placed
    }

    /// Removes the file of a digest that nothing names, unless somebody is about to place it. Whether it is
    /// gone. Blocks.
    pub(crate) fn discard(&self, digest: &Digest, named: impl FnOnce() -> bool) -> bool {
        let trash = self.root.join("trash").join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        {
            let pins = self.pins.lock().expect("no panic under this lock");
            let pinned = pins.get(digest).is_some_and(|pin| pin.strong_count() > 0);
            if pinned || named() || fs_err::rename(self.path(digest), &trash).is_err() {
                return false;
            }
        }
        // Large files take a while to go.
        if let Err(error) = fs_err::remove_file(&trash) {
            tracing::warn!(%error, "cannot remove a collected blob");
        }
        true
    }

    /// Every digest that has a file, with the file's age in seconds. Blocks.
    pub(crate) fn all(&self, mut each: impl FnMut(Digest, u64)) -> Result<(), Error> {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let top = self.root.join("blobs").join(algorithm.name());
            for dir in fs_err::read_dir(&top).map_err(at(&top))? {
                let dir = dir.map_err(at(&top))?.path();
                for entry in fs_err::read_dir(&dir).map_err(at(&dir))? {
                    let entry = entry.map_err(at(&dir))?;
                    let name = entry.file_name();
                    let Ok(digest) = format!("{}:{}", algorithm.name(), name.to_string_lossy()).parse()
                    else {
                        continue;
                    };
                    let age =
                        entry.metadata().ok().and_then(|m| m.modified().ok()).and_then(|t| t.elapsed().ok());
                    each(digest, age.map_or(0, |age| age.as_secs()));
                }
            }
        }
        Ok(())
    }
}

pub(crate) fn sync_directory(path: &Path) -> Result<(), Error> {
    fs_err::File::open(path).and_then(|dir| dir.sync_all()).map_err(at(path))
}
