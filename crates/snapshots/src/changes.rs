//! What an upper directory changes, as `docker diff` tells it.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use crate::{
    Change, ChangeKind, Result,
    merge::{Stack, is_opaque_path, is_whiteout},
};

/// The tree below an upper directory.
pub(crate) trait Below {
    /// Whether it has this relative path, no links followed.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// The names in a directory of it; none if there is no such directory.
    fn names(&self, dir: &Path) -> io::Result<Vec<OsString>>;
}

impl Below for Stack {
    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.lookup(path.as_os_str().as_bytes())?.is_some())
    }

    fn names(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        let Some(found) = self.lookup(dir.as_os_str().as_bytes())? else { return Ok(Vec::new()) };
        let mut names = found.merged.names()?;
        let shown = |name: &OsString| found.merged.child(name).map(|c| c.is_some());
        let mut error = None;
        names.retain(|name| shown(name).unwrap_or_else(|e| error.replace(e).is_some()));
        error.map_or(Ok(names), Err)
    }
}

/// The changes in `upper` over `below`, ordered by path.
pub(crate) fn upper_changes(upper: &Path, below: &dyn Below) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    walk(upper, Path::new(""), Some(below), &mut changes)?;
    changes.sort();
    Ok(changes)
}

/// Without `below`, nothing shows through here.
fn walk(upper: &Path, dir: &Path, below: Option<&dyn Below>, changes: &mut Vec<Change>) -> Result<()> {
    for entry in fs_err::read_dir(upper.join(dir))? {
        let entry = entry?;
        let path = dir.join(entry.file_name());
        let metadata = entry.metadata()?;
        let existed = below.map_or(Ok(false), |b| b.exists(&path))?;
        let kind = match (is_whiteout(&metadata), existed) {
            (true, _) => ChangeKind::Deleted,
            (false, true) => ChangeKind::Modified,
            (false, false) => ChangeKind::Added,
        };
        changes.push(change(&path, kind));
        if !metadata.is_dir() {
            continue;
        }
        let mut below = below.filter(|_| existed);
        if let Some(hidden) = below.filter(|_| is_opaque_path(&entry.path()).unwrap_or(false)) {
            deleted(&entry.path(), &path, hidden, changes)?;
            below = None;
        }
        walk(upper, &path, below, changes)?;
    }
    Ok(())
}

/// What an opaque directory hides and does not have itself.
fn deleted(upper: &Path, path: &Path, below: &dyn Below, changes: &mut Vec<Change>) -> Result<()> {
    let has = |name: &OsStr| fs_err::symlink_metadata(upper.join(name)).is_ok();
    let gone = below.names(path)?.into_iter().filter(|name| !has(name));
    changes.extend(gone.map(|name| change(&path.join(name), ChangeKind::Deleted)));
    Ok(())
}

/// A change at a relative path.
pub(crate) fn change(path: &Path, kind: ChangeKind) -> Change {
    Change { path: PathBuf::from("/").join(path), kind }
}
