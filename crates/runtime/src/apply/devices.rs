//! `/dev`: device files, the links beside them, and the console.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::root::ContainerRoot;
use super::{Stage, StageError, filesystem};
use crate::plan::{DeviceKind, DeviceNode};

/// Links of a fresh `/dev`.
const LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
];

const PTMX: (&str, &str) = ("pts/ptmx", "/dev/ptmx");

/// Whether a link stands at this path in a fresh `/dev`.
pub(super) fn is_link(path: &str) -> bool {
    LINKS.into_iter().chain([PTMX]).any(|(_, link)| link == path)
}

/// Makes the device files. `bind` says that they cannot be made (a user namespace) but are bound from the host.
pub(super) fn make<'a>(
    devices: impl Iterator<Item = &'a DeviceNode>,
    root: &ContainerRoot,
    bind: bool,
) -> Result<(), StageError> {
    for device in devices {
        let result = if bind { Err(Errno::PERM) } else { make_one(device, root) };
        let result = match result {
            Err(Errno::PERM) if device.kind != DeviceKind::Fifo => bind_one(device, root),
            Err(Errno::PERM) => make_one(device, root),
            other => other,
        };
        result.map_err(|errno| StageError::new(Stage::Device, errno, &device.path))?;
    }
    Ok(())
}

/// Makes the devices and the links of a `/dev` that is still to be attached somewhere.
pub(super) fn fill(dev: BorrowedFd<'_>, devices: &[DeviceNode]) -> Result<(), StageError> {
    let name = |path: &'static str| path.strip_prefix("/dev/").unwrap_or(path);
    for device in devices {
        let made = make_at(device, dev, device.path.strip_prefix("/dev/").unwrap_or(&device.path));
        made.map_err(|errno| StageError::new(Stage::Device, errno, &device.path))?;
    }
    for (target, path) in LINKS.into_iter().chain([PTMX]) {
        rustix::fs::symlinkat(target, dev, name(path))
            .map_err(|errno| StageError::new(Stage::Device, errno, path))?;
    }
    Ok(())
}

fn make_one(device: &DeviceNode, root: &ContainerRoot) -> Result<(), Errno> {
    let (parent, name) = root.parent(&device.path)?;
    make_at(device, parent.as_fd(), name)
}

fn make_at(device: &DeviceNode, parent: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    let kind = match device.kind {
        DeviceKind::Character => FileType::CharacterDevice,
        DeviceKind::Block => FileType::BlockDevice,
        DeviceKind::Fifo => FileType::Fifo,
    };
    let number = if kind == FileType::Fifo { 0 } else { rustix::fs::makedev(device.major, device.minor) };
    let mode = Mode::from_raw_mode(device.mode);
    match rustix::fs::mknodat(parent, name, kind, mode, number) {
        Err(Errno::EXIST) => return check_existing(parent, name, kind, number),
        other => other?,
    }
    if (device.uid, device.gid) == (0, 0) {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
    rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    // A change of owner may clear bits.
    rustix::fs::chmodat(parent, name, mode, AtFlags::empty())
}

/// What the root file system brings along must be the very device.
fn check_existing(parent: BorrowedFd<'_>, name: &str, kind: FileType, number: u64) -> Result<(), Errno> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let same =
        FileType::from_raw_mode(stat.st_mode) == kind && (kind == FileType::Fifo || stat.st_rdev == number);
    if same { Ok(()) } else { Err(Errno::EXIST) }
}

/// Binds the host's device file of the same path.
fn bind_one(device: &DeviceNode, root: &ContainerRoot) -> Result<(), Errno> {
    let mount = filesystem::clone_tree(CWD, &device.path, false)?;
    let stat = rustix::fs::fstat(&mount)?;
    if stat.st_rdev != rustix::fs::makedev(device.major, device.minor) {
        return Err(Errno::NXIO);
    }
    let target = root.file(&device.path)?;
    filesystem::attach(mount.as_fd(), target.as_fd())
}

/// Makes the links of a fresh `/dev`, `/dev/ptmx` among them.
pub(super) fn link(root: &ContainerRoot) -> Result<(), StageError> {
    for (target, path) in LINKS {
        make_link(target, path, root).map_err(|errno| StageError::new(Stage::Device, errno, path))?;
    }
    let (target, path) = PTMX;
    let failed = |errno| StageError::new(Stage::Device, errno, path);
    let (parent, name) = root.parent(path).map_err(failed)?;
    // One that came with the root file system would be the host's.
    match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(failed(errno)),
    }
    rustix::fs::symlinkat(target, &parent, name).map_err(failed)
}

fn make_link(target: &str, path: &str, root: &ContainerRoot) -> Result<(), Errno> {
    let (parent, name) = root.parent(path)?;
    match rustix::fs::symlinkat(target, &parent, name) {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// Binds the terminal's other end to `/dev/console`.
pub(super) fn bind_console(terminal: BorrowedFd<'_>, root: &ContainerRoot) -> Result<(), StageError> {
    let failed = |errno| StageError::new(Stage::Console, errno, "/dev/console");
    let (parent, name) = root.parent("/dev/console").map_err(failed)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = match rustix::fs::openat(&parent, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => root.file("/dev/console").map_err(failed)?,
        other => other.map_err(failed)?,
    };
    let mount = filesystem::clone_tree(terminal, "", false).map_err(failed)?;
    filesystem::attach(mount.as_fd(), target.as_fd()).map_err(failed)
}
