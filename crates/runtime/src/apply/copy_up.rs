//! `tmpcopyup`: a new tmpfs starts with what the root file system has at its place.
//!
//! Both trees are walked by descriptor and no link is followed, so nothing outside of the directory is ever read.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use super::{Stage, StageError};

/// Directories below this depth are a sign of something wrong, and the stack is not endless.
const MAX_DEPTH: u32 = 256;

/// Copies everything below `from` to `to`.
pub(super) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, target: &str) -> Result<(), StageError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |directory| rustix::fs::openat(directory, ".", flags, Mode::empty());
    let result = open(from).and_then(|from| directory(&from, &open(to)?, 0));
    result.map_err(|errno| StageError::new(Stage::Mount, errno, format!("{target}: tmpcopyup")))
}

fn directory(from: &OwnedFd, to: &OwnedFd, depth: u32) -> Result<(), Errno> {
    if depth > MAX_DEPTH {
        return Err(Errno::LOOP);
    }
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        one(from, to, name, &stat, depth)?;
    }
    Ok(())
}

fn one(from: &OwnedFd, to: &OwnedFd, name: &CStr, stat: &Stat, depth: u32) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let kind = FileType::from_raw_mode(stat.st_mode);
    match kind {
        FileType::Directory => {
            rustix::fs::mkdirat(to, name, mode)?;
            let source = rustix::fs::openat(from, name, read | OFlags::DIRECTORY, Mode::empty())?;
            let copy = rustix::fs::openat(to, name, read | OFlags::DIRECTORY, Mode::empty())?;
            directory(&source, &copy, depth + 1)?;
        }
        FileType::RegularFile => {
            let source = rustix::fs::openat(from, name, read | OFlags::NONBLOCK, Mode::empty())?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let copy = rustix::fs::openat(to, name, flags, mode)?;
            while rustix::fs::sendfile(&copy, &source, None, 1 << 20)? > 0 {}
        }
        FileType::Symlink => {
            let link = rustix::fs::readlinkat(from, name, Vec::new())?;
            rustix::fs::symlinkat(link.as_c_str(), to, name)?;
        }
        FileType::Fifo | FileType::CharacterDevice | FileType::BlockDevice | FileType::Socket => {
            rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev)?;
        }
        FileType::Unknown => return Err(Errno::INVAL),
    }
    keep_attributes(to, name, stat, kind, mode)
}

fn keep_attributes(to: &OwnedFd, name: &CStr, stat: &Stat, kind: FileType, mode: Mode) -> Result<(), Errno> {
    let (uid, gid) = (rustix::fs::Uid::from_raw(stat.st_uid), rustix::fs::Gid::from_raw(stat.st_gid));
    rustix::fs::chownat(to.as_fd(), name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    if kind != FileType::Symlink {
        // A change of owner clears set-user-id bits.
        rustix::fs::chmodat(to, name, mode, AtFlags::empty())?;
    }
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec as _),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec as _),
    };
    rustix::fs::utimensat(to, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}
