//! A root file system, a launcher, and containers to start with it; everything is gone when it is dropped.

use std::{
    io::{Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::process::{Pid, PidfdFlags, Signal};
use serde_json::{Value, json};
use skiff_runtime::{
    cgroups::{Cgroup, CgroupPath},
    launcher::{Launch, Launcher, Place, StartError, StartRequest, Started},
    monitor::{
        connection::MonitorConnection,
        protocol::{EncodedPlan, Event, Exit, JsonFile, Log, Request, Stdin, Stdio, Streams, WindowSize},
        record::ExitRecord,
    },
    plan::{self, HostFacts, PlanOptions},
    spec::Spec,
};
use skiff_types::ContainerId;
use tempfile::TempDir;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: u32 = 30;

/// A test and its name.
pub(crate) type Test = (&'static str, fn());

/// What tests share.
pub(crate) struct Fixture {
    pub(crate) dir: TempDir,
    pub(crate) launcher: Launcher,
    host: HostFacts,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("rootfs/bin");
        fs_err::create_dir_all(&bin).unwrap();
        for name in ["proc", "dev", "tmp"] {
            fs_err::create_dir(dir.path().join("rootfs").join(name)).unwrap();
        }
        fs_err::copy("/bin/busybox", bin.join("busybox")).unwrap();
        for name in
            ["sh", "cat", "sleep", "seq", "head", "tr", "stty", "tty", "true", "kill", "yes", "wc", "dd"]
        {
            fs_err::os::unix::fs::symlink("busybox", bin.join(name)).unwrap();
        }
        Self { dir, launcher: Launcher::spawn().unwrap(), host: HostFacts::probe().unwrap() }
    }

    /// A container that runs a shell script.
    pub(crate) fn sh(&self, script: &str) -> Container<'_> {
        self.container(&["/bin/sh", "-c", script])
    }

    pub(crate) fn container(&self, args: &[&str]) -> Container<'_> {
        let id = ContainerId::random();
        let spec = json!({
            "ociVersion": "1.2.0",
            "process": { "user": { "uid": 0, "gid": 0 }, "args": args, "env": ["PATH=/bin"], "cwd": "/" },
            "root": { "path": "rootfs" },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] },
                { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                  "options": ["newinstance", "ptmxmode=0666", "mode=0620"] },
            ],
            "linux": { "namespaces": [
                { "type": "pid" }, { "type": "mount" }, { "type": "ipc" }, { "type": "uts" },
            ] },
        });
        Container {
            fixture: self,
            id,
            spec,
            stdio: Stdio::default(),
            log: self.json_file(id),
            attach: Vec::new(),
            options: self.options(id),
            fds: Vec::new(),
        }
    }

    pub(crate) fn log_path(&self, id: ContainerId) -> PathBuf {
        self.dir.path().join(format!("{}.log", id.short()))
    }

    fn json_file(&self, id: ContainerId) -> Log {
        let attrs = Default::default();
        Log::JsonFile(JsonFile {
            path: self.log_path(id),
            max_size: 0,
            max_files: 1,
            compress: false,
            attrs,
            first_number: None,
        })
    }

    pub(crate) fn encoded(&self, spec: &Value, options: &PlanOptions) -> EncodedPlan {
        let spec: Spec = serde_json::from_value(spec.clone()).unwrap();
        EncodedPlan::new(&plan::plan(&spec, options, &self.host).unwrap()).unwrap()
    }

    pub(crate) fn encoded_exec(&self, running: &Running, process: Value) -> EncodedPlan {
        let spec: Spec = serde_json::from_value(running.spec.clone()).unwrap();
        let process = serde_json::from_value(process).unwrap();
        let plan = plan::exec_plan(&process, &spec, &self.options(running.id), &self.host).unwrap();
        EncodedPlan::new(&plan).unwrap()
    }

    fn options(&self, id: ContainerId) -> PlanOptions {
        PlanOptions { id: id.to_string(), bundle: self.dir.path().to_owned(), ..PlanOptions::default() }
    }

    /// Where a container is born.
    pub(crate) fn place(&self, id: ContainerId) -> Place {
        Place { layout: self.host.cgroups.clone(), path: cgroup_path(id) }
    }

    /// Every directory of a container's cgroup that still exists.
    pub(crate) fn cgroup_directories(&self, id: ContainerId) -> Vec<PathBuf> {
        let group = Cgroup::open(&self.host.cgroups, &cgroup_path(id));
        group.directories().filter(|path| path.exists()).map(Path::to_owned).collect()
    }
}

fn cgroup_path(id: ContainerId) -> CgroupPath {
    CgroupPath::parse(&format!("/skiff/{id}")).unwrap()
}

/// A container to start.
pub(crate) struct Container<'f> {
    fixture: &'f Fixture,
    pub(crate) id: ContainerId,
    pub(crate) spec: Value,
    pub(crate) stdio: Stdio,
    pub(crate) log: Log,
    attach: Vec<(Streams, OwnedFd)>,
    /// What the plan is made with.
    pub(crate) options: PlanOptions,
    /// The descriptors that it names by index.
    pub(crate) fds: Vec<OwnedFd>,
}

impl Container<'_> {
    pub(crate) fn stdin(mut self, stdin: Stdin) -> Self {
        self.stdio.stdin = stdin;
        self
    }

    pub(crate) fn terminal(mut self, rows: u16, columns: u16) -> Self {
        self.stdio.terminal = Some(WindowSize { rows, columns });
        self.spec["process"]["terminal"] = true.into();
        self
    }

    pub(crate) fn log(mut self, change: impl FnOnce(&mut JsonFile)) -> Self {
        if let Log::JsonFile(file) = &mut self.log {
            change(file);
        }
        self
    }

    pub(crate) fn without_log(mut self) -> Self {
        self.log = Log::None;
        self
    }

    pub(crate) fn spec(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.spec);
        self
    }

    /// Attaches a client before the start.
    pub(crate) fn attach(&mut self, streams: Streams) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        self.attach.push((streams, theirs.into()));
        ours
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.fixture.dir.path().join("run").join(self.id.to_string())
    }

    pub(crate) fn try_start(self) -> Result<Running, StartError> {
        let run_dir = self.run_dir();
        let Self { fixture, id, spec, stdio, log, attach, options, fds } = self;
        let plan = fixture.encoded(&spec, &options);
        let request = StartRequest {
            id,
            run_dir: run_dir.clone(),
            launch: Launch::Plan(plan),
            fds,
            stdio,
            log,
            attach,
            host_mounts: false,
        };
        let started = fixture.launcher.begin(&fixture.place(id))?.start(request)?;
        let cgroup = Cgroup::open(&fixture.host.cgroups, &cgroup_path(id));
        Ok(Running { id, run_dir, spec, log: fixture.log_path(id), started, cgroup })
    }

    pub(crate) fn start(self) -> Running {
        self.try_start().unwrap()
    }
}

/// A container that runs; killed when dropped.
pub(crate) struct Running {
    pub(crate) id: ContainerId,
    pub(crate) run_dir: PathBuf,
    pub(crate) spec: Value,
    pub(crate) log: PathBuf,
    pub(crate) started: Started,
    cgroup: Cgroup,
}

impl Running {
    pub(crate) fn send(&self, request: Request, fds: &[OwnedFd]) -> u32 {
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        self.started.connection.send(request, &fds).unwrap()
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn call(&self, request: Request, fds: &[OwnedFd]) -> Result<(), String> {
        let sent = self.send(request, fds);
        until(&self.started.connection, |event| match event {
            Event::Answer { sequence, result } if sequence == sent => Some(result.map_err(|e| e.to_string())),
            _ => None,
        })
    }

    /// Waits for the end.
    pub(crate) fn wait(&self) -> ExitRecord {
        until(&self.started.connection, |event| match event {
            Event::Exited(record) => Some(record),
            _ => None,
        })
    }

    /// Does what a daemon does once it knows of the end: the cgroup must be there, and nobody in it.
    pub(crate) fn remove_cgroup(&self) {
        assert!(self.cgroup.exists());
        self.cgroup.remove().unwrap();
    }

    pub(crate) fn connect(&self) -> MonitorConnection {
        MonitorConnection::connect(&self.run_dir).unwrap()
    }

    /// The texts of its log, each with its stream.
    pub(crate) fn logged(&self) -> Vec<(String, String)> {
        let text = fs_err::read_to_string(&self.log).unwrap();
        let entry = |line: &str| {
            let entry: Value = serde_json::from_str(line).unwrap();
            (entry["stream"].as_str().unwrap().to_owned(), entry["log"].as_str().unwrap().to_owned())
        };
        text.lines().map(entry).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = rustix::process::pidfd_send_signal(&self.started.pidfd, Signal::KILL);
        // Its monitor still cleans up; what it leaves behind would be a fault of another test.
        let end = Instant::now() + Duration::from_secs(PATIENCE.into());
        while Instant::now() < end && self.started.connection.recv(PATIENCE).is_ok() {}
        // A daemon's part, which the test may have done already.
        let _ = self.cgroup.remove();
    }
}

/// Waits for the event that `pick` picks.
pub(crate) fn until<T>(connection: &MonitorConnection, mut pick: impl FnMut(Event) -> Option<T>) -> T {
    loop {
        if let Some(found) = pick(connection.recv(PATIENCE).unwrap().0) {
            return found;
        }
    }
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(PATIENCE.into());
    while !is_so() {
        assert!(Instant::now() < end, "{what}: not within {PATIENCE} s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process exists and is no zombie.
pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

pub(crate) fn kill(pid: i32) {
    let pid = Pid::from_raw(pid).unwrap();
    let fd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).unwrap();
    rustix::process::pidfd_send_signal(fd, Signal::KILL).unwrap();
}

pub(crate) const ALL: Streams = Streams { stdin: true, stdout: true, stderr: true };
pub(crate) const OUTPUT: Streams = Streams { stdin: false, stdout: true, stderr: true };

/// Reads frames to the end: the bytes of either stream.
pub(crate) fn read_frames(mut client: UnixStream) -> (Vec<u8>, Vec<u8>) {
    client.set_read_timeout(Some(Duration::from_secs(PATIENCE.into()))).unwrap();
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut rest = &all[..];
    while !rest.is_empty() {
        let len = u32::from_be_bytes(rest[4..8].try_into().unwrap()) as usize;
        let (stream, data) = (rest[0], &rest[8..8 + len]);
        if stream == 1 {
            out.extend_from_slice(data)
        } else {
            err.extend_from_slice(data)
        }
        rest = &rest[8 + len..];
    }
    (out, err)
}

/// Reads raw output until it contains `text`.
pub(crate) fn read_until(client: &mut UnixStream, text: &str) -> String {
    client.set_read_timeout(Some(Duration::from_secs(PATIENCE.into()))).unwrap();
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&all).contains(text) {
        let len = client.read(&mut buffer).unwrap();
        assert!(len > 0, "ended with {:?}", String::from_utf8_lossy(&all));
        all.extend_from_slice(&buffer[..len]);
    }
    String::from_utf8(all).unwrap()
}

pub(crate) fn say(client: &mut UnixStream, text: &str) {
    client.write_all(text.as_bytes()).unwrap();
}

pub(crate) const fn code(code: i32) -> Exit {
    Exit::Code(code)
}
