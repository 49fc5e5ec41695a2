//! Blobs by digest, in OCI image-layout form: `blobs/sha256/<hex>`. A blob is complete and durable, or not there.

use std::{
    collections::HashSet,
    io::{self, Write},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use skiff_types::Digest;

use crate::Result;

/// The blobs below a directory.
#[derive(Debug)]
pub(crate) struct Blobs {
    dir: PathBuf,
    ingest: PathBuf,
}

impl Blobs {
    /// Opens the store below `root`; what a killed process was writing is removed.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let blobs = Self { dir: root.join("blobs/sha256"), ingest: root.join("ingest") };
        fs_err::create_dir_all(&blobs.dir)?;
        fs_err::create_dir_all(&blobs.ingest)?;
        for leftover in fs_err::read_dir(&blobs.ingest)? {
            fs_err::remove_file(leftover?.path())?;
        }
        Ok(blobs)
    }

    /// Keeps the bytes, durably.
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<()> {
        self.put_all(&[bytes])
    }

    /// Keeps several blobs, durably.
    pub(crate) fn put_all<B: AsRef<[u8]>>(&self, blobs: &[B]) -> Result<()> {
        let mut written = Written(Vec::new());
        for bytes in blobs {
            let bytes = bytes.as_ref();
            let digest = Digest::of(bytes);
            let path = self.path(&digest);
            // One that has been damaged is written again.
            if self.get(&digest).is_ok_and(|there| there == bytes) {
                continue;
            }
            // Two writers of the same blob write the same bytes, but not into the same file.
            let temporary = self.ingest.join(format!("{}-{:016x}", digest.hex(), unique()));
            let mut file = fs_err::File::create(&temporary)?;
            written.0.push((temporary, path));
            file.write_all(bytes)?;
            file.sync_data()?;
        }
        if written.0.is_empty() {
            return Ok(());
        }
        for (temporary, path) in &written.0 {
            fs_err::rename(temporary, path)?;
        }
        Ok(fs_err::File::open(&self.dir)?.sync_all()?)
    }

    /// A blob's bytes.
    pub(crate) fn get(&self, digest: &Digest) -> io::Result<Vec<u8>> {
        fs_err::read(self.path(digest))
    }

    /// Whether a blob is there.
    pub(crate) fn has(&self, digest: &Digest) -> bool {
        self.path(digest).exists()
    }

    /// When a blob was written.
    pub(crate) fn written_at(&self, digest: &Digest) -> io::Result<Timestamp> {
        let modified = fs_err::metadata(self.path(digest))?.modified()?;
        Timestamp::try_from(modified).map_err(io::Error::other)
    }

    /// Removes a blob that nothing refers to any more.
    pub(crate) fn remove(&self, digest: &Digest) -> io::Result<()> {
        fs_err::remove_file(self.path(digest))
    }

    /// Removes every blob but these.
    pub(crate) fn keep_only(&self, wanted: &HashSet<Digest>) -> Result<()> {
        let wanted: HashSet<String> = wanted.iter().map(Digest::hex).collect();
        for entry in fs_err::read_dir(&self.dir)? {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(|name| wanted.contains(name)) {
                fs_err::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.hex())
    }
}

/// Files being written, with the paths they are for. What was not renamed goes with it.
struct Written(Vec<(PathBuf, PathBuf)>);

impl Drop for Written {
    fn drop(&mut self) {
        for (temporary, _) in &self.0 {
            // What cannot be removed is removed at the next start.
            let _ = fs_err::remove_file(temporary);
        }
    }
}

/// A number that no other call in this process gets.
fn unique() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}
