//! From names to directories below a root that neither `..` nor a link leaves.
//!
//! Each part of a path is opened in the directory before it, without following it; links are read and followed by hand,
//! absolute ones from the root; `..` is the directory that was held before, not the one that the disk calls so. Whatever is
//! swapped meanwhile, what is found was in the tree.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{FileType, Mode, OFlags, fstat, mkdirat, openat, readlinkat},
    io::Errno,
};

/// The mode of directories that no entry made, as Docker has it.
const IMPLIED_MODE: Mode = Mode::from_raw_mode(0o755);

/// Links followed in one path, as in the kernel.
const MAX_LINKS: u32 = 40;

/// `PATH_MAX`, the NUL not counted.
pub(crate) const LONGEST_PATH: usize = 4095;

/// Directories below a root, the last one remembered: an archive's entries come directory by directory.
#[derive(Debug)]
pub(crate) struct Below<'a> {
    root: BorrowedFd<'a>,
    last: Option<(Vec<u8>, OwnedFd)>,
}

impl<'a> Below<'a> {
    pub(crate) fn new(root: BorrowedFd<'a>) -> Self {
        Self { root, last: None }
    }

    /// The directory at a path; with `make`, what is missing of it is made.
    pub(crate) fn directory(&mut self, path: &[u8], make: bool) -> io::Result<BorrowedFd<'_>> {
        if self.last.as_ref().is_none_or(|(known, _)| known != path) {
            self.last = Some((path.to_vec(), walk(self.root, path, make, Above::Refuse)?));
        }
        // The line above has set it.
        Ok(self.last.as_ref().ok_or(Errno::NOENT)?.1.as_fd())
    }

    /// Forgets the last directory: it may not be there any more.
    pub(crate) fn forget(&mut self) {
        self.last = None;
    }
}

/// Opens (as a place, `O_PATH`) the directory at `path` below `root`, made with those above it where it is missing. As in a
/// root, `..` leads from it to itself.
///
/// # Errors
/// `ENOTDIR`, `ELOOP`, and the kernel's.
pub fn make_directory(root: BorrowedFd<'_>, path: &[u8]) -> io::Result<OwnedFd> {
    walk(root, path, true, Above::Stay)
}

/// What is above the root.
#[derive(Clone, Copy)]
enum Above {
    /// Nothing: `EXDEV`.
    Refuse,
    /// The root itself.
    Stay,
}

fn walk(root: BorrowedFd<'_>, path: &[u8], make: bool, above: Above) -> io::Result<OwnedFd> {
    let mut held = vec![root.try_clone_to_owned()?];
    let mut todo = Vec::new();
    push_parts(&mut todo, path);
    let mut links = 0;
    while let Some(part) = todo.pop() {
        let here = held.last().ok_or(Errno::XDEV)?;
        if part == b".." {
            match (held.len(), above) {
                (1, Above::Refuse) => return Err(Errno::XDEV.into()),
                (1, Above::Stay) => {}
                _ => drop(held.pop()),
            }
            continue;
        }
        let next = match open_place(here.as_fd(), &part) {
            Err(Errno::NOENT) if make => {
                match mkdirat(here, &part[..], IMPLIED_MODE) {
                    // Somebody else made it.
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(e) => return Err(e.into()),
                }
                open_place(here.as_fd(), &part)?
            }
            found => found?,
        };
        match FileType::from_raw_mode(fstat(&next)?.st_mode) {
            FileType::Directory => held.push(next),
            FileType::Symlink if links < MAX_LINKS => {
                links += 1;
                let target = readlinkat(&next, c"", Vec::new())?.into_bytes();
                if target.starts_with(b"/") {
                    held.truncate(1);
                }
                push_parts(&mut todo, &target);
            }
            FileType::Symlink => return Err(Errno::LOOP.into()),
            _ => return Err(Errno::NOTDIR.into()),
        }
    }
    Ok(held.pop().ok_or(Errno::XDEV)?)
}

fn push_parts(todo: &mut Vec<Vec<u8>>, path: &[u8]) {
    let parts = path.split(|b| *b == b'/').filter(|part| !matches!(*part, b"" | b"."));
    todo.extend(parts.rev().map(<[u8]>::to_vec));
}

/// Opens whatever has this name in a directory, as a mere place: nothing happens to a device or a pipe by that.
pub(crate) fn open_place(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_links_nor_dots_leave_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs_err::create_dir_all(root.join("in/deep")).unwrap();
        fs_err::create_dir(dir.path().join("outside")).unwrap();
        fs_err::write(root.join("file"), "").unwrap();
        for (link, target) in [
            ("absolute", "/in/deep"),
            ("up", "in/../../outside"),
            ("loop", "loop"),
            ("dangling", "/made/by/link"),
            ("around", "in/deep/../../in"),
        ] {
            fs_err::os::unix::fs::symlink(target, root.join(link)).unwrap();
        }
        let open = fs_err::File::open(&root).unwrap();
        let root_fd = open.file().as_fd();
        let found = |path: &str, make: bool| {
            let fd = walk(root_fd, path.as_bytes(), make, Above::Refuse).map_err(|e| e.raw_os_error())?;
            let link = rustix::fs::readlink(
                format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd)),
                Vec::new(),
            );
            Ok(link.unwrap().into_string().unwrap().replace(root.to_str().unwrap(), ""))
        };
        let errno = |e: Errno| Err(Some(e.raw_os_error()));
        assert_eq!(found("", false), Ok(String::new()));
        assert_eq!(found("absolute", false), Ok("/in/deep".into()));
        assert_eq!(found("around/deep", false), Ok("/in/deep".into()));
        assert_eq!(found("up", true), errno(Errno::XDEV));
        assert_eq!(found("..", true), errno(Errno::XDEV));
        assert_eq!(found("loop", true), errno(Errno::LOOP));
        assert_eq!(found("file", true), errno(Errno::NOTDIR));
        assert_eq!(found("dangling", false), errno(Errno::NOENT));
        assert_eq!(found("dangling/x", true), Ok("/made/by/link/x".into()));
        make_directory(root_fd, b"up/../x").unwrap();
        assert!(root.join("x").is_dir() && root.join("outside").is_dir());
        assert_eq!(fs_err::read_dir(dir.path().join("outside")).unwrap().count(), 0);
    }
}
