//! Mounts an index with its archives, without a loop device (Linux 6.12 and later).

use std::{
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
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
    fsconfig_set_string(&context, "source", descriptor(index))?;
    for archive in archives {
        fsconfig_set_string(&context, "device", descriptor(*archive))?;
    }
    fsconfig_set_flag(&context, "ro")?;
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)
}

/// Whether this kernel mounts EROFS from files.
pub(super) fn supported(scratch: &Path) -> Result<(), String> {
    let probe = || -> std::io::Result<()> {
        let file = tempfile_in(scratch)?;
        let image = super::index::encode(&super::tree::Tree::new(), &[])?;
        rustix::io::write(&file, &image)?;
        use std::os::fd::AsFd;
        mount(file.as_fd(), &[])?;
        Ok(())
    };
    probe().map_err(|error| format!("this kernel does not mount EROFS from files: {error}"))
}

fn tempfile_in(dir: &Path) -> std::io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    Ok(rustix::fs::open(dir, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)?)
}

fn descriptor(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}
