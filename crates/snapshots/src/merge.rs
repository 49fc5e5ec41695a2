//! Stacks of unpacked layers seen as one tree, without mounting them: what overlayfs would show.

use std::{
    ffi::OsStr,
    fs::Metadata,
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use crate::whiteout::is_opaque;

/// A stack of layers' directories, topmost first.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    dirs: Vec<PathBuf>,
}

/// An object of the merged tree.
#[derive(Debug)]
pub(crate) struct Found {
    /// Where it lies: in the topmost layer that has it.
    pub(crate) path: PathBuf,
    /// What it is.
    pub(crate) metadata: Metadata,
    /// For a directory, the directories whose entries it shows, topmost first.
    pub(crate) merged: Stack,
}

impl Stack {
    /// The tree of these directories.
    pub(crate) fn new(dirs: Vec<PathBuf>) -> Self {
        Self { dirs }
    }

    /// What is at a relative path, no links followed.
    pub(crate) fn lookup(&self, path: &[u8]) -> io::Result<Option<Found>> {
        let mut found = self.root()?;
        let mut here = self.clone();
        for name in path.split(|b| *b == b'/').filter(|n| !n.is_empty()) {
            found = here.child(OsStr::from_bytes(name))?;
            match &found {
                None => return Ok(None),
                Some(f) => here = f.merged.clone(),
            }
        }
        Ok(found)
    }

    /// The tree's root; nothing if there are no layers.
    fn root(&self) -> io::Result<Option<Found>> {
        let Some(top) = self.dirs.first() else { return Ok(None) };
        let metadata = fs_err::symlink_metadata(top)?;
        Ok(Some(Found { path: top.clone(), metadata, merged: self.clone() }))
    }

    /// The object with this name in the tree's root.
    pub(crate) fn child(&self, name: &OsStr) -> io::Result<Option<Found>> {
        let mut found: Option<Found> = None;
        for dir in &self.dirs {
            let path = dir.join(name);
            let metadata = match fs_err::symlink_metadata(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            if is_whiteout(&metadata) {
                break;
            }
            let is_dir = metadata.is_dir();
            match &mut found {
                Some(found) if is_dir => found.merged.dirs.push(path.clone()),
                Some(_) => break,
                None => {
                    let merged = Stack::new(if is_dir { vec![path.clone()] } else { Vec::new() });
                    found = Some(Found { path: path.clone(), metadata, merged });
                }
            }
            if !is_dir || is_opaque_path(&path)? {
                break;
            }
        }
        Ok(found)
    }

    /// The names in the tree's root, sorted.
    pub(crate) fn names(&self) -> io::Result<Vec<std::ffi::OsString>> {
        let mut names = std::collections::BTreeSet::new();
        for dir in &self.dirs {
            for entry in fs_err::read_dir(dir)? {
                names.insert(entry?.file_name());
            }
        }
        Ok(names.into_iter().collect())
    }
}

/// Whether overlayfs takes this for a whiteout.
pub(crate) fn is_whiteout(metadata: &Metadata) -> bool {
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

/// Whether overlayfs takes this directory for an opaque one.
pub(crate) fn is_opaque_path(path: &Path) -> io::Result<bool> {
    use std::os::fd::AsFd;
    is_opaque(fs_err::File::open(path)?.file().as_fd())
}
