//! The service: one object that owns the default bridge, its addresses, its table and its published ports.

use std::{
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ipnet::Ipv4Net;
use skiff_types::ContainerId;

use crate::{
    BridgeInfo, Endpoint, EndpointRecord, EndpointRequest, LinkStats, NetConfig, NetworkError,
    bridge::{self, HostFacts},
    firewall::{Firewall, Guard, plan::Rules},
    ipam::Addresses,
    link::{self, PortFlags},
    netlink::{Batch, Failure, Netlink},
    nft::Seen,
    pool::{Pool, Prepared, Uplink},
    publish::{PublishConfig, Publisher},
    stale,
    state::State,
    sysctl,
};

/// The name of the bridge that stands for none.
const NO_BRIDGE: &str = "none";

/// The networks of this host. Cheap to share behind an `Arc`; every method may be called from any thread.
#[derive(Debug)]
pub struct Network {
    pool: Pool,
    default: Option<DefaultBridge>,
}

/// The network `bridge`.
#[derive(Debug)]
struct DefaultBridge {
    info: BridgeInfo,
    state: Arc<Mutex<State>>,
    /// Puts the table back when somebody removes it.
    _guard: Option<Guard>,
}

impl Network {
    /// Makes the host's state agree with `config` and with the records of the endpoints in use: the bridge exists with
    /// its address, the table holds exactly what the records say (replaced in one transaction), published ports are
    /// bound again, links of endpoints that are gone are removed. A record whose interface is gone, with its container
    /// or since a reboot, is forgotten.
    ///
    /// Must be called inside a tokio runtime, which then serves what the kernel cannot forward. Blocks for some
    /// milliseconds.
    ///
    /// # Errors
    /// A configuration that contradicts itself or the records, no subnet without a conflict, what the kernel refuses.
    pub fn open(config: NetConfig, records: Vec<EndpointRecord>) -> Result<Self, NetworkError> {
        let isolated = config.pool_size.div_ceil(2);
        if config.bridge == NO_BRIDGE {
            return Ok(Self { pool: Pool::start(None, 0, isolated)?, default: None });
        }
        let (default, uplink) = DefaultBridge::open(&config, records)?;
        Ok(Self { pool: Pool::start(Some(uplink), config.pool_size, isolated)?, default: Some(default) })
    }

    /// Gives a container its endpoint. Rules and ports are in force when this returns. On failure nothing is left.
    ///
    /// # Errors
    /// Addresses or ports that are taken, what the kernel refuses, no default bridge.
    pub fn attach(&self, request: EndpointRequest) -> Result<Endpoint, NetworkError> {
        let default = self.default.as_ref().ok_or(NetworkError::NoBridge)?;
        let mut prepared = self.pool.endpoint()?;
        let record = default.lock().reserve(&request, &prepared, &default.info)?;
        match configure(&mut prepared, &record) {
            Ok(()) => Ok(Endpoint { netns: prepared.netns, record }),
            Err(error) => {
                self.release(&request.container);
                Err(error)
            }
        }
    }

    /// A network namespace with nothing but `lo`, up: for `--network none`.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn isolated(&self) -> Result<OwnedFd, NetworkError> {
        self.pool.isolated()
    }

    /// Takes back a container's address and ports. The interfaces go with the namespace, that is with the container's
    /// last process. Does nothing if the container has no endpoint.
    pub fn release(&self, container: &ContainerId) {
        if let Some(default) = &self.default {
            default.lock().release(container);
        }
    }

    /// The endpoint of a container.
    pub fn endpoint(&self, container: &ContainerId) -> Option<EndpointRecord> {
        self.default.as_ref()?.lock().endpoints.get(container).cloned()
    }

    /// All endpoints, in no particular order.
    pub fn endpoints(&self) -> Vec<EndpointRecord> {
        let default = self.default.as_ref();
        default.map(|default| default.lock().endpoints.values().cloned().collect()).unwrap_or_default()
    }

    /// The default bridge, unless the configuration wants none.
    pub fn bridge(&self) -> Option<&BridgeInfo> {
        self.default.as_ref().map(|default| &default.info)
    }

    /// Traffic of a container's interface; nothing if it has none.
    pub fn stats(&self, container: &ContainerId) -> Option<LinkStats> {
        self.default.as_ref()?.lock().stats(container)
    }

    /// Writes the firewall table again, whatever became of it. When somebody else changes it this happens by itself.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn reassert(&self) -> Result<(), NetworkError> {
        self.default.as_ref().map_or(Ok(()), |default| default.lock().rewrite_table())
    }
}

impl DefaultBridge {
    fn open(config: &NetConfig, mut records: Vec<EndpointRecord>) -> Result<(Self, Uplink), NetworkError> {
        let mut route = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
        let facts = HostFacts::read(&mut route)?;
        records.retain(|record| facts.has_link(record.host_index, &record.host_interface));
        let plan = bridge::plan(config, &facts)?;
        let info = info(config, plan.address)?;
        let addresses = taken_addresses(&info, &records)?;
        let bridge = bridge::apply(&plan, config, &mut route)?;

        let publisher = Publisher::new(PublishConfig {
            default_address: config.default_bind_address,
            relay: config.userland_proxy,
        })?;
        let firewall = open_firewall(config, &info, &records)?;
        if config.ip_forward && !sysctl::ip_forward()? {
            sysctl::enable_ip_forward()?;
        }
        stale::remove_later(&facts, bridge, &records)?;

        let endpoints = records.into_iter().map(|record| (record.container, record)).collect();
        let mut state = State { endpoints, addresses, publisher, firewall, route };
        state.restore_ports();
        let watch = state.firewall.as_ref().map(Firewall::watch).transpose()?;
        let state = Arc::new(Mutex::new(state));
        let guard = watch.map(|watch| Guard::start(watch, heal(&state))).transpose()?;
        let uplink =
            Uplink { bridge, mtu: info.mtu, flags: PortFlags { hairpin: config.icc, isolated: !config.icc } };
        Ok((Self { info, state, _guard: guard }, uplink))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is done when somebody else may have changed the table.
fn heal(state: &Arc<Mutex<State>>) -> impl Fn(Seen) -> Result<(), NetworkError> + Send + use<> {
    let state = Arc::clone(state);
    move |seen| {
        let mut state = lock(&state);
        let stands = state.firewall.as_mut().is_none_or(|firewall| firewall.stands().unwrap_or(false));
        if seen == Seen::Overrun && stands {
            return Ok(());
        }
        tracing::warn!("table inet skiff was changed by somebody else and is put back");
        state.rewrite_table()
    }
}

fn info(config: &NetConfig, address: Ipv4Net) -> Result<BridgeInfo, NetworkError> {
    let subnet = address.trunc();
    let gateway = config.default_gateway.unwrap_or(address.addr());
    let outside = |what: &str, value: &dyn std::fmt::Display| {
        Err(NetworkError::Config(format!("{what} {value} is not in the bridge's subnet {subnet}")))
    };
    if !subnet.contains(&gateway) {
        return outside("default gateway", &gateway);
    }
    if let Some(range) = config.fixed_cidr.filter(|range| !subnet.contains(range)) {
        return outside("fixed cidr", &range);
    }
    Ok(BridgeInfo {
        id: config.network_id,
        name: config.bridge.clone(),
        subnet,
        gateway,
        address: address.addr(),
        ip_range: config.fixed_cidr,
        mtu: if config.mtu == 0 { bridge::DEFAULT_MTU } else { config.mtu },
        icc: config.icc,
        ip_masq: config.ip_masq,
        default_bind_address: config.default_bind_address,
    })
}

/// The pool of addresses with those of the records taken.
fn taken_addresses(info: &BridgeInfo, records: &[EndpointRecord]) -> Result<Addresses, NetworkError> {
    let mut addresses = Addresses::new(info.subnet, info.ip_range, [info.address, info.gateway]);
    for record in records {
        addresses.take(record.ipv4).map_err(|_| {
            NetworkError::Config(format!(
                "container {} uses {} and cannot go on doing so in {}: stop it first",
                record.container.short(),
                record.ipv4,
                info.subnet
            ))
        })?;
    }
    Ok(addresses)
}

/// Writes the table, and only then lets loopback packets reach the bridge.
fn open_firewall(
    config: &NetConfig,
    info: &BridgeInfo,
    records: &[EndpointRecord],
) -> Result<Option<Firewall>, NetworkError> {
    if !config.firewall {
        return Ok(None);
    }
    let becomes_router = config.ip_forward && !sysctl::ip_forward()?;
    let mut firewall = Firewall::open(Rules {
        bridge: info.name.clone(),
        subnet: info.subnet,
        icc: info.icc,
        masquerade: info.ip_masq,
        direct: config.allow_direct_routing,
        drop_foreign: becomes_router && !config.ip_forward_no_drop,
    })?;
    firewall.rewrite(records)?;
    sysctl::route_loopback(&info.name)?;
    Ok(Some(firewall))
}

/// Gives `eth0` its addresses, one system call in the container's namespace. The hardware address comes last and is
/// set even if it stays the same: with the change the kernel announces both.
fn configure(prepared: &mut Prepared, record: &EndpointRecord) -> Result<(), NetworkError> {
    let net = Ipv4Net::new_assert(record.ipv4, record.prefix);
    let mut batch = Batch::default();
    link::add_address(&mut batch, prepared.index, net);
    link::set_mac(&mut batch, prepared.index, record.mac);
    link::add_default_route(&mut batch, prepared.index, record.gateway);
    prepared.route.exchange(batch, |_, _| {}).map_err(|Failure { message, errno }| {
        let what = ["its address", "its hardware address", "its default route"];
        let what = what.get(message as usize).copied().unwrap_or("up");
        NetworkError::Kernel {
            operation: format!("give {} of the container {what}", record.interface),
            errno,
        }
    })
}
