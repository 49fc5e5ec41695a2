//! Carries mount steps out, inside the container's root.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;
use skiff_sys::mount::{self, Change, Propagation, attr};

use super::root::{self, ContainerRoot};
use super::stock::Stock;
use super::{Stage, StageError, cgroup_mounts, copy_up, filesystem};
use crate::plan::{MountKind, MountSource, MountStep, Spread, Spreading};

/// `f_type` of procfs.
pub(super) const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// The files of procfs over which something may be mounted (as LXCFS does); anything else there could deceive whoever
/// writes to procfs on the container's behalf.
const PROC_FILES: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

/// What mounts need beside their steps.
pub(super) struct MountContext<'plan> {
    /// The container's root.
    pub(super) root: &'plan ContainerRoot,
    /// Mounts that were opened by the parent, by step.
    pub(super) opened: &'plan [Option<OwnedFd>],
    /// Descriptors passed beside the plan.
    pub(super) fds: &'plan [OwnedFd],
    /// The SELinux label of new file systems.
    pub(super) label: Option<&'plan str>,
    /// What is made already.
    pub(super) stock: &'plan Stock,
}

/// Carries all steps out, in order.
pub(super) fn apply(steps: &[MountStep], context: &MountContext<'_>) -> Result<(), StageError> {
    steps.iter().enumerate().try_for_each(|(index, step)| one(index, step, context))
}

fn one(index: usize, step: &MountStep, context: &MountContext<'_>) -> Result<(), StageError> {
    let root = context.root;
    // What creation has already given the mount.
    let mut given = 0;
    let mount = match &step.kind {
        MountKind::Bind { source, recursive } => {
            let opened = context.opened.get(index).and_then(Option::as_ref);
            bind(step, source, *recursive, opened, context)?
        }
        MountKind::Filesystem { .. } if let Some(made) = context.stock.find(step) => {
            given = step.set & filesystem::FSMOUNT_ATTRIBUTES;
            from_stock(step, made, context)?
        }
        MountKind::Filesystem { fstype, source, options, copy_up } => {
            let (mount, attributes) = new_filesystem(step, fstype, source, options, *copy_up, context)?;
            given = attributes;
            mount
        }
        MountKind::CgroupV1 { hierarchies } => match context.stock.find(step) {
            Some(view) => from_stock(step, view, context)?,
            None => cgroup_mounts::version_1(step, hierarchies, root)?,
        },
        MountKind::CgroupV2 { bind_from } => cgroup_mounts::version_2(step, bind_from, root)?,
        MountKind::Remount { options } => {
            let mount = existing(step, root)?;
            if !options.is_empty() {
                filesystem::reconfigure(mount.as_fd(), options, &step.target)?;
            }
            mount
        }
        MountKind::Change => existing(step, root)?,
    };
    finish(mount.as_fd(), step, given)
}

/// The attributes that creation did not give, then the propagation.
fn finish(mount: BorrowedFd<'_>, step: &MountStep, given: u64) -> Result<(), StageError> {
    let failed = |what: &str| {
        let detail = format!("{}: {what}", step.target);
        move |errno| StageError::new(Stage::Mount, errno, detail)
    };
    let complete = given == step.set && given != 0 || matches!(step.kind, MountKind::CgroupV1 { .. });
    if !complete {
        filesystem::change(mount, step.set, step.clear, false).map_err(failed("attributes"))?;
    }
    filesystem::change(mount, step.recursive_set, step.recursive_clear, true)
        .map_err(failed("recursive attributes"))?;
    for spread in &step.spread {
        spread_to(mount, *spread).map_err(failed("propagation"))?;
    }
    Ok(())
}

/// Changes what a mount shares.
pub(super) fn spread_to(mount: BorrowedFd<'_>, spread: Spreading) -> Result<(), Errno> {
    let propagation = match spread.to {
        Spread::Private => Propagation::Private,
        Spread::Shared => Propagation::Shared,
        Spread::Slave => Propagation::Slave,
        Spread::Unbindable => Propagation::Unbindable,
    };
    let change = Change { propagation: Some(propagation), recursive: spread.recursive, ..Change::default() };
    mount::set_attributes(mount, &change)
}

/// Attaches what is made already.
fn from_stock(
    step: &MountStep,
    mount: BorrowedFd<'_>,
    context: &MountContext<'_>,
) -> Result<OwnedFd, StageError> {
    let failed = |errno| StageError::new(Stage::Mount, errno, format!("{}: mount point", step.target));
    let target = context.root.directory(&step.target).map_err(failed)?;
    filesystem::attach(mount, target.as_fd()).map_err(failed)?;
    mount.try_clone_to_owned().map_err(|_| failed(Errno::MFILE))
}

fn existing(step: &MountStep, root: &ContainerRoot) -> Result<OwnedFd, StageError> {
    root.open(&step.target, OFlags::PATH).map_err(|errno| StageError::new(Stage::Mount, errno, &step.target))
}

fn bind(
    step: &MountStep,
    source: &MountSource,
    recursive: bool,
    opened: Option<&OwnedFd>,
    context: &MountContext<'_>,
) -> Result<OwnedFd, StageError> {
    let failed = |errno, detail: String| StageError::new(Stage::Mount, errno, detail);
    let mount = match (opened, source) {
        (Some(opened), _) => opened.try_clone().map_err(|_| failed(Errno::MFILE, step.target.clone()))?,
        (None, source) => open_source(source, recursive, context.fds)
            .map_err(|(errno, name)| failed(errno, format!("{}: source {name}", step.target)))?,
    };
    let is_directory =
        root::is_directory(&mount).map_err(|errno| failed(errno, format!("{}: source", step.target)))?;
    let target =
        if is_directory { context.root.directory(&step.target) } else { context.root.file(&step.target) };
    let target = target.map_err(|errno| failed(errno, format!("{}: mount point", step.target)))?;
    let onto_directory = root::is_directory(&target)
        .map_err(|errno| failed(errno, format!("{}: mount point", step.target)))?;
    if onto_directory != is_directory {
        // The kernel would say EINVAL.
        return Err(failed(Errno::NOTDIR, step.target.clone()));
    }
    check_proc(step, mount.as_fd(), target.as_fd())?;
    filesystem::attach(mount.as_fd(), target.as_fd()).map_err(|errno| failed(errno, step.target.clone()))?;
    Ok(mount)
}

/// The source of a bind mount as a detached mount.
pub(super) fn open_source(
    source: &MountSource,
    recursive: bool,
    fds: &[OwnedFd],
) -> Result<OwnedFd, (Errno, String)> {
    match source {
        MountSource::Path(path) => {
            let name = path.to_str().unwrap_or_default();
            filesystem::clone_tree(CWD, name, recursive).map_err(|errno| (errno, name.to_owned()))
        }
        MountSource::Fd(index) => {
            let fd = fds.get(*index as usize).ok_or((Errno::BADF, format!("descriptor {index}")))?;
            fd.try_clone().map_err(|_| (Errno::MFILE, format!("descriptor {index}")))
        }
    }
}

/// Refuses what would put something of the container's choice where procfs is expected.
fn check_proc(step: &MountStep, mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), StageError> {
    let magic = |fd| rustix::fs::fstatfs(fd).map(|filesystem| filesystem.f_type);
    let failed = |errno| StageError::new(Stage::Mount, errno, &step.target);
    if step.target == "/proc" {
        if magic(mount).map_err(failed)? == PROC_SUPER_MAGIC {
            return Ok(());
        }
        let detail = "/proc: only a procfs may be bound there";
        return Err(StageError::refused(Stage::Mount, detail));
    }
    let inside = magic(target).map_err(failed)? == PROC_SUPER_MAGIC;
    if inside && !PROC_FILES.contains(&step.target.as_str()) {
        let detail = format!("{}: nothing may be mounted inside /proc there", step.target);
        return Err(StageError::refused(Stage::Mount, detail));
    }
    Ok(())
}

fn new_filesystem(
    step: &MountStep,
    fstype: &str,
    source: &str,
    options: &filesystem::Parameters,
    copy_up: bool,
    context: &MountContext<'_>,
) -> Result<(OwnedFd, u64), StageError> {
    let failed = |errno| StageError::new(Stage::Mount, errno, format!("{}: mount point", step.target));
    let keeps_mode = fstype == "tmpfs" && !options.iter().any(|(name, _)| name == "mode");
    let existed = if keeps_mode { context.root.open(&step.target, OFlags::PATH).ok() } else { None };
    let target = mount_point(step, fstype, context.root).map_err(|errno| match errno {
        Errno::LOOP | Errno::NOTDIR => {
            let detail = format!("{}: {fstype} must be mounted on ordinary directory", step.target);
            StageError::refused(Stage::Mount, detail)
        }
        errno => failed(errno),
    })?;
    let mut options = options.to_vec();
    if let Some(label) = context.label {
        options.push(("context".to_owned(), Some(label.to_owned())));
    }
    if let Some(directory) = existed {
        let mode = rustix::fs::fstat(&directory).map_err(failed)?.st_mode & 0o7777;
        options.push(("mode".to_owned(), Some(format!("{mode:o}"))));
    }
    if filesystem::needs_old_call(&options) {
        filesystem::create_at(target.as_fd(), fstype, source, &options, &step.target)?;
        return Ok((existing(step, context.root)?, 0));
    }
    // What is still to be filled cannot be read-only yet.
    let attributes = if copy_up { step.set & !attr::RDONLY } else { step.set };
    let mount = filesystem::create(fstype, source, &options, attributes, &step.target)?;
    if copy_up {
        copy_up::copy(target.as_fd(), mount.as_fd(), &step.target)?;
    }
    filesystem::attach(mount.as_fd(), target.as_fd())
        .map_err(|errno| StageError::new(Stage::Mount, errno, format!("{}: {fstype}", step.target)))?;
    Ok((mount, attributes & filesystem::FSMOUNT_ATTRIBUTES))
}

/// procfs and sysfs go onto ordinary directories only: behind a link they would be somewhere else than everybody
/// believes (CVE-2019-19921).
fn mount_point(step: &MountStep, fstype: &str, root: &ContainerRoot) -> Result<OwnedFd, Errno> {
    if fstype != "proc" && fstype != "sysfs" {
        return root.directory(&step.target);
    }
    match root.open_straight(&step.target, OFlags::PATH | OFlags::DIRECTORY) {
        Err(Errno::NOENT) => {
            root.directory(&step.target)?;
            root.open_straight(&step.target, OFlags::PATH | OFlags::DIRECTORY)
        }
        other => other,
    }
}
