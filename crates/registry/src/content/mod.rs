//! The content of blobs, by digest: in files of this machine or in objects of a bucket (ADR 37).
//!
//! What is kept here is trusted only while the catalog names its digest: whatever else lies here is what a crash or a
//! removal left. [`Content::pin`] gives one task at a time the right to put a digest's content in its place or to take
//! it away ([`Content::discard`]). So a blob that is pushed again while it is collected is there afterwards, and
//! content that somebody relies on is never replaced.
//!
//! Uploads are files of this machine in either case, until they are whole and verified.

mod bucket;
mod files;
mod share;
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

use bytes::Bytes;
use tokio::sync::OwnedMutexGuard;

use crate::{
    Error,
    digest::Digest,
    error::at,
    range::Span,
    service::{blocking, unstoppable},
};

use self::files::Files;
pub(crate) use self::{
    bucket::{Bucket, Object},
    share::Share,
    upload::{Received, UploadId, Uploads, Writing, hash_file},
};
pub use bucket::{BucketSettings, Encryption};

/// All blobs.
#[derive(Debug)]
pub(crate) struct Content {
    staging: PathBuf,
    next: AtomicU64,
    kept: Kept,
    pins: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
}

/// Where they are.
#[derive(Debug)]
enum Kept {
    Files(Files),
    Bucket(Arc<Bucket>),
}

/// A blob that can be read.
#[derive(Debug)]
pub(crate) enum Opened {
    /// All of it.
    File(File),
    /// What was asked for.
    Object(Box<Object>),
}

/// The right to put one digest's content in its place, or to take it away.
#[derive(Debug)]
pub(crate) struct Pin {
    digest: Digest,
    _guard: OwnedMutexGuard<()>,
}

impl Pin {
    fn digest(&self) -> &Digest {
        &self.digest
    }
}

impl Content {
    /// Opens the directories below `root`, or makes them; empties that of unfinished work. Blocks.
    pub(crate) fn open(root: &Path, bucket: Option<&BucketSettings>) -> Result<Self, Error> {
        let staging = root.join("staging");
        match fs_err::remove_dir_all(&staging) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(staging)(error)),
            _ => fs_err::create_dir_all(&staging).map_err(at(&staging))?,
        }
        let kept = match bucket {
            None => Kept::Files(Files::open(root)?),
            Some(settings) => Kept::Bucket(Arc::new(Bucket::open(root, settings)?)),
        };
        Ok(Self { staging, next: AtomicU64::new(0), kept, pins: Mutex::default() })
    }

    /// The bucket, if it is not files.
    pub(crate) fn bucket(&self) -> Option<&Arc<Bucket>> {
        match &self.kept {
            Kept::Files(_) => None,
            Kept::Bucket(bucket) => Some(bucket),
        }
    }

    /// A blob's file, where there are files: opening reads a directory entry, quick, and most often in memory.
    pub(crate) fn file(&self, digest: &Digest) -> Result<Option<File>, Error> {
        match &self.kept {
            Kept::Files(files) => files.file(digest).map(Some),
            Kept::Bucket(_) => Ok(None),
        }
    }

    /// A blob. That it is missing although the catalog names it is damage. Of an object, only the span is read.
    pub(crate) async fn read_part(&self, digest: &Digest, span: Span) -> Result<Opened, Error> {
        match &self.kept {
            Kept::Files(files) => files.file(digest).map(Opened::File),
            Kept::Bucket(bucket) => {
                bucket.open_object(digest, span).await.map(|object| Opened::Object(Box::new(object)))
            }
        }
    }

    /// A small blob, whole.
    pub(crate) async fn read(&self, digest: &Digest) -> Result<Bytes, Error> {
        match &self.kept {
            Kept::Files(files) => {
                let (files, digest) = (files.clone(), digest.clone());
                blocking(move || files.read(&digest)).await?.map(Bytes::from)
            }
            Kept::Bucket(bucket) => bucket.read(digest).await,
        }
    }

    /// How many bytes are kept for a digest, if any are.
    pub(crate) async fn size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        match &self.kept {
            Kept::Files(files) => {
                let (files, digest) = (files.clone(), digest.clone());
                blocking(move || files.size(&digest)).await?
            }
            Kept::Bucket(bucket) => bucket.size(digest).await,
        }
    }

    fn lock(&self, digest: &Digest) -> Arc<tokio::sync::Mutex<()>> {
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
    }

    /// Waits for the right to place a digest.
    pub(crate) async fn pin(&self, digest: &Digest) -> Pin {
        Pin { digest: digest.clone(), _guard: self.lock(digest).lock_owned().await }
    }

    /// A path for a file under way, on the file system of the blobs.
    pub(crate) fn staging(&self) -> PathBuf {
        self.staging.join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// Makes a verified file the content of its digest, durably; the file is gone then. Only when this has returned may
    /// the catalog name the digest. After an error the file is there still.
    pub(crate) async fn place(&self, pin: &Pin, from: &Path) -> Result<(), Error> {
        match &self.kept {
            Kept::Files(files) => {
                let (files, digest, from) = (files.clone(), pin.digest.clone(), from.to_owned());
                blocking(move || files.place(&digest, &from)).await?
            }
            Kept::Bucket(bucket) => {
                bucket.put_file(&pin.digest, from).await?;
                let from = from.to_owned();
                blocking(move || fs_err::remove_file(&from).map_err(at(from))).await?
            }
        }
    }

    /// The same with a small blob that is in memory.
    pub(crate) async fn write(&self, pin: &Pin, bytes: &Bytes) -> Result<(), Error> {
        match &self.kept {
            Kept::Files(files) => {
                let (files, path) = (files.clone(), self.staging());
                let (digest, bytes) = (pin.digest.clone(), bytes.clone());
                let placed = move || {
                    let written = fs_err::write(&path, &bytes).map_err(at(&path));
                    let placed = written.and_then(|()| files.place(&digest, &path));
                    if placed.is_err() {
                        let _ = fs_err::remove_file(&path);
                    }
                    placed
                };
                blocking(placed).await?
            }
            Kept::Bucket(bucket) => bucket.put(&pin.digest, bytes.clone()).await,
        }
    }

    /// Takes the content of a digest away that nothing names, unless somebody is about to place it. Whether it is gone.
    ///
    /// # Errors
    /// The bucket's store does not do it: it will not do it for others either.
    pub(crate) async fn discard(&self, digest: &Digest, named: impl FnOnce() -> bool) -> Result<bool, Error> {
        let Ok(guard) = self.lock(digest).try_lock_owned() else { return Ok(false) };
        if named() {
            return Ok(false);
        }
        // Whoever waits for this may leave: the pin is held until it is done.
        let pin = Pin { digest: digest.clone(), _guard: guard };
        let removed = match &self.kept {
            Kept::Files(files) => {
                let files = files.clone();
                blocking(move || files.remove(pin.digest())).await.and_then(|removed| removed)
            }
            Kept::Bucket(bucket) => {
                let bucket = bucket.clone();
                unstoppable(async move { bucket.remove(pin.digest()).await }).await
            }
        };
        match removed {
            Ok(()) => Ok(true),
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error @ Error::Storage { .. }) => Err(error),
            Err(error) => {
                tracing::warn!(%digest, %error, "cannot remove a collected blob");
                Ok(false)
            }
        }
    }

    /// Digests that have content at least `age` seconds old, and are not `named`.
    pub(crate) async fn unnamed(
        &self,
        age: u64,
        named: impl Fn(&Digest) -> bool + Send + Sync + 'static,
    ) -> Result<Vec<Digest>, Error> {
        match &self.kept {
            Kept::Files(files) => {
                let files = files.clone();
                blocking(move || files.unnamed(age, named)).await?
            }
            Kept::Bucket(bucket) => bucket.unnamed(age, named).await,
        }
    }
}

pub(crate) fn sync_directory(path: &Path) -> Result<(), Error> {
    fs_err::File::open(path).and_then(|dir| dir.sync_all()).map_err(at(path))
}
