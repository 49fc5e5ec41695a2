//! `create`, `start` and `run`.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{ContainerState, Spec};
use rustix::process::Pid;

use super::args::{Create, Global, Run};
use super::foreground::Foreground;
use super::record::{self, Directory, Identity, Record, Status};
use super::{OciError, bundle, console, delete, log};
use crate::apply::{self, Birthplace, Gate, HookPlace, OwnedGate, Spawned, Start, Stdio, Surroundings};
use crate::cgroups::Cgroup;
use crate::plan::{self, Hook, Hooks, HostFacts, Plan, PlanOptions};

/// Creates a container that waits for `start`.
pub(super) fn create(global: &Global, args: &Create) -> Result<(), OciError> {
    let preserved = preserved(args.preserve_fds)?;
    Directory::of(global, &args.id)?;
    let (spec, plan) = load(global, args)?;
    check_console(args, &plan, true)?;
    check_free(global, &plan)?;
    let directory = Directory::create(global, &args.id)?;
    let created = create_in(global, &directory, args, (&spec, &plan), &preserved);
    if created.is_err() {
        // The first error is the one to tell.
        let _ = directory.remove();
    }
    created
}

fn create_in(
    global: &Global,
    directory: &Directory,
    args: &Create,
    (spec, plan): (&Spec, &Plan),
    preserved: &[OwnedFd],
) -> Result<(), OciError> {
    let gate = OwnedGate::create(directory.path()).map_err(OciError::kernel("start gate"))?;
    directory.write(&record(&args.id, spec, plan, None))?;
    let spawned = spawn(plan, preserved, Some(gate.borrow()))?;
    log::debug(global, || {
        format!("process {} is ready and waits for its start", spawned.pid.as_raw_nonzero())
    });
    let kept = keep(directory, args, spec, plan, &spawned);
    if kept.is_err() {
        end(&spawned, plan);
    }
    kept
}

/// The id must be free, and the cgroup: two containers in one would share limits and be killed together, and in a frozen one a start would hang.
fn check_free(global: &Global, plan: &Plan) -> Result<(), OciError> {
    // Looked at before the cgroup, whose processes may be those of the very container.
    if Directory::of(global, &plan.id)?.exists() {
        return Err(OciError::Exists);
    }
    let cgroup = Cgroup::open(&plan.cgroup.layout, &plan.cgroup.path);
    if !cgroup.exists() {
        return Ok(());
    }
    let inside = cgroup.pids()?.len();
    if inside > 0 {
        return Err(OciError::State(format!("container's cgroup is not empty: {inside} process(es) found")));
    }
    if cgroup.is_frozen().unwrap_or(false) {
        return Err(OciError::State("container's cgroup unexpectedly frozen".to_owned()));
    }
    Ok(())
}

fn spawn(plan: &Plan, preserved: &[OwnedFd], gate: Option<Gate<'_>>) -> Result<Spawned, OciError> {
    let stdio = if plan.process.terminal { Stdio::Terminal } else { own_stdio() };
    let start = gate.map_or(Start::Parent, Start::Gate);
    let surroundings = Surroundings { fds: &[], stdio, preserved, die_with_parent: false, start };
    let birthplace = Birthplace::of(&plan.cgroup)?;
    Ok(apply::spawn(plan, &surroundings, birthplace, || Ok(()))?)
}

/// Our own standard streams.
pub(super) fn own_stdio() -> Stdio<'static> {
    Stdio::Fds {
        stdin: rustix::stdio::stdin(),
        stdout: rustix::stdio::stdout(),
        stderr: rustix::stdio::stderr(),
    }
}

/// The descriptors that the caller left open for the process, from 3 on. Before this process opens any of its own.
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
        rdt: plan.cgroup.rdt.clone(),
        rootless: plan.rootless,
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
    // The error that led here is the one to tell.
    let _ = rustix::process::pidfd_send_signal(&spawned.pidfd, rustix::process::Signal::KILL);
    let _ = rustix::process::waitpid(Some(spawned.pid), rustix::process::WaitOptions::empty());
    remove_groups(plan);
}

fn remove_groups(plan: &Plan) {
    let _ = Cgroup::open(&plan.cgroup.layout, &plan.cgroup.path).remove();
    if let Some(rdt) = &plan.cgroup.rdt {
        let _ = rdt.remove();
    }
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
    log::debug(global, || format!("{id} has executed its program"));
    after_start(&record).inspect_err(|_| {
        stop(&record);
        // The first error is the one to tell.
        let _ = delete::destroy(global, &directory, &record);
    })
}

/// Hooks that follow a start: if one fails, so does the start.
fn after_start(record: &Record) -> Result<(), OciError> {
    let Some((plan, hooks)) = planned_hooks(record, |hooks| &hooks.poststart)? else { return Ok(()) };
    let state = apply::container_state(&plan, ContainerState::Running, Some(record.process.pid));
    Ok(apply::run_hooks("poststart", &hooks, &state, here())?)
}

/// Hooks that follow a deletion. Each has its turn, and what goes wrong is only logged.
pub(super) fn after_deletion(global: &Global, record: &Record) {
    let result = planned_hooks(record, |hooks| &hooks.poststop).map(|planned| {
        let Some((plan, hooks)) = planned else { return };
        let state = apply::container_state(&plan, ContainerState::Stopped, None);
        let place = here();
        for hook in &hooks {
            if let Err(error) = apply::run_hooks("poststop", std::slice::from_ref(hook), &state, place) {
                log::warning(global, &error.to_string());
            }
        }
    });
    if let Err(error) = result {
        log::warning(global, &error.to_string());
    }
}

/// The bundle may be gone by the time of the late hooks.
fn here() -> HookPlace<'static> {
    HookPlace { directory: Path::new("."), env: None }
}

fn planned_hooks(
    record: &Record,
    which: impl Fn(&Hooks) -> &Vec<Hook>,
) -> Result<Option<(Plan, Vec<Hook>)>, OciError> {
    if record.spec.hooks().is_none() {
        return Ok(None);
    }
    let options = plan_options(record.id.clone(), record.bundle.clone());
    let plan = plan::plan(&record.spec, &options, &HostFacts::probe()?)?;
    let hooks = which(&plan.hooks).clone();
    Ok(if hooks.is_empty() { None } else { Some((plan, hooks)) })
}

/// Ends a container whose start has failed after all.
fn stop(record: &Record) {
    if let Some((_, pidfd)) = record.open_process() {
        // It may have ended by itself.
        let _ = rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL);
        let _ = delete::await_end(&pidfd);
    }
}

fn plan_options(id: String, bundle: PathBuf) -> PlanOptions {
    PlanOptions { id, bundle, ..PlanOptions::default() }
}

/// Creates and starts a container; waits for it unless it is to be detached.
pub(super) fn run(global: &Global, args: &Run) -> Result<u8, OciError> {
    let preserved = preserved(args.create.preserve_fds)?;
    Directory::of(global, &args.create.id)?;
    let (spec, plan) = load(global, &args.create)?;
    check_console(&args.create, &plan, args.detach)?;
    check_free(global, &plan)?;
    let foreground = if args.detach { None } else { Some(Foreground::prepare(!args.no_subreaper)?) };
    let directory = Directory::create(global, &args.create.id)?;
    let started = run_in(global, &directory, &args.create, (&spec, &plan), &preserved);
    let (pid, pidfd, master) = match started {
        Ok(started) => started,
        Err(error) => {
            // The first error is the one to tell.
            let _ = directory.remove();
            return Err(error);
        }
    };
    let record = directory.read()?;
    if let Err(error) = after_start(&record) {
        stop(&record);
        delete::destroy(global, &directory, &record)?;
        return Err(error);
    }
    let Some(foreground) = foreground else { return Ok(0) };
    let code = foreground.wait(pid, &pidfd, master.as_ref())?;
    if !args.keep {
        delete::destroy(global, &directory, &record)?;
    }
    Ok(code)
}

fn run_in(
    global: &Global,
    directory: &Directory,
    args: &Create,
    (spec, plan): (&Spec, &Plan),
    preserved: &[OwnedFd],
) -> Result<(Pid, OwnedFd, Option<OwnedFd>), OciError> {
    directory.write(&record(&args.id, spec, plan, None))?;
    let spawned = spawn(plan, preserved, None)?;
    log::debug(global, || format!("process {} is ready", spawned.pid.as_raw_nonzero()));
    if let Err(error) = keep(directory, args, spec, plan, &spawned) {
        end(&spawned, plan);
        return Err(error);
    }
    if let Some(master) = spawned.console.as_ref().filter(|_| args.console_socket.is_none()) {
        console::adopt(master);
    }
    let pid = spawned.pid;
    spawned.start().map_err(|error| {
        // It ends by itself; the error that it sent is the one to tell.
        let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
        remove_groups(plan);
        OciError::from(error)
    })
}

/// Reads and plans a bundle.
fn load(global: &Global, args: &Create) -> Result<(Spec, Plan), OciError> {
    let directory = fs_err::canonicalize(&args.bundle)?;
    let spec = bundle::read_spec(global, &directory)?;
    let mut options = plan_options(args.id.clone(), directory);
    options.no_pivot = args.no_pivot;
    options.no_new_keyring = args.no_new_keyring;
    options.rootless = global.is_rootless();
    let mut plan = plan::plan(&spec, &options, &HostFacts::probe()?)?;
    log::debug(global, || {
        let (mounts, hooks) = (plan.mounts.len(), spec.hooks().is_some());
        format!("planned {}: {mounts} mounts, cgroup {}, hooks: {hooks}", plan.id, plan.cgroup.path.as_str())
    });
    if let Some(filter) = &plan.process.seccomp {
        log::debug(global, || format!("seccomp filter flags: {}", filter.program.flags));
    }
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
