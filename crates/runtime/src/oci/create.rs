//! `create`, `start` and `run`.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{ContainerState, Spec};
use rustix::process::Pid;

use super::args::{Create, Global, Run};
use super::foreground::Foreground;
use super::record::{self, Directory, Identity, Record, Status};
use super::{OciError, console, delete, log};
use crate::apply::{self, Birthplace, Gate, OwnedGate, Spawned, Start, Stdio, Surroundings};
use crate::plan::{self, HostFacts, Plan, PlanOptions};

/// Creates a container that waits for `start`.
pub(super) fn create(global: &Global, args: &Create) -> Result<(), OciError> {
    Directory::of(global, &args.id)?;
    let (spec, plan) = load(args)?;
    check_console(args, &plan, true)?;
    let directory = Directory::create(global, &args.id)?;
    let created = create_in(&directory, args, &spec, &plan);
    if created.is_err() {
        // The first error is the one to tell.
        let _ = directory.remove();
    }
    created
}

fn create_in(directory: &Directory, args: &Create, spec: &Spec, plan: &Plan) -> Result<(), OciError> {
    let gate = OwnedGate::create(directory.path()).map_err(OciError::kernel("start gate"))?;
    let preserved = preserved(args.preserve_fds)?;
    directory.write(&record(&args.id, spec, plan, None))?;
    let spawned = spawn(plan, &preserved, Some(gate.borrow()))?;
    let kept = keep(directory, args, spec, plan, &spawned);
    if kept.is_err() {
        end(&spawned, plan);
    }
    kept
}

fn spawn(plan: &Plan, preserved: &[OwnedFd], gate: Option<Gate<'_>>) -> Result<Spawned, OciError> {
    let stdio = if plan.process.terminal { Stdio::Terminal } else { own_stdio() };
    let start = gate.map_or(Start::Parent, Start::Gate);
    let surroundings = Surroundings { fds: &[], stdio, preserved, die_with_parent: false, start };
    let birthplace = Birthplace::make(&plan.cgroup.layout, &plan.cgroup.path)?;
    Ok(apply::spawn(plan, &surroundings, birthplace)?)
}

/// Our own standard streams.
pub(super) fn own_stdio() -> Stdio<'static> {
    Stdio::Fds {
        stdin: rustix::stdio::stdin(),
        stdout: rustix::stdio::stdout(),
        stderr: rustix::stdio::stderr(),
    }
}

/// The descriptors that the caller left open for the process, from 3 on.
pub(super) fn preserved(count: u32) -> Result<Vec<OwnedFd>, OciError> {
    let adopt = |number: u32| {
        skiff_sys::fd::adopt(number as i32)
            .map_err(OciError::kernel(format!("preserved descriptor {number}")))
    };
    (3..3 + count).map(adopt).collect()
}

/// What is kept of a container; `process` is its first one, or the creating one before that exists.
fn record(id: &str, spec: &Spec, plan: &Plan, process: Option<Pid>) -> Record {
    Record {
        version: 1,
        id: id.to_owned(),
        process: Identity::of(process.unwrap_or_else(rustix::process::getpid)),
        creating: process.is_none(),
        created: jiff::Timestamp::now(),
        bundle: plan.bundle.clone(),
        cgroup: plan.cgroup.path.clone(),
        layout: plan.cgroup.layout.clone(),
        new_keyring: plan.new_keyring,
        spec: spec.clone(),
    }
}

/// Everything that makes the process a container which later commands find.
fn keep(
    directory: &Directory,
    args: &Create,
    spec: &Spec,
    plan: &Plan,
    spawned: &Spawned,
) -> Result<(), OciError> {
    if let (Some(master), Some(socket)) = (&spawned.console, &args.console_socket) {
        console::send(socket, master)?;
    }
    directory.write(&record(&args.id, spec, plan, Some(spawned.pid)))?;
    write_pid(args.pid_file.as_deref(), spawned.pid)
}

/// Writes a process id for whoever asked for it.
pub(super) fn write_pid(file: Option<&Path>, pid: Pid) -> Result<(), OciError> {
    match file {
        Some(path) => record::write_whole(path, pid.as_raw_nonzero().to_string().as_bytes()),
        None => Ok(()),
    }
}

/// Ends a process that must not become a container.
fn end(spawned: &Spawned, plan: &Plan) {
    let cgroup = crate::cgroups::Cgroup::open(&plan.cgroup.layout, &plan.cgroup.path);
    // The error that led here is the one to tell.
    let _ = rustix::process::pidfd_send_signal(&spawned.pidfd, rustix::process::Signal::KILL);
    let _ = rustix::process::waitpid(Some(spawned.pid), rustix::process::WaitOptions::empty());
    let _ = cgroup.remove();
}

/// Starts a created container.
pub(super) fn start(global: &Global, id: &str) -> Result<(), OciError> {
    let (directory, record) = record::find(global, id)?;
    match record.status(&directory) {
        Status::Created => {}
        Status::Creating => {
            return Err(OciError::State("cannot start a container that is being created".to_owned()));
        }
        Status::Stopped => {
            return Err(OciError::State("cannot start a container that has stopped".to_owned()));
        }
        Status::Running | Status::Paused => {
            return Err(OciError::State("cannot start an already running container".to_owned()));
        }
    }
    apply::open_gate(directory.path())?;
    after_start(global, &record);
    Ok(())
}

/// Hooks that follow a start; the container runs whether they succeed or not.
fn after_start(global: &Global, record: &Record) {
    run_late_hooks(global, record, "poststart", ContainerState::Running, Some(record.process.pid));
}

/// Runs the hooks of a moment whose failures are only logged.
pub(super) fn run_late_hooks(
    global: &Global,
    record: &Record,
    kind: &str,
    status: ContainerState,
    pid: Option<i32>,
) {
    if record.spec.hooks().is_none() {
        return;
    }
    let planned = HostFacts::probe().map_err(OciError::from).and_then(|host| {
        let options = plan_options(record.id.clone(), record.bundle.clone());
        plan::plan(&record.spec, &options, &host).map_err(OciError::from)
    });
    let result = planned.and_then(|plan| {
        let hooks = if kind == "poststart" { &plan.hooks.poststart } else { &plan.hooks.poststop };
        apply::run_hooks(kind, hooks, &apply::container_state(&plan, status, pid)).map_err(OciError::from)
    });
    if let Err(error) = result {
        log::warning(global, &error.to_string());
    }
}

fn plan_options(id: String, bundle: PathBuf) -> PlanOptions {
    PlanOptions { id, bundle, ..PlanOptions::default() }
}

/// Creates and starts a container; waits for it unless it is to be detached.
pub(super) fn run(global: &Global, args: &Run) -> Result<u8, OciError> {
    Directory::of(global, &args.create.id)?;
    let (spec, plan) = load(&args.create)?;
    check_console(&args.create, &plan, args.detach)?;
    let foreground = if args.detach { None } else { Some(Foreground::prepare(!args.no_subreaper)?) };
    let directory = Directory::create(global, &args.create.id)?;
    let started = run_in(&directory, &args.create, &spec, &plan);
    let (pid, pidfd, master) = match started {
        Ok(started) => started,
        Err(error) => {
            // The first error is the one to tell.
            let _ = directory.remove();
            return Err(error);
        }
    };
    after_start(global, &directory.read()?);
    let Some(foreground) = foreground else { return Ok(0) };
    let code = foreground.wait(pid, &pidfd, master.as_ref())?;
    if !args.keep {
        delete::destroy(global, &directory, &directory.read()?)?;
    }
    Ok(code)
}

fn run_in(
    directory: &Directory,
    args: &Create,
    spec: &Spec,
    plan: &Plan,
) -> Result<(Pid, OwnedFd, Option<OwnedFd>), OciError> {
    let preserved = preserved(args.preserve_fds)?;
    directory.write(&record(&args.id, spec, plan, None))?;
    let spawned = spawn(plan, &preserved, None)?;
    if let Err(error) = keep(directory, args, spec, plan, &spawned) {
        end(&spawned, plan);
        return Err(error);
    }
    let pid = spawned.pid;
    spawned.start().map_err(|error| {
        // It ends by itself; the error that it sent is the one to tell.
        let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
        let _ = crate::cgroups::Cgroup::open(&plan.cgroup.layout, &plan.cgroup.path).remove();
        OciError::from(error)
    })
}

/// Reads and plans a bundle.
fn load(args: &Create) -> Result<(Spec, Plan), OciError> {
    let bundle = fs_err::canonicalize(&args.bundle)?;
    let spec = read_spec(&bundle)?;
    let mut options = plan_options(args.id.clone(), bundle);
    options.no_pivot = args.no_pivot;
    options.no_new_keyring = args.no_new_keyring;
    let mut plan = plan::plan(&spec, &options, &HostFacts::probe()?)?;
    announce_descriptors(&mut plan.process.env, args.preserve_fds);
    Ok((spec, plan))
}

/// What socket activation hands over is announced again, to process 1 of the container.
fn announce_descriptors(env: &mut Vec<String>, preserved: u32) {
    if let Ok(count) = std::env::var("LISTEN_FDS")
        && preserved > 0
    {
        env.push(format!("LISTEN_FDS={count}"));
        env.push("LISTEN_PID=1".to_owned());
    }
}

fn read_spec(bundle: &Path) -> Result<Spec, OciError> {
    let path = bundle.join("config.json");
    let text = fs_err::read(&path)?;
    let spec: Spec = serde_json::from_slice(&text).map_err(|source| OciError::Json { path, source })?;
    match spec.version().split('.').next() {
        Some("1") => Ok(spec),
        _ => Err(OciError::Argument(format!("the specification's version {:?} is not 1.x", spec.version()))),
    }
}

fn check_console(args: &Create, plan: &Plan, detached: bool) -> Result<(), OciError> {
    let socket = args.console_socket.is_some();
    let reason = match (plan.process.terminal, socket, detached) {
        (true, false, true) => "cannot allocate tty if runc will detach without setting console socket",
        (false, true, _) | (true, true, false) => {
            "cannot use console socket if runc will not detach or allocate tty"
        }
        _ => return Ok(()),
    };
    Err(OciError::Argument(reason.replace("runc", "the runtime")))
}
