//! Owner, mode, extended attributes and times, in the order the kernel needs: changing the owner clears setuid bits and
//! file capabilities.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    path::Path,
};

use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod,
        fchown, fsetxattr, futimens, getxattr, lgetxattr, listxattr, llistxattr, lsetxattr, statat,
        utimensat,
    },
    io::Errno,
};

use crate::tar::{Entry, EntryKind, Timestamp};

/// Gives an open file or directory the entry's owner, mode and attributes.
///
/// # Errors
/// The kernel's; what the file system cannot keep is left out, as Docker does.
pub fn set_file_attributes(entry: &Entry, fd: BorrowedFd<'_>) -> io::Result<()> {
    fchown(fd, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))?;
    fchmod(fd, Mode::from_raw_mode(entry.mode))?;
    for (name, value) in brought(entry) {
        tolerate(name, fsetxattr(fd, name, value, XattrFlags::empty()))?;
    }
    Ok(())
}

/// Gives the node `name` of an open directory, which cannot be opened itself (a link, a device, a pipe), everything the entry has.
///
/// # Errors
/// As [`set_file_attributes`].
pub fn set_node_attributes(entry: &Entry, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let is_symlink = matches!(entry.kind, EntryKind::Symlink(_));
    set_owner_and_more(entry, dir, name, is_symlink)?;
    utimensat(dir, name, &timestamps(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

/// Gives the file that a hard link has made another name of, in an open directory, what the link's own entry says. As with
/// Docker, that of a symbolic link is its owner alone.
///
/// # Errors
/// As [`set_file_attributes`].
pub fn set_linked_attributes(entry: &Entry, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let is_symlink = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
    set_owner_and_more(entry, dir, name, is_symlink)?;
    if !is_symlink {
        utimensat(dir, name, &timestamps(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

/// Sets owner, mode and attributes. A symbolic link is not followed, and has no mode.
fn set_owner_and_more(entry: &Entry, dir: BorrowedFd<'_>, name: &[u8], is_symlink: bool) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    if !is_symlink {
        chmodat(dir, name, Mode::from_raw_mode(entry.mode), AtFlags::empty())?;
    }
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    for (key, value) in brought(entry) {
        tolerate(key, lsetxattr(&path[..], key, value, XattrFlags::empty()))?;
    }
    Ok(())
}

/// Sets both times of an open file or directory.
///
/// # Errors
/// The kernel's.
pub fn set_times(fd: BorrowedFd<'_>, mtime: Timestamp) -> io::Result<()> {
    Ok(futimens(fd, &timestamps(mtime))?)
}

/// The attributes that an archive may bring.
fn brought(entry: &Entry) -> impl Iterator<Item = (&[u8], &[u8])> {
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

/// An object's extended attributes, sorted by name, without overlayfs's own. A link is not followed.
///
/// # Errors
/// The kernel's.
pub fn xattrs(path: &Path) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    read_all(|buf| llistxattr(path, buf), |name, buf| lgetxattr(path, name, buf))
}

/// The same of an open object, even one open as a mere place (`O_PATH`).
pub(crate) fn xattrs_of(fd: BorrowedFd<'_>) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    // The calls that take descriptors refuse such.
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    read_all(|buf| listxattr(&path, buf), |name, buf| getxattr(&path, name, buf))
}

fn read_all(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&[u8], &mut [u8]) -> Result<usize, Errno>,
) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let names = match grow(list) {
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        names => names?,
    };
    let mut xattrs = Vec::new();
    for name in names.split(|b| *b == 0).filter(|n| !n.is_empty() && !is_overlay_xattr(n)) {
        match grow(|buf| get(name, buf)) {
            // The kernel lists what it does not give (another security module's).
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            value => xattrs.push((name.to_vec(), value?)),
        }
    }
    xattrs.sort();
    Ok(xattrs)
}

/// Calls with a buffer that grows until it is large enough.
fn grow(call: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buf = vec![0; 256];
    loop {
        match call(&mut buf) {
            Ok(len) => {
                buf.truncate(len);
                return Ok(buf);
            }
            Err(Errno::RANGE) if buf.len() < 1 << 20 => buf.resize(buf.len() * 4, 0),
            Err(e) => return Err(e),
        }
    }
}

/// Whether an attribute is overlayfs's own: an archive may not bring it, and none goes into one.
pub fn is_overlay_xattr(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}

/// Whether an attribute means the same elsewhere: the user's, and file capabilities.
pub fn is_portable(name: &[u8]) -> bool {
    name.starts_with(b"user.") || name == b"security.capability"
}
