//! Compressed layers as far as they have come: what a cut connection, a killed daemon or an impatient user left, the next pull
//! goes on with.
//!
//! Nothing here is trusted: a layer is verified from its first byte whenever it is read. So nothing is flushed either; what a
//! power cut spoils is found out and fetched again.

use std::{
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::fs::FlockOperation;
use skiff_types::Digest;

use crate::Result;

/// What nobody has gone on with for so long is removed when the store is opened, and when another blob begins.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// What is there of a layer's blob. Nobody else has it meanwhile.
#[derive(Debug)]
pub struct PartialLayer {
    pub(crate) file: File,
    pub(crate) blob: Digest,
    pub(crate) size: u64,
    len: u64,
}

impl PartialLayer {
    /// How many bytes are there: what is fed to [`receive_layer`](crate::ImageStore::receive_layer) goes on from there.
    #[expect(clippy::len_without_is_empty, reason = "nothing is as good as something")]
    pub fn len(&self) -> u64 {
        self.len
    }
}

/// The files below a directory.
#[derive(Debug)]
pub(crate) struct Partials {
    dir: PathBuf,
}

impl Partials {
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let dir = root.join("partial");
        fs_err::create_dir_all(&dir)?;
        let partials = Self { dir };
        partials.remove_old()?;
        Ok(partials)
    }

    fn remove_old(&self) -> io::Result<u64> {
        let now = SystemTime::now();
        self.remove_left(|then| now.duration_since(then).is_ok_and(|age| age > KEPT))
    }

    /// What is there of a layer's blob, to be read from its beginning and then appended to. Waits until nobody else has it:
    /// a pull that was given up may still be writing. More than `size` bytes are not the blob's: it begins anew.
    pub(crate) fn open_blob(&self, blob: &Digest, size: u64) -> io::Result<PartialLayer> {
        // What could not be removed is tried again next time.
        let _ = self.remove_old();
        let file = fs_err::OpenOptions::new().create(true).read(true).append(true).open(self.path(blob))?;
        rustix::fs::flock(file.file(), FlockOperation::LockExclusive)?;
        let mut len = file.metadata()?.len();
        if len > size {
            file.file().set_len(0)?;
            len = 0;
        }
        Ok(PartialLayer { file: file.into_file(), blob: *blob, size, len })
    }

    /// What is there of blobs that nobody is receiving: bytes on disk, and when the last came.
    pub(crate) fn left(&self) -> io::Result<Vec<(Digest, u64, SystemTime)>> {
        let mut left = Vec::new();
        for entry in fs_err::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(blob) = format!("sha256:{name}").parse() else { continue };
            let Ok(file) = fs_err::File::open(entry.path()) else { continue };
            if rustix::fs::flock(file.file(), FlockOperation::NonBlockingLockShared).is_ok() {
                let metadata = file.metadata()?;
                left.push((blob, metadata.blocks() * 512, metadata.modified()?));
            }
        }
        Ok(left)
    }

    /// Removes what is there of blobs that nobody is receiving and whose last byte came at a time that is `chosen`. The bytes on
    /// disk that were freed.
    pub(crate) fn remove_left(&self, chosen: impl Fn(SystemTime) -> bool) -> io::Result<u64> {
        let mut freed = 0;
        for entry in fs_err::read_dir(&self.dir)? {
            let path = entry?.path();
            let Ok(file) = fs_err::File::open(&path) else { continue };
            let metadata = file.metadata()?;
            let free = || rustix::fs::flock(file.file(), FlockOperation::NonBlockingLockExclusive).is_ok();
            if metadata.is_file() && chosen(metadata.modified()?) && free() {
                fs_err::remove_file(&path)?;
                freed += metadata.blocks() * 512;
            }
        }
        Ok(freed)
    }

    /// Removes what is there of a layer's blob.
    pub(crate) fn remove(&self, blob: &Digest) {
        // What stays is removed some day.
        let _ = fs_err::remove_file(self.path(blob));
    }

    fn path(&self, blob: &Digest) -> PathBuf {
        self.dir.join(blob.hex())
    }
}
