//! The launcher: the one process that forks container code.
//!
//! The daemon is multi-threaded and must not fork; this is its single-threaded helper, executed once per daemon start
//! from a write-sealed memfd (so that no container can reach a writable host binary through `/proc/<pid>/exe`) and
//! non-dumpable. It never runs a container itself: it forks monitors, one ahead of the containers. The spare one takes the
//! next request, which is one packet that names a cgroup, from the launcher's own socket; the launcher forks another. What
//! is to run follows on a socket that came with the packet, where the monitor answers. The launcher ends with its daemon, and
//! a spare monitor with the launcher.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    process::{Child, Command, Stdio as ChildStdio},
    sync::OnceLock,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    net::sockopt::{Timeout, set_socket_timeout},
    process::{Resource, Rlimit},
};
use serde::{Deserialize, Serialize};
use skiff_sys::{exe, socket};
use skiff_types::ContainerId;

use crate::{
    apply::StageError,
    cgroups::{CgroupPath, Layout},
    monitor::{
        connection::{self, MonitorConnection},
        foreign::ForeignRuntime,
        protocol::{EncodedPlan, Log, Stdio, Streams, UnixTime},
        record::ExitRecord,
        wire::{self, WireError},
    },
};

pub mod process;

/// The `argv[0]` that makes the binary a launcher.
pub const ARGV0: &str = "skiff-launcher";

/// A container to start.
#[derive(Debug)]
pub struct StartRequest {
    /// Which container.
    pub id: ContainerId,
    /// Its own directory for the socket and the exit record, on a tmpfs; made when it is not there.
    pub run_dir: PathBuf,
    /// Who makes it, and of what.
    pub launch: Launch,
    /// The descriptors that it names by index: the root file system's mount, namespaces to join.
    pub fds: Vec<OwnedFd>,
    /// The standard streams.
    pub stdio: Stdio,
    /// Where output is kept.
    pub log: Log,
    /// Clients attached before the first byte, as [`crate::monitor::protocol::Request::Attach`] describes them.
    pub attach: Vec<(Streams, OwnedFd)>,
    /// Whether anything of the host's is mounted in it, whose owner may want to unmount it once the container has ended.
    pub host_mounts: bool,
}

/// Who makes a container, and of what.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Launch {
    /// The monitor itself, of an encoded [`crate::plan::Plan`].
    Plan(EncodedPlan),
    /// Another OCI runtime. The root file system is the first descriptor.
    Foreign(ForeignRuntime),
}

/// A container that runs.
#[derive(Debug)]
pub struct Started {
    /// The init's number in the host's pid namespace.
    pub pid: i32,
    /// The init.
    pub pidfd: OwnedFd,
    /// The monitor's number.
    pub monitor_pid: i32,
    /// When its program was executed.
    pub started_at: UnixTime,
    /// A connection to its monitor, whose `Hello` is already taken.
    pub connection: MonitorConnection,
}

/// Why a container did not start. Nothing of it is left, save the run directory.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The plan could not be carried out.
    #[error(transparent)]
    Failed(#[from] StageError),
    /// The run directory or the monitor's socket could not be made.
    #[error("run directory: {0}")]
    RunDir(#[source] io::Error),
    /// The launcher cannot be reached; another one must be spawned.
    #[error("the launcher does not answer: {0}")]
    Launcher(#[source] WireError),
    /// The monitor was killed before it had started the container.
    #[error("the monitor ended before the container started: {0}")]
    Monitor(#[source] WireError),
}

/// What a container needs first, and takes longest: its cgroup.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Place {
    /// Where the hierarchies are.
    pub layout: Layout,
    /// The cgroup, which the plan that follows names too.
    pub path: CgroupPath,
}

/// The part of a [`StartRequest`] that is not descriptors. These follow in this order: the listening socket, attached
/// clients, the container's own.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StartMessage {
    pub(crate) id: ContainerId,
    pub(crate) run_dir: PathBuf,
    pub(crate) launch: Launch,
    pub(crate) stdio: Stdio,
    pub(crate) log: Log,
    pub(crate) attach: Vec<Streams>,
    pub(crate) host_mounts: bool,
}

/// The monitor's one answer to a start, before it speaks [`crate::monitor::protocol`] on the same socket. The init's pidfd is beside
/// it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StartAnswer {
    pub(crate) monitor_pid: i32,
    pub(crate) result: Result<(i32, UnixTime), StageError>,
}

/// The limit on open files that this process was started with, once it is [raised](raise_open_files).
static OPEN_FILES: OnceLock<Rlimit> = OnceLock::new();

/// Lets this process open as many files as it may, as Go's programs do: every connection is one. Containers get the limit
/// that was in force before.
///
/// # Errors
/// The kernel's.
pub fn raise_open_files() -> io::Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    OPEN_FILES.get_or_init(|| limit);
    Ok(rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}

/// The daemon's hold on its launcher. Dropping it ends the launcher; monitors stay.
#[derive(Debug)]
pub struct Launcher {
    socket: OwnedFd,
    child: Child,
}

impl Launcher {
    /// Starts a launcher from a sealed copy of this very binary, which must give `argv[0]` [`ARGV0`] to
    /// [`crate::launcher::process::main`]. Takes some milliseconds, for the copy.
    ///
    /// # Errors
    /// No memory for the copy, or no `/proc`.
    pub fn spawn() -> io::Result<Self> {
        use std::os::{fd::AsRawFd, unix::process::CommandExt};
        let (ours, theirs) = socket::seqpacket_pair()?;
        let copy = exe::sealed_copy(c"skiff-launcher")?;
        let child = Command::new(format!("/proc/self/fd/{}", copy.as_raw_fd()))
            .arg0(ARGV0)
            .env_clear()
            .current_dir("/")
            .args(OPEN_FILES.get().map(|limit| process::open_files_argument(*limit)))
            .stdin(ChildStdio::from(theirs))
            .stdout(ChildStdio::null())
            .spawn()?;
        Ok(Self { socket: ours, child })
    }

    /// The launcher's process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Begins a start: from here on a monitor makes the container's cgroup while the caller prepares the rest. Threads may
    /// call this at the same time: each start is a process of its own.
    ///
    /// # Errors
    /// [`StartError::Launcher`]: spawn another launcher.
    pub fn begin(&self, place: &Place) -> Result<Starting, StartError> {
        let (ours, theirs) = socket::seqpacket_pair().map_err(|e| StartError::RunDir(e.into()))?;
        wire::send(self.socket.as_fd(), place, &[theirs.as_fd()]).map_err(StartError::Launcher)?;
        Ok(Starting { socket: Some(ours) })
    }
}

/// A start that has begun. Dropping it undoes it, and waits until nothing of it is left.
#[derive(Debug)]
pub struct Starting {
    /// None once the rest is sent.
    socket: Option<OwnedFd>,
}

impl Drop for Starting {
    fn drop(&mut self) {
        /// A monitor has nothing to do but remove an empty cgroup.
        const PATIENCE: Duration = Duration::from_secs(10);
        let Some(socket) = self.socket.take() else { return };
        // It is gone already if any of this fails.
        let _ = rustix::net::shutdown(&socket, rustix::net::Shutdown::Write);
        let _ = set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE));
        let _ = wire::receive::<StartAnswer>(socket.as_fd());
    }
}

impl Starting {
    /// Whether a monitor waits for the rest: it says nothing before, unless something went wrong.
    pub fn is_waiting(&self) -> bool {
        let Some(socket) = &self.socket else { return false };
        let mut news = [PollFd::new(socket, PollFlags::IN)];
        matches!(rustix::event::poll(&mut news, Some(&Timespec::default())), Ok(0))
    }

    /// Starts the container and waits until its program is executed, or has failed to be.
    ///
    /// # Errors
    /// Nothing of the container is left then, save the run directory.
    pub fn start(mut self, request: StartRequest) -> Result<Started, StartError> {
        let StartRequest { id, run_dir, launch, fds, stdio, log, attach, host_mounts } = request;
        fs_err::create_dir_all(&run_dir).map_err(StartError::RunDir)?;
        ExitRecord::clear(&run_dir).map_err(StartError::RunDir)?;
        let listener = connection::listen(&run_dir).map_err(StartError::RunDir)?;
        let (streams, sockets): (Vec<_>, Vec<_>) = attach.into_iter().unzip();
        let message = StartMessage { id, run_dir, launch, stdio, log, attach: streams, host_mounts };
        let all: Vec<BorrowedFd<'_>> =
            [&listener].into_iter().chain(&sockets).chain(&fds).map(AsFd::as_fd).collect();
        let socket = self.socket.take().ok_or(StartError::Monitor(WireError::Closed))?;
        wire::send(socket.as_fd(), &message, &all).map_err(StartError::Monitor)?;
        // Only the monitor may hold these: their end is how its death shows.
        drop((listener, sockets, fds));
        answer(socket)
    }
}

fn answer(socket: OwnedFd) -> Result<Started, StartError> {
    let (answer, mut fds): (StartAnswer, _) = wire::receive(socket.as_fd()).map_err(StartError::Monitor)?;
    let (pid, started_at) = answer.result?;
    let pidfd = fds.pop().ok_or(StartError::Monitor(WireError::Malformed("no pidfd")))?;
    rustix::io::ioctl_fionbio(&socket, true)
        .map_err(|source| StartError::Monitor(WireError::System { operation: "ioctl", source }))?;
    let connection = MonitorConnection::new(socket);
    Ok(Started { pid, pidfd, monitor_pid: answer.monitor_pid, started_at, connection })
}

impl Drop for Launcher {
    fn drop(&mut self) {
        // The end of the socket is its signal to end; it has nothing to finish.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
        let _ = self.child.wait();
    }
}
