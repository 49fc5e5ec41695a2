//! The daemon's conversation with one monitor.
//!
//! A [`Link`] sends requests and hands each answer to who asked; a [`Reader`] belongs to the task that listens.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex},
};

use skiff_runtime::{
    apply::StageError,
    monitor::{
        WireError,
        connection::MonitorConnection,
        protocol::{Event, ExecRequest, Request, RequestError},
    },
};
use skiff_types::ExecId;
use tokio::{io::Interest, net::UnixStream, sync::oneshot};

use crate::{Error, Result};

type Answer = Result<(), RequestError>;
/// An answer that is to come, with what is passed beside it.
type Answered = oneshot::Receiver<(Answer, Vec<OwnedFd>)>;
type ExecAnswer = Result<i32, StageError>;

/// Sends requests. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Link {
    shared: Arc<Shared>,
}

/// Receives events: the only one who does.
pub(crate) struct Reader {
    shared: Arc<Shared>,
}

struct Shared {
    monitor: MonitorConnection,
    /// The same socket, for tokio to watch.
    watched: UnixStream,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    answers: HashMap<u32, oneshot::Sender<(Answer, Vec<OwnedFd>)>>,
    execs: HashMap<ExecId, oneshot::Sender<ExecAnswer>>,
    /// The monitor has gone: nobody will be answered.
    closed: bool,
}

/// Takes a connection over.
///
/// # Errors
/// The descriptor cannot be watched.
pub(crate) fn link(monitor: MonitorConnection) -> std::io::Result<(Link, Reader)> {
    let watched = std::os::unix::net::UnixStream::from(monitor.as_fd().try_clone_to_owned()?);
    let watched = UnixStream::from_std(watched)?;
    let shared = Arc::new(Shared { watched, monitor, waiting: Mutex::default() });
    Ok((Link { shared: shared.clone() }, Reader { shared }))
}

fn gone() -> Error {
    Error::Conflict("the container has ended".into())
}

impl Link {
    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// The monitor refuses, or is gone.
    pub(crate) async fn ask(&self, request: Request, fds: &[BorrowedFd<'_>]) -> Result<Answer> {
        let (_, answered) = self.post(request, fds)?;
        Ok(answered.await.map_err(|_| gone())?.0)
    }

    /// The mount of the container's root file system, and the mount namespace it is attached in.
    ///
    /// # Errors
    /// The container has ended.
    pub(crate) async fn root(&self) -> Result<(OwnedFd, OwnedFd)> {
        let (_, answered) = self.post(Request::Root, &[])?;
        let (_, mut fds) = answered.await.map_err(|_| gone())?;
        let (namespace, root) = (fds.pop(), fds.pop());
        root.zip(namespace).ok_or_else(gone)
    }

    fn post(&self, request: Request, fds: &[BorrowedFd<'_>]) -> Result<(u32, Answered)> {
        let (answer, answered) = oneshot::channel();
        let mut waiting = self.shared.waiting.lock().expect("no panic under this lock");
        if waiting.closed {
            return Err(gone());
        }
        // Under the lock, so that the answer finds who waits for it.
        let sequence = self.shared.monitor.send(request, fds).map_err(|e| match e {
            WireError::Closed => gone(),
            other => Error::Internal(format!("monitor: {other}")),
        })?;
        waiting.answers.insert(sequence, answer);
        Ok((sequence, answered))
    }

    /// Starts an exec: its process id, or why it did not start.
    ///
    /// # Errors
    /// The monitor is gone.
    pub(crate) async fn exec(&self, request: ExecRequest, fds: &[BorrowedFd<'_>]) -> Result<ExecAnswer> {
        let (answer, answered) = oneshot::channel();
        let id = request.id;
        self.shared.waiting.lock().expect("no panic under this lock").execs.insert(id, answer);
        // What comes back under the sequence number is a request that could not even be read.
        let (sequence, refused) = self.post(Request::Exec(request), fds)?;
        let started = tokio::select! {
            started = answered => started.map_err(|_| gone()),
            Ok((Err(e), _)) = refused => Err(Error::Internal(format!("monitor: {e}"))),
        };
        self.shared.waiting.lock().expect("no panic under this lock").answers.remove(&sequence);
        started
    }
}

impl Reader {
    /// The next event that is not an answer; none when the monitor is gone.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            self.shared.watched.readable().await.ok()?;
            let received =
                self.shared.watched.try_io(Interest::READABLE, || match self.shared.monitor.try_recv() {
                    Ok(Some(received)) => Ok(received),
                    Ok(None) => Err(io::ErrorKind::WouldBlock.into()),
                    Err(e) => Err(io::Error::other(e)),
                });
            match received {
                Ok((event, fds)) => {
                    if let Some(event) = self.shared.deliver(event, fds) {
                        return Some(event);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut waiting = self.shared.waiting.lock().expect("no panic under this lock");
        *waiting = Waiting { closed: true, ..Waiting::default() };
    }
}

impl Shared {
    /// Gives answers to who waits for them; what is for everybody comes back.
    fn deliver(&self, event: Event, fds: Vec<OwnedFd>) -> Option<Event> {
        let mut waiting = self.waiting.lock().expect("no panic under this lock");
        // Who stopped waiting is not missed.
        match event {
            Event::Answer { sequence, result } => {
                waiting.answers.remove(&sequence).map(|answer| answer.send((result, fds)));
                None
            }
            Event::ExecStarted { id, pid } => {
                waiting.execs.remove(&id).map(|answer| answer.send(Ok(pid)));
                Some(Event::ExecStarted { id, pid })
            }
            Event::ExecFailed { id, error } => {
                waiting.execs.remove(&id).map(|answer| answer.send(Err(error.clone())));
                Some(Event::ExecFailed { id, error })
            }
            other => Some(other),
        }
    }
}
