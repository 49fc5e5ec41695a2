//! The differences between a merged tree and a directory that began as its copy.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs::Metadata,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use skiff_archive::attributes::xattrs;

use crate::{
    Change, ChangeKind,
    changes::{change, unless_gone},
    diff::Member,
    merge::{Found, Stack},
};

/// Something that differs.
pub(crate) enum Difference {
    /// It is new, or another than before.
    Present {
        /// The relative path.
        name: PathBuf,
        /// Where it is.
        source: PathBuf,
        /// What it is.
        metadata: Metadata,
        /// There was something before.
        existed: bool,
    },
    /// It is gone.
    Gone {
        /// The relative path.
        name: PathBuf,
        /// When its directory was last changed.
        mtime: i64,
    },
}

impl Difference {
    /// As `docker diff` tells it.
    pub(crate) fn change(&self) -> Change {
        match self {
            Self::Present { name, existed: true, .. } => change(name, ChangeKind::Modified),
            Self::Present { name, .. } => change(name, ChangeKind::Added),
            Self::Gone { name, .. } => change(name, ChangeKind::Deleted),
        }
    }

    /// As a layer has it.
    pub(crate) fn into_member(self) -> Member {
        match self {
            Self::Present { name, source, metadata, .. } => Member::Object { name, source, metadata },
            Self::Gone { name, mtime } => Member::Whiteout { name, mtime },
        }
    }
}

/// What differs in `now`, in the order of a depth-first walk with sorted names. Directories on the way are held in a list, not on
/// the stack.
pub(crate) fn differences(before: &Stack, now: &Path) -> io::Result<Vec<Difference>> {
    let mut out = Vec::new();
    let root = before.lookup(b"")?.map(|root| root.merged);
    let mut levels: Vec<Level> = Level::enter(root, now, PathBuf::new(), true, &out)?.into_iter().collect();
    while let Some(level) = levels.last_mut() {
        match level.names.next() {
            Some(name) => {
                if let Some(below) = level.look(now, &name, &mut out)? {
                    levels.push(below);
                }
            }
            None => {
                // Nothing within it differs either: then it is the last that was noted.
                if !level.differs && out.len() == level.noted {
                    out.pop();
                }
                levels.pop();
            }
        }
    }
    Ok(out)
}

/// A directory that is being looked at.
struct Level {
    /// What was there before, if that was a directory.
    before: Option<Stack>,
    dir: PathBuf,
    mtime: i64,
    names: std::collections::btree_set::IntoIter<OsString>,
    /// It differs itself, or is the root, which is not noted.
    differs: bool,
    /// How many differences there were once it was noted itself.
    noted: usize,
}

impl Level {
    /// Nothing if it is gone.
    fn enter(
        before: Option<Stack>,
        now: &Path,
        dir: PathBuf,
        differs: bool,
        out: &[Difference],
    ) -> io::Result<Option<Self>> {
        let here = now.join(&dir);
        let Some(metadata) = unless_gone(fs_err::symlink_metadata(&here))? else { return Ok(None) };
        let Some(entries) = unless_gone(fs_err::read_dir(&here))? else { return Ok(None) };
        let mut names: BTreeSet<_> = entries.map(|e| Ok(e?.file_name())).collect::<io::Result<_>>()?;
        if let Some(before) = &before {
            names.extend(before.names()?);
        }
        let names = names.into_iter();
        Ok(Some(Self { before, dir, mtime: metadata.mtime(), names, differs, noted: out.len() }))
    }

    /// Looks at one name, and answers it if it is a directory.
    fn look(&self, now: &Path, name: &OsStr, out: &mut Vec<Difference>) -> io::Result<Option<Self>> {
        let old = self.before.as_ref().map_or(Ok(None), |b| b.child(name))?;
        let name = self.dir.join(name);
        let source = now.join(&name);
        let Some(metadata) = unless_gone(fs_err::symlink_metadata(&source))? else {
            if old.is_some() {
                out.push(Difference::Gone { name, mtime: self.mtime });
            }
            return Ok(None);
        };
        let differs = match &old {
            Some(old) => !same(old, &source, &metadata)?,
            None => true,
        };
        let (existed, is_dir) = (old.is_some(), metadata.is_dir());
        if !differs && !is_dir {
            return Ok(None);
        }
        out.push(Difference::Present { name: name.clone(), source, metadata, existed });
        if !is_dir {
            return Ok(None);
        }
        let below = old.filter(|o| o.metadata.is_dir()).map(|o| o.merged);
        Self::enter(below, now, name, differs, out)
    }
}

/// Docker's rule: type, mode, owner, device, size and time to the second where both are whole; and the attributes.
fn same(old: &Found, source: &Path, new: &Metadata) -> io::Result<bool> {
    let old_metadata = &old.metadata;
    let facts = |m: &Metadata| (m.mode(), m.uid(), m.gid(), m.rdev());
    if facts(old_metadata) != facts(new) {
        return Ok(false);
    }
    let contents = |m: &Metadata| (m.len(), m.mtime(), m.mtime_nsec());
    if !new.is_dir() && contents(old_metadata) != contents(new) {
        return Ok(false);
    }
    Ok(xattrs(&old.path)? == xattrs(source)?)
}
