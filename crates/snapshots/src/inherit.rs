//! What a new layer takes from the layers below it: files its hard links lead to, and what its undescribed directories look
//! like.

use std::{
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, Mode, OFlags, Timespec, Timestamps, fstat, futimens, linkat, mkdirat, openat, statat,
        unlinkat,
    },
    io::Errno,
};

use crate::{
    Error, Result,
    copy::{copy_attributes, copy_object},
    merge::{Found, Stack},
    unpack::{DeferredLink, Unpacked, path::split},
};

/// Completes the layer unpacked in `diff` with what `below` has.
pub(crate) fn inherit(diff: &Path, unpacked: &Unpacked, below: &Stack) -> Result<()> {
    let root: OwnedFd = fs_err::File::open(diff)?.into_file().into();
    for link in &unpacked.links {
        deferred_link(root.as_fd(), link, below)?;
    }
    for path in &unpacked.implied {
        let failed = |e: io::Error| Error::Apply { path: path.escape_ascii().to_string(), source: e };
        let Some(dir) = open_dir(root.as_fd(), path, None).map_err(failed)? else { continue };
        match below.lookup(path).map_err(failed)?.filter(|f| f.metadata.is_dir()) {
            Some(found) => {
                copy_attributes(&found.path, &found.metadata, &fd_path(dir.as_fd())).map_err(failed)?
            }
            // The same each time the layer is unpacked.
            None => set_mtime(dir.as_fd(), 0, 0).map_err(failed)?,
        }
    }
    Ok(())
}

/// Copies a link's target up into the layer, as overlayfs would, and makes the link.
fn deferred_link(root: BorrowedFd<'_>, link: &DeferredLink, below: &Stack) -> Result<()> {
    let text = |path: &[u8]| path.escape_ascii().to_string();
    let failed = |e: io::Error| Error::Apply { path: text(&link.path), source: e };
    let dangling = || Error::DanglingLink { path: text(&link.path), target: text(&link.target) };
    let (parent, name) = split(&link.target);
    let found = below.lookup(&link.target).map_err(failed)?.filter(|f| !f.metadata.is_dir());
    let found = found.ok_or_else(dangling)?;
    let dir = open_dir(root, parent, Some(below)).map_err(failed)?.ok_or_else(dangling)?;
    match statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => copy_up(&found, dir.as_fd(), name).map_err(failed)?,
        // An earlier link brought it.
        found => drop(found.map_err(|e| failed(e.into()))?),
    }
    let (parent, link_name) = split(&link.path);
    let link_dir = open_dir(root, parent, None).map_err(failed)?.ok_or_else(dangling)?;
    keeping_mtime(link_dir.as_fd(), || {
        match linkat(&dir, name, &link_dir, link_name, AtFlags::empty()) {
            Err(Errno::EXIST) => {
                unlinkat(&link_dir, link_name, AtFlags::empty())?;
                linkat(&dir, name, &link_dir, link_name, AtFlags::empty())?;
            }
            result => result?,
        }
        Ok(())
    })
    .map_err(failed)
}

fn copy_up(found: &Found, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let to = fd_path(dir).join(std::ffi::OsStr::from_bytes(name));
    keeping_mtime(dir, || copy_object(&found.path, &found.metadata, &to))
}

/// Opens a directory of the layer, no links followed; nothing if there is none. With `below`, missing ones are copied up.
fn open_dir(root: BorrowedFd<'_>, path: &[u8], below: Option<&Stack>) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut dir = root.try_clone_to_owned()?;
    let mut end = 0;
    for name in path.split(|b| *b == b'/').filter(|n| !n.is_empty()) {
        end += name.len() + usize::from(end > 0);
        dir = match (openat(&dir, name, flags, Mode::empty()), below) {
            (Err(Errno::NOENT), Some(below)) => {
                let Some(found) = below.lookup(&path[..end])?.filter(|f| f.metadata.is_dir()) else {
                    return Ok(None);
                };
                keeping_mtime(dir.as_fd(), || Ok(mkdirat(&dir, name, Mode::RWXU)?))?;
                let made = openat(&dir, name, flags, Mode::empty())?;
                copy_attributes(&found.path, &found.metadata, &fd_path(made.as_fd()))?;
                made
            }
            (Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP), _) => return Ok(None),
            (opened, _) => opened?,
        };
    }
    Ok(Some(dir))
}

/// A path that leads to an open file, through links though it may be called without following them.
fn fd_path(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/.", fd.as_raw_fd()))
}

fn keeping_mtime<T>(dir: BorrowedFd<'_>, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = fstat(dir)?;
    let result = work()?;
    set_mtime(dir, before.st_mtime, before.st_mtime_nsec as i64)?;
    Ok(result)
}

fn set_mtime(dir: BorrowedFd<'_>, tv_sec: i64, tv_nsec: i64) -> io::Result<()> {
    let time = Timespec { tv_sec, tv_nsec };
    Ok(futimens(dir, &Timestamps { last_access: time, last_modification: time })?)
}
