//! A further process in a running container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use oci_spec::runtime::{ContainerState, State};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType};
use skiff_sys::clone::{self, CloneFlags, Cloned};

use super::console;
use super::finish::{self, Channel, Finish};
use super::parent::{self, Child, Supervised};
use super::root::ContainerRoot;
use super::sync::{self, Report};
use super::{Spawned, Stage, StageError, Start, Stdio, Surroundings, init, namespaces};
use crate::cgroups::{Cgroup, CgroupPath, Entry};
use crate::plan::{ExecNamespace, ExecPlan, Namespace};

/// What the parent has opened for its child.
struct Prepared<'a> {
    plan: &'a ExecPlan,
    surroundings: &'a Surroundings<'a>,
    init: BorrowedFd<'a>,
    entry: Entry,
    proc: OwnedFd,
}

pub(super) fn exec(
    plan: &ExecPlan,
    (init_pid, init): (Pid, BorrowedFd<'_>),
    surroundings: &Surroundings<'_>,
) -> Result<Spawned, StageError> {
    let entry = open_cgroup(plan, init_pid)?;
    let prepared = Prepared { plan, surroundings, init, entry, proc: init::open_proc()? };
    let (ours, theirs) =
        skiff_sys::socket::seqpacket_pair().map_err(|errno| StageError::new(Stage::Sync, errno, "socket"))?;
    let joins_user = plan.join.contains(&ExecNamespace::User);
    let (own_pids, pids_later) = match enter_pids(plan, init) {
        // Without privileges only the container's user namespace gives the right to it: to the child that has joined it.
        Err(error) if joins_user && error.errno == Errno::PERM.raw_os_error() => (None, true),
        other => (other?, false),
    };
    let into = if plan.process.initial_cpus.is_none() { prepared.entry.clone_into() } else { None };
    let cloned = clone::clone3(CloneFlags::empty(), into);
    if matches!(cloned, Ok(Cloned::Child)) {
        drop(ours);
        run(&prepared, theirs, pids_later)
    }
    // Before anything else can fail: later children belong to this process's own pid namespace again.
    leave_pids(own_pids)?;
    drop(theirs);
    let child = match cloned.map_err(|errno| StageError::new(Stage::Clone, errno, "process"))? {
        Cloned::Parent { pid, pidfd } if pids_later => Child { pid, pidfd }.successor(&ours)?,
        Cloned::Parent { pid, pidfd } => Child { pid, pidfd },
        Cloned::Child => return Err(StageError::refused(Stage::Clone, "a child came back")),
    };
    let userns = Namespace::Join(crate::plan::NamespaceSource::Fd(0));
    let in_userns = if joins_user { userns } else { Namespace::Inherit };
    let mut state = State::default();
    state.set_id(plan.container.clone()).set_status(ContainerState::Running);
    state.set_pid(Some(init_pid.as_raw_nonzero().get()));
    let waits = matches!(surroundings.start, Start::Parent);
    let rdt = plan.rdt.as_ref();
    parent::supervise(
        child,
        ours,
        &Supervised { plan: None, process: &plan.process, rdt, state, in_userns, waits },
    )
}

/// The cgroup of the plan; on v2 that of the container's first process, if it has moved itself further down and given
/// controllers to cgroups beside it, since processes may not be above such.
fn open_cgroup(plan: &ExecPlan, init: Pid) -> Result<Entry, StageError> {
    let open = if plan.dispensable { Cgroup::open_if_there } else { Cgroup::open };
    let cgroup = open(&plan.layout, &plan.cgroup);
    let cgroup = if plan.layout.is_unified() && plan.below.is_empty() {
        let text =
            fs_err::read_to_string(format!("/proc/{}/cgroup", init.as_raw_nonzero())).unwrap_or_default();
        let below = text.lines().find_map(|line| line.strip_prefix("0::"));
        let moved = below.filter(|path| path.starts_with(&format!("{}/", plan.cgroup.as_str())));
        match moved.map(CgroupPath::parse) {
            Some(Ok(path)) => Cgroup::open(&plan.layout, &path),
            _ => cgroup,
        }
    } else {
        cgroup
    };
    cgroup.entry_below(&plan.below).map_err(parent::cgroup_failure)
}

/// Lets the next child be born in the container's pid namespace. This process itself stays where it is.
fn enter_pids(plan: &ExecPlan, init: BorrowedFd<'_>) -> Result<Option<OwnedFd>, StageError> {
    if !plan.join.contains(&ExecNamespace::Pid) {
        return Ok(None);
    }
    let failed = |errno| StageError::new(Stage::JoinNamespace, errno, "pid");
    let own = rustix::fs::open("/proc/self/ns/pid", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(failed)?;
    rustix::thread::move_into_thread_name_spaces(init, ThreadNameSpaceType::PROCESS_ID).map_err(failed)?;
    Ok(Some(own))
}

fn leave_pids(own: Option<OwnedFd>) -> Result<(), StageError> {
    let Some(own) = own else { return Ok(()) };
    rustix::thread::move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::ProcessID))
        .map_err(|errno| StageError::new(Stage::JoinNamespace, errno, "pid"))
}

fn run(prepared: &Prepared<'_>, sync: OwnedFd, pids_later: bool) -> ! {
    match set_up(prepared, &sync, pids_later) {
        Ok(terminal) => finish::run(Finish {
            process: &prepared.plan.process,
            surroundings: prepared.surroundings,
            proc: prepared.proc.as_fd(),
            channel: Channel::Parent(sync),
            terminal,
            keyring: prepared.plan.new_keyring.then(|| init::keyring(&prepared.plan.container)).flatten(),
            in_userns: prepared.plan.join.contains(&ExecNamespace::User),
            plan: None,
        }),
        Err(error) => {
            sync::report_failure(&sync, error);
            skiff_sys::exec::exit_now(1)
        }
    }
}

/// Only children are born in a joined pid namespace: one of them goes on, as a child of the parent, and this process ends.
fn go_on_in_a_sibling(sync: &OwnedFd) -> Result<(), StageError> {
    let cloned = clone::clone3(CloneFlags::PARENT, None)
        .map_err(|errno| StageError::new(Stage::Clone, errno, "process"))?;
    match cloned {
        Cloned::Child => {
            sync::wait(sync)?;
            init::cut_off()
        }
        Cloned::Parent { pid, pidfd } => {
            let told = sync::report(sync, &Report::Cloned(pid.as_raw_nonzero().get()), &[pidfd.as_fd()]);
            skiff_sys::exec::exit_now(u8::from(told.is_err()))
        }
    }
}

fn set_up(
    prepared: &Prepared<'_>,
    sync: &OwnedFd,
    pids_later: bool,
) -> Result<Option<console::Terminal>, StageError> {
    let plan = prepared.plan;
    init::cut_off()?;
    if let Some(cpus) = &plan.process.initial_cpus {
        finish::set_affinity(cpus)
            .map_err(|errno| StageError::new(Stage::Scheduling, errno, "CPU affinity"))?;
        // It was not born in its cgroup, so that it could be bound to these before.
        prepared.entry.join_v2().map_err(|errno| StageError::new(Stage::Cgroup, errno, "joining"))?;
    }
    prepared.entry.join_v1().map_err(|errno| StageError::new(Stage::Cgroup, errno, "joining"))?;
    // All at once: the kernel takes care of the order, and of the privileges that a user namespace gives.
    let mut types = namespaces::exec_types(&plan.join);
    let join = |types| {
        rustix::thread::move_into_thread_name_spaces(prepared.init, types)
            .map_err(|errno| StageError::new(Stage::JoinNamespace, errno, "those of the container"))
    };
    if pids_later {
        let first = ThreadNameSpaceType::USER | ThreadNameSpaceType::PROCESS_ID;
        join(first)?;
        go_on_in_a_sibling(sync)?;
        types.remove(first);
    }
    join(types)?;
    if plan.join.contains(&ExecNamespace::User) {
        init::become_root()?;
    }
    if !matches!(prepared.surroundings.stdio, Stdio::Terminal) {
        return Ok(None);
    }
    let root = ContainerRoot::current().map_err(|errno| StageError::new(Stage::Console, errno, "/"))?;
    let terminal = console::open(&root, plan.process.console_size)?;
    sync::report(sync, &Report::Console, &[terminal.master.as_fd()])?;
    Ok(Some(terminal))
}
