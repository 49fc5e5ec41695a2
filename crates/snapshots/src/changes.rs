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

/// The changes in `upper` over `below`, ordered by path. Directories that are still to be looked at wait in a list, not on the
/// stack: a container may make them as deep as it likes.
pub(crate) fn upper_changes(upper: &Path, below: &dyn Below) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    let mut todo = vec![(PathBuf::new(), true)];
    while let Some((dir, shows)) = todo.pop() {
        directory(upper, &dir, Some(below).filter(|_| shows), &mut changes, &mut todo)?;
    }
    changes.sort();
    Ok(changes)
}

/// Without `below`, nothing shows through here. Answers what is gone by the time it is looked at with nothing.
fn directory(
    upper: &Path,
    dir: &Path,
    below: Option<&dyn Below>,
    changes: &mut Vec<Change>,
    todo: &mut Vec<(PathBuf, bool)>,
) -> Result<()> {
    let Some(entries) = unless_gone(fs_err::read_dir(upper.join(dir)))? else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let path = dir.join(entry.file_name());
        let Some(metadata) = unless_gone(entry.metadata())? else { continue };
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
        todo.push((path, below.is_some()));
    }
    Ok(())
}

/// The container may run, and remove things meanwhile.
pub(crate) fn unless_gone<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
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
