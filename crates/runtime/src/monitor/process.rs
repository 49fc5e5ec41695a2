//! A forked child of the launcher becomes a monitor: starts its container, answers, and serves until the end.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

use oci_spec::runtime::{ContainerState, State};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions},
};
use skiff_sys::{exec::exit_now, memory, signal};

use super::{
    cgroup::Watched,
    child::Child,
    foreign,
    log::LogFile,
    protocol::{EncodedPlan, ExecRequest, Log, Stdio, Target},
    reactor::Reactor,
    server::{Born, Server},
    stdio::{self, Ends},
    wire::{self, Packet},
};
use crate::{
    apply::{self, Birthplace, HookPlace, Spawned, Stage, StageError, Start, Stock, Surroundings},
    launcher::{Launch, Place, StartAnswer, StartMessage, process::silence},
    plan::{ExecPlan, Hook, Plan, Rootfs},
};

/// What a monitor can do before it knows its container, and what it makes for it.
pub(crate) fn get_ready() -> Stock {
    // None is needed to work. The first lets output and signals through at once when the container uses every processor.
    let _ = skiff_sys::sched::short_turns(true);
    let _ = rustix::thread::set_name(c"skiff-monitor");
    let _ = silence(2);
    Stock::make()
}

/// The life of a monitor.
pub(crate) fn main(packet: Packet, stock: Stock) -> ! {
    let code = match packet.decode::<Place>() {
        Ok((place, mut fds)) => fds.pop().map_or(1, |daemon| start(&place, daemon, stock)),
        Err(_) => 1,
    };
    exit_now(code)
}

fn start(place: &Place, daemon: OwnedFd, stock: Stock) -> u8 {
    let birthplace = Birthplace::make(&place.layout, &place.path, stock);
    let Ok((message, fds)) = wire::receive::<StartMessage>(daemon.as_fd()) else {
        // The daemon has thought better of it, or has died.
        if let Ok(birthplace) = birthplace {
            birthplace.abandon();
        }
        return 1;
    };
    let host_mounts = message.host_mounts;
    let result = match message.launch.clone() {
        Launch::Plan(plan) => {
            birthplace.and_then(|birthplace| start_container(place, birthplace, message, &plan, fds))
        }
        Launch::Foreign(runtime) => birthplace.and_then(|birthplace| {
            // That runtime makes its own.
            birthplace.abandon();
            foreign::start(place, message, &runtime, fds)
        }),
    };
    let monitor_pid = rustix::process::getpid().as_raw_nonzero().get();
    let mut server = match result {
        Ok(server) => server,
        Err(error) => {
            // The daemon may have died meanwhile; the next one finds no monitor and no record.
            let _ = wire::send(daemon.as_fd(), &StartAnswer { monitor_pid, result: Err(error) }, &[]);
            return 0;
        }
    };
    let init = &server.children[0];
    let result = Ok((init.pid.as_raw_nonzero().get(), server.started_at));
    let started = StartAnswer { monitor_pid, result };
    if wire::send(daemon.as_fd(), &started, &[init.pidfd()]).is_ok() {
        let client = server.new_client(daemon);
        server.clients.push(client);
    }
    if !host_mounts && server.foreign.is_none() {
        server.mounts = mount_namespace(server.children[0].pid);
    }
    server.cgroup.watch(&server.reactor);
    memory::trim_heap();
    server.run();
    0
}

/// The mount namespace of a process; none if it has ended already, or shares the monitor's own.
fn mount_namespace(pid: Pid) -> Option<OwnedFd> {
    let open = |process: String| {
        let path = format!("/proc/{process}/ns/mnt");
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
    };
    let (its, own) = (open(pid.as_raw_nonzero().to_string())?, open("self".to_owned())?);
    let inode = |fd: &OwnedFd| rustix::fs::fstat(fd).map(|stat| stat.st_ino).ok();
    (inode(&its) != inode(&own)).then_some(its)
}

fn start_container(
    place: &Place,
    birthplace: Birthplace,
    message: StartMessage,
    plan: &EncodedPlan,
    fds: Vec<OwnedFd>,
) -> Result<Server, StageError> {
    let prepared = prepare(place, &message, plan, fds);
    let Prepared { plan, listener, attached, plan_fds } = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            birthplace.abandon();
            return Err(error);
        }
    };
    let mut ours = None;
    let meanwhile = || {
        ours = Some((Reactor::new().map_err(streams)?, open_log(&message.log)?));
        Ok(())
    };
    let apply = |surroundings: &Surroundings<'_>| apply::spawn(&plan, surroundings, birthplace, meanwhile);
    let started = spawn(message.stdio, &plan_fds, apply);
    let lost = || StageError::refused(Stage::Sync, "");
    let started = started.and_then(|started| Ok((started, ours.ok_or_else(lost)?)));
    let started = started.and_then(|started| {
        let (process, _) = &started.0;
        after_start(&plan, process).inspect_err(|_| end(process.1.as_fd()))?;
        Ok(started)
    });
    let ((init, ends), (reactor, log)) =
        started.inspect_err(|_| Watched::new(&place.layout, &place.path).remove())?;
    let root = match plan.rootfs.source {
        Rootfs::Fd(index) => plan_fds.into_iter().nth(index as usize),
        Rootfs::Path(_) => None,
    };
    let cgroup = Watched::new(&place.layout, &place.path);
    let after = After::of(plan);
    let born = Born { reactor, log, listener, attached, init, ends, cgroup, root, after, foreign: None };
    Ok(Server::new(message, born))
}

/// Hooks that follow a start: if one fails, so does the start.
fn after_start(plan: &Plan, (pid, _): &(Pid, OwnedFd)) -> Result<(), StageError> {
    let state = |pid| apply::container_state(plan, ContainerState::Running, Some(pid));
    let place = HookPlace { directory: &plan.bundle, env: None };
    match plan.hooks.poststart.as_slice() {
        [] => Ok(()),
        hooks => apply::run_hooks("poststart", hooks, &state(pid.as_raw_nonzero().get()), place),
    }
}

/// Hooks that follow the end. Most containers have none.
pub(super) struct After {
    hooks: Vec<Hook>,
    state: State,
    directory: PathBuf,
}

impl After {
    fn of(plan: Plan) -> Option<Box<Self>> {
        let state = apply::container_state(&plan, ContainerState::Stopped, None);
        let after = Self { state, directory: plan.bundle, hooks: plan.hooks.poststop };
        (!after.hooks.is_empty()).then(|| Box::new(after))
    }

    /// Runs them. Each has its turn, and one that fails changes nothing.
    pub(super) fn run(self) {
        let place = HookPlace { directory: &self.directory, env: None };
        for hook in &self.hooks {
            let _ = apply::run_hooks("poststop", std::slice::from_ref(hook), &self.state, place);
        }
    }
}

/// What a start needs beside its cgroup.
struct Prepared {
    plan: Plan,
    listener: OwnedFd,
    attached: Vec<OwnedFd>,
    plan_fds: Vec<OwnedFd>,
}

fn prepare(
    place: &Place,
    message: &StartMessage,
    plan: &EncodedPlan,
    fds: Vec<OwnedFd>,
) -> Result<Prepared, StageError> {
    let refused = |reason: &str| StageError::refused(Stage::Sync, reason);
    // The launcher ignores it, which would take the exit statuses of our children from us.
    signal::default(Signal::CHILD).map_err(streams)?;
    let plan: Plan = plan.decode().map_err(|e| refused(&e.to_string()))?;
    if plan.cgroup.path != place.path {
        return Err(refused("the plan is for another cgroup"));
    }
    let (listener, attached, plan_fds) = split(message, fds)?;
    Ok(Prepared { plan, listener, attached, plan_fds })
}

/// What came beside a message: the listening socket, attached clients, the container's own.
pub(super) fn split(
    message: &StartMessage,
    mut fds: Vec<OwnedFd>,
) -> Result<(OwnedFd, Vec<OwnedFd>, Vec<OwnedFd>), StageError> {
    let missing = || StageError::refused(Stage::Sync, "a descriptor is missing");
    if fds.len() <= message.attach.len() {
        return Err(missing());
    }
    let own = fds.split_off(1 + message.attach.len());
    let attached = fds.split_off(1);
    Ok((fds.pop().ok_or_else(missing)?, attached, own))
}

pub(super) fn open_log(log: &Log) -> Result<Option<LogFile>, StageError> {
    let Log::JsonFile(config) = log else { return Ok(None) };
    let opened = LogFile::open(config.clone()).map_err(|e| {
        let errno = Errno::from_io_error(&e).unwrap_or(Errno::IO);
        StageError::new(Stage::Log, errno, config.path.to_string_lossy())
    })?;
    Ok(Some(opened))
}

/// Starts a process in the running container.
pub(super) fn start_exec(
    server: &mut Server,
    request: &ExecRequest,
    fds: Vec<OwnedFd>,
) -> Result<Child, StageError> {
    let plan: ExecPlan =
        request.plan.decode().map_err(|e| StageError::refused(Stage::Sync, e.to_string()))?;
    let init = &server.children[0];
    if init.exit.is_some() {
        return Err(StageError::new(Stage::Clone, Errno::SRCH, "the container has ended"));
    }
    let (process, ends) = spawn(request.stdio, &fds, |surroundings| {
        apply::exec(&plan, (init.pid, init.pidfd()), surroundings)
    })?;
    let number = server.next_child;
    server.next_child += 1;
    let target = Target::Exec(request.id);
    Ok(Child::new(&server.reactor, number, target, process, ends, request.stdio.stdin))
}

fn spawn(
    stdio: Stdio,
    fds: &[OwnedFd],
    apply: impl FnOnce(&Surroundings<'_>) -> Result<Spawned, StageError>,
) -> Result<((Pid, OwnedFd), Ends), StageError> {
    let prepared = stdio::Prepared::new(stdio).map_err(streams)?;
    let stdio = prepared.for_process();
    // A terminal gets its size before the program runs, so that it never sees one without.
    let start = if matches!(stdio, apply::Stdio::Terminal) { Start::Parent } else { Start::AtOnce };
    let mut spawned = apply(&Surroundings { fds, stdio, preserved: &[], die_with_parent: true, start })?;
    let process = match rustix::io::fcntl_dupfd_cloexec(&spawned.pidfd, 3) {
        Ok(copy) => copy,
        Err(errno) => {
            end(spawned.pidfd.as_fd());
            return Err(streams(errno));
        }
    };
    let ends = prepared.into_ours(spawned.console.take()).map_err(streams);
    let started = ends.and_then(|ends| spawned.start().map(|(pid, pidfd, _)| ((pid, pidfd), ends)));
    started.inspect_err(|_| end(process.as_fd()))
}

/// Ends a process whose start has failed: it may have got as far as its program.
fn end(process: BorrowedFd<'_>) {
    // One that has ended already cannot be killed, only reaped.
    let _ = rustix::process::pidfd_send_signal(process, Signal::KILL);
    let _ =
        rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(process), WaitIdOptions::EXITED));
}

pub(super) fn streams(errno: Errno) -> StageError {
    StageError::new(Stage::Streams, errno, "")
}
