//! Prepared network namespaces, so that starting a container waits for no link to be made.
//!
//! Each has `lo` up and, if it is to join a bridge, `eth0` up without an address. The other end is a port of the default
//! bridge already, or of none yet: such a loose one can join any network, and is kept in stock while there are others than
//! the default one. They are held by descriptors only: when the daemon dies, so do they, with their links. Nor is any
//! link ever deleted by hand, which takes an RCU grace period; it goes with its namespace.

mod maker;
mod shelf;

use std::{
    os::fd::OwnedFd,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::NetworkError;
use maker::Maker;
pub(crate) use maker::{Prepared, Uplink};
use shelf::{Need, Shelf};

/// How long nothing must have been taken before a shelf that is still half full is filled up: making namespaces beside
/// a container's start would slow that down.
const QUIET: Duration = Duration::from_millis(50);

/// How long a shelf that needs more waits after something was taken, unless somebody waits for it: to make a namespace keeps a
/// processor in the kernel for half a millisecond, in which the container it was taken for would come up.
const REST: Duration = Duration::from_millis(3);

/// The namespaces in stock, and the thread that makes them.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    stock: Mutex<Stock>,
    /// Something was taken or is waited for.
    taken: Condvar,
    /// Something was made.
    made: Condvar,
}

#[derive(Debug)]
struct Stock {
    /// Namespaces with a link to the bridge.
    endpoints: Shelf<Prepared>,
    /// Namespaces with a link that is to be joined to a bridge yet.
    loose: Shelf<Prepared>,
    /// Namespaces without a link.
    isolated: Shelf<OwnedFd>,
    stopped: bool,
}

/// What the thread made.
enum Made {
    Endpoint(Result<Prepared, NetworkError>),
    Loose(Result<Prepared, NetworkError>),
    Isolated(Result<OwnedFd, NetworkError>),
}

impl Made {
    fn failed(&self) -> bool {
        match self {
            Self::Endpoint(made) | Self::Loose(made) => made.is_err(),
            Self::Isolated(made) => made.is_err(),
        }
    }
}

impl Stock {
    fn put(&mut self, made: Made) {
        match made {
            Made::Endpoint(made) => self.endpoints.put(made),
            Made::Loose(made) => self.loose.put(made),
            Made::Isolated(made) => self.isolated.put(made),
        }
    }
}

impl Pool {
    /// Starts to keep `endpoints` namespaces with a link to the bridge, if there is one, and `isolated` without; loose ones
    /// are made when somebody asks. The thread works in the caller's network namespace.
    pub(crate) fn start(
        uplink: Option<Uplink>,
        endpoints: usize,
        isolated: usize,
    ) -> Result<Self, NetworkError> {
        let mut maker = Maker::new(uplink)?;
        let stock = Stock {
            endpoints: Shelf::new(endpoints),
            loose: Shelf::new(0),
            isolated: Shelf::new(isolated),
            stopped: false,
        };
        let shared =
            Arc::new(Shared { stock: Mutex::new(stock), taken: Condvar::new(), made: Condvar::new() });
        let thread = thread::Builder::new().name("netns-pool".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || {
                // Whoever starts a container goes before; without it he may wait a little.
                let _ = skiff_sys::sched::usual_turns();
                shared.keep_filled(&mut maker);
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// A namespace with a link to the bridge. Waits for one to be made if none is ready.
    pub(crate) fn endpoint(&self) -> Result<Prepared, NetworkError> {
        self.shared.take(|stock| &mut stock.endpoints)
    }

    /// A namespace with a link that is no bridge's port yet. Waits for one to be made if none is ready.
    pub(crate) fn loose(&self) -> Result<Prepared, NetworkError> {
        self.shared.take(|stock| &mut stock.loose)
    }

    /// Keeps so many loose ones from now on.
    pub(crate) fn keep_loose(&self, count: usize) {
        let too_many = self.shared.lock().loose.aim(count);
        self.shared.taken.notify_one();
        drop(too_many);
    }

    /// A namespace with nothing but `lo`. Waits for one to be made if none is ready.
    pub(crate) fn isolated(&self) -> Result<OwnedFd, NetworkError> {
        self.shared.take(|stock| &mut stock.isolated)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.taken.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported already.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take<T>(&self, shelf: impl Fn(&mut Stock) -> &mut Shelf<T>) -> Result<T, NetworkError> {
        let mut stock = self.lock();
        if let Some(ready) = shelf(&mut stock).take() {
            self.taken.notify_one();
            return ready;
        }
        shelf(&mut stock).begin_waiting();
        self.taken.notify_one();
        loop {
            stock = self.made.wait(stock).unwrap_or_else(PoisonError::into_inner);
            if let Some(made) = shelf(&mut stock).take() {
                shelf(&mut stock).end_waiting();
                return made;
            }
        }
    }

    /// The thread's life.
    fn keep_filled(&self, maker: &mut Maker) {
        let mut quiet = true;
        // After a failure nothing is made in advance until somebody asks again.
        let mut failed = false;
        let mut rest_until = None;
        let mut stock = self.lock();
        while !stock.stopped {
            let (endpoint, loose, isolated) =
                (stock.endpoints.need(quiet), stock.loose.need(quiet), stock.isolated.need(quiet));
            let need = endpoint.max(loose).max(isolated);
            let make = need == Need::Now || (need == Need::Soon && !failed);
            if make && need == Need::Soon {
                let until = *rest_until.get_or_insert_with(|| Instant::now() + REST);
                let left = until.saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    stock = self.taken.wait_timeout(stock, left).unwrap_or_else(PoisonError::into_inner).0;
                    continue;
                }
            }
            rest_until = None;
            if make {
                drop(stock);
                let made = match need {
                    _ if endpoint == need => Made::Endpoint(maker.endpoint()),
                    _ if loose == need => Made::Loose(maker.loose()),
                    _ => Made::Isolated(maker.isolated()),
                };
                failed = made.failed();
                stock = self.lock();
                stock.put(made);
                self.made.notify_all();
            } else if need == Need::WhenQuiet {
                let waited = self.taken.wait_timeout(stock, QUIET).unwrap_or_else(PoisonError::into_inner);
                stock = waited.0;
                quiet = waited.1.timed_out();
            } else {
                stock = self.taken.wait(stock).unwrap_or_else(PoisonError::into_inner);
                quiet = false;
            }
        }
    }
}
