//! Processes started inside running containers.

use std::{
    os::fd::AsFd,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::fs::{Mode, OFlags};
use skiff_runtime::{
    monitor::protocol::{
        EncodedPlan, ExecRequest, Exit, Request, RequestError, Stdin, Stdio, Streams, Target, WindowSize,
    },
    plan::{self, ExecPlan, PlanOptions},
    spec::{Process, Spec},
};
use skiff_types::ExecId;
use tokio::{net::UnixStream, sync::Notify};

use crate::{
    Attached, Error, Result,
    container::{Container, Live},
    containers::{Parts, blocking, pair},
    detach_keys, failure,
    model::{ContainerRecord, ExecConfig, ExecRecord, Status, Timestamp},
    spec::{self, SecurityOptions, User},
    users::{self, Accounts},
};

/// How long an exit code may take after the end of the output.
const SETTLING: Duration = Duration::from_millis(200);
/// How long a size may come before the process that it is for.
const STARTING: Duration = Duration::from_secs(10);
/// How many ended execs of a container are remembered.
const REMEMBERED: usize = 128;

/// The service.
#[derive(Clone)]
pub struct Execs {
    parts: Arc<Parts>,
}

/// How an exec starts.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExecStart {
    /// Do not wait and do not attach.
    pub detach: bool,
    /// What the client believes of the terminal.
    pub tty: bool,
    /// First size of the terminal: height, width.
    pub console_size: Option<[u32; 2]>,
}

/// A started exec.
#[derive(Debug)]
pub enum StartedExec {
    /// It runs by itself.
    Detached,
    /// Its streams.
    Attached(Attached),
}

/// An exec in memory. It ends with its container; the monitor knows the running ones after a restart of the daemon.
pub(crate) struct Exec {
    id: ExecId,
    config: ExecConfig,
    user: User,
    created: Timestamp,
    progress: Mutex<Progress>,
    /// It runs, or it never will.
    has_begun: Notify,
    has_ended: Notify,
}

#[derive(Clone, Copy, Default)]
struct Progress {
    asked: bool,
    running: bool,
    pid: i32,
    exit_code: Option<i32>,
}

impl Progress {
    fn has_begun(&self) -> bool {
        self.running || self.exit_code.is_some()
    }
}

impl Exec {
    pub(crate) fn id(&self) -> ExecId {
        self.id
    }

    /// Its exit code, once it is there.
    pub(crate) async fn ended(&self) -> i32 {
        loop {
            let mut has_ended = std::pin::pin!(self.has_ended.notified());
            has_ended.as_mut().enable();
            if let Some(code) = self.progress().exit_code {
                return code;
            }
            has_ended.await;
        }
    }

    fn progress(&self) -> Progress {
        *self.progress.lock().expect("no panic under this lock")
    }

    fn change(&self, change: impl FnOnce(&mut Progress)) {
        let mut progress = self.progress.lock().expect("no panic under this lock");
        change(&mut progress);
        if progress.has_begun() {
            self.has_begun.notify_waiters();
        }
    }

    /// As events tell it: the program, and its arguments behind a space, even if there are none.
    fn command(&self) -> String {
        let (program, arguments) =
            self.config.cmd.split_first().map_or(("", &[][..]), |(p, a)| (p.as_str(), a));
        format!("{program} {}", arguments.join(" "))
    }

    fn record(&self, container: &Container) -> ExecRecord {
        let progress = self.progress();
        let mut config = self.config.clone();
        if config.user.is_empty() {
            config.user.clone_from(&container.record().config.user);
        }
        ExecRecord {
            id: self.id,
            container: container.id,
            config,
            running: progress.running,
            pid: progress.pid,
            exit_code: progress.exit_code,
            created: self.created,
            open_stdin: self.config.attach_stdin && progress.running,
        }
    }
}

/// The ids of execs that run.
pub(crate) fn running(container: &Container) -> Vec<String> {
    container.execs().values().filter(|e| e.progress().running).map(|e| e.id.to_string()).collect()
}

/// The monitor says that an exec runs.
pub(crate) fn started(container: &Container, id: ExecId, pid: i32) {
    if let Some(exec) = container.execs().get(&id) {
        exec.change(|p| (p.running, p.pid) = (true, pid));
    }
}

/// The monitor says that an exec has ended.
pub(crate) fn ended(parts: &Parts, container: &Container, id: ExecId, exit: Exit) {
    let Some(exec) = container.execs().get(&id).cloned() else { return };
    if exec.progress().exit_code.is_some() {
        return;
    }
    exec.change(|p| (p.running, p.exit_code) = (false, Some(exit.code())));
    exec.has_ended.notify_waiters();
    let more = [("execID", id.to_string()), ("exitCode", exit.code().to_string())];
    parts.tell(container, "exec_die", &more);
}

/// The container has ended, and all execs with it.
pub(crate) fn container_ended(parts: &Parts, container: &Container) {
    let running: Vec<_> = container.execs().values().filter(|e| e.progress().running).map(|e| e.id).collect();
    for id in running {
        ended(parts, container, id, Exit::Signal(crate::signal::KILL));
    }
}

impl Execs {
    pub(crate) fn new(parts: Arc<Parts>) -> Self {
        Self { parts }
    }

    fn find(&self, id: &str) -> Result<(Arc<Container>, Arc<Exec>)> {
        let missing = || Error::NoSuchExec(id.to_owned());
        let wanted: ExecId = id.parse().map_err(|_| missing())?;
        self.parts
            .registry
            .all()
            .into_iter()
            .find_map(|container| {
                let exec = container.execs().get(&wanted).cloned()?;
                Some((container, exec))
            })
            .ok_or_else(missing)
    }

    /// Prepares a process for a running container.
    ///
    /// # Errors
    /// The container does not run or is paused; there is no command.
    pub async fn create(&self, container: &str, config: ExecConfig) -> Result<ExecId> {
        if config.cmd.is_empty() {
            return Err(Error::Invalid("No exec command specified".into()));
        }
        detach_keys::parse(Some(&config.detach_keys))?;
        let asked_for = container;
        let container = self.parts.registry.resolve(asked_for)?;
        if container.status() == Status::Paused {
            return Err(Error::Conflict(format!(
                "Container {asked_for} is paused, unpause the container before exec"
            )));
        }
        let live = may_exec(&container)?;
        Ok(prepare(&self.parts, &container, live, config).await?.id)
    }

    /// Starts it, once.
    ///
    /// # Errors
    /// It has run before; its container does not run; its program cannot be started, which is its exit code then
    /// (126, 127).
    pub async fn start(&self, exec: &str, options: ExecStart) -> Result<StartedExec> {
        let (container, exec) = self.find(exec)?;
        let live = may_exec(&container)?;
        let keys = detach_keys::parse(Some(&exec.config.detach_keys))?;
        claim(&exec)?;
        Ok(match launch(&self.parts, &container, &live, &exec, options).await? {
            None => StartedExec::Detached,
            Some(stream) => StartedExec::Attached(Attached {
                tty: exec.config.tty,
                backlog: None,
                stream: Some(stream),
                detach_keys: keys,
                reader: None,
            }),
        })
    }

    /// Sets the size of its terminal, once it has one: clients send the size when the answer to the start begins, which
    /// is before the process does.
    ///
    /// # Errors
    /// It does not run any more, or not soon.
    pub async fn resize(&self, exec: &str, height: u16, width: u16) -> Result<()> {
        let (container, exec) = self.find(exec)?;
        let mut has_begun = std::pin::pin!(exec.has_begun.notified());
        has_begun.as_mut().enable();
        if !exec.progress().has_begun() && tokio::time::timeout(STARTING, has_begun).await.is_err() {
            return Err(Error::Internal("timeout waiting for exec session ready".to_owned()));
        }
        if !exec.progress().running {
            return Err(Error::NotFound(format!("NotFound: process does not exist {}: not found", exec.id)));
        }
        let size = WindowSize { rows: height, columns: width };
        let request = Request::Resize { target: Target::Exec(exec.id), size };
        match container.live()?.link.ask(request, &[]).await? {
            Ok(()) | Err(RequestError::NoTerminal) => Ok(()),
            Err(e) => Err(Error::Internal(format!("cannot resize: {e}"))),
        }
    }

    /// What it is and does.
    ///
    /// # Errors
    /// There is no such exec.
    pub async fn inspect(&self, exec: &str) -> Result<ExecRecord> {
        let (container, exec) = self.find(exec)?;
        Ok(exec.record(&container))
    }

    /// Waits a moment for the exit code of an exec whose output has ended: the news of both come by different ways. A
    /// program that only closed its output is not waited for.
    pub async fn settled(&self, exec: &str) {
        let Ok((_, exec)) = self.find(exec) else { return };
        let mut has_ended = std::pin::pin!(exec.has_ended.notified());
        has_ended.as_mut().enable();
        if exec.progress().running {
            let _ = tokio::time::timeout(SETTLING, has_ended).await;
        }
    }

    /// Records that a client left by the detach keys.
    pub fn detached(&self, exec: &str) {
        if let Ok((container, exec)) = self.find(exec) {
            self.parts.tell(&container, "exec_detach", &[("execID", exec.id.to_string())]);
        }
    }
}

/// Makes an exec of a running container, and tells of it.
///
/// # Errors
/// Its user is not there.
pub(crate) async fn prepare(
    parts: &Parts,
    container: &Container,
    live: Arc<Live>,
    config: ExecConfig,
) -> Result<Arc<Exec>> {
    let (own_user, group_add) = {
        let record = container.record();
        (record.config.user.clone(), record.host.group_add.clone().unwrap_or_default())
    };
    let asked = if config.user.is_empty() { own_user } else { config.user.clone() };
    let user = blocking(move || users::resolve(&accounts(&live)?, &asked, &group_add)).await?;
    let user = user.map_err(|e| Error::Invalid(e.to_string()))?;
    let exec = Arc::new(Exec {
        id: ExecId::random(),
        config,
        user,
        created: Timestamp::now(),
        progress: Mutex::default(),
        has_begun: Notify::new(),
        has_ended: Notify::new(),
    });
    forget_old(container);
    container.execs().insert(exec.id, exec.clone());
    let action = format!("exec_create: {}", exec.command());
    parts.tell(container, action, &[("execID", exec.id.to_string())]);
    Ok(exec)
}

/// Starts an exec, which nobody else does. Answers its streams, unless it is to be left alone.
///
/// # Errors
/// [`Error::NotStarted`] if its program cannot be started.
pub(crate) async fn launch(
    parts: &Parts,
    container: &Container,
    live: &Live,
    exec: &Exec,
    options: ExecStart,
) -> Result<Option<UnixStream>> {
    let action = format!("exec_start: {}", exec.command());
    parts.tell(container, action, &[("execID", exec.id.to_string())]);
    let attach = match options.detach {
        true => None,
        false => Some(pair()?),
    };
    let request = request(parts, container, exec, options, live.foreign);
    let sockets: Vec<_> = attach.iter().map(|(_, theirs)| theirs.as_fd()).collect();
    let started = match request {
        Ok(request) => live.link.exec(request, &sockets).await,
        Err(e) => Err(e),
    };
    match started {
        // Whoever learns of the start may act on it at once, before the monitor's news has made its way.
        Ok(Ok(pid)) => exec.change(|p| {
            if p.exit_code.is_none() {
                (p.running, p.pid) = (true, pid);
            }
        }),
        Ok(Err(failed)) => {
            let (text, exit_code) = failure::exec(&failed);
            exec.change(|p| p.exit_code = Some(exit_code));
            return Err(Error::NotStarted { text, exit_code });
        }
        Err(e) => {
            exec.change(|p| p.exit_code = Some(failure::NOT_EXECUTABLE));
            return Err(e);
        }
    }
    Ok(attach.map(|(ours, _)| ours))
}

fn may_exec(container: &Container) -> Result<Arc<Live>> {
    let id = container.id;
    match container.status() {
        Status::Paused => {
            Err(Error::Conflict(format!("container {id} is paused, unpause the container before exec")))
        }
        Status::Restarting => {
            Err(Error::Conflict(format!("container {id} is restarting, wait until the container is running")))
        }
        _ => container.live(),
    }
}

/// An exec starts at most once.
fn claim(exec: &Exec) -> Result<()> {
    let mut progress = exec.progress.lock().expect("no panic under this lock");
    if progress.exit_code.is_some() {
        return Err(Error::Conflict(format!("exec command {} has already run", exec.id)));
    }
    if progress.asked {
        return Err(Error::Conflict(format!("exec command {} is already running", exec.id)));
    }
    progress.asked = true;
    Ok(())
}

/// Ended execs are kept for a while, so that their exit codes can be asked for.
fn forget_old(container: &Container) {
    let mut execs = container.execs();
    while execs.len() >= REMEMBERED {
        let oldest = execs.values().filter(|e| e.progress().exit_code.is_some()).min_by_key(|e| e.created);
        let Some(id) = oldest.map(|e| e.id) else { return };
        execs.remove(&id);
    }
}

/// The accounts as the container sees them now. Blocks.
fn accounts(live: &Live) -> Result<Accounts> {
    let root = format!("/proc/{}/root", live.pid);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(Path::new(&root), flags, Mode::empty())
        .map_err(|_| Error::Conflict("the container has ended".into()))?;
    Ok(Accounts::read(root.as_fd()))
}

fn request(
    parts: &Parts,
    container: &Container,
    exec: &Exec,
    options: ExecStart,
    foreign: bool,
) -> Result<ExecRequest> {
    let record = container.record().clone();
    let config = &exec.config;
    let (process, spec) = spec::exec(&record, config, &exec.user, &parts.host, &parts.config)?;
    let encoding = |e: &dyn std::fmt::Display| Error::Internal(format!("cannot encode the plan: {e}"));
    let plan = match foreign {
        // The other runtime makes its own plan.
        true => {
            let process = serde_json::to_string(&process).map_err(|e| encoding(&e))?;
            EncodedPlan::new(&process)
        }
        false => EncodedPlan::new(&exec_plan(parts, &record, &process, &spec)?),
    };
    let [height, width] = options.console_size.or(config.console_size).unwrap_or_default();
    let size = WindowSize { rows: height as u16, columns: width as u16 };
    let streams =
        Streams { stdin: config.attach_stdin, stdout: config.attach_stdout, stderr: config.attach_stderr };
    Ok(ExecRequest {
        id: exec.id,
        plan: plan.map_err(|e| encoding(&e))?,
        stdio: Stdio {
            stdin: if config.attach_stdin { Stdin::Once } else { Stdin::Null },
            terminal: config.tty.then_some(size),
        },
        attach: (!options.detach).then_some(streams),
    })
}

fn exec_plan(parts: &Parts, record: &ContainerRecord, process: &Process, spec: &Spec) -> Result<ExecPlan> {
    let security = SecurityOptions::read(&record.host, &parts.config)?;
    // The container's, whatever the exec may do besides: `--privileged` gives it capabilities and devices, no system calls.
    let seccomp = parts.filters.get(&security.seccomp, spec::capabilities(record, &parts.host)?)?;
    let options = PlanOptions { id: record.id.to_string(), seccomp, ..PlanOptions::default() };
    plan::exec_plan(process, spec, &options, &parts.host.facts)
        .map_err(|e| Error::Invalid(format!("OCI runtime exec failed: exec failed: {e}")))
}
