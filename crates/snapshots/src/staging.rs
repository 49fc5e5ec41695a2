//! Layers that are being made, and how their archives come back.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use skiff_types::Digest;

/// What goes with a staged layer, and is dropped when that is committed or given up. It is asked before the layer takes so many
/// bytes more of the disk, which a commit may; blocks while room is made.
pub type Companion = Box<dyn FnMut(u64) -> io::Result<()> + Send>;

/// A layer whose archive has been read and checked, but which stands on no parent yet. Dropping it removes it.
pub struct StagedLayer {
    dir: StagingDir,
    /// What the driver that staged it keeps for the commit beside the files.
    pub(crate) notes: Option<Box<dyn std::any::Any + Send>>,
    companion: Option<Companion>,
    diff_id: Digest,
    tar_size: u64,
    size: u64,
}

impl StagedLayer {
    /// A layer whose files lie complete in `dir`.
    pub(crate) fn new(dir: StagingDir, diff_id: Digest, tar_size: u64, size: u64) -> Self {
        Self { dir, notes: None, companion: None, diff_id, tar_size, size }
    }

    /// The SHA-256 of the whole archive.
    pub fn diff_id(&self) -> &Digest {
        &self.diff_id
    }

    /// The length of the archive in bytes.
    pub fn tar_size(&self) -> u64 {
        self.tar_size
    }

    /// The sum of the sizes of the regular files in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Keeps something of the caller's for as long as the layer is staged.
    pub fn accompany(&mut self, companion: Companion) {
        self.companion = Some(companion);
    }

    /// The commit is about to write so many bytes more.
    pub(crate) fn take_room(&mut self, bytes: u64) -> io::Result<()> {
        self.companion.as_mut().map_or(Ok(()), |companion| companion(bytes))
    }

    /// The directory the layer is built in.
    pub(crate) fn dir(&self) -> &StagingDir {
        &self.dir
    }

    /// Gives up the layer's removal on drop, once its directory has been renamed into place.
    pub(crate) fn into_dir(self) -> StagingDir {
        self.dir
    }
}

impl fmt::Debug for StagedLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StagedLayer").field("diff_id", &self.diff_id).finish_non_exhaustive()
    }
}

/// A directory below the store's `tmp` that goes away unless it is [kept](StagingDir::keep).
#[derive(Debug)]
pub(crate) struct StagingDir {
    path: PathBuf,
    kept: bool,
}

impl StagingDir {
    /// A new, empty directory in `tmp`, mode 0700.
    pub(crate) fn create(tmp: &Path) -> io::Result<Self> {
        let mut random = [0; 16];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let path = tmp.join(format!("{:032x}", u128::from_ne_bytes(random)));
        fs_err::create_dir(&path)?;
        Ok(Self { path, kept: false })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory has been renamed to its final place: do not remove it.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for StagingDir {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed now is removed when the store is opened again.
            let _ = crate::remove_tree(&self.path);
        }
    }
}

/// The exact archive of a layer. Reading it to the end gives the bytes whose SHA-256 is the layer's diff id.
pub enum LayerTar {
    /// The archive is kept as a file: `copy_file_range`, `sendfile` and `mmap` work on it. Read from offset 0 on.
    File {
        /// The open file.
        file: File,
        /// Its length in bytes.
        len: u64,
    },
    /// The archive is put together while it is read.
    Stream {
        /// The bytes.
        reader: Box<dyn Read + Send>,
        /// How many there will be.
        len: u64,
    },
}

impl LayerTar {
    /// The length of the archive in bytes.
    #[expect(clippy::len_without_is_empty, reason = "an archive is never empty")]
    pub fn len(&self) -> u64 {
        match self {
            Self::File { len, .. } | Self::Stream { len, .. } => *len,
        }
    }
}

impl Read for LayerTar {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File { file, .. } => file.read(buf),
            Self::Stream { reader, .. } => reader.read(buf),
        }
    }
}
