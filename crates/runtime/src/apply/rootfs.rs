//! The root file system: brought into the container's mount namespace, and made `/` there.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use skiff_sys::mount::attr;

use super::root::ContainerRoot;
use super::{Stage, StageError, filesystem, mounts};
use crate::plan::{Rootfs, RootfsPlan, Spread, Spreading};

/// Where a root file system without a path of its own is attached until it becomes `/`: a directory that every procfs
/// has, on a mount which is private to this namespace by then.
const WAITING_PLACE: &str = "/proc/fs";

/// What the container's mounts share with the host's unless the plan says otherwise: they receive.
const DEFAULT_SPREAD: Spreading = Spreading { to: Spread::Slave, recursive: true };

fn failed(what: impl Into<String>) -> impl FnOnce(Errno) -> StageError {
    let detail = what.into();
    move |errno| StageError::new(Stage::Rootfs, errno, detail)
}

/// Cuts the mount namespace off from the host's as far as asked for, and attaches the root file system in it.
pub(super) fn attach(plan: &RootfsPlan, fds: &[OwnedFd]) -> Result<ContainerRoot, StageError> {
    let spread = plan.spread.unwrap_or(DEFAULT_SPREAD);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::open("/", flags, Mode::empty()).map_err(failed("/"))?;
    // What may not be bound could not become the container's either: the root itself gets that at the end.
    let outer =
        if spread.to == Spread::Unbindable { Spreading { to: Spread::Private, ..spread } } else { spread };
    mounts::spread_to(top.as_fd(), outer).map_err(failed("propagation of /"))?;
    let shares = spread.to == Spread::Shared;
    let (tree, place) = match &plan.source {
        Rootfs::Path(path) => {
            if shares {
                make_parent_private(path)?;
            }
            let name = path.to_str().unwrap_or_default();
            let place = rustix::fs::open(name, flags, Mode::empty()).map_err(failed(name))?;
            let tree = filesystem::clone_tree(place.as_fd(), "", true).map_err(failed(name))?;
            (tree, place)
        }
        Rootfs::Fd(index) => {
            let tree = fds.get(*index as usize).ok_or(Errno::BADF);
            let tree = tree.and_then(|fd| rustix::io::fcntl_dupfd_cloexec(fd, 3));
            let tree = tree.map_err(failed(format!("descriptor {index}")))?;
            if shares {
                let proc = rustix::fs::open("/proc", flags, Mode::empty()).map_err(failed("/proc"))?;
                let private = Spreading { to: Spread::Private, recursive: false };
                mounts::spread_to(proc.as_fd(), private).map_err(failed("propagation of /proc"))?;
            }
            (tree, rustix::fs::open(WAITING_PLACE, flags, Mode::empty()).map_err(failed(WAITING_PLACE))?)
        }
    };
    filesystem::attach(tree.as_fd(), place.as_fd()).map_err(failed("attaching the root file system"))?;
    // pivot_root refuses a shared mount, and what the host mounts in the bundle is none of the container's business.
    let private = Spreading { to: Spread::Private, recursive: false };
    mounts::spread_to(tree.as_fd(), private).map_err(failed("propagation of the root file system"))?;
    Ok(ContainerRoot::new(tree))
}

/// Makes the mount that holds the root file system's directory private, so that mounting there reaches nobody else.
fn make_parent_private(path: &Path) -> Result<(), StageError> {
    let real = path.canonicalize().map_err(|error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::INVAL);
        StageError::new(Stage::Rootfs, errno, path.display().to_string())
    })?;
    let points = mount_points()?;
    let parent = points
        .iter()
        .filter(|point| real.starts_with(&point.path))
        .max_by_key(|point| point.path.as_os_str().len());
    let Some(parent) = parent else { return Ok(()) };
    rustix::mount::mount_change(&parent.path, MountPropagationFlags::PRIVATE)
        .map_err(failed(parent.path.display().to_string()))
}

/// A line of mountinfo, as far as it is needed here.
struct MountPoint {
    path: PathBuf,
    fstype: String,
}

fn mount_points() -> Result<Vec<MountPoint>, StageError> {
    let text = fs_err::read_to_string("/proc/self/mountinfo")
        .map_err(|error| StageError::refused(Stage::Rootfs, error.to_string()))?;
    let parse = |line: &str| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let path = skiff_sys::mountinfo::path(mount.split(' ').nth(4)?);
        Some(MountPoint { path, fstype: filesystem.split(' ').next()?.to_owned() })
    };
    Ok(text.lines().filter_map(parse).collect())
}

/// Gives the root file system its final attributes and makes it `/`.
pub(super) fn enter(plan: &RootfsPlan, root: &ContainerRoot) -> Result<(), StageError> {
    if plan.readonly {
        filesystem::change(root.fd(), attr::RDONLY, 0, false).map_err(failed("read-only root"))?;
    }
    let result = if plan.no_pivot { move_root(plan, root) } else { pivot(root.fd()) };
    result.map_err(|errno| StageError::new(Stage::Pivot, errno, "root file system"))?;
    // Only now: pivot_root refuses a shared mount.
    match plan.spread {
        Some(spread) => {
            mounts::spread_to(root.fd(), spread).map_err(failed("propagation of the root file system"))
        }
        None => Ok(()),
    }
}

/// pivot_root(2) with both arguments the new root, which stacks the old one on top of it for a moment.
fn pivot(new: BorrowedFd<'_>) -> Result<(), Errno> {
    let old = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::process::fchdir(new)?;
    rustix::process::pivot_root(".", ".")?;
    rustix::process::fchdir(&old)?;
    // Unmounting must not reach the host.
    rustix::mount::mount_change(".", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")
}

/// For a host whose own root cannot be pivoted: the mount is moved over it. The kernel's file systems are taken away
/// first, since they would stay reachable below.
fn move_root(plan: &RootfsPlan, root: &ContainerRoot) -> Result<(), Errno> {
    rustix::process::fchdir(root.fd())?;
    // As mountinfo names it: without links.
    let inside = match &plan.source {
        Rootfs::Path(path) => path.canonicalize().map_err(|_| Errno::NOENT)?,
        Rootfs::Fd(_) => PathBuf::from(WAITING_PLACE),
    };
    // From below, so that each is still there when its turn comes.
    for point in mount_points().map_err(|_| Errno::IO)?.iter().rev() {
        let kernels = point.fstype == "proc" || point.fstype == "sysfs";
        if !kernels || point.path.starts_with(&inside) || inside.starts_with(&point.path) {
            continue;
        }
        rustix::mount::mount_change(
            &point.path,
            MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
        )?;
        match rustix::mount::unmount(&point.path, UnmountFlags::DETACH) {
            Ok(()) | Err(Errno::INVAL | Errno::PERM) => {}
            Err(errno) => return Err(errno),
        }
    }
    let slash =
        rustix::fs::openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = rustix::mount::MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH
        | rustix::mount::MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(root.fd(), "", &slash, "", flags)?;
    rustix::process::chroot(".")?;
    rustix::process::chdir("/")
}
