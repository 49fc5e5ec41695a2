//! The differences between a merged tree and a directory that began as its copy.

use std::{
    collections::BTreeSet,
    fs::Metadata,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::{
    Change, ChangeKind,
    changes::change,
    copy::xattrs,
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

/// What differs in `now`, in the order of a depth-first walk with sorted names.
pub(crate) fn differences(before: &Stack, now: &Path) -> io::Result<Vec<Difference>> {
    let mut differences = Vec::new();
    let root = before.lookup(b"")?;
    walk(root.as_ref().map(|r| &r.merged), now, Path::new(""), &mut differences)?;
    Ok(differences)
}

/// Whether anything within the directory differs.
fn walk(before: Option<&Stack>, now: &Path, dir: &Path, out: &mut Vec<Difference>) -> io::Result<bool> {
    let here = now.join(dir);
    let mtime = fs_err::symlink_metadata(&here)?.mtime();
    let mut names: BTreeSet<_> =
        fs_err::read_dir(&here)?.map(|e| Ok(e?.file_name())).collect::<io::Result<_>>()?;
    if let Some(before) = before {
        names.extend(before.names()?);
    }
    let count = out.len();
    for name in names {
        let old = before.map_or(Ok(None), |b| b.child(&name))?;
        let name = dir.join(name);
        let source = now.join(&name);
        let metadata = match fs_err::symlink_metadata(&source) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                if old.is_some() {
                    out.push(Difference::Gone { name, mtime });
                }
                continue;
            }
            metadata => metadata?,
        };
        let differs = match &old {
            Some(old) => !same(old, &source, &metadata)?,
            None => true,
        };
        let (at, is_dir) = (out.len(), metadata.is_dir());
        out.push(Difference::Present { name: name.clone(), source, metadata, existed: old.is_some() });
        let below = old.as_ref().filter(|o| o.metadata.is_dir()).map(|o| &o.merged);
        let within = is_dir && walk(below, now, &name, out)?;
        if !differs && !within {
            out.remove(at);
        }
    }
    Ok(out.len() > count)
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
