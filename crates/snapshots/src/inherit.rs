//! What a new layer takes from the layers below it: files its hard links lead to, and what its undescribed directories look
//! like.

use std::{
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, fstat, futimens, linkat, mkdirat,
        openat, statat, unlinkat,
    },
    io::Errno,
};
use skiff_archive::path::split;

use crate::{
    Error, Result,
    copies::Copies,
    copy::{copy_attributes, copy_object},
    merge::{Found, Stack},
    unpack::{DeferredLink, Unpacked},
    whiteout::{is_opaque, is_whiteout},
};

/// Completes the layer unpacked in `diff` with what `below` has.
pub(crate) fn inherit(
    diff: &Path,
    unpacked: &Unpacked,
    below: &Stack,
    copies: &mut Copies<'_>,
) -> Result<()> {
    let root: OwnedFd = fs_err::File::open(diff)?.into_file().into();
    for link in &unpacked.links {
        deferred_link(root.as_fd(), link, below, copies)?;
    }
    for path in &unpacked.whiteouts {
        let failed = |e: io::Error| Error::Apply { path: path.escape_ascii().to_string(), source: e };
        drop_idle_whiteout(root.as_fd(), path, below).map_err(failed)?;
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
fn deferred_link(
    root: BorrowedFd<'_>,
    link: &DeferredLink,
    below: &Stack,
    copies: &mut Copies<'_>,
) -> Result<()> {
    let text = |path: &[u8]| path.escape_ascii().to_string();
    let failed = |e: io::Error| Error::Apply { path: text(&link.path), source: e };
    let dangling = || Error::DanglingLink { path: text(&link.path), target: text(&link.target) };
    let (parent, name) = split(&link.target);
    let here = open_dir(root, parent, None).map_err(failed)?;
    let dir = match here.and_then(|dir| Some((statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?, dir))) {
        Some((stat, _)) if is_whiteout(&stat) || is_dir(&stat) => return Err(dangling()),
        // A later entry, or an earlier link, brought it.
        Some((_, dir)) => dir,
        None => {
            let found = below.lookup(&link.target).map_err(failed)?.filter(|f| !f.metadata.is_dir());
            let found = found.ok_or_else(dangling)?;
            let dir = open_dir(root, parent, Some(below)).map_err(failed)?.ok_or_else(dangling)?;
            // Holes are not filled.
            let (len, stored) = (found.metadata.len(), found.metadata.blocks().saturating_mul(512));
            copies.take(len.min(stored)).map_err(failed)?;
            copy_up(&found, dir.as_fd(), name).map_err(failed)?;
            dir
        }
    };
    if link.path == link.target {
        return Ok(());
    }
    let (parent, link_name) = split(&link.path);
    let Some(link_dir) = open_dir(root, parent, None).map_err(failed)? else {
        // A later entry took its directory's name.
        return Ok(());
    };
    let link_it = || linkat(&dir, name, &link_dir, link_name, AtFlags::empty());
    keeping_mtime(link_dir.as_fd(), || match link_it() {
        Err(Errno::EXIST) if is_whiteout(&statat(&link_dir, link_name, AtFlags::SYMLINK_NOFOLLOW)?) => {
            unlinkat(&link_dir, link_name, AtFlags::empty())?;
            Ok(link_it()?)
        }
        // A later entry took the name.
        Err(Errno::EXIST) => Ok(()),
        result => Ok(result?),
    })
    .map_err(failed)
}

fn is_dir(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Removes a whiteout that hides nothing: overlayfs would show its name in a directory that it does not merge.
fn drop_idle_whiteout(root: BorrowedFd<'_>, path: &[u8], below: &Stack) -> io::Result<()> {
    let (parent, name) = split(path);
    let Some(dir) = open_dir(root, parent, None)? else { return Ok(()) };
    match statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if is_whiteout(&stat) => {}
        _ => return Ok(()),
    }
    if below.lookup(path)?.is_some() && !is_below_opaque(root, parent)? {
        return Ok(());
    }
    keeping_mtime(dir.as_fd(), || Ok(unlinkat(&dir, name, AtFlags::empty())?))
}

/// Whether a directory of the layer, or one above it, is opaque.
fn is_below_opaque(root: BorrowedFd<'_>, path: &[u8]) -> io::Result<bool> {
    let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(i, _)| i);
    for end in std::iter::once(0).chain(ends).chain([path.len()]) {
        if let Some(dir) = open_dir(root, &path[..end], None)?
            && is_opaque(dir.as_fd())?
        {
            return Ok(true);
        }
    }
    Ok(false)
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
