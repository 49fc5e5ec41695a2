//! Removal of trees of any depth. A container can make directories inside each other as long as the disk has room; the
//! standard library's removal opens and calls itself once per level, which ends the process somewhere below ten thousand.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, renameat, unlinkat},
    io::Errno,
};

/// What lies deeper is moved up first.
const DEPTH: u32 = 64;

/// Removes a directory with everything in it. No link is followed.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] if it is not there, and whatever else keeps something from being removed.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let mut tree = Removal { top: open(CWD, path)?, moved: 0 };
    loop {
        let before = tree.moved;
        let top = open(tree.top.as_fd(), c".")?;
        tree.empty(&top, DEPTH)?;
        if tree.moved == before {
            return Ok(unlinkat(CWD, path, AtFlags::REMOVEDIR)?);
        }
    }
}

fn open(at: impl AsFd, name: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(at, name, flags, Mode::empty())?)
}

struct Removal {
    top: OwnedFd,
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
