//! Prepared network namespaces, so that starting a container waits for no link to be made.
//!
//! Each has `lo` up and, if it is to join the bridge, `eth0` up without an address, whose other end is a port of the
//! bridge already. They are held by descriptors only: when the daemon dies, so do they, with their links. Nor is any
//! link ever deleted by hand, which takes an RCU grace period; it goes with its namespace.

use std::{
    collections::VecDeque,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    thread::LinkNameSpaceType,
};

use crate::{
    NetworkError,
    endpoint::MacAddr,
    link::{self, CONTAINER_INTERFACE, Link, PortFlags},
    netlink::{Batch, Failure, Netlink},
    sysctl,
};

/// How long nothing must have been taken before a pool that is still half full is filled up: making namespaces beside
/// a container's start would slow that down.
const QUIET: Duration = Duration::from_millis(50);

/// How often, and how many times, to look whether a new port of the bridge forwards already: before, what the container
/// sends is lost, the announcement of its address first of all. Since 6.8 the kernel sees to that when it is asked;
/// before, soon after.
const FORWARDING_POLL: Duration = Duration::from_micros(100);
const FORWARDING_POLLS: usize = 200;

/// The bridge whose ports the namespaces' links become.
#[derive(Clone, Debug)]
pub(crate) struct Uplink {
    /// Its index.
    pub(crate) bridge: u32,
    /// The links' MTU.
    pub(crate) mtu: u32,
    /// How the bridge treats them.
    pub(crate) flags: PortFlags,
}

/// A namespace ready to become an endpoint.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The namespace.
    pub(crate) netns: OwnedFd,
    /// A socket inside it.
    pub(crate) route: Netlink,
    /// The index of `eth0`.
    pub(crate) index: u32,
    /// The hardware address of `eth0`.
    pub(crate) mac: MacAddr,
    /// The name of the other end.
    pub(crate) host_interface: String,
    /// The index of the other end.
    pub(crate) host_index: u32,
}

/// The namespaces in stock, and the thread that makes them.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    stock: Mutex<Stock>,
    /// Something was taken.
    taken: Condvar,
    /// Something was made.
    made: Condvar,
    /// How many endpoints to keep ready.
    endpoints: usize,
    /// How many namespaces without any link to keep ready.
    isolated: usize,
}

#[derive(Debug, Default)]
struct Stock {
    endpoints: VecDeque<Result<Prepared, NetworkError>>,
    isolated: VecDeque<Result<OwnedFd, NetworkError>>,
    /// How many callers wait for each.
    waiting_for_endpoint: usize,
    waiting_for_isolated: usize,
    stopped: bool,
}

/// What to make next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Endpoint,
    Isolated,
    /// Nothing is urgent; fill up if all stays quiet.
    WaitQuietly,
    Nothing,
}

impl Pool {
    /// Starts to keep `endpoints` namespaces with a link to the bridge and `isolated` without one. The thread works in
    /// the caller's network namespace.
    pub(crate) fn start(uplink: Uplink, endpoints: usize, isolated: usize) -> Result<Self, NetworkError> {
        let mut maker = Maker::new(uplink)?;
        let shared = Arc::new(Shared {
            stock: Mutex::default(),
            taken: Condvar::new(),
            made: Condvar::new(),
            endpoints,
            isolated,
        });
        let thread = thread::Builder::new().name("netns-pool".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.keep_filled(&mut maker)
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// A namespace with a link to the bridge. Waits for one to be made if none is ready.
    pub(crate) fn endpoint(&self) -> Result<Prepared, NetworkError> {
        self.shared.take(|stock| (&mut stock.endpoints, &mut stock.waiting_for_endpoint))
    }

    /// A namespace with nothing but `lo`. Waits for one to be made if none is ready.
    pub(crate) fn isolated(&self) -> Result<OwnedFd, NetworkError> {
        self.shared.take(|stock| (&mut stock.isolated, &mut stock.waiting_for_isolated))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.taken.notify_all();
        if let Some(thread) = self.thread.take() {
            // It panics only where a test's assertion would have failed already.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take<T>(
        &self,
        shelf: impl Fn(&mut Stock) -> (&mut VecDeque<Result<T, NetworkError>>, &mut usize),
    ) -> Result<T, NetworkError> {
        let mut stock = self.lock();
        if let Some(ready) = shelf(&mut stock).0.pop_front() {
            self.taken.notify_one();
            return ready;
        }
        *shelf(&mut stock).1 += 1;
        self.taken.notify_one();
        loop {
            stock = self.made.wait(stock).unwrap_or_else(PoisonError::into_inner);
            if let Some(made) = shelf(&mut stock).0.pop_front() {
                *shelf(&mut stock).1 -= 1;
                return made;
            }
        }
    }

    fn keep_filled(&self, maker: &mut Maker) {
        let mut stock = self.lock();
        let mut quiet = true;
        // After a failure nothing is made in advance until somebody asks again.
        let mut failed = false;
        while !stock.stopped {
            let waited_for = stock.waiting_for_endpoint + stock.waiting_for_isolated > 0;
            match stock.next(self.endpoints, self.isolated, quiet) {
                Task::Endpoint if waited_for || !failed => {
                    drop(stock);
                    let made = maker.endpoint();
                    stock = self.lock();
                    failed = made.is_err();
                    stock.put(made, |s| (&mut s.endpoints, s.waiting_for_endpoint));
                    self.made.notify_all();
                }
                Task::Isolated if waited_for || !failed => {
                    drop(stock);
                    let made = maker.isolated();
                    stock = self.lock();
                    failed = made.is_err();
                    stock.put(made, |s| (&mut s.isolated, s.waiting_for_isolated));
                    self.made.notify_all();
                }
                Task::WaitQuietly => {
                    let waited =
                        self.taken.wait_timeout(stock, QUIET).unwrap_or_else(PoisonError::into_inner);
                    stock = waited.0;
                    quiet = waited.1.timed_out();
                }
                Task::Endpoint | Task::Isolated | Task::Nothing => {
                    stock = self.taken.wait(stock).unwrap_or_else(PoisonError::into_inner);
                    quiet = false;
                }
            }
        }
    }
}

impl Stock {
    fn next(&self, endpoints: usize, isolated: usize, quiet: bool) -> Task {
        let lacking = |ready: usize, target: usize| ready < target.div_ceil(2) || (quiet && ready < target);
        if self.waiting_for_endpoint > self.endpoints.len() {
            Task::Endpoint
        } else if self.waiting_for_isolated > self.isolated.len() {
            Task::Isolated
        } else if lacking(self.endpoints.len(), endpoints) {
            Task::Endpoint
        } else if lacking(self.isolated.len(), isolated) {
            Task::Isolated
        } else if self.endpoints.len() < endpoints || self.isolated.len() < isolated {
            Task::WaitQuietly
        } else {
            Task::Nothing
        }
    }

    /// Puts what was made on its shelf; a failure only if somebody is there to be told.
    fn put<T>(
        &mut self,
        made: Result<T, NetworkError>,
        shelf: impl Fn(&mut Self) -> (&mut VecDeque<Result<T, NetworkError>>, usize),
    ) {
        let (ready, waiting) = shelf(self);
        match made {
            Err(error) if waiting == 0 => {
                tracing::warn!(%error, "no network namespace could be prepared in advance");
            }
            made => ready.push_back(made),
        }
    }
}

/// Makes namespaces. Its thread leaves the host's namespace for moments only.
#[derive(Debug)]
struct Maker {
    uplink: Uplink,
    host: OwnedFd,
    route: Netlink,
}

impl Maker {
    fn new(uplink: Uplink) -> Result<Self, NetworkError> {
        let host = current_netns()?;
        let route = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
        Ok(Self { uplink, host, route })
    }

    fn isolated(&self) -> Result<OwnedFd, NetworkError> {
        Self::inside(&self.host, |_| {
            let mut route = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
            let mut batch = Batch::default();
            link::bring_up(&mut batch, "lo");
            exchange(&mut route, batch, "bring up lo")?;
            Ok(())
        })
        .map(|(netns, ())| netns)
    }

    /// The bridge's port is switched on first: so `eth0` has its carrier the moment it is switched on itself, and what
    /// it sends is not dropped.
    fn endpoint(&mut self) -> Result<Prepared, NetworkError> {
        let host_interface = format!("veth{:07x}", rand::random::<u32>() >> 4);
        let uplink = &self.uplink;
        let host_route = &mut self.route;
        let (netns, (outer, inner, route)) = Self::inside(&self.host, |netns| {
            let mut batch = Batch::default();
            link::create_veth(&mut batch, &host_interface, uplink.bridge, uplink.mtu, netns);
            link::bring_up_port(&mut batch, &host_interface, uplink.flags);
            link::get_by_name(&mut batch, &host_interface);
            let outer = one_link(host_route, batch, "make a veth pair")?;
            sysctl::disable_ipv6(CONTAINER_INTERFACE)?;
            sysctl::announce_addresses(CONTAINER_INTERFACE)?;
            let mut route = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
            let mut batch = Batch::default();
            link::bring_up(&mut batch, "lo");
            link::bring_up(&mut batch, CONTAINER_INTERFACE);
            link::get_by_name(&mut batch, CONTAINER_INTERFACE);
            let inner = one_link(&mut route, batch, "bring up eth0")?;
            Ok((outer, inner, route))
        })?;
        self.wait_until_forwarding(outer.index)?;
        Ok(Prepared {
            netns,
            route,
            index: inner.index,
            mac: inner
                .mac
                .ok_or(NetworkError::Kernel { operation: "read eth0".into(), errno: Errno::NODEV })?,
            host_interface,
            host_index: outer.index,
        })
    }

    fn wait_until_forwarding(&mut self, port: u32) -> Result<(), NetworkError> {
        for _ in 0..FORWARDING_POLLS {
            let mut batch = Batch::default();
            link::get_by_index(&mut batch, port);
            if one_link(&mut self.route, batch, "look at a bridge port")?.forwarding {
                break;
            }
            thread::sleep(FORWARDING_POLL);
        }
        Ok(())
    }

    /// Does `work` in a new namespace and comes back, whatever the outcome.
    fn inside<T>(
        host: &OwnedFd,
        work: impl FnOnce(BorrowedFd<'_>) -> Result<T, NetworkError>,
    ) -> Result<(OwnedFd, T), NetworkError> {
        skiff_sys::netns::unshare_net().map_err(NetworkError::kernel("make a network namespace"))?;
        let made = current_netns().and_then(|netns| {
            let value = work(netns.as_fd())?;
            Ok((netns, value))
        });
        rustix::thread::move_into_link_name_space(host.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(NetworkError::kernel("return to the host's network namespace"))?;
        made
    }
}

/// The calling thread's network namespace.
fn current_netns() -> Result<OwnedFd, NetworkError> {
    const PATH: &str = "/proc/thread-self/ns/net";
    rustix::fs::open(PATH, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(NetworkError::kernel(format!("open {PATH}")))
}

fn exchange(route: &mut Netlink, batch: Batch, operation: &str) -> Result<(), NetworkError> {
    route
        .exchange(batch, |_, _| {})
        .map_err(|Failure { errno, .. }| NetworkError::Kernel { operation: operation.to_owned(), errno })
}

fn one_link(route: &mut Netlink, batch: Batch, operation: &str) -> Result<Link, NetworkError> {
    let mut link = None;
    let failed = |errno| NetworkError::Kernel { operation: operation.to_owned(), errno };
    route
        .exchange(batch, |kind, body| link = link::parse_link(kind, body))
        .map_err(|Failure { errno, .. }| failed(errno))?;
    link.ok_or_else(|| failed(Errno::NODEV))
}
