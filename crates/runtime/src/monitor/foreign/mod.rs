//! Containers that another OCI runtime makes: a program, run as runc's callers run runc.
//!
//! The monitor stays what it is, the owner of streams, log and exit record. It is the subreaper (prctl(2)) of whatever the
//! program leaves behind, so the container's processes are its children although it did not fork them; and it has the program do
//! what reaches into the container: create, start, exec, kill, pause, resume, update, delete.
//!
//! Invariants:
//! - The bundle and the program's own state lie in the run directory of the container, and go with it.
//! - What is mounted in the bundle is mounted in a namespace that only the program's `create` is in. Nobody else sees it, and
//!   nothing has to be unmounted.
//! - Once the container runs the monitor waits for no program: output and clients are served meanwhile. A program that does not
//!   end in time is killed, and its request fails.

mod attach;
mod program;
mod requests;
mod start;

use std::{
    ffi::OsStr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags},
    net::SocketFlags,
    process::Pid,
};
use serde::{Deserialize, Serialize};

pub(super) use start::start;

use self::{
    program::{Program, Streams},
    requests::Running,
};
use super::stdio;
use crate::apply::{Stage, StageError};

/// Another OCI runtime, and what it is to make a container of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignRuntime {
    /// The program.
    pub program: PathBuf,
    /// Its arguments, before any of the monitor's.
    pub args: Vec<String>,
    /// The bundle's `config.json`.
    #[serde(with = "serde_bytes")]
    pub spec: Vec<u8>,
    /// What is mounted in the bundle for the program to see: a name there, and the index of a descriptor (a detached mount, or a
    /// namespace).
    pub attached: Vec<(String, u32)>,
}

impl ForeignRuntime {
    /// Where the bundle of a container is, whose paths its specification may name.
    pub fn bundle(run_dir: &Path) -> PathBuf {
        run_dir.join("bundle")
    }
}

/// Where programs are looked for that the program itself starts.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long the program may take over a start.
const STARTING: Duration = Duration::from_secs(120);
/// How long it may take over anything else.
const ASKED: Duration = Duration::from_secs(60);
/// How long it may take to forget a container that has ended.
const DELETING: Duration = Duration::from_secs(10);

/// A command and its options.
type Options<'a> = &'a [&'a OsStr];

/// The runtime of this monitor's container.
pub(super) struct Foreign {
    program: PathBuf,
    args: Vec<String>,
    id: String,
    bundle: PathBuf,
    /// The program's state.
    root: PathBuf,
    running: Vec<Running>,
    /// Numbers what is run.
    next: u32,
}

fn refused(reason: impl Into<String>) -> StageError {
    StageError::refused(Stage::Runtime, reason)
}

fn io(what: &Path) -> impl Fn(std::io::Error) -> StageError + '_ {
    move |e| refused(format!("{}: {e}", what.display()))
}

impl Foreign {
    /// Writes the bundle.
    fn new(id: String, run_dir: &Path, runtime: &ForeignRuntime) -> Result<Self, StageError> {
        let bundle = ForeignRuntime::bundle(run_dir);
        let root = run_dir.join("runtime");
        // A run whose monitor was killed may have left some.
        for old in [&bundle, &root] {
            let _ = fs_err::remove_dir_all(old);
        }
        fs_err::create_dir_all(bundle.join("rootfs")).map_err(io(&bundle))?;
        let config = bundle.join("config.json");
        fs_err::write(&config, &runtime.spec).map_err(io(&config))?;
        Ok(Self {
            program: runtime.program.clone(),
            args: runtime.args.clone(),
            id,
            bundle,
            root,
            running: Vec::new(),
            next: 0,
        })
    }

    /// A new name in the bundle.
    fn file(&mut self, kind: &str) -> PathBuf {
        self.next += 1;
        self.bundle.join(format!("{kind}-{}", self.next))
    }

    /// Starts the program with a command and its options, the container's name, and what comes after that.
    fn run(
        &mut self,
        (options, rest): (Options<'_>, &[&str]),
        streams: Streams<'_>,
        enter: impl FnOnce() -> Result<(), StageError>,
        namespace: bool,
    ) -> Result<Program, StageError> {
        let log = self.file("log");
        let mut command = Command::new(&self.program);
        command.args(&self.args).arg("--root").arg(&self.root);
        command.arg("--log").arg(&log).args(["--log-format", "json"]);
        command.args(options).arg(&self.id).args(rest);
        command.env_clear().env("PATH", PATH).current_dir(&self.bundle);
        Program::spawn(command, log, streams, namespace, enter)
    }

    fn ask(&mut self, options: Options<'_>, rest: &[&str]) -> Result<Program, StageError> {
        self.run((options, rest), Streams::None, || Ok(()), false)
    }

    /// Has the program forget the container; what is left of it is killed.
    pub(super) fn delete(&mut self) {
        // If the program fails, the cgroup says what is left, and the run directory goes in any case.
        let _ = self
            .ask(&["delete".as_ref(), "--force".as_ref()], &[])
            .and_then(|program| program.wait(DELETING));
    }

    /// When the first of what runs is to be given up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.running.iter().map(|running| running.deadline).min()
    }
}

/// Where the program sends a terminal's master: a socket in the bundle.
struct Console {
    listener: OwnedFd,
    /// Whose number is in `path`.
    _bundle: OwnedFd,
    path: PathBuf,
}

impl Console {
    /// A socket's path may have 107 bytes: it goes through the bundle's descriptor, however long the bundle's path is.
    fn listen(bundle: &Path) -> Result<Self, StageError> {
        use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
        let failed = |errno| StageError::new(Stage::Console, errno, bundle.to_string_lossy());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(bundle, flags, Mode::empty()).map_err(failed)?;
        let (own, fd) = (rustix::process::getpid(), opened.as_raw_fd());
        let path = PathBuf::from(format!("/proc/{own}/fd/{fd}/tty-{fd}"));
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(failed)?;
        rustix::fs::fchmod(&listener, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        let address = SocketAddrUnix::new(&path).map_err(failed)?;
        rustix::net::bind(&listener, &address).map_err(failed)?;
        rustix::net::listen(&listener, 1).map_err(failed)?;
        Ok(Self { listener, _bundle: opened, path })
    }

    /// The master, which the program has sent before it ended.
    fn receive(self) -> Result<OwnedFd, StageError> {
        let failed = |errno| StageError::new(Stage::Console, errno, "the runtime has sent no terminal");
        let socket = rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
            .map_err(failed)?;
        // The message is the terminal's name in the container, which nobody needs.
        let (_, mut fds) = skiff_sys::socket::receive(&socket, &mut [0; 4096]).map_err(failed)?;
        fds.pop().ok_or_else(|| failed(rustix::io::Errno::BADF))
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = fs_err::remove_file(&self.path);
    }
}

/// What the program gives a process: pipes, or the socket that it is to send a terminal's master to.
fn streams<'a>(prepared: &'a stdio::Prepared) -> Streams<'a> {
    match prepared.for_process() {
        crate::apply::Stdio::Fds { stdin, stdout, stderr } => Streams::Given([stdin, stdout, stderr]),
        crate::apply::Stdio::Terminal => Streams::None,
    }
}

/// The process whose number the program has left in a file.
fn process(file: &Path) -> Result<(Pid, OwnedFd), StageError> {
    let text = fs_err::read_to_string(file).map_err(io(file))?;
    let _ = fs_err::remove_file(file);
    let pid = text.trim().parse().ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| refused(format!("{text:?} is no process number")))?;
    // What has ended already is not reaped yet: it is this process's to reap.
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
        .map_err(|errno| StageError::new(Stage::Runtime, errno, format!("process {pid}")))?;
    Ok((pid, pidfd))
}

/// Reaps adopted children that nobody here knows: whoever's parent has died in a pid namespace that the container shares.
pub(super) fn reap_strangers(known: impl Fn(Pid) -> bool) {
    use rustix::process::{WaitId, WaitIdOptions};
    let own = rustix::process::getpid().as_raw_nonzero();
    let path = format!("/proc/{own}/task/{own}/children");
    let children = fs_err::read_to_string(path).unwrap_or_default();
    for pid in children.split_whitespace().filter_map(|pid| pid.parse().ok()).filter_map(Pid::from_raw) {
        if !known(pid) {
            let _ = rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        }
    }
}

/// A borrowed descriptor by its index in the request.
fn descriptor(fds: &[OwnedFd], index: u32) -> Result<BorrowedFd<'_>, StageError> {
    fds.get(index as usize).map(AsFd::as_fd).ok_or_else(|| refused("a descriptor is missing"))
}
