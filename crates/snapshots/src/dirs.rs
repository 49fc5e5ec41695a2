//! The directories of a driver's store, and how things leave it.
//!
//! ```text
//! layers/<chain id>     complete, durable layers
//! snapshots/<key>       writable snapshots
//! tmp/<random>          layers being made; whatever is there when the store is opened is garbage
//! trash/<random>        what has been removed and waits for its bytes to be freed
//! ```

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use skiff_sys::quota;

use crate::{ChainId, Error, Result, staging::StagingDir};

/// An open store. It is locked: a second engine on the same directories would take this one's work for garbage.
#[derive(Debug)]
pub(crate) struct StoreDirs {
    root: PathBuf,
    /// The root, locked.
    lock: File,
}

impl StoreDirs {
    /// Opens the store, made if it is missing, and marks as garbage what a killed process left in `tmp`.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        for dir in ["layers", "snapshots", "tmp", "trash"] {
            fs_err::create_dir_all(root.join(dir))?;
        }
        let lock = fs_err::File::open(root)?.into_file();
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Err(Error::Locked(root.to_owned())),
            result => result.map_err(io::Error::from)?,
        }
        let dirs = Self { root: root.to_owned(), lock };
        for leftover in fs_err::read_dir(dirs.tmp())? {
            dirs.discard(&leftover?.path())?;
        }
        Ok(dirs)
    }

    /// A layer's directory.
    pub(crate) fn layer(&self, chain: &ChainId) -> PathBuf {
        self.root.join("layers").join(chain.hex())
    }

    /// A snapshot's directory.
    pub(crate) fn snapshot(&self, key: &str) -> PathBuf {
        self.root.join("snapshots").join(key)
    }

    fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// A directory to build a layer in.
    pub(crate) fn staging(&self) -> Result<StagingDir> {
        Ok(StagingDir::create(&self.tmp())?)
    }

    /// The chain ids of the directories in `layers`.
    pub(crate) fn layer_names(&self) -> Result<Vec<ChainId>> {
        let names = names(&self.root.join("layers"))?;
        Ok(names.iter().filter_map(|n| ChainId::from_hex(n).ok()).collect())
    }

    /// The keys of the directories in `snapshots`.
    pub(crate) fn snapshot_names(&self) -> Result<Vec<String>> {
        Ok(names(&self.root.join("snapshots"))?)
    }

    /// Moves a finished layer to its place, durably. Its contents must be durable already.
    pub(crate) fn publish(&self, staging: StagingDir, chain: &ChainId) -> Result<()> {
        let place = self.layer(chain);
        match fs_err::rename(staging.path(), &place) {
            // What is left of a layer that lost its record.
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {
                self.discard(&place)?;
                fs_err::rename(staging.path(), &place)?;
            }
            renamed => renamed?,
        }
        staging.keep();
        sync_dir(&self.root.join("layers"))?;
        Ok(())
    }

    /// Whether its directories can be limited.
    pub(crate) fn can_limit(&self) -> bool {
        quota::can_limit(&self.lock)
    }

    /// Takes something out of the store at once; its bytes go with [`collect`](Self::collect).
    pub(crate) fn discard(&self, path: &Path) -> Result<()> {
        let mut random = [0; 16];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
            .map_err(io::Error::from)?;
        let name = format!("{:032x}", u128::from_ne_bytes(random));
        Ok(fs_err::rename(path, self.root.join("trash").join(name))?)
    }

    /// Frees what was discarded.
    pub(crate) fn collect(&self) -> Result<()> {
        let mut failed = Ok(());
        for garbage in fs_err::read_dir(self.root.join("trash"))? {
            let path = garbage?.path();
            // Where there are no limits the kernel says so.
            let _ = fs_err::File::open(&path).map(quota::unlimit);
            match crate::remove_tree(&path) {
                // Another collection took it.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                // The others go all the same.
                result => failed = failed.and(result),
            }
        }
        Ok(failed?)
    }
}

/// Makes a directory's entries durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    fs_err::File::open(path)?.sync_all()
}

fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(dir)? {
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}
