//! Making network namespaces, with or without a link to the bridge.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    fs::{Mode, OFlags},
    thread::LinkNameSpaceType,
};

use crate::{
    NetworkError,
    bridge::DEFAULT_MTU,
    link::{self, CONTAINER_INTERFACE, PortFlags},
    netlink::{Batch, Netlink},
    sysctl,
};

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

    /// A namespace with `eth0`, up and without an address, whose other end is a port of the bridge.
    pub(super) fn endpoint(&mut self) -> Result<Prepared, NetworkError> {
        let uplink = self.uplink.clone().ok_or(NetworkError::NoBridge)?;
        self.with_link(Some(&uplink))
    }

    /// The same, whose other end is no port yet.
    pub(super) fn loose(&mut self) -> Result<Prepared, NetworkError> {
        self.with_link(None)
    }

    /// The other end is switched on first: so `eth0` has its carrier the moment it is switched on itself, and what it sends
    /// is not dropped.
    fn with_link(&mut self, uplink: Option<&Uplink>) -> Result<Prepared, NetworkError> {
        let host_interface = link::random_name();
        let host_route = &mut self.route;
        let (netns, (outer, inner, route)) = Self::inside(&self.host, |netns| {
            let mut batch = Batch::default();
            let (bridge, mtu) = uplink.map_or((None, DEFAULT_MTU), |u| (Some(u.bridge), u.mtu));
            link::create_veth(&mut batch, &host_interface, bridge, mtu, CONTAINER_INTERFACE, netns);
            match uplink {
                Some(uplink) => link::bring_up_port(&mut batch, &host_interface, uplink.flags),
                None => link::bring_up_loose(&mut batch, &host_interface),
            }
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
        link::wait_until(&mut self.route, outer.index, |link| match uplink {
            Some(_) => link.forwarding,
            None => link.operational,
        })?;
        Ok(Prepared { netns, route, index: inner.index, host_interface, host_index: outer.index })
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
