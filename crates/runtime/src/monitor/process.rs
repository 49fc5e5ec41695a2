//! A forked child of the launcher becomes a monitor: starts its container, answers, and serves until the end.

use std::{
    collections::VecDeque,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions},
};
use skiff_sys::{exec::exit_now, memory, signal};

use super::{
    cgroup::Watched,
    child::Child,
    log::LogFile,
    protocol::{ExecRequest, Log, LogHealth, Stdio, Target, UnixTime},
    reactor::{Reactor, Token, Watch},
    server::Server,
    stdio::{Ends, Prepared},
    wire::{self, Packet},
};
use crate::{
    apply::{self, Spawned, Stage, StageError, Surroundings},
    launcher::{StartAnswer, StartMessage, process::silence},
    plan::{ExecPlan, Plan},
};

/// The life of a monitor.
pub(crate) fn main(packet: Packet) -> ! {
    // Neither is needed to work; both are good manners.
    let _ = rustix::thread::set_name(c"skiff-monitor");
    let _ = silence(2);
    let code = match packet.decode::<StartMessage>() {
        Ok((message, fds)) => start(message, fds),
        Err(_) => 1,
    };
    exit_now(code)
}

fn start(message: StartMessage, fds: Vec<OwnedFd>) -> u8 {
    let mut fds = fds.into_iter();
    let (Some(answer), Some(listener)) = (fds.next(), fds.next()) else { return 1 };
    let result = start_container(message, listener, fds.collect());
    let monitor_pid = rustix::process::getpid().as_raw_nonzero().get();
    let mut server = match result {
        Ok(server) => server,
        Err(error) => {
            // The daemon may have died meanwhile; the next one finds no monitor and no record.
            let _ = wire::send(answer.as_fd(), &StartAnswer { monitor_pid, result: Err(error) }, &[]);
            return 0;
        }
    };
    let init = &server.children[0];
    let result = Ok((init.pid.as_raw_nonzero().get(), server.started_at));
    let started = StartAnswer { monitor_pid, result };
    if wire::send(answer.as_fd(), &started, &[init.pidfd()]).is_ok() {
        let client = server.new_client(answer);
        server.clients.push(client);
    }
    server.cgroup.watch(&server.reactor);
    memory::trim_heap();
    server.run();
    0
}

fn start_container(
    message: StartMessage,
    listener: OwnedFd,
    mut fds: Vec<OwnedFd>,
) -> Result<Server, StageError> {
    // The launcher ignores it, which would take the exit statuses of our children from us.
    signal::default(Signal::CHILD).map_err(streams)?;
    let reactor = Reactor::new().map_err(streams)?;
    let plan: Plan = message.plan.decode().map_err(|e| StageError::refused(Stage::Sync, e.to_string()))?;
    let log = match message.log {
        Log::None => None,
        Log::JsonFile(config) => {
            let path = config.path.to_string_lossy().into_owned();
            Some(LogFile::open(config).map_err(|e| {
                let errno = Errno::from_io_error(&e).unwrap_or(Errno::IO);
                StageError::new(Stage::Log, errno, path)
            })?)
        }
    };
    if fds.len() < message.attach.len() {
        return Err(StageError::refused(Stage::Sync, "a descriptor is missing"));
    }
    let plan_fds = fds.split_off(message.attach.len());
    let (process, ends) = spawn(message.stdio, &plan_fds, |surroundings| apply::spawn(&plan, surroundings))
        .inspect_err(|_| Watched::new(&plan).remove())?;
    let started_at = UnixTime::now();
    let mut init = Child::new(&reactor, 0, Target::Init, process, ends, message.stdio.stdin);
    for (streams, socket) in message.attach.into_iter().zip(fds) {
        init.attach(socket, streams);
    }
    Ok(Server {
        listener: Watch::new(&reactor, listener, Token::Listener),
        container: message.id,
        run_dir: message.run_dir,
        clients: Vec::new(),
        next_client: 0,
        children: vec![init],
        next_child: 1,
        started_at,
        log,
        reported: LogHealth::default(),
        cgroup: Watched::new(&plan),
        ended_execs: VecDeque::new(),
        record: None,
        buffer: Vec::new(),
        reactor,
    })
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
    let prepared = Prepared::new(stdio).map_err(streams)?;
    let stdio = prepared.for_process();
    let mut spawned = apply(&Surroundings { fds, stdio, preserved: &[], die_with_parent: true, gate: None })?;
    // Before the program runs, so that it never sees a terminal without its size.
    let ends = prepared.into_ours(spawned.console.take()).map_err(streams)?;
    let watched = rustix::io::fcntl_dupfd_cloexec(&spawned.pidfd, 3).map_err(streams)?;
    match spawned.start() {
        Ok((pid, pidfd, _)) => Ok(((pid, pidfd), ends)),
        Err(error) => {
            let _ = rustix::io::retry_on_intr(|| {
                rustix::process::waitid(WaitId::PidFd(watched.as_fd()), WaitIdOptions::EXITED)
            });
            Err(error)
        }
    }
}

fn streams(errno: Errno) -> StageError {
    StageError::new(Stage::Streams, errno, "")
}
