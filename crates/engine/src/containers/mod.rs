//! Containers: their whole life.
//!
//! A container is named by its full id, its name (with or without the leading slash) or an unambiguous beginning of
//! its id.

mod ahead;
mod attach;
mod change;
mod command;
mod commit;
mod create;
pub(crate) mod endpoint;
pub(crate) mod etc;
mod exit;
mod files;
mod foreign;
mod forwarding;
mod health;
mod inspect;
mod knock;
mod links;
mod list;
mod logging;
mod logs;
mod merge;
mod mounts;
pub(crate) mod noted;
mod parts;
mod policy;
mod probe;
mod propagation;
mod prune;
mod reconcile;
mod remove;
mod spare;
mod start;
mod stop;
mod top;
mod wait;

use std::{future::Future, io::Read, pin::Pin, sync::Arc, time::Duration};

use tokio::net::UnixStream;

use crate::{
    ArchiveWriter, Result,
    container::Reader,
    model::{
        ContainerSummary, ContainerView, CreateRequest, Created, Filters, Pruned, Timestamp, Top,
        UpdateRequest,
    },
};

pub(crate) use ahead::{Ahead, MOST as MOST_AHEAD};
pub(crate) use attach::pair;
pub use commit::CommitRequest;
pub(crate) use files::Views;
pub use files::{Archived, PathStat, PutOptions};
pub(crate) use forwarding::Forwarders;
pub use logs::LogStream;
pub(crate) use parts::{LauncherSlot, Parts, blocking, in_place, to_the_end};
pub(crate) use policy::ON_UNHEALTHY;
pub(crate) use remove::idle as remove_idle;
pub(crate) use spare::Spares;
pub(crate) use wait::Departed;

/// The service.
#[derive(Clone)]
pub struct Containers {
    parts: Arc<Parts>,
}

/// How `stop` and `restart` end a container.
#[derive(Clone, Debug, Default)]
pub struct StopOptions {
    /// Signal by name or number; none means the container's own.
    pub signal: Option<String>,
    /// Seconds until `SIGKILL`, negative for never; none means the container's own.
    pub timeout: Option<i64>,
}

/// What `remove` may do.
#[derive(Clone, Copy, Debug, Default)]
pub struct RemoveOptions {
    /// Kill it if it runs.
    pub force: bool,
    /// Remove its anonymous volumes.
    pub volumes: bool,
    /// Remove a link, not the container.
    pub link: bool,
}

/// Which containers `list` shows.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Those that do not run too.
    pub all: bool,
    /// At most this many, latest first, running or not; 0 or less for no limit.
    pub limit: i64,
    /// Measure what they take on disk.
    pub size: bool,
    /// Filters.
    pub filters: Filters,
}

/// What `wait` waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitCondition {
    /// It does not run (now, if it does not).
    #[default]
    NotRunning,
    /// It ends after now.
    NextExit,
    /// It is gone.
    Removed,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaitOutcome {
    /// Exit status, 128 and the signal's number for a signal.
    pub exit_code: i64,
    /// What kept it from being started or removed.
    pub error: Option<String>,
}

/// A wait that has begun: the container is known and watched, so the server can answer its headers. Dropping it stops
/// the wait.
pub struct Waiting(Pin<Box<dyn Future<Output = Result<WaitOutcome>> + Send>>);

impl Future for Waiting {
    type Output = Result<WaitOutcome>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

/// Which part of the log.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// Wait for more.
    pub follow: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Lines from then on.
    pub since: Option<Timestamp>,
    /// Lines up to then.
    pub until: Option<Timestamp>,
    /// Begin each line with its time.
    pub timestamps: bool,
    /// At most the last so many lines; none for all.
    pub tail: Option<u64>,
    /// Show the attributes that the log driver was asked to keep.
    pub details: bool,
}

/// How a client attaches.
#[derive(Clone, Debug, Default)]
pub struct AttachOptions {
    /// Send standard input.
    pub stdin: bool,
    /// Receive standard output.
    pub stdout: bool,
    /// Receive standard error.
    pub stderr: bool,
    /// First the log so far.
    pub logs: bool,
    /// Then what comes; without it only the log is sent.
    pub stream: bool,
    /// Keys that end the attachment, as `ctrl-p,ctrl-q`; none for the default.
    pub detach_keys: Option<String>,
}

/// A client's end of a container's or exec's streams.
#[derive(Debug)]
pub struct Attached {
    /// Whether bytes are raw (a terminal) or in 8-byte multiplexed frames.
    pub tty: bool,
    /// Sent first: the log so far, if that was asked for.
    pub backlog: Option<LogStream>,
    /// Bytes of the client go in, bytes of the container come out; end of file when it ended. None if only the log
    /// was asked for. Closing the writing half closes standard input as the container's configuration says; do that
    /// too when the client is gone.
    pub stream: Option<UnixStream>,
    /// The keys that detach, in bytes; look for them in what the client sends if there is a terminal.
    pub detach_keys: Vec<u8>,
    /// To be dropped when the client has all of the output, or is gone. None for an exec, or if only the log was asked for.
    pub reader: Option<Reader>,
}

impl Containers {
    /// Time that `stop` gives a container if nobody says otherwise.
    pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);

    pub(crate) fn new(parts: Arc<Parts>) -> Self {
        Self { parts }
    }

    /// Takes over what the last daemon left, and finishes or undoes what it had begun.
    pub(crate) async fn reconcile(&self) -> Result<()> {
        reconcile::reconcile(&self.parts).await
    }

    /// Validates everything, then makes the container. What fails leaves nothing behind.
    ///
    /// # Errors
    /// Invalid requests, a missing image, a name in use.
    pub async fn create(&self, request: CreateRequest) -> Result<Created> {
        create::create(&self.parts, request).await
    }

    /// Starts it. Goes on even if the caller stops waiting.
    ///
    /// # Errors
    /// [`crate::Error::NotModified`] if it runs; otherwise why it did not start.
    pub async fn start(&self, container: &str) -> Result<()> {
        start::start(&self.parts, container).await
    }

    /// Sends the stop signal, waits, and kills.
    ///
    /// # Errors
    /// [`crate::Error::NotModified`] if it does not run.
    pub async fn stop(&self, container: &str, options: StopOptions) -> Result<()> {
        stop::stop(&self.parts, container, options).await
    }

    /// Stops it if it runs, and starts it.
    ///
    /// # Errors
    /// As `stop` and `start`.
    pub async fn restart(&self, container: &str, options: StopOptions) -> Result<()> {
        stop::restart(&self.parts, container, options).await
    }

    /// Sends a signal by name or number; none means `SIGKILL`, after which this waits for the end.
    ///
    /// # Errors
    /// It does not run; there is no such signal.
    pub async fn kill(&self, container: &str, signal: Option<&str>) -> Result<()> {
        stop::kill(&self.parts, container, signal).await
    }

    /// Freezes it.
    ///
    /// # Errors
    /// It does not run or is frozen.
    pub async fn pause(&self, container: &str) -> Result<()> {
        stop::pause(&self.parts, container).await
    }

    /// Thaws it.
    ///
    /// # Errors
    /// It is not frozen.
    pub async fn unpause(&self, container: &str) -> Result<()> {
        stop::unpause(&self.parts, container).await
    }

    /// Begins to wait. The outcome is there the moment the exit is known.
    ///
    /// # Errors
    /// There is no such container.
    pub async fn wait(&self, container: &str, condition: WaitCondition) -> Result<Waiting> {
        wait::wait(&self.parts, container, condition)
    }

    /// Removes it: it is gone when this returns, its garbage soon after.
    ///
    /// # Errors
    /// It runs and `force` is off; it is being removed.
    pub async fn remove(&self, container: &str, options: RemoveOptions) -> Result<()> {
        remove::remove(&self.parts, container, options).await
    }

    /// Lists containers, latest first.
    ///
    /// # Errors
    /// Unknown filters or values.
    pub async fn list(&self, options: ListOptions) -> Result<Vec<ContainerSummary>> {
        list::list(&self.parts, options).await
    }

    /// Everything about one container.
    ///
    /// # Errors
    /// There is no such container.
    pub async fn inspect(&self, container: &str, size: bool) -> Result<ContainerView> {
        inspect::inspect(&self.parts, container, size).await
    }

    /// Its log.
    ///
    /// # Errors
    /// The log driver cannot be read; neither stream was chosen.
    pub async fn logs(&self, container: &str, options: LogOptions) -> Result<LogStream> {
        let container = self.parts.registry.resolve(container)?;
        logs::open(&self.parts, &container, options).await
    }

    /// Connects a client, before the start or while it runs.
    ///
    /// # Errors
    /// It is paused or restarting; the keys cannot be read.
    pub async fn attach(&self, container: &str, options: AttachOptions) -> Result<Attached> {
        attach::attach(&self.parts, container, options).await
    }

    /// Records that a client left by the detach keys (the `detach` event).
    pub fn detached(&self, container: &str) {
        if let Ok(container) = self.parts.registry.resolve(container) {
            self.parts.tell(&container, "detach", &[]);
        }
    }

    /// Sets the size of its terminal.
    ///
    /// # Errors
    /// It does not run.
    pub async fn resize(&self, container: &str, height: u16, width: u16) -> Result<()> {
        change::resize(&self.parts, container, height, width).await
    }

    /// Gives it another name.
    ///
    /// # Errors
    /// The name is invalid, its own, or in use.
    pub async fn rename(&self, container: &str, name: &str) -> Result<()> {
        change::rename(&self.parts, container, name).await
    }

    /// Removes every container that does not run and that the filters let go.
    ///
    /// # Errors
    /// Wrong filters; another prune goes on.
    pub async fn prune(&self, filters: &Filters) -> Result<Pruned<String>> {
        prune::prune(&self.parts, filters).await
    }

    /// Its processes, as `ps` with these arguments would show them (none means `-ef`).
    ///
    /// # Errors
    /// It does not run; the arguments mean nothing.
    pub async fn top(&self, container: &str, ps_args: Option<&str>) -> Result<Top> {
        top::top(&self.parts, container, ps_args).await
    }

    /// What is at a path of its file system; a link at the end is not followed.
    ///
    /// # Errors
    /// There is nothing.
    pub async fn stat(&self, container: &str, path: &str) -> Result<PathStat> {
        files::stat(&self.parts, container, path).await
    }

    /// What is at a path of its file system, as an archive.
    ///
    /// # Errors
    /// There is nothing.
    pub async fn archive(&self, container: &str, path: &str) -> Result<Archived> {
        files::archive(&self.parts, container, path).await
    }

    /// Unpacks an archive, compressed or not, into a directory of its file system. Goes on even if the caller stops waiting.
    ///
    /// # Errors
    /// It is no directory, or cannot be written; the archive is malformed.
    pub async fn put_archive(
        &self,
        container: &str,
        path: &str,
        options: PutOptions,
        archive: Box<dyn Read + Send>,
    ) -> Result<()> {
        files::put(&self.parts, container, path, options, archive).await
    }

    /// Its file system without what is mounted in it, as an archive.
    ///
    /// # Errors
    /// There is no such container.
    pub async fn export(&self, container: &str) -> Result<ArchiveWriter> {
        files::export(&self.parts, container).await
    }

    /// What it changed in its image's file system, ordered by path.
    ///
    /// # Errors
    /// There is no such container.
    pub async fn changes(&self, container: &str) -> Result<Vec<skiff_snapshots::Change>> {
        files::changes(&self.parts, container).await
    }

    /// Makes an image of what it changed. Answers the image's id (`sha256:…`).
    ///
    /// # Errors
    /// The name or an instruction is invalid; it is being removed.
    pub async fn commit(&self, request: CommitRequest) -> Result<String> {
        commit::commit(&self.parts, request).await
    }

    /// Changes limits and restart policy. Answers warnings.
    ///
    /// # Errors
    /// Invalid values, limits that the kernel refuses.
    pub async fn update(&self, container: &str, request: UpdateRequest) -> Result<Vec<String>> {
        change::update(&self.parts, container, request).await
    }
}
