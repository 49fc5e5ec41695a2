//! What the daemon and a monitor say to each other.
//!
//! Each message is one packet: a header of two bytes (version, flags) and the postcard encoding of a [`Call`] or an
//! [`Event`]; file descriptors travel beside it (unix(7), `SCM_RIGHTS`). What does not fit a packet lies in a sealed
//! memfd, see `wire`. A monitor lives as long as its container, so it may be older than the daemon:
//! variants are only ever appended, and a change of anything else raises [`VERSION`].

use std::{collections::BTreeMap, path::PathBuf, time::SystemTime};

use serde::{Deserialize, Serialize};
use skiff_types::{ContainerId, ExecId};

use crate::apply::StageError;

/// The version of this protocol. The first byte of every packet.
pub const VERSION: u8 = 1;

/// The socket's name in the run directory.
pub const SOCKET_NAME: &str = "monitor.sock";

/// A [`crate::plan::Plan`] or [`crate::plan::ExecPlan`] in its wire form. The launcher passes it on without looking inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncodedPlan(#[serde(with = "serde_bytes")] Vec<u8>);

impl EncodedPlan {
    /// Encodes a plan.
    ///
    /// # Errors
    /// Only what `T`'s own `Serialize` refuses.
    pub fn new<T: Serialize>(plan: &T) -> Result<Self, postcard::Error> {
        postcard::to_stdvec(plan).map(Self)
    }

    pub(crate) fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T, postcard::Error> {
        postcard::from_bytes(&self.0)
    }
}

/// A moment, in a form that needs no time zone and no allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UnixTime {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

impl UnixTime {
    /// The real-time clock.
    pub fn now() -> Self {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        Self { seconds: now.tv_sec, nanoseconds: now.tv_nsec as u32 }
    }
}

impl From<UnixTime> for SystemTime {
    fn from(t: UnixTime) -> Self {
        let whole = std::time::Duration::from_secs(t.seconds.unsigned_abs());
        let base =
            if t.seconds < 0 { SystemTime::UNIX_EPOCH - whole } else { SystemTime::UNIX_EPOCH + whole };
        base + std::time::Duration::from_nanos(t.nanoseconds.into())
    }
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Height.
    pub rows: u16,
    /// Width.
    pub columns: u16,
}

/// What the process's standard input is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// `/dev/null`; of a terminal, nobody types.
    #[default]
    Null,
    /// Stays open however many attach and detach.
    Open,
    /// Closed when the first attached stream that feeds it half-closes. A terminal is never closed so.
    Once,
}

/// The standard streams of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stdio {
    /// Standard input.
    pub stdin: Stdin,
    /// A terminal of this size (0×0: unknown as yet) for all three streams, in place of pipes.
    pub terminal: Option<WindowSize>,
}

/// Which streams an attached client wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams {
    /// What it sends is fed to the process.
    pub stdin: bool,
    /// Standard output; of a terminal, everything.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// Where the container's output is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Log {
    /// Nowhere: it reaches attached clients only.
    None,
    /// Docker's `json-file`.
    JsonFile(JsonFile),
}

/// Docker's `json-file` format and its rotation: the newest is `path`, older ones `path.1`, `path.2`…
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JsonFile {
    /// The current file; appended to when it exists. Its directory must exist.
    pub path: PathBuf,
    /// Rotate before a line would make the file larger than this; 0 means never.
    pub max_size: u64,
    /// How many files to keep, the current one included; at least 1.
    pub max_files: u32,
    /// Whether `path.1` and older are compressed with gzip (`path.1.gz`).
    pub compress: bool,
    /// The `attrs` of every line (`--log-opt labels=`, `env=`).
    pub attrs: BTreeMap<String, String>,
    /// Lines are numbered from here, if somebody is to know which of them are gone.
    pub first_number: Option<u64>,
}

/// Which process of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// The container's own process.
    Init,
    /// A process started in it later.
    Exec(ExecId),
}

/// A request and the number under which it is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// Chosen by [`crate::monitor::connection::MonitorConnection::send`]; comes back in [`Event::Answer`].
    pub sequence: u32,
    /// What to do.
    pub request: Request,
}

/// What the daemon asks of a monitor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Sends a signal to one process (not to its group, nor to the cgroup).
    Signal {
        /// To whom.
        target: Target,
        /// The signal's number.
        signal: i32,
    },
    /// Sets the size of the terminal; the kernel tells the foreground process (`SIGWINCH`).
    Resize {
        /// Whose terminal.
        target: Target,
        /// The new size.
        size: WindowSize,
    },
    /// Connects a stream socket, passed beside the request, to the process.
    ///
    /// The monitor writes raw bytes for a terminal, else frames of 8 bytes of header (stream, three zeros, big-endian
    /// length) as the Docker API wants them. What arrives is fed to the process if `streams.stdin` is set.
    /// Half-closing (`shutdown(SHUT_WR)`) means end of input: it closes the process's stdin when that is
    /// [`Stdin::Once`] without a terminal, and otherwise ends this attachment. Closing the socket, which is also what the death of
    /// the daemon looks like, detaches and closes nothing: a daemon whose *client* has gone away says
    /// [`Request::CloseStdin`] first. The monitor closes its end when the process has ended and all is written.
    Attach {
        /// To which process.
        target: Target,
        /// What the client wants.
        streams: Streams,
    },
    /// Ends the input of a process whose stdin is [`Stdin::Once`] without a terminal, after what was sent before; else does nothing.
    CloseStdin {
        /// Whose.
        target: Target,
    },
    /// Starts a process in the running container; answered by [`Event::ExecStarted`] or [`Event::ExecFailed`].
    /// An attachment's socket may be passed beside it, before the fds of the plan.
    Exec(ExecRequest),
    /// Asks for the mount of the root file system and the mount namespace it is attached in. Beside an answer that is no error
    /// both are passed, in this order. The mount is the one the container was started with, whatever it has mounted since.
    Root,
    /// Freezes a container that another runtime has made, by that runtime.
    Pause,
    /// Thaws it.
    Resume,
    /// Changes its limits: the JSON of OCI's `LinuxResources`.
    Update(#[serde(with = "serde_bytes")] Vec<u8>),
}

/// A process to start in a running container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Its name from now on.
    pub id: ExecId,
    /// An encoded [`crate::plan::ExecPlan`]; for another runtime, the JSON of OCI's `Process` as a string.
    pub plan: EncodedPlan,
    /// Its standard streams.
    pub stdio: Stdio,
    /// What the socket passed beside the request is for, when there is one.
    pub attach: Option<Streams>,
}

/// What a monitor tells every connected daemon.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Event {
    /// All there is to know: the first event on every connection, and what comes in place of events that a daemon did not take in time. The
    /// init's pidfd is passed beside it.
    Hello(Hello),
    /// How the request of this number went. [`Request::Exec`] is answered by its own events.
    Answer {
        /// [`Call::sequence`].
        sequence: u32,
        /// Done, or why not.
        result: Result<(), RequestError>,
    },
    /// The process runs.
    ExecStarted {
        /// Which.
        id: ExecId,
        /// Its number in the host's pid namespace.
        pid: i32,
    },
    /// It does not, and never will.
    ExecFailed {
        /// Which.
        id: ExecId,
        /// At which stage it failed.
        error: StageError,
    },
    /// It has ended and its output is read to the end.
    ExecExited {
        /// Which.
        id: ExecId,
        /// How it ended.
        exit: Exit,
        /// When.
        at: UnixTime,
    },
    /// The kernel killed a process of the container for want of memory; the count so far.
    OomKill {
        /// Since the start of the container.
        count: u64,
    },
    /// The container has ended, its log is complete, and its exit record is written.
    Exited(super::record::ExitRecord),
    /// Log lines could not be written (a full disk, say). Sent when it begins, and when it is over.
    LogTrouble(LogHealth),
}

/// The state of a container as its monitor knows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// The monitor's protocol version.
    pub version: u8,
    /// Which container.
    pub container: ContainerId,
    /// The monitor's own number.
    pub monitor_pid: i32,
    /// The init's number in the host's pid namespace.
    pub pid: i32,
    /// When the program of the container was executed.
    pub started_at: UnixTime,
    /// How it ended, if it has.
    pub exit: Option<super::record::ExitRecord>,
    /// Running execs, and the last [`KEPT_EXECS`] that ended.
    pub execs: Vec<ExecState>,
    /// Processes of the container killed for want of memory.
    pub oom_kills: u64,
    /// Whether the log loses lines.
    pub log: LogHealth,
}

/// How many ended execs a monitor remembers for a daemon that was away.
pub const KEPT_EXECS: usize = 64;

/// An exec as its monitor knows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExecState {
    /// Which.
    pub id: ExecId,
    /// Its number in the host's pid namespace.
    pub pid: i32,
    /// How and when it ended, if it has.
    pub exit: Option<(Exit, UnixTime)>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// It was killed by this signal.
    Signal(i32),
}

impl Exit {
    /// As a shell and Docker say it: the code, or 128 and the signal's number.
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// What the log had to drop so that the container could go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogHealth {
    /// Lines (or parts of 16 KiB) that were not written.
    pub lost: u64,
    /// The `errno` of the last failed write; `None` when the last one succeeded.
    pub errno: Option<i32>,
}

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RequestError {
    /// The target is not known or has ended.
    #[error("no such process")]
    NoSuchProcess,
    /// Resize of a process that has no terminal.
    #[error("the process has no terminal")]
    NoTerminal,
    /// The request lacks its file descriptor, or cannot be read.
    #[error("malformed request")]
    Malformed,
    /// The kernel said no.
    #[error("{operation}: errno {errno}")]
    System {
        /// The system call.
        operation: String,
        /// Its `errno`.
        errno: i32,
    },
    /// Another runtime said no.
    #[error("{0}")]
    Runtime(String),
}
