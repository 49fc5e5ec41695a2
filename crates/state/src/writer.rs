//! The thread that commits, and what waits for it.

use std::{
    future::Future,
    io,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    task::{Context, Poll, ready},
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::oneshot;

use crate::{Batch, CommitError, Database, database::open_file};

/// Stack of the committing thread: redb needs little.
const STACK: usize = 512 << 10;

/// How long a commit that nobody waits for waits for company.
const COMPANY: Duration = Duration::from_millis(2);

/// Commits batches in the order they were given. Cheap to clone; the thread ends with [`Writer::close`] or the last clone.
#[derive(Clone, Debug)]
pub struct Writer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What is to be committed, and the thread's bell.
#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: Vec<Job>,
    /// Somebody waits for one of them.
    urgent: bool,
    closed: bool,
}

#[derive(Debug)]
struct Job {
    batch: Batch,
    done: oneshot::Sender<Result<(), CommitError>>,
}

impl Queue {
    fn ring(&self, urgent: bool) {
        self.lock().urgent |= urgent;
        self.bell.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("no panic under this lock")
    }

    /// Everything that waits, or nothing once the queue is closed and empty.
    fn take(&self) -> Option<Vec<Job>> {
        const POISONED: &str = "no panic under this lock";
        let idle = |waiting: &mut Waiting| waiting.jobs.is_empty() && !waiting.closed;
        let waiting = self.bell.wait_while(self.lock(), idle).expect(POISONED);
        let unhurried = |waiting: &mut Waiting| !waiting.urgent && !waiting.closed;
        let (mut waiting, _) = self.bell.wait_timeout_while(waiting, COMPANY, unhurried).expect(POISONED);
        waiting.urgent = false;
        let jobs = std::mem::take(&mut waiting.jobs);
        (!jobs.is_empty()).then_some(jobs)
    }

    fn close(&self) {
        self.lock().closed = true;
        self.bell.notify_one();
    }
}

/// A commit under way. Its place in the order is fixed; the thread is woken when somebody begins to wait for it, or lets it
/// go. So who has an answer to give first gives it before the thread takes his processor. Awaiting tells when it is durable.
#[derive(Debug)]
#[must_use = "nothing says whether the commit succeeded"]
pub struct Pending {
    outcome: oneshot::Receiver<Result<(), CommitError>>,
    wake: Wake,
}

impl Pending {
    /// Waits on a thread that may block.
    ///
    /// # Errors
    /// The commit failed, or the writer is closed.
    pub fn wait(self) -> Result<(), CommitError> {
        let Self { outcome, wake } = self;
        drop(wake);
        outcome.blocking_recv().unwrap_or_else(|_| Err(closed()))
    }

    /// Lets it happen without waiting: for what is found out again after a power cut.
    pub fn detach(self) {}

    /// Has it flushed from now on, while the caller does something else before it waits.
    pub fn at_once(mut self) -> Self {
        self.wake.ring(true);
        self
    }

    /// Leaves it up to 2 ms to be flushed together with what comes next: for what is found out again after a crash, and
    /// often followed by more.
    pub fn unhurried(mut self) -> Self {
        self.wake.ring(false);
        self
    }
}

/// Wakes the thread, once.
#[derive(Debug)]
struct Wake(Option<Arc<Queue>>);

impl Wake {
    fn ring(&mut self, urgent: bool) {
        if let Some(queue) = self.0.take() {
            queue.ring(urgent);
        }
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        self.ring(true);
    }
}

impl Future for Pending {
    type Output = Result<(), CommitError>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.wake.ring(true);
        let answer = ready!(Pin::new(&mut self.outcome).poll(cx));
        Poll::Ready(answer.unwrap_or_else(|_| Err(closed())))
    }
}

fn closed() -> CommitError {
    CommitError::new(redb::Error::Io(io::Error::other("the store is closed")))
}

impl Writer {
    pub(crate) fn spawn(database: Database) -> io::Result<Self> {
        let queue = Arc::<Queue>::default();
        let thread = std::thread::Builder::new().name("state".into()).stack_size(STACK).spawn({
            let queue = queue.clone();
            move || Committer { db: Some(database.db), path: database.path }.run(&queue)
        })?;
        Ok(Self { inner: Arc::new(Inner { queue, thread: Mutex::new(Some(thread)) }) })
    }

    /// Queues a batch. Batches become durable in the order of these calls.
    pub fn commit(&self, batch: Batch) -> Pending {
        let (done, outcome) = oneshot::channel();
        let mut waiting = self.inner.queue.lock();
        if !waiting.closed {
            waiting.jobs.push(Job { batch, done });
        }
        Pending { outcome, wake: Wake(Some(self.inner.queue.clone())) }
    }

    /// Commits what is queued and closes the file. Later commits fail.
    pub fn close(&self) {
        self.inner.queue.close();
        let thread = self.inner.thread.lock().expect("no panic under this lock").take();
        if let Some(thread) = thread {
            // A panic of the thread has been printed; there is nothing else to do about it here.
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
    }
}

struct Committer {
    /// None after a failure that redb does not go on from; opened again for the next commit.
    db: Option<redb::Database>,
    path: PathBuf,
}

impl Committer {
    fn run(mut self, queue: &Queue) {
        while let Some(group) = queue.take() {
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
