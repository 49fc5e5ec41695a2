//! The lowest layer of every snapshot: what a container's own mounts stand on, for images that lack it.
//!
//! Without it each start would make these in the container's upper directory, where they would count as changes. Docker has
//! the same paths in its init layer.

use std::{
    fs::Permissions,
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::Result;

/// Directories, those above others first.
const DIRECTORIES: [&str; 6] = ["dev", "dev/pts", "dev/shm", "etc", "proc", "sys"];
/// Empty files.
const FILES: [&str; 5] = [".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/resolv.conf"];
/// A symbolic link, and where it leads.
const MTAB: (&str, &str) = ("etc/mtab", "/proc/mounts");

/// The skeleton of the store at `root`, made if it is not there.
pub(crate) fn open(root: &Path) -> Result<PathBuf> {
    let skeleton = root.join("skeleton");
    for directory in [""].iter().chain(&DIRECTORIES) {
        let path = skeleton.join(directory);
        unless_there(fs_err::create_dir(&path))?;
        // Whatever the umask is.
        fs_err::set_permissions(&path, Permissions::from_mode(0o755))?;
    }
    for file in FILES {
        let path = skeleton.join(file);
        unless_there(fs_err::File::create_new(&path).map(drop))?;
        fs_err::set_permissions(&path, Permissions::from_mode(0o755))?;
    }
    unless_there(fs_err::os::unix::fs::symlink(MTAB.1, skeleton.join(MTAB.0)))?;
    Ok(skeleton)
}

/// Takes what is there already for made.
pub(crate) fn unless_there(made: io::Result<()>) -> io::Result<()> {
    match made {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Every path of the skeleton, relative.
#[cfg(any(test, feature = "conformance"))]
pub(crate) fn paths() -> impl Iterator<Item = &'static str> {
    DIRECTORIES.into_iter().chain(FILES).chain([MTAB.0])
}
