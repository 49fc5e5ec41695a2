//! Blobs in files of the local file system: `blobs/<algorithm>/<two digits>/<hex>`.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use super::sync_directory;
use crate::{
    Error,
    digest::{Algorithm, Digest},
    error::at,
};

/// The files. All of it blocks.
#[derive(Clone, Debug)]
pub(super) struct Files {
    root: PathBuf,
}

impl Files {
    /// Opens the directories below `root`, or makes them.
    pub(super) fn open(root: &Path) -> Result<Self, Error> {
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
        Ok(Self { root: root.to_owned() })
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.root.join("blobs").join(digest.algorithm().name()).join(&hex[..2]).join(hex)
    }

    pub(super) fn file(&self, digest: &Digest) -> Result<File, Error> {
        let path = self.path(digest);
        Ok(fs_err::File::open(&path).map_err(at(path))?.into_parts().0)
    }

    pub(super) fn read(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let path = self.path(digest);
        fs_err::read(&path).map_err(at(path))
    }

    pub(super) fn size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        let path = self.path(digest);
        match fs_err::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(path)(error)),
        }
    }

    /// Moves a file to its place and flushes both.
    pub(super) fn place(&self, digest: &Digest, from: &Path) -> Result<(), Error> {
        let to = self.path(digest);
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

    pub(super) fn remove(&self, digest: &Digest) -> Result<(), Error> {
        let path = self.path(digest);
        fs_err::remove_file(&path).map_err(at(path))
    }

    /// Digests whose files are at least `age` seconds old and not `named`.
    pub(super) fn unnamed(&self, age: u64, named: impl Fn(&Digest) -> bool) -> Result<Vec<Digest>, Error> {
        let mut found = Vec::new();
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
                    if named(&digest) {
                        continue;
                    }
                    let old = entry.metadata().ok().and_then(|m| m.modified().ok()?.elapsed().ok());
                    if old.is_some_and(|old| old.as_secs() >= age) {
                        found.push(digest);
                    }
                }
            }
        }
        Ok(found)
    }
}
