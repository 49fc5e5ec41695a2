//! The child's side of a container's start: from the clone to the last stretch.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::ContainerState;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::DumpableBehavior;
use skiff_sys::clone::{self, CloneFlags, Cloned};

use super::console::{self, Terminal};
use super::finish::{self, Channel, Finish};
use super::hooks;
use super::mounts::{self, MountContext, PROC_SUPER_MAGIC};
use super::namespaces::{self, Joined};
use super::root::ContainerRoot;
use super::stock::Stock;
use super::sync::{self, Report};
use super::{Stage, StageError, Start, Stdio, Surroundings, devices, paths, rootfs};
use crate::cgroups::Entry;
use crate::plan::{Namespace, Plan};

/// What the parent has opened for its child.
pub(super) struct Prepared<'a> {
    pub(super) plan: &'a Plan,
    pub(super) surroundings: &'a Surroundings<'a>,
    pub(super) entry: Entry,
    /// Namespaces to join.
    pub(super) joined: Vec<Joined>,
    /// Bind mounts opened by the parent, by step.
    pub(super) opened: Vec<Option<OwnedFd>>,
    /// The host's procfs.
    pub(super) proc: OwnedFd,
    /// What was made ahead and this plan can use.
    pub(super) stock: Stock,
}

/// Opens the host's procfs: it shows every process under its number on the host, and `self` to whoever looks.
pub(super) fn open_proc() -> Result<OwnedFd, StageError> {
    let failed = |errno| StageError::new(Stage::Rootfs, errno, "/proc of the host");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = rustix::fs::open("/proc", flags, Mode::empty()).map_err(failed)?;
    let filesystem = rustix::fs::fstatfs(&proc).map_err(failed)?;
    if filesystem.f_type == PROC_SUPER_MAGIC { Ok(proc) } else { Err(failed(Errno::NODEV)) }
}

/// Whether the process, once it is ready, waits until its limits are in force, which are set while it comes up. It does so if
/// nothing else makes it wait, and nothing but the engine's own code runs before.
pub(super) fn awaits_limits(plan: &Plan, surroundings: &Surroundings<'_>) -> bool {
    matches!(surroundings.start, Start::AtOnce)
        && plan.namespaces.user == Namespace::Inherit
        && !plan.namespaces.need_intermediate()
        && plan.hooks.is_empty()
}

/// The intermediate process: joins what must be joined before the container's first process is born, and bears it as
/// its own sibling.
pub(super) fn intermediate(prepared: &Prepared<'_>, sync: OwnedFd) -> ! {
    match bear(prepared, &sync) {
        Ok(Cloned::Child) => match sync::wait(&sync) {
            Ok(()) => run(prepared, sync),
            // The parent is gone, or knows nothing of this process.
            Err(_) => skiff_sys::exec::exit_now(1),
        },
        Ok(Cloned::Parent { pid, pidfd }) => {
            let report = Report::Cloned(pid.as_raw_nonzero().get());
            let told = sync::report(&sync, &report, &[pidfd.as_fd()]);
            skiff_sys::exec::exit_now(u8::from(told.is_err()))
        }
        Err(error) => {
            sync::report_failure(&sync, error);
            skiff_sys::exec::exit_now(1)
        }
    }
}

fn bear(prepared: &Prepared<'_>, sync: &OwnedFd) -> Result<Cloned, StageError> {
    cut_off()?;
    join_cgroup(&prepared.entry)?;
    prepared.plan.namespaces.prepare_clocks()?;
    namespaces::join(&prepared.joined)?;
    let _ = sync;
    clone::clone3(prepared.plan.namespaces.clone_flags().with(CloneFlags::PARENT), None)
        .map_err(|errno| StageError::new(Stage::Clone, errno, "container process"))
}

/// The container's first process.
pub(super) fn run(prepared: &Prepared<'_>, sync: OwnedFd) -> ! {
    let limited = || match awaits_limits(prepared.plan, prepared.surroundings) {
        true => sync::wait(&sync),
        false => Ok(()),
    };
    match set_up(prepared, &sync).and_then(|done| limited().map(|()| done)) {
        Ok((terminal, in_userns)) => finish::run(Finish {
            process: &prepared.plan.process,
            surroundings: prepared.surroundings,
            proc: prepared.proc.as_fd(),
            channel: Channel::Parent(sync),
            terminal,
            keyring: keyring_name(prepared.plan),
            in_userns,
            plan: Some(prepared.plan),
        }),
        Err(error) => {
            sync::report_failure(&sync, error);
            skiff_sys::exec::exit_now(1)
        }
    }
}

/// Everything up to the point where the process stands in its root.
fn set_up(prepared: &Prepared<'_>, sync: &OwnedFd) -> Result<(Option<Terminal>, bool), StageError> {
    let plan = prepared.plan;
    cut_off()?;
    if !plan.namespaces.need_intermediate() {
        join_cgroup(&prepared.entry)?;
        namespaces::join(&prepared.joined)?;
    }
    let in_userns = plan.namespaces.user != Namespace::Inherit;
    if plan.namespaces.user == Namespace::New {
        await_maps(sync, plan.rootless)?;
    }
    if in_userns {
        become_root()?;
    }
    if plan.namespaces.cgroup == Namespace::New {
        clone::unshare_cgroup().map_err(|errno| StageError::new(Stage::Clone, errno, "cgroup namespace"))?;
    }
    set_names(plan)?;
    rustix::process::umask(Mode::empty());
    let root = rootfs::attach(&plan.rootfs, prepared.surroundings.fds)?;
    mount(prepared, &root)?;
    fill_dev(plan, &prepared.stock, &root)?;
    run_hooks(plan, sync, prepared.proc.as_fd(), &root)?;
    // The working directory may be missing from the image; whether it can be entered shows later.
    let _ = root.directory(&plan.process.cwd);
    let terminal = terminal(prepared.surroundings, plan, &root, sync)?;
    mounts::apply(&plan.late_mounts, &context(prepared, &root, &[]))?;
    paths::set_parameters(&plan.sysctl, prepared.proc.as_fd())?;
    paths::protect(&plan.readonly_paths, &root)?;
    paths::mask(&plan.masked_paths, &root, prepared.stock.empty())?;
    rootfs::enter(&plan.rootfs, &root)?;
    Ok((terminal, in_userns))
}

fn fill_dev(plan: &Plan, stock: &Stock, root: &ContainerRoot) -> Result<(), StageError> {
    let there = stock.devices();
    let missing = plan.devices.iter().filter(|device| !there.contains(device));
    devices::make(missing, root, plan.namespaces.user != Namespace::Inherit)?;
    if plan.dev_links && there.is_empty() {
        devices::link(root)?;
    }
    Ok(())
}

fn context<'a>(
    prepared: &'a Prepared<'a>,
    root: &'a ContainerRoot,
    opened: &'a [Option<OwnedFd>],
) -> MountContext<'a> {
    let label = prepared.plan.mount_label.as_deref();
    MountContext { root, opened, fds: prepared.surroundings.fds, label, stock: &prepared.stock }
}

fn mount(prepared: &Prepared<'_>, root: &ContainerRoot) -> Result<(), StageError> {
    mounts::apply(&prepared.plan.mounts, &context(prepared, root, &prepared.opened))
}

/// Cuts the calling process off before it enters anything of a container's: the container's processes may look into
/// those of its pid namespace, but not into this one as long as it runs the engine's program; and through the session
/// of whoever started it they could type into his terminal.
pub(super) fn cut_off() -> Result<(), StageError> {
    let failed = |errno| StageError::new(Stage::Clone, errno, "cutting off");
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed)?;
    match rustix::process::setsid() {
        // It leads a session already: the intermediate process has made one.
        Ok(_) | Err(Errno::PERM) => Ok(()),
        Err(errno) => Err(failed(errno)),
    }
}

/// Waits until the parent has written the id maps. Without privileges the parent can only do so while the files in
/// `/proc` belong to its user, as those of a process do that may be looked into: nobody but that user can, since nothing
/// of the container is there yet.
fn await_maps(sync: &OwnedFd, rootless: bool) -> Result<(), StageError> {
    let failed = |errno| StageError::new(Stage::IdMap, errno, "dumpable");
    if !rootless {
        return sync::wait(sync);
    }
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(failed)?;
    sync::report(sync, &Report::Unmapped, &[])?;
    sync::wait(sync)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed)
}

/// In v2 the process was born in its cgroup.
fn join_cgroup(entry: &Entry) -> Result<(), StageError> {
    entry.join_v1().map_err(|errno| StageError::new(Stage::Cgroup, errno, "joining"))
}

/// Root of a user namespace.
pub(super) fn become_root() -> Result<(), StageError> {
    let groups = Some([].as_slice());
    match skiff_sys::identity::become_user(0, 0, groups) {
        // A namespace that was made without privileges, in which groups cannot be changed.
        Err(Errno::PERM) => skiff_sys::identity::become_user(0, 0, None),
        other => other,
    }
    .map_err(|errno| StageError::new(Stage::User, errno, "root of the user namespace"))
}

fn set_names(plan: &Plan) -> Result<(), StageError> {
    let failed = |call| move |errno| StageError::new(Stage::Hostname, errno, call);
    if let Some(name) = &plan.hostname {
        rustix::system::sethostname(name.as_bytes()).map_err(failed("sethostname"))?;
    }
    if let Some(name) = &plan.domainname {
        rustix::system::setdomainname(name.as_bytes()).map_err(failed("setdomainname"))?;
    }
    Ok(())
}

/// Hooks of the runtime's namespaces run in the parent, those of the container's here.
fn run_hooks(
    plan: &Plan,
    sync: &OwnedFd,
    proc: BorrowedFd<'_>,
    root: &ContainerRoot,
) -> Result<(), StageError> {
    if !plan.hooks.prestart.is_empty() || !plan.hooks.create_runtime.is_empty() {
        sync::report(sync, &Report::Mounted, &[])?;
        sync::wait(sync)?;
    }
    if plan.hooks.create_container.is_empty() {
        return Ok(());
    }
    // Where the container's files are until the root is changed; `.` is the only name for it.
    rustix::process::fchdir(root.fd())
        .map_err(|errno| StageError::new(Stage::Hook, errno, "root file system"))?;
    // The number on the host, as other hooks get it.
    let pid = rustix::fs::readlinkat(proc, "self", Vec::new())
        .ok()
        .and_then(|link| link.to_str().ok().and_then(|text| text.parse().ok()));
    hooks::run(
        "createContainer",
        &plan.hooks.create_container,
        &hooks::state(plan, ContainerState::Creating, pid),
        hooks::Place { directory: Path::new("."), env: None },
    )
}

fn terminal(
    surroundings: &Surroundings<'_>,
    plan: &Plan,
    root: &ContainerRoot,
    sync: &OwnedFd,
) -> Result<Option<Terminal>, StageError> {
    if !matches!(surroundings.stdio, Stdio::Terminal) {
        return Ok(None);
    }
    let terminal = console::open(root, plan.process.console_size)?;
    devices::bind_console(terminal.slave.as_fd(), root)?;
    sync::report(sync, &Report::Console, &[terminal.master.as_fd()])?;
    Ok(Some(terminal))
}

/// All processes of a container share a session keyring, found by name.
fn keyring_name(plan: &Plan) -> Option<CString> {
    plan.new_keyring.then(|| keyring(&plan.id)).flatten()
}

/// The name of a container's session keyring.
pub(super) fn keyring(id: &str) -> Option<CString> {
    CString::new(format!("_ses.{id}")).ok()
}
