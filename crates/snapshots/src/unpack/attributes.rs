//! Owner, mode, extended attributes and times, in the order the kernel needs: changing the owner clears setuid bits and
//! file capabilities.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use rustix::{
    fs::{
        AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod, fchown,
        fsetxattr, futimens, lsetxattr, utimensat,
    },
    io::Errno,
};

use super::Place;
use crate::{
    tar::{Entry, EntryKind, Timestamp},
    whiteout::is_overlay_xattr,
};

/// Owner, mode and attributes of an open file or directory.
pub(super) fn set_file_attributes(entry: &Entry, fd: BorrowedFd<'_>) -> io::Result<()> {
    fchown(fd, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))?;
    fchmod(fd, Mode::from_raw_mode(entry.mode))?;
    for (name, value) in xattrs(entry) {
        tolerate(name, fsetxattr(fd, name, value, XattrFlags::empty()))?;
    }
    Ok(())
}

/// Everything of a node that cannot be opened: a link, a device, a pipe.
pub(super) fn set_node_attributes(entry: &Entry, at: &Place<'_>) -> io::Result<()> {
    let no_follow = AtFlags::SYMLINK_NOFOLLOW;
    chownat(at.dir, at.name, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)), no_follow)?;
    if !matches!(entry.kind, EntryKind::Symlink(_)) {
        chmodat(at.dir, at.name, Mode::from_raw_mode(entry.mode), AtFlags::empty())?;
    }
    let mut path = format!("/proc/self/fd/{}/", at.dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(at.name);
    for (name, value) in xattrs(entry) {
        tolerate(name, lsetxattr(&path[..], name, value, XattrFlags::empty()))?;
    }
    utimensat(at.dir, at.name, &timestamps(entry.mtime), no_follow)?;
    Ok(())
}

/// The times of an open file or directory.
pub(super) fn set_times(fd: BorrowedFd<'_>, mtime: Timestamp) -> io::Result<()> {
    Ok(futimens(fd, &timestamps(mtime))?)
}

/// The attributes that an archive may bring.
fn xattrs(entry: &Entry) -> impl Iterator<Item = (&[u8], &[u8])> {
    entry.xattrs.iter().map(|(n, v)| (&n[..], &v[..])).filter(|(n, _)| !is_overlay_xattr(n))
}

/// As Docker: a file system without attributes loses them, and so do nodes that cannot have the user's.
fn tolerate(name: &[u8], result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::OPNOTSUPP) => Ok(()),
        Err(Errno::PERM) if name.starts_with(b"user.") => Ok(()),
        result => result,
    }
}

/// The archive's time of modification for both times.
fn timestamps(mtime: Timestamp) -> Timestamps {
    let time = Timespec { tv_sec: mtime.secs, tv_nsec: i64::from(mtime.nanos) };
    Timestamps { last_access: time, last_modification: time }
}
