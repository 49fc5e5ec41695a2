//! Network namespaces that have a path, for drivers that are programs of their own.
//!
//! A namespace is mounted on a file below the engine's run directory, as `ip netns` does it. It lives until the mount is gone, even if the
//! container has ended and the daemon with it: so links and addresses can be taken back from it.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    io::Errno,
    mount::{UnmountFlags, mount_bind, unmount},
};
use skiff_types::ContainerId;

use crate::NetworkError;

/// The directory of the paths.
#[derive(Clone, Debug)]
pub(crate) struct Namespaces {
    dir: PathBuf,
}

impl Namespaces {
    /// Below the engine's run directory; nothing is made yet.
    pub(crate) fn below(run: &Path) -> Self {
        Self { dir: run.join("netns") }
    }

    /// The path of a container's namespace.
    pub(crate) fn path(&self, container: &ContainerId) -> PathBuf {
        self.dir.join(container.short())
    }

    /// Gives a namespace its path; it may have it already.
    pub(crate) fn keep(
        &self,
        container: &ContainerId,
        netns: BorrowedFd<'_>,
    ) -> Result<PathBuf, NetworkError> {
        let path = self.path(container);
        if self.find(container).is_some_and(|kept| is_same(&kept, netns)) {
            return Ok(path);
        }
        self.drop(container);
        fs_err::create_dir_all(&self.dir)?;
        fs_err::write(&path, "")?;
        mount_bind(format!("/proc/self/fd/{}", netns.as_raw_fd()), &path)
            .map_err(NetworkError::kernel(format!("mount a network namespace on {}", path.display())))?;
        Ok(path)
    }

    /// The namespace of a container, if it has a path.
    pub(crate) fn find(&self, container: &ContainerId) -> Option<OwnedFd> {
        let file: OwnedFd = fs_err::File::open(self.path(container)).ok()?.into_parts().0.into();
        // A file on which nothing is mounted is no namespace.
        let is_namespace = rustix::fs::fstatfs(&file).is_ok_and(|fs| fs.f_type == NSFS_MAGIC);
        is_namespace.then_some(file)
    }

    /// Takes the path away, and with it the namespace if nobody else is in it.
    pub(crate) fn drop(&self, container: &ContainerId) {
        remove(&self.path(container));
    }

    /// Takes away all paths that no container of these has.
    pub(crate) fn keep_only(&self, known: impl Fn(&str) -> bool) {
        for entry in fs_err::read_dir(&self.dir).into_iter().flatten().flatten() {
            if !known(&entry.file_name().to_string_lossy()) {
                remove(&entry.path());
            }
        }
    }
}

/// `NSFS_MAGIC` of linux/magic.h.
const NSFS_MAGIC: rustix::fs::FsWord = 0x6e73_6673;

fn is_same(one: &OwnedFd, other: BorrowedFd<'_>) -> bool {
    match (rustix::fs::fstat(one), rustix::fs::fstat(other)) {
        (Ok(one), Ok(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
        _ => false,
    }
}

fn remove(path: &Path) {
    let unmounted = unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
    let removed = match unmounted {
        Ok(()) | Err(Errno::INVAL) => fs_err::remove_file(path),
        Err(Errno::NOENT) => return,
        Err(errno) => Err(errno.into()),
    };
    match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            tracing::warn!("the network namespace {} cannot be let go of: {e}", path.display());
        }
        _ => {}
    }
}
