//! Whiteouts: in archives (OCI image-spec, layer.md) and in overlayfs's upper directories
//! (Documentation/filesystems/overlayfs.rst).

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use rustix::{
    fs::{FileType, Mode, Stat, XattrFlags, makedev, mknodat},
    io::Errno,
};

/// What begins the name of a whiteout in an archive.
pub(crate) const PREFIX: &[u8] = b".wh.";

/// The name of the mark of an opaque directory in an archive.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";

/// The attribute of opaque directories: overlayfs reads the second where it is mounted with `userxattr`.
const OPAQUE_XATTRS: [&str; 2] = ["trusted.overlay.opaque", "user.overlay.opaque"];

/// Whether this is overlayfs's whiteout: a character device with number 0:0.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Makes a whiteout.
pub(crate) fn make_whiteout(dir: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    mknodat(dir, name, FileType::CharacterDevice, Mode::empty(), makedev(0, 0))
}

/// Makes a directory opaque: nothing of the layers below shines through.
pub(crate) fn make_opaque(dir: BorrowedFd<'_>) -> io::Result<()> {
    // `dir` may be open as a mere path, which the fd calls refuse.
    let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
    match rustix::fs::setxattr(&path, OPAQUE_XATTRS[0], b"y", XattrFlags::empty()) {
        Err(Errno::PERM) => rustix::fs::setxattr(&path, OPAQUE_XATTRS[1], b"y", XattrFlags::empty())?,
        result => result?,
    }
    Ok(())
}

/// Whether a directory is opaque.
pub(crate) fn is_opaque(dir: BorrowedFd<'_>) -> io::Result<bool> {
    let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
    for name in OPAQUE_XATTRS {
        let mut value = [0; 1];
        match rustix::fs::getxattr(&path, name, &mut value) {
            Ok(1) if value == *b"y" => return Ok(true),
            Ok(_) | Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE | Errno::PERM) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(false)
}
