//! A thread that enters network namespaces to open sockets there. A socket belongs to the namespace it was opened in,
//! whoever uses it later.

use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Mutex, PoisonError, mpsc},
    thread,
};

use rustix::thread::LinkNameSpaceType;
use tokio::sync::oneshot;

type Job = (OwnedFd, Box<dyn FnOnce(io::Result<()>) + Send>);

/// The way to the thread, which is there from the first job on. It is in the host's namespace but for moments, so that
/// it keeps none alive.
#[derive(Default)]
pub struct Opener {
    thread: Mutex<Option<mpsc::Sender<Job>>>,
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opener")
    }
}

impl Opener {
    /// Does `work` in a namespace and waits for it.
    pub(crate) fn inside<T: Send + 'static>(
        &self,
        netns: BorrowedFd<'_>,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (done, outcome) = mpsc::sync_channel(1);
        self.send(netns, move |entered| {
            let _ = done.send(entered.and_then(|()| work()));
        })?;
        outcome.recv().unwrap_or_else(|_| Err(gone()))
    }

    /// Does `work`, which is to be quick, in a namespace.
    ///
    /// # Errors
    /// Those of `work`, and of entering the namespace.
    pub async fn inside_soon<T: Send + 'static>(
        &self,
        netns: BorrowedFd<'_>,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (done, outcome) = oneshot::channel();
        self.send(netns, move |entered| {
            let _ = done.send(entered.and_then(|()| work()));
        })?;
        outcome.await.unwrap_or_else(|_| Err(gone()))
    }

    fn send(
        &self,
        netns: BorrowedFd<'_>,
        job: impl FnOnce(io::Result<()>) + Send + 'static,
    ) -> io::Result<()> {
        let mut job: Job = (netns.try_clone_to_owned()?, Box::new(job));
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = thread.as_ref() {
            match sender.send(job) {
                Ok(()) => return Ok(()),
                // It has ended: another one takes its place.
                Err(mpsc::SendError(again)) => job = again,
            }
        }
        let sender = Self::start()?;
        let sent = sender.send(job).map_err(|_| gone());
        *thread = Some(sender);
        sent
    }

    fn start() -> io::Result<mpsc::Sender<Job>> {
        const PATH: &str = "/proc/thread-self/ns/net";
        let host = OwnedFd::from(fs_err::File::open(PATH)?.into_file());
        let (sender, jobs) = mpsc::channel();
        let thread = thread::Builder::new().name("netns-sockets".to_owned()).stack_size(256 << 10);
        thread.spawn(move || run(&host, &jobs))?;
        Ok(sender)
    }
}

/// Ends if there is no way back to the host's namespace; the next job starts another thread.
fn run(host: &OwnedFd, jobs: &mpsc::Receiver<Job>) {
    while let Ok((netns, job)) = jobs.recv() {
        job(enter(&netns));
        drop(netns);
        if let Err(error) = enter(host) {
            tracing::error!(%error, "no way back from a container's network namespace");
            return;
        }
    }
}

fn enter(netns: &OwnedFd) -> io::Result<()> {
    Ok(rustix::thread::move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))?)
}

fn gone() -> io::Error {
    io::Error::other("the thread that opens sockets has ended")
}
