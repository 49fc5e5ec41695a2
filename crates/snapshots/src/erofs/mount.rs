//! Mounts an index with its archives, without a loop device (Linux 6.12 and later).

use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
        fsmount, fsopen,
    },
};

/// A detached, read-only mount of the index at `index`. The open archives become its devices, in the index's order.
///
/// # Errors
/// `ENODEV` without EROFS, `ENOTBLK` when this kernel mounts it from block devices only, `EINVAL`/`EUCLEAN` for a damaged
/// index.
pub(super) fn mount(index: BorrowedFd<'_>, archives: &[BorrowedFd<'_>]) -> Result<OwnedFd, Errno> {
    let context = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // A value may have 255 bytes: descriptors are shorter than paths.
    fsconfig_set_string(&context, "source", descriptor(&index))?;
    for archive in archives {
        fsconfig_set_string(&context, "device", descriptor(archive))?;
    }
    fsconfig_set_flag(&context, "ro")?;
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)
}

/// Mounts an empty index that is written to `scratch`; the reason if this kernel cannot.
pub(super) fn probe(scratch: &Path) -> Result<OwnedFd, String> {
    let try_mount = || -> std::io::Result<OwnedFd> {
        let path = scratch.join("index");
        fs_err::write(&path, super::index::encode(&super::tree::Tree::new(), &[])?)?;
        Ok(mount(fs_err::File::open(path)?.file().as_fd(), &[])?)
    };
    try_mount().map_err(|error| format!("this kernel does not mount EROFS from files: {error}"))
}

/// A short path to an open file.
pub(super) fn descriptor(fd: &impl AsRawFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}
