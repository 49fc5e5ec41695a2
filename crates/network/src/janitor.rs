//! Links that are nobody's any more, removed when it is quiet.
//!
//! To remove a link takes the kernel an RCU grace period, some twenty milliseconds in which it holds the lock that every
//! other change of a link wants. So it happens later, behind the requests. What is not removed when the daemon dies is found
//! by its alias at the next start.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use crate::{NetworkError, link, netlink::Netlink};

/// How long nothing must have been asked for.
const QUIET: Duration = Duration::from_millis(300);
/// So many links do not wait for quiet.
const MANY: usize = 64;

/// A link to be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dead {
    /// Its name.
    pub(crate) name: String,
    /// Its index.
    pub(crate) index: u32,
}

/// The thread and what it has to do.
#[derive(Debug)]
pub(crate) struct Janitor {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    dead: Vec<Dead>,
    stopped: bool,
}

impl Janitor {
    /// Works in the caller's network namespace.
    pub(crate) fn start() -> Result<Self, NetworkError> {
        let mut route = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let thread = thread::Builder::new().name("dead-links".to_owned()).stack_size(128 << 10);
        let thread = thread.spawn({
            let shared = Arc::clone(&shared);
            move || shared.run(&mut route)
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Removes a link soon.
    pub(crate) fn bury(&self, link: Dead) {
        self.shared.lock().dead.push(link);
        self.shared.changed.notify_one();
    }

    /// Removes the link of this name at once, if it is waiting to be removed: somebody wants the name.
    pub(crate) fn clear(&self, name: &str, route: &mut Netlink) {
        let found = {
            let mut state = self.shared.lock();
            state.dead.iter().position(|link| link.name == name).map(|at| state.dead.swap_remove(at))
        };
        if let Some(link) = found {
            remove(route, &link);
        }
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported already.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, route: &mut Netlink) {
        let mut state = self.lock();
        loop {
            if state.dead.is_empty() {
                if state.stopped {
                    return;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            if !state.stopped && state.dead.len() < MANY {
                let waited = self.changed.wait_timeout(state, QUIET).unwrap_or_else(PoisonError::into_inner);
                state = waited.0;
                if !waited.1.timed_out() {
                    continue;
                }
            }
            let links = std::mem::take(&mut state.dead);
            drop(state);
            links.iter().for_each(|link| remove(route, link));
            state = self.lock();
        }
    }
}

fn remove(route: &mut Netlink, link: &Dead) {
    if let Err(errno) = link::remove(route, link.index) {
        tracing::warn!(link = link.name, %errno, "a link that nobody uses could not be removed");
    }
}
