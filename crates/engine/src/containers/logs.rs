//! Logs: read on a thread that may block, chunk by chunk as the client takes them.

use std::{fs::File, sync::Arc};

use bytes::Bytes;
use skiff_logs::{Framing, Progress, Query, Reader, Time};
use tokio::{net::unix::pipe, sync::watch, task::JoinHandle};

use super::{
    LogOptions, logging,
    parts::{Parts, blocking},
};
use crate::{
    Error, Result,
    container::{Container, Phase},
    model::Timestamp,
};

/// Log lines, ready to be sent: raw for a terminal, else in 8-byte multiplexed frames.
pub struct LogStream {
    tty: bool,
    state: State,
    /// Becomes readable when there may be more; only while following.
    wakeup: Option<pipe::Receiver>,
    phase: watch::Receiver<Phase>,
    /// The container's end is passed on to the reader once.
    told_end: bool,
}

/// What one step of reading gave.
type Filled = std::io::Result<(Vec<u8>, Progress)>;

enum State {
    Idle(Box<Reader>),
    Reading(JoinHandle<(Box<Reader>, Filled)>),
    Done,
}

pub(super) async fn open(
    parts: &Arc<Parts>,
    container: &Arc<Container>,
    options: LogOptions,
) -> Result<LogStream> {
    if !options.stdout && !options.stderr {
        return Err(Error::Invalid("Bad parameters: you must choose at least one stream".into()));
    }
    let record = container.record().clone();
    let tty = record.config.tty;
    if !logging::is_readable(&record) {
        return Err(Error::NotImplemented("configured logging driver does not support reading".into()));
    }
    let path = logging::path(parts, &record)?;
    let query = query(&options, tty);
    let follow = options.follow;
    let reader = blocking(move || {
        if let (true, Some(dir)) = (follow, path.parent()) {
            fs_err::create_dir_all(dir)?;
        }
        Reader::open(&path, query)
    })
    .await?
    .map_err(|e| Error::Internal(format!("cannot read the log: {e}")))?;
    let wakeup = match reader.wakeup() {
        Some(fd) => Some(pipe::Receiver::from_file_unchecked(File::from(fd.try_clone_to_owned()?))?),
        None => None,
    };
    Ok(LogStream {
        tty,
        state: State::Idle(Box::new(reader)),
        wakeup,
        phase: container.watch(),
        told_end: false,
    })
}

fn query(options: &LogOptions, tty: bool) -> Query {
    let time = |at: Timestamp| Time {
        seconds: at.as_second(),
        nanoseconds: u32::try_from(at.subsec_nanosecond()).unwrap_or(0),
    };
    Query {
        tail: options.tail,
        since: options.since.map(time),
        until: options.until.map(time),
        stdout: options.stdout,
        stderr: options.stderr,
        timestamps: options.timestamps,
        details: options.details,
        follow: options.follow,
        framing: if tty { Framing::Raw } else { Framing::Multiplexed },
    }
}

impl LogStream {
    /// Whether the container has a terminal: the chunks are raw then.
    pub fn is_tty(&self) -> bool {
        self.tty
    }

    /// The next chunk (several lines); none at the end. Safe to drop at any time.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        loop {
            match self.read().await? {
                Ok((chunk, progress)) => {
                    if progress == Progress::End {
                        self.state = State::Done;
                    }
                    if !chunk.is_empty() {
                        return Some(Ok(Bytes::from(chunk)));
                    }
                    if progress == Progress::CaughtUp {
                        self.wait().await;
                    }
                }
                Err(e) => {
                    self.state = State::Done;
                    return Some(Err(Error::Internal(format!("cannot read the log: {e}"))));
                }
            }
        }
    }

    /// One step of reading. A read that was begun before a drop of the future is taken up again.
    async fn read(&mut self) -> Option<Filled> {
        self.state = match std::mem::replace(&mut self.state, State::Done) {
            State::Idle(mut reader) => State::Reading(tokio::task::spawn_blocking(move || {
                let mut chunk = Vec::new();
                let progress = reader.fill(&mut chunk);
                (reader, progress.map(|progress| (chunk, progress)))
            })),
            state => state,
        };
        let State::Reading(task) = &mut self.state else { return None };
        let done = task.await;
        let (reader, outcome) = done.ok()?;
        self.state = State::Idle(reader);
        Some(outcome)
    }

    /// Waits until there may be more, or the container has ended.
    async fn wait(&mut self) {
        let running = |phase: &Phase| phase.running && !phase.removed;
        if !self.told_end && !running(&self.phase.borrow()) {
            if let State::Idle(reader) = &mut self.state {
                reader.producer_ended();
            }
            self.told_end = true;
            return;
        }
        let more = async {
            match &self.wakeup {
                Some(fd) => {
                    // What is read does not matter: the reader looks at the files. It clears tokio's memory of an event.
                    if fd.readable().await.is_ok() {
                        let _ = fd.try_read(&mut [0; 4096]);
                    }
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = more => {}
            _ = self.phase.wait_for(|phase| !running(phase)) => {}
        }
    }
}

impl std::fmt::Debug for LogStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogStream").field("tty", &self.tty).finish_non_exhaustive()
    }
}
