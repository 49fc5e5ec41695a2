//! Removal of trees of any depth. A container can make directories inside each other as long as the disk has room; the
//! standard library's removal opens and calls itself once per level, which ends the process somewhere below ten thousand.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, StatxFlags, openat, openat2, renameat,
        statx, unlinkat,
    },
    io::Errno,
};

/// What lies deeper is moved up first.
const DEPTH: u32 = 64;

/// Removes a directory with everything in it. No link is followed.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] if it is not there, and whatever else keeps something from being removed.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    remove_directory(openat(CWD, path, flags, Mode::empty())?, None, CWD, path)
}

/// Removes whatever has this name in a directory, with everything in it. No link is followed. What something is mounted on stays:
/// the kernel would remove it, and the mount with it, if it is mounted in another namespace than the caller's.
///
/// # Errors
/// As [`remove_tree`]; `EBUSY` for what something is mounted on.
pub fn remove_at(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let mount = mount_of(dir, c"")?;
    unless_mounted(Some(mount), dir, name)?;
    match unlinkat(dir, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => remove_directory(open(dir, name)?, Some(mount), dir, name),
        result => Ok(result?),
    }
}

fn remove_directory(
    top: OwnedFd,
    mount: Option<u64>,
    at: impl AsFd,
    name: impl rustix::path::Arg + Copy,
) -> io::Result<()> {
    let mut tree = Removal { top, mount, moved: 0 };
    loop {
        let before = tree.moved;
        let top = open(tree.top.as_fd(), c".")?;
        tree.empty(&top, DEPTH)?;
        if tree.moved == before {
            return Ok(unlinkat(at, name, AtFlags::REMOVEDIR)?);
        }
    }
}

/// Nothing is removed that is mounted in the tree: it is busy, as the kernel says of the place itself.
fn open(at: impl AsFd, name: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_XDEV;
    match openat2(at, name, flags, Mode::empty(), resolve) {
        Err(Errno::XDEV) => Err(Errno::BUSY.into()),
        dir => Ok(dir?),
    }
}

/// `EBUSY` if this is not in the same mount.
fn unless_mounted(mount: Option<u64>, dir: impl AsFd, name: impl rustix::path::Arg) -> io::Result<()> {
    match mount {
        Some(mount) if mount_of(dir, name)? != mount => Err(Errno::BUSY.into()),
        _ => Ok(()),
    }
}

fn mount_of(dir: impl AsFd, name: impl rustix::path::Arg) -> io::Result<u64> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    Ok(statx(dir, name, flags, StatxFlags::MNT_ID)?.stx_mnt_id)
}

struct Removal {
    top: OwnedFd,
    /// The mount that everything must be in.
    mount: Option<u64>,
    /// How many directories were moved up.
    moved: u64,
}

impl Removal {
    fn empty(&mut self, dir: &OwnedFd, depth: u32) -> io::Result<()> {
        for entry in Dir::read_from(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            match unless_mounted(self.mount, dir, name) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                checked => checked?,
            }
            if entry.file_type() != FileType::Directory {
                match unlinkat(dir, name, AtFlags::empty()) {
                    Err(Errno::NOENT) => continue,
                    // Some file systems do not say what an entry is.
                    Err(Errno::ISDIR | Errno::PERM) if entry.file_type() == FileType::Unknown => {}
                    result => {
                        result?;
                        continue;
                    }
                }
            }
            match unlinkat(dir, name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => continue,
                Err(Errno::NOTEMPTY | Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
            }
            if depth == 0 {
                self.moved += 1;
                renameat(dir, name, &self.top, format!(".deep-{}", self.moved))?;
                continue;
            }
            self.empty(&open(dir, name)?, depth - 1)?;
            unlinkat(dir, name, AtFlags::REMOVEDIR)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_does_not_matter_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let kept = dir.path().join("kept");
        fs_err::write(&kept, "x").unwrap();
        let tree = dir.path().join("tree");
        fs_err::create_dir(&tree).unwrap();
        let mut at = open(CWD, &tree).unwrap();
        for i in 0..5000 {
            rustix::fs::symlinkat(dir.path(), &at, "link").unwrap();
            // Names that the removal itself uses.
            let name = if i % 2 == 0 { "d" } else { ".deep-1" };
            rustix::fs::mkdirat(&at, name, Mode::RWXU).unwrap();
            rustix::fs::mkdirat(&at, "empty", Mode::RWXU).unwrap();
            at = open(&at, name).unwrap();
        }
        remove_tree(&tree).unwrap();
        assert!(!tree.exists() && kept.exists());
        assert_eq!(remove_tree(&tree).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
