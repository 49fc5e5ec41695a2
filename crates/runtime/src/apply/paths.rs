//! Paths that a container must not see or not change: masked and read-only ones, and kernel parameters.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, OFlags};
use rustix::io::Errno;
use skiff_sys::mount::attr;

use super::root::{self, ContainerRoot};
use super::{Stage, StageError, filesystem, idmap};

/// Hides paths: files behind the host's null device, directories behind an empty read-only tmpfs. What is not there
/// needs no hiding.
///
/// The null device is the host's and checked to be it, never one from the container's root file system, where a link
/// could stand in its place (CVE-2025-31133).
pub(super) fn mask(
    paths: &[String],
    root: &ContainerRoot,
    stock: Option<&OwnedFd>,
) -> Result<(), StageError> {
    let mut first: Option<OwnedFd> = None;
    let mut null: Option<OwnedFd> = None;
    for path in paths {
        let failed = |errno| StageError::new(Stage::MaskedPath, errno, path);
        let target = match root.open(path, OFlags::PATH) {
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            other => other.map_err(failed)?,
        };
        if root::is_directory(&target).map_err(failed)? {
            // One tmpfs for all: the first is attached, the others are copies of it. (Before Linux 6.15 there is no copy of what is not
            // attached.)
            let mount = match (&first, stock) {
                (Some(first), _) => filesystem::clone_tree(first.as_fd(), "", false).map_err(failed)?,
                (None, Some(made)) => rustix::io::fcntl_dupfd_cloexec(made, 3).map_err(failed)?,
                (None, None) => empty_directory(path)?,
            };
            filesystem::attach(mount.as_fd(), target.as_fd()).map_err(failed)?;
            first.get_or_insert(mount);
        } else {
            let device = match &null {
                Some(device) => device,
                None => null.insert(null_device().map_err(failed)?),
            };
            let mount = filesystem::clone_tree(device.as_fd(), "", false).map_err(failed)?;
            filesystem::attach(mount.as_fd(), target.as_fd()).map_err(failed)?;
        }
    }
    Ok(())
}

/// The empty file system that hides a directory.
pub(super) fn empty_directory(path: &str) -> Result<OwnedFd, StageError> {
    let parameters = [
        ("mode".to_owned(), Some("755".to_owned())),
        ("nr_inodes".to_owned(), Some("2".to_owned())),
        ("ro".to_owned(), None),
    ];
    let attributes = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
    filesystem::create("tmpfs", "tmpfs", &parameters, attributes, path)
        .map_err(|error| StageError { stage: Stage::MaskedPath, ..error })
}

fn null_device() -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let device = rustix::fs::openat(CWD, "/dev/null", flags, rustix::fs::Mode::empty())?;
    let stat = rustix::fs::fstat(&device)?;
    let character = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    if character && stat.st_rdev == rustix::fs::makedev(1, 3) { Ok(device) } else { Err(Errno::NXIO) }
}

/// Makes paths read-only, with everything mounted below them. What is not there needs no protection.
pub(super) fn protect(paths: &[String], root: &ContainerRoot) -> Result<(), StageError> {
    for path in paths {
        let result = match root.open(path, OFlags::PATH) {
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            other => other.and_then(|target| protect_one(target.as_fd())),
        };
        result.map_err(|errno| StageError::new(Stage::ReadonlyPath, errno, path))?;
    }
    Ok(())
}

fn protect_one(target: BorrowedFd<'_>) -> Result<(), Errno> {
    let mount = filesystem::clone_tree(target, "", true)?;
    filesystem::change(mount.as_fd(), attr::RDONLY, 0, true)?;
    filesystem::attach(mount.as_fd(), target)
}

/// Sets kernel parameters, through the host's procfs: it shows those of the caller's namespaces, and nothing of the
/// container's choice can stand in its place.
pub(super) fn set_parameters(
    parameters: &[(String, String)],
    proc: BorrowedFd<'_>,
) -> Result<(), StageError> {
    for (path, value) in parameters {
        idmap::write_at(proc, &format!("sys/{path}"), value.as_bytes()).map_err(|errno| {
            StageError::new(Stage::Sysctl, errno, format!("{} = {value:?}", path.replace('/', ".")))
        })?;
    }
    Ok(())
}
