//! Links between a container's namespace and a bridge: made, joined, taken away.

use std::os::fd::BorrowedFd;

use crate::{
    EndpointRecord, EndpointRequest, NetworkError,
    bridge::DEFAULT_MTU,
    endpoint::Way,
    link::{self, CONTAINER_INTERFACE, PortFlags},
    netlink::{Batch, Netlink},
    networks::{Carrier, ChildOptions},
    pool::Prepared,
    sandbox,
    state::State,
};

/// An endpoint that is to get its link.
#[derive(Clone, Debug)]
pub(crate) struct Plug {
    /// The endpoint.
    pub(crate) record: EndpointRecord,
    /// What its link is joined to.
    pub(crate) end: End,
    /// Kernel parameters of the interface.
    pub(crate) sysctls: Vec<(String, String)>,
    /// Whether the network is the default bridge, for which links are prepared.
    pub(crate) is_default: bool,
}

/// The other end of an endpoint's link.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// A port of a bridge.
    Port {
        /// The bridge.
        bridge: u32,
        /// How it treats the port.
        flags: PortFlags,
        /// The MTU of the link.
        mtu: u32,
    },
    /// The link is a parent's child.
    Child(ChildOptions),
    /// Somebody else makes the link.
    Foreign(Box<(Carrier, EndpointRequest)>),
}

impl Plug {
    /// What an endpoint that was reserved needs of its network.
    pub(crate) fn new(
        record: EndpointRecord,
        request: &EndpointRequest,
        state: &State,
    ) -> Result<Self, NetworkError> {
        let net = state.networks.get(&record.network).ok_or(NetworkError::UnknownNetwork(record.network))?;
        Ok(Self {
            end: match &net.carrier {
                Carrier::Bridge(options) => {
                    let bridge = net.bridges().nth(record.shard.into()).unwrap_or(0);
                    End::Port { bridge, flags: net.flags(), mtu: options.mtu }
                }
                Carrier::Parent(options) => End::Child(options.clone()),
                Carrier::Remote(_) | Carrier::Cni(_) => {
                    End::Foreign(Box::new((net.carrier.clone(), request.clone())))
                }
            },
            sysctls: request.sysctls.clone(),
            is_default: net.is_default,
            record,
        })
    }

    /// Whether a link that was prepared will do.
    pub(crate) fn fits_prepared(&self) -> bool {
        let is_elsewhere = self.is_default && self.record.shard > 0;
        self.record.interface == CONTAINER_INTERFACE && matches!(self.end, End::Port { .. }) && !is_elsewhere
    }

    /// Whether the kernel parameters are as they were prepared.
    pub(crate) fn is_as_prepared(&self) -> bool {
        self.sysctls.is_empty() && self.record.addresses().iter().all(|net| net.addr().is_ipv4())
    }
}

/// Makes a prepared link a port of the network's bridge.
pub(crate) fn join_bridge(prepared: &mut Prepared, plug: &Plug) -> Result<(), NetworkError> {
    let End::Port { bridge, flags, mtu } = plug.end else { return Ok(()) };
    let mut route = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
    let mut batch = Batch::default();
    link::enslave(&mut batch, prepared.host_index, bridge, mtu);
    link::bring_up_port(&mut batch, &prepared.host_interface, flags);
    link::run(&mut route, batch, &format!("join {} to its bridge", prepared.host_interface))?;
    link::wait_until(&mut route, prepared.host_index, |link| link.forwarding)?;
    if mtu != DEFAULT_MTU {
        let mut batch = Batch::default();
        link::set_mtu(&mut batch, prepared.index, mtu);
        link::run(&mut prepared.route, batch, "set the MTU of a container's interface")?;
    }
    Ok(())
}

/// Makes a link between the bridge and a container's namespace and configures the container's end. `made` is told as soon
/// as the link is there, so that it is known whatever happens then.
pub(crate) fn insert(
    netns: BorrowedFd<'_>,
    plug: &mut Plug,
    ways: &[Way],
    made: impl FnOnce(&EndpointRecord),
) -> Result<(), NetworkError> {
    let End::Port { bridge, flags, mtu } = plug.end else { return Ok(()) };
    let mut route = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
    let host = link::random_name();
    let inner = plug.record.interface.clone();
    let mut batch = Batch::default();
    link::create_veth(&mut batch, &host, Some(bridge), mtu, &inner, netns);
    link::bring_up_port(&mut batch, &host, flags);
    link::get_by_name(&mut batch, &host);
    let outer = link::one_link(
        &mut route,
        batch,
        &format!("failed to add interface {host} to sandbox: error renaming interface {host:?} to {inner:?}"),
    )?;
    plug.record.host_interface.clone_from(&host);
    plug.record.host_index = outer.index;
    made(&plug.record);
    let (mut inside, index) = sandbox::inside(netns, || {
        let mut inside = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
        sandbox::prepare_interface(&plug.record, &plug.sysctls)?;
        let mut batch = Batch::default();
        link::bring_up(&mut batch, &inner);
        link::get_by_name(&mut batch, &inner);
        let index = link::one_link(&mut inside, batch, &format!("bring up {inner}"))?.index;
        Ok((inside, index))
    })?;
    link::wait_until(&mut route, outer.index, |link| link.forwarding)?;
    sandbox::configure(&mut inside, index, &plug.record, ways)
}

/// Takes the link of an endpoint away that is not needed any more although its namespace lives.
pub(crate) fn remove(record: &EndpointRecord) -> Result<(), NetworkError> {
    let mut route = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
    let there = link::find(&mut route, record.host_index)
        .map_err(NetworkError::kernel(format!("look for {}", record.host_interface)))?;
    if record.host_index == 0 || there.is_none_or(|link| link.name != record.host_interface) {
        return Ok(());
    }
    link::remove(&mut route, record.host_index)
        .map_err(NetworkError::kernel(format!("remove {}", record.host_interface)))
}
