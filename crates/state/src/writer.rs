//! The thread that commits, and what waits for it.

use std::{
    future::Future,
    io,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, mpsc},
    task::{Context, Poll, ready},
    thread::JoinHandle,
};

use tokio::sync::oneshot;

use crate::{Batch, CommitError, Database, database::open_file};

/// Stack of the committing thread: redb needs little.
const STACK: usize = 512 << 10;

/// Commits batches in the order they were given. Cheap to clone; the thread ends with [`Writer::close`] or the last clone.
#[derive(Clone, Debug)]
pub struct Writer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// None once closed.
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Job {
    batch: Batch,
    done: oneshot::Sender<Result<(), CommitError>>,
}

/// A commit under way. It happens whether or not anyone waits; awaiting it tells when it is durable.
#[derive(Debug)]
#[must_use = "nothing says whether the commit succeeded"]
pub struct Pending(oneshot::Receiver<Result<(), CommitError>>);

impl Pending {
    /// Waits on a thread that may block.
    ///
    /// # Errors
    /// The commit failed, or the writer is closed.
    pub fn wait(self) -> Result<(), CommitError> {
        self.0.blocking_recv().unwrap_or_else(|_| Err(closed()))
    }

    /// Lets it happen without waiting: for what is found out again after a power cut.
    pub fn detach(self) {}
}

impl Future for Pending {
    type Output = Result<(), CommitError>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(answer.unwrap_or_else(|_| Err(closed())))
    }
}

fn closed() -> CommitError {
    CommitError::new(redb::Error::Io(io::Error::other("the store is closed")))
}

impl Writer {
    pub(crate) fn spawn(database: Database) -> io::Result<Self> {
        let (queue, jobs) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("state".into())
            .stack_size(STACK)
            .spawn(move || Committer { db: Some(database.db), path: database.path }.run(&jobs))?;
        let inner = Inner { queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Queues a batch. Batches become durable in the order of these calls.
    pub fn commit(&self, batch: Batch) -> Pending {
        let (done, pending) = oneshot::channel();
        let queue = self.inner.queue.lock().expect("no panic under this lock");
        if let Some(queue) = queue.as_ref() {
            // A receiver that is gone drops `done`, which the caller sees as a closed store.
            let _ = queue.send(Job { batch, done });
        }
        Pending(pending)
    }

    /// Commits what is queued and closes the file. Later commits fail.
    pub fn close(&self) {
        self.inner.queue.lock().expect("no panic under this lock").take();
        let thread = self.inner.thread.lock().expect("no panic under this lock").take();
        if let Some(thread) = thread {
            // A panic of the thread has been printed; there is nothing else to do about it here.
            let _ = thread.join();
        }
    }
}

struct Committer {
    /// None after a failure that redb does not go on from; opened again for the next commit.
    db: Option<redb::Database>,
    path: PathBuf,
}

impl Committer {
    fn run(mut self, jobs: &mpsc::Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let group: Vec<Job> = std::iter::once(first).chain(jobs.try_iter()).collect();
            let outcome = self.commit(&group).map_err(|error| {
                // redb refuses to go on after an I/O error (a full disk); opening again returns to the last commit.
                self.db = None;
                CommitError::new(error)
            });
            for job in group {
                let _ = job.done.send(outcome.clone());
            }
        }
    }

    fn commit(&mut self, group: &[Job]) -> Result<(), redb::Error> {
        let db = match &mut self.db {
            Some(db) => db,
            none => none.insert(open_file(&self.path)?),
        };
        let txn = db.begin_write()?;
        for change in group.iter().flat_map(|job| &job.batch.changes) {
            let mut table = txn.open_table(change.table)?;
            match &change.value {
                Some(value) => table.insert(change.key.as_str(), value.as_slice())?,
                None => table.remove(change.key.as_str())?,
            };
        }
        txn.commit()?;
        Ok(())
    }
}
