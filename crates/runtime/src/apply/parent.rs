//! The parent's side of a start: what comes before the clone, and what the child asks for until it is ready.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use oci_spec::runtime::{ContainerState, State};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use skiff_sys::clone::{self, CloneFlags, Cloned};
use skiff_sys::mount::{self, Change};

use super::hooks;
use super::init::{self, Prepared};
use super::stock::Stock;
use super::sync::{self, Report};
use super::{Spawned, Stage, StageError, Start, Surroundings, idmap, limits, mounts};
use crate::cgroups::{Cgroup, CgroupError, CgroupPath, Entry, Layout};
use crate::plan::{
    CgroupPlan, MountKind, MountStep, Namespace, NamespaceSource, Plan, Process, SeccompListener,
};
use crate::rdt::RdtPlan;
use crate::seccomp;

/// All of a container that can be made before its plan is known: a cgroup whose doors are open, and what is in stock.
#[derive(Debug)]
pub struct Birthplace {
    cgroup: Cgroup,
    entry: Entry,
    stock: Stock,
}

impl Birthplace {
    /// Makes the cgroup; one that is there already is taken as it is.
    ///
    /// # Errors
    /// The kernel's. Nothing new is left then.
    pub fn make(layout: &Layout, path: &CgroupPath, stock: Stock) -> Result<Self, StageError> {
        let mut birthplace = Self::in_cgroup(Cgroup::create(layout, path), stock)?;
        birthplace.stock.add_cgroup(layout, path);
        Ok(birthplace)
    }

    /// Likewise for a whole plan, which may do without a cgroup.
    ///
    /// # Errors
    /// As [`Birthplace::make`].
    pub fn of(plan: &CgroupPlan) -> Result<Self, StageError> {
        let create = if plan.dispensable { Cgroup::create_if_allowed } else { Cgroup::create };
        Self::in_cgroup(create(&plan.layout, &plan.path), Stock::default())
    }

    fn in_cgroup(cgroup: Result<Cgroup, CgroupError>, stock: Stock) -> Result<Self, StageError> {
        let cgroup = cgroup.map_err(cgroup_failure)?;
        match cgroup.entry() {
            Ok(entry) => Ok(Self { cgroup, entry, stock }),
            Err(error) => {
                remove_fresh(&cgroup);
                Err(cgroup_failure(error))
            }
        }
    }

    /// Takes it away again, as no process was born.
    pub fn abandon(self) {
        remove_fresh(&self.cgroup);
    }
}

fn remove_fresh(cgroup: &Cgroup) {
    if cgroup.is_fresh() {
        // The error that is already there says more than one about what it leaves.
        let _ = cgroup.remove();
    }
}

/// Fills the cgroup; takes it away again if the start fails.
pub(super) fn spawn(
    plan: &Plan,
    surroundings: &Surroundings<'_>,
    Birthplace { cgroup, entry, stock }: Birthplace,
    meanwhile: impl FnOnce() -> Result<(), StageError>,
) -> Result<Spawned, StageError> {
    let start = ContainerStart { plan, surroundings, cgroup: &cgroup };
    let spawned = start.spawn(entry, stock.select(plan), meanwhile);
    if spawned.is_err() {
        remove_fresh(&cgroup);
    }
    spawned
}

pub(super) fn cgroup_failure(error: CgroupError) -> StageError {
    StageError { stage: Stage::Cgroup, errno: error.errno().unwrap_or(0), detail: error.without_errno() }
}

/// The start of a container's first process.
#[derive(Clone, Copy)]
struct ContainerStart<'a> {
    plan: &'a Plan,
    surroundings: &'a Surroundings<'a>,
    cgroup: &'a Cgroup,
}

impl ContainerStart<'_> {
    fn spawn(
        self,
        entry: Entry,
        stock: Stock,
        meanwhile: impl FnOnce() -> Result<(), StageError>,
    ) -> Result<Spawned, StageError> {
        let Some(rdt) = &self.plan.cgroup.rdt else { return self.clone_into(entry, stock, meanwhile) };
        rdt.create()?;
        // The error that is already there says more than one about what it leaves.
        self.clone_into(entry, stock, meanwhile).inspect_err(|_| drop(rdt.remove()))
    }

    fn clone_into(
        self,
        entry: Entry,
        stock: Stock,
        meanwhile: impl FnOnce() -> Result<(), StageError>,
    ) -> Result<Spawned, StageError> {
        let Self { plan, surroundings, .. } = self;
        let limits_meanwhile = init::awaits_limits(plan, surroundings);
        if !limits_meanwhile {
            self.set_limits()?;
        }
        let prepared = Prepared {
            plan,
            surroundings,
            entry,
            stock,
            joined: plan.namespaces.open(surroundings.fds)?,
            opened: open_mounts(plan, surroundings.fds)?,
            proc: init::open_proc()?,
        };
        let (ours, theirs) = skiff_sys::socket::seqpacket_pair()
            .map_err(|errno| StageError::new(Stage::Sync, errno, "socket"))?;
        let indirect = plan.namespaces.need_intermediate();
        let flags = if indirect { CloneFlags::empty() } else { plan.namespaces.clone_flags() };
        let cloned = clone::clone3(flags, prepared.entry.clone_into())
            .map_err(|errno| StageError::new(Stage::Clone, errno, "container process"))?;
        let child = match cloned {
            Cloned::Child => {
                drop(ours);
                if indirect { init::intermediate(&prepared, theirs) } else { init::run(&prepared, theirs) }
            }
            Cloned::Parent { pid, pidfd } => Child { pid, pidfd },
        };
        drop(theirs);
        let done = if limits_meanwhile { self.set_limits() } else { Ok(()) };
        let done = done.and_then(|()| meanwhile());
        let done = done.and_then(|()| if limits_meanwhile { sync::go_ahead(&ours) } else { Ok(()) });
        if let Err(error) = done {
            return Err(child.failed(&ours, error));
        }
        drop(prepared);
        let child = if indirect { child.successor(&ours)? } else { child };
        let of = Supervised {
            plan: Some(plan),
            process: &plan.process,
            rdt: plan.cgroup.rdt.as_ref(),
            state: State::default(),
            in_userns: plan.namespaces.user.clone(),
            waits: matches!(surroundings.start, Start::Parent),
        };
        supervise(child, ours, &of)
    }

    fn set_limits(self) -> Result<(), StageError> {
        if self.cgroup.is_nowhere() {
            return Ok(());
        }
        self.cgroup.apply(&self.plan.cgroup.resources).map_err(cgroup_failure)
    }
}

/// Opens the bind mounts that the child could not: sources that a user namespace hides, and shifted owners.
fn open_mounts(plan: &Plan, fds: &[OwnedFd]) -> Result<Vec<Option<OwnedFd>>, StageError> {
    // Without privileges nothing can be opened that the child could not open itself.
    let in_userns = plan.namespaces.user != Namespace::Inherit && !plan.rootless;
    if !in_userns && plan.mounts.iter().all(|step| step.idmap.is_none()) {
        return Ok(Vec::new());
    }
    plan.mounts
        .iter()
        .map(|step| match &step.kind {
            MountKind::Bind { .. } if in_userns || step.idmap.is_some() => {
                open_mount(step, plan, fds).map(Some)
            }
            _ => Ok(None),
        })
        .collect()
}

fn open_mount(step: &MountStep, plan: &Plan, fds: &[OwnedFd]) -> Result<OwnedFd, StageError> {
    let MountKind::Bind { source, recursive } = &step.kind else {
        return Err(StageError::new(Stage::Mount, Errno::INVAL, &step.target));
    };
    let mount = mounts::open_source(source, *recursive, fds).map_err(|(errno, name)| {
        StageError::new(Stage::Mount, errno, format!("{}: source {name}", step.target))
    })?;
    if let Some(idmap) = &step.idmap {
        let userns = match (&plan.namespaces.user, idmap.uid_map.is_empty()) {
            (Namespace::Join(source), true) => open_userns(source, fds)?,
            _ => idmap::namespace(&idmap.uid_map, &idmap.gid_map)?,
        };
        let change = Change { userns: Some(userns.as_fd()), recursive: idmap.recursive, ..Change::default() };
        mount::set_attributes(mount.as_fd(), &change).map_err(|errno| {
            let detail = format!("{}: this file system or kernel cannot map ids of a mount", step.target);
            StageError::new(Stage::Mount, errno, detail)
        })?;
    }
    Ok(mount)
}

fn open_userns(source: &NamespaceSource, fds: &[OwnedFd]) -> Result<OwnedFd, StageError> {
    let opened = match source {
        NamespaceSource::Path(path) => {
            let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
            rustix::fs::open(path, flags, rustix::fs::Mode::empty())
        }
        NamespaceSource::Fd(index) => {
            fds.get(*index as usize).ok_or(Errno::BADF).and_then(|fd| rustix::io::fcntl_dupfd_cloexec(fd, 3))
        }
    };
    opened.map_err(|errno| StageError::new(Stage::JoinNamespace, errno, "user"))
}

/// A child of this process that has not executed its program yet.
pub(super) struct Child {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
}

impl Child {
    /// The process that an intermediate one leaves behind. It waits until it is known here: what it says must not come
    /// before what the intermediate one says of it.
    pub(super) fn successor(self, sync: &OwnedFd) -> Result<Self, StageError> {
        let report = sync::next(sync);
        let reaped = reap(self.pidfd.as_fd());
        match report? {
            Some((Report::Cloned(pid), mut fds)) => match (Pid::from_raw(pid), fds.pop()) {
                (Some(pid), Some(pidfd)) => {
                    let child = Self { pid, pidfd };
                    match sync::go_ahead(sync) {
                        Ok(()) => Ok(child),
                        Err(error) => {
                            child.end();
                            Err(error)
                        }
                    }
                }
                _ => Err(StageError::refused(Stage::Sync, "the container process has no descriptor")),
            },
            Some((Report::Failed(error), _)) => Err(error),
            _ => Err(ended(reaped)),
        }
    }

    /// Ends it because something failed on this side; but if it has ended already, what it said is the reason.
    fn failed(&self, sync: &OwnedFd, error: StageError) -> StageError {
        self.end();
        match sync::next(sync) {
            Ok(Some((Report::Failed(reason), _))) if error.stage == Stage::Sync => reason,
            _ => error,
        }
    }

    /// Kills and reaps it.
    fn end(&self) -> Option<i32> {
        // One that has ended already cannot be killed, only reaped.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
        reap(self.pidfd.as_fd())
    }
}

/// Waits for the end of a child; gives the signal that ended it, if it was one.
pub(super) fn reap(pidfd: BorrowedFd<'_>) -> Option<i32> {
    let wait = || rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED);
    rustix::io::retry_on_intr(wait).ok().flatten().and_then(|status| status.terminating_signal())
}

fn ended(signal: Option<i32>) -> StageError {
    let detail = match signal {
        Some(signal) => format!("the process was killed by signal {signal} before it was ready"),
        None => "the process ended before it was ready".to_owned(),
    };
    StageError::refused(Stage::Sync, detail)
}

/// Whom the parent serves.
pub(super) struct Supervised<'a> {
    /// The container's plan, for a first process.
    pub(super) plan: Option<&'a Plan>,
    pub(super) process: &'a Process,
    /// The groups it joins in resctrl.
    pub(super) rdt: Option<&'a RdtPlan>,
    /// The state of the container that a further process joins, for whoever answers its filter.
    pub(super) state: State,
    /// What becomes of the user namespace.
    pub(super) in_userns: Namespace,
    /// Whether it waits for [`Spawned::start`].
    pub(super) waits: bool,
}

/// Does what the child cannot do itself, until it is ready. Ends it if something fails.
pub(super) fn supervise(child: Child, sync: OwnedFd, of: &Supervised<'_>) -> Result<Spawned, StageError> {
    let joined = of.rdt.map_or(Ok(()), |rdt| rdt.join(child.pid));
    match joined.and_then(|()| prepare(&child, &sync, of)).and_then(|()| serve(&child, &sync, of)) {
        Ok(console) => Ok(Spawned { pid: child.pid, pidfd: child.pidfd, console, sync, waits: of.waits }),
        Err(error) => {
            let signal = child.end();
            // A child that was killed from outside can say nothing; how it ended says a little.
            let silent = error.stage == Stage::Sync && error.errno == 0;
            Err(if silent { ended(signal.filter(|signal| *signal != Signal::KILL.as_raw())) } else { error })
        }
    }
}

/// What takes the host's privileges, for a child that gives them up with its user namespace.
fn prepare(child: &Child, sync: &OwnedFd, of: &Supervised<'_>) -> Result<(), StageError> {
    if of.in_userns == Namespace::Inherit {
        return Ok(());
    }
    if of.plan.is_some_and(|plan| plan.rootless) && of.in_userns == Namespace::New {
        match sync::next(sync)? {
            Some((Report::Unmapped, _)) => {}
            Some((Report::Failed(error), _)) => return Err(error),
            _ => {
                return Err(StageError::refused(Stage::Sync, "the process ended before its ids were mapped"));
            }
        }
    }
    let proc = init::open_proc()?;
    let process = child.pid.as_raw_nonzero().to_string();
    limits::raise(child.pid, &of.process.rlimits)?;
    limits::set_oom_score(of.process.oom_score_adj, proc.as_fd(), &process)?;
    if let (Some(plan), Namespace::New) = (of.plan, &of.in_userns) {
        let maps = (plan.namespaces.uid_map.as_slice(), plan.namespaces.gid_map.as_slice());
        idmap::write_maps(child.pid, maps, plan.rootless)?;
        sync::go_ahead(sync)?;
    }
    Ok(())
}

fn serve(child: &Child, sync: &OwnedFd, of: &Supervised<'_>) -> Result<Option<OwnedFd>, StageError> {
    let pid = child.pid.as_raw_nonzero().get();
    let mut console = None;
    loop {
        match sync::next(sync)? {
            None => return Err(StageError::refused(Stage::Sync, "")),
            Some((Report::Ready, _)) => return Ok(console),
            Some((Report::Failed(error), _)) => return Err(error),
            Some((Report::Console, mut fds)) => console = fds.pop(),
            Some((Report::Listener, mut fds)) => {
                let agent = of.process.seccomp.as_ref().and_then(|filter| filter.listener.as_ref());
                if let (Some(listener), Some(agent)) = (fds.pop(), agent) {
                    hand_over(&listener, agent, pid, of)?;
                }
            }
            Some((Report::Mounted, _)) => {
                if let Some(plan) = of.plan {
                    let state = hooks::state(plan, ContainerState::Creating, Some(pid));
                    let place = hooks::Place { directory: &plan.bundle, env: None };
                    hooks::run("prestart", &plan.hooks.prestart, &state, place)?;
                    hooks::run("createRuntime", &plan.hooks.create_runtime, &state, place)?;
                }
                sync::go_ahead(sync)?;
            }
            Some((Report::Cloned(_) | Report::Unmapped, _)) => {
                return Err(StageError::refused(Stage::Sync, "an unexpected report"));
            }
        }
    }
}

/// Gives the listener of a filter to the agent that answers its notifications.
fn hand_over(
    listener: &OwnedFd,
    agent: &SeccompListener,
    pid: i32,
    of: &Supervised<'_>,
) -> Result<(), StageError> {
    let state = match of.plan {
        Some(plan) => hooks::state(plan, ContainerState::Creating, Some(pid)),
        None => of.state.clone(),
    };
    seccomp::send_listener(&agent.path, listener.as_fd(), pid, agent.metadata.as_deref(), &state).map_err(
        |errno| {
            StageError::new(
                Stage::Seccomp,
                errno,
                format!("failed to connect with seccomp agent at {}", agent.path.display()),
            )
        },
    )
}
