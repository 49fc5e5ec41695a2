//! What the program finds mounted in the bundle.

use std::{
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{CWD, FileType},
    io::Errno,
    mount::{MountPropagationFlags, MoveMountFlags},
};

use super::descriptor;
use crate::apply::{Stage, StageError};

/// Mounts what is `attached` in the bundle. To be called in a mount namespace that ends with its process.
pub(super) fn attach(bundle: &Path, attached: &[(String, u32)], fds: &[OwnedFd]) -> Result<(), StageError> {
    keep_to_ourselves(bundle)?;
    for (name, index) in attached {
        let target = bundle.join(name);
        let failed = |errno| StageError::new(Stage::Mount, errno, target.to_string_lossy());
        one(descriptor(fds, *index)?, &target).map_err(failed)?;
    }
    Ok(())
}

/// Nothing mounted below `path` is to be seen in the host's namespace. The mount that holds `path` still sees what the host mounts in
/// it; all others stay shared with the host, as volumes may want to be.
fn keep_to_ourselves(path: &Path) -> Result<(), StageError> {
    for directory in path.ancestors() {
        match rustix::mount::mount_change(directory, MountPropagationFlags::DOWNSTREAM) {
            // No mount begins here.
            Err(Errno::INVAL) => {}
            other => return other.map_err(|e| StageError::new(Stage::Mount, e, directory.to_string_lossy())),
        }
    }
    Ok(())
}

fn one(fd: BorrowedFd<'_>, target: &Path) -> Result<(), Errno> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode);
    let made = match kind {
        FileType::Directory => fs_err::create_dir_all(target),
        _ => fs_err::write(target, []),
    };
    made.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    match rustix::mount::move_mount(fd, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH) {
        // A namespace, which is no mount to be moved.
        Err(Errno::INVAL) if kind != FileType::Directory => {
            rustix::mount::mount_bind(format!("/proc/self/fd/{}", fd.as_raw_fd()), target)
        }
        other => other,
    }
}
