//! Making network namespaces, with or without a link to the bridge.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
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
    link::{self, CONTAINER_INTERFACE, PortFlags},
    netlink::{Batch, Netlink},
    sysctl,
};

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

/// Makes namespaces. Its thread leaves the host's namespace for moments only.
#[derive(Debug)]
pub(super) struct Maker {
    uplink: Option<Uplink>,
    host: OwnedFd,
    route: Netlink,
}

impl Maker {
    /// Makes them for the calling thread's network namespace, and on the thread that calls later.
    pub(super) fn new(uplink: Option<Uplink>) -> Result<Self, NetworkError> {
        let host = current_netns()?;
        let route = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
        Ok(Self { uplink, host, route })
    }

    /// A namespace with nothing but `lo`, up.
    pub(super) fn isolated(&self) -> Result<OwnedFd, NetworkError> {
        Self::inside(&self.host, |_| {
            let mut route = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
            let mut batch = Batch::default();
            link::bring_up(&mut batch, "lo");
            link::run(&mut route, batch, "bring up lo")
        })
        .map(|(netns, ())| netns)
    }

    /// A namespace with `eth0`, up and without an address.
    ///
    /// The bridge's port is switched on first: so `eth0` has its carrier the moment it is switched on itself, and what
    /// it sends is not dropped.
    pub(super) fn endpoint(&mut self) -> Result<Prepared, NetworkError> {
        let host_interface = format!("veth{:07x}", rand::random::<u32>() >> 4);
        let uplink = self.uplink.as_ref().ok_or(NetworkError::NoBridge)?;
        let host_route = &mut self.route;
        let (netns, (outer, inner, route)) = Self::inside(&self.host, |netns| {
            let mut batch = Batch::default();
            link::create_veth(&mut batch, &host_interface, uplink.bridge, uplink.mtu, netns);
            link::bring_up_port(&mut batch, &host_interface, uplink.flags);
            link::get_by_name(&mut batch, &host_interface);
            let outer = link::one_link(host_route, batch, "make a veth pair")?;
            sysctl::disable_ipv6(CONTAINER_INTERFACE)?;
            sysctl::announce_addresses(CONTAINER_INTERFACE)?;
            let mut route = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
            let mut batch = Batch::default();
            link::bring_up(&mut batch, "lo");
            link::bring_up(&mut batch, CONTAINER_INTERFACE);
            link::get_by_name(&mut batch, CONTAINER_INTERFACE);
            let inner = link::one_link(&mut route, batch, "bring up eth0")?;
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
            if link::one_link(&mut self.route, batch, "look at a bridge port")?.forwarding {
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
