//! The container's view of its cgroups at `/sys/fs/cgroup`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use skiff_sys::mount::attr;

use super::root::ContainerRoot;
use super::{Stage, StageError, filesystem};
use crate::plan::{CgroupHierarchy, MountStep};

/// A tmpfs with one mount per hierarchy, and links for the names of controllers that share one.
pub(super) fn version_1(
    step: &MountStep,
    hierarchies: &[CgroupHierarchy],
    root: &ContainerRoot,
) -> Result<OwnedFd, StageError> {
    let failed = |errno: Errno| StageError::new(Stage::Mount, errno, format!("{}/", step.target));
    let target = root.directory(&step.target).map_err(failed)?;
    let top = new_top(step)?;
    filesystem::attach(top.as_fd(), target.as_fd()).map_err(failed)?;
    fill(top.as_fd(), step, hierarchies)?;
    Ok(top)
}

/// The same, still to be attached.
///
/// # Errors
/// Kernels before 6.15 refuse it.
pub(super) fn detached(step: &MountStep, hierarchies: &[CgroupHierarchy]) -> Result<OwnedFd, StageError> {
    let top = new_top(step)?;
    fill(top.as_fd(), step, hierarchies)?;
    Ok(top)
}

fn new_top(step: &MountStep) -> Result<OwnedFd, StageError> {
    let mode = [("mode".to_owned(), Some("755".to_owned()))];
    filesystem::create("tmpfs", "tmpfs", &mode, step.set & !attr::RDONLY, &step.target)
}

fn fill(top: BorrowedFd<'_>, step: &MountStep, hierarchies: &[CgroupHierarchy]) -> Result<(), StageError> {
    let failed =
        |errno: Errno, what: &str| StageError::new(Stage::Mount, errno, format!("{}/{what}", step.target));
    for hierarchy in hierarchies {
        let name = hierarchy.name.as_str();
        rustix::fs::mkdirat(top, name, Mode::from_raw_mode(0o755)).map_err(|errno| failed(errno, name))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let point =
            rustix::fs::openat(top, name, flags, Mode::empty()).map_err(|errno| failed(errno, name))?;
        let mount = match &hierarchy.bind_from {
            Some(path) => own_directory(path, &step.target)?,
            None => new_view(hierarchy, step)?,
        };
        // Before it is attached: in what is not attached itself, only the top may be changed.
        filesystem::change(mount.as_fd(), step.set, step.clear, false)
            .map_err(|errno| failed(errno, name))?;
        filesystem::attach(mount.as_fd(), point.as_fd()).map_err(|errno| failed(errno, name))?;
        for link in &hierarchy.links {
            rustix::fs::symlinkat(name, top, link.as_str()).map_err(|errno| failed(errno, link))?;
        }
    }
    filesystem::change(top, step.set, step.clear, false).map_err(|errno| failed(errno, ""))
}

fn new_view(hierarchy: &CgroupHierarchy, step: &MountStep) -> Result<OwnedFd, StageError> {
    let parameters: Vec<(String, Option<String>)> = hierarchy
        .options
        .split(',')
        .map(|option| match option.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (option.to_owned(), None),
        })
        .collect();
    filesystem::create("cgroup", "cgroup", &parameters, step.set, &step.target)
}

/// The v2 tree; the container's part of it where the kernel allows no new mount.
pub(super) fn version_2(
    step: &MountStep,
    bind_from: &Path,
    root: &ContainerRoot,
) -> Result<OwnedFd, StageError> {
    let failed = |errno: Errno| StageError::new(Stage::Mount, errno, &step.target);
    let target = root.directory(&step.target).map_err(failed)?;
    let refused = [Errno::PERM.raw_os_error(), Errno::BUSY.raw_os_error()];
    let mount = match filesystem::create("cgroup2", "cgroup", &[], step.set, &step.target) {
        Err(error) if refused.contains(&error.errno) => own_directory(bind_from, &step.target)?,
        other => other?,
    };
    filesystem::attach(mount.as_fd(), target.as_fd()).map_err(failed)?;
    Ok(mount)
}

fn own_directory(path: &Path, target: &str) -> Result<OwnedFd, StageError> {
    let here: BorrowedFd<'_> = CWD;
    let name = path.to_str().unwrap_or_default();
    filesystem::clone_tree(here, name, false)
        .map_err(|errno| StageError::new(Stage::Mount, errno, format!("{target}: source {name}")))
}
