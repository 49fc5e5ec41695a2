//! Opening: the host's state is made to agree with the configuration and the records.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, OnceLock},
};

use ipnet::{IpNet, Ipv4Net};
use skiff_types::NetworkId;

use crate::{
    BridgeInfo, Dns, EndpointRecord, NetConfig, NetworkError, NetworkRecord,
    bridge::{self, HostFacts},
    bridge6,
    firewall::{Firewall, Guard, Usher, plan::Rules},
    foreign::replay_pools,
    janitor::Janitor,
    netlink::{Netlink, Seen},
    network::{Network, Shared, lock},
    networks::{Addressing, BridgeOptions, Carrier, Driver, Pool},
    pool::{self, Uplink},
    publish::Publisher,
    routes::{self, Conflicts},
    shards::{self, Shard},
    stale::{self, Stale},
    state::{Net, State},
    sysctl,
};

/// The name of the bridge that stands for none.
const NO_BRIDGE: &str = "none";

/// See [`Network::open`].
pub(crate) fn open(
    config: &NetConfig,
    records: Vec<NetworkRecord>,
    mut endpoints: Vec<EndpointRecord>,
) -> Result<Network, NetworkError> {
    let mut route = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
    let facts = HostFacts::read(&mut route)?;
    // A child is in its container's namespace: whether that is there, those know who know the containers.
    endpoints.retain(|record| {
        // Who else must be told of an end is told, even if the link is gone.
        record.driver != Driver::Bridge
            || record.foreign.is_some()
            || facts.has_link(record.host_index, &record.host_interface)
    });
    sysctl::remember_neighbours();
    let shared = Shared::new(config);
    let mut networks = user_networks(records);
    let plan = match config.bridge.as_str() {
        NO_BRIDGE => None,
        _ => {
            let taken: Vec<IpNet> =
                networks.values().flat_map(|net| net.record.pools().map(|p| p.subnet)).collect();
            Some((
                bridge::plan(config, &facts, &taken)?,
                bridge6::plan(config, &facts, &shared.pools, &taken)?,
            ))
        }
    };
    let default =
        plan.as_ref().map(|(plan, plan6)| info(config, plan.address, plan6.pool.clone())).transpose()?;
    if let Some(info) = &default {
        networks.insert(info.id, default_network(config, info));
    }
    take_addresses(&mut networks, &mut endpoints)?;

    let becomes_router = default.is_some() && config.ip_forward && !sysctl::forwards(false)?;
    let firewall = match config.firewall {
        true => Some(Firewall::open(Rules {
            respect_host: config.respect_host,
            direct: config.allow_direct_routing,
            drop_foreign4: becomes_router && !config.ip_forward_no_drop,
            drop_foreign6: false,
        })?),
        false => None,
    };
    let dns = Arc::new(Dns::start());
    let mut state = State {
        networks,
        endpoints: endpoints
            .iter()
            .map(|record| ((record.container, record.network), record.clone()))
            .collect(),
        leaving: HashMap::new(),
        publisher: Publisher::new(config.userland_proxy)?,
        firewall,
        route,
        default_binding: config.default_bind_address,
        dns: dns.clone(),
    };
    endpoints.iter().for_each(|record| state.name_endpoint(record));
    let usher = (config.firewall && config.respect_host).then(Usher::start).transpose()?;
    // The table comes first, so that no link is there before its rules are.
    state.rewrite_table()?;
    let uplink = match (&plan, &default) {
        (Some((plan, plan6)), Some(info)) => Some(make_default(config, plan, plan6, info, &mut state)?),
        _ => None,
    };
    if becomes_router {
        sysctl::forward(false)?;
    }
    state.restore_ports();
    let watch = state.firewall.as_ref().map(Firewall::watch).transpose()?;
    let state = Arc::new(Mutex::new(state));
    // IPv4 is seen to already.
    let dual = default.as_ref().filter(|info| info.ipv6.is_some());
    if let Some(record) = dual.map(|info| lock(&state).networks[&info.id].record.clone()) {
        shared.become_router(&state, &record)?;
    }
    make_others(&state, &shared)?;
    shards::make_again(&state, &facts, &shared.alias)?;
    let guard = watch.map(|watch| Guard::start("table-guard", watch, heal(&state))).transpose()?;
    let conflicts = Conflicts::default();
    let (routes, look) = (routes::watch(&state)?, routes::look(&state, &conflicts));
    look(Seen::Changed)?;
    let scout = Guard::start("route-guard", routes, look)?;
    let stale = Stale::remove_later(&facts, &stale_parts(&state, &shared), &endpoints)?;

    let pool_size = if uplink.is_some() { config.pool_size } else { 0 };
    let pool = pool::Pool::start(uplink, pool_size, config.pool_size.div_ceil(2))?;
    let network = Network {
        pool,
        state,
        default,
        janitor: Janitor::start()?,
        stale,
        shared,
        dns,
        sharding: Mutex::default(),
        keep: OnceLock::new(),
        conflicts,
        _guard: guard,
        _scout: scout,
        _usher: usher,
    };
    network.keep_loose_if_needed();
    replay(&network)?;
    Ok(network)
}

/// Tells plugins what is in use, in the background: one may be a container that is yet to be started. Paths of namespaces that nobody has are
/// taken away.
fn replay(network: &Network) -> Result<(), NetworkError> {
    let (networks, endpoints) = {
        let state = network.lock();
        let networks: Vec<NetworkRecord> = state.networks.values().map(|net| net.record.clone()).collect();
        (networks, state.endpoints.values().cloned().collect::<Vec<_>>())
    };
    let known: Vec<String> = endpoints.iter().map(|endpoint| endpoint.container.short()).collect();
    network.shared.namespaces.keep_only(|name| known.iter().any(|known| known == name));
    if networks.iter().any(|network| network.addressing.is_plugin()) {
        let plugins = network.shared.plugins.clone();
        std::thread::Builder::new()
            .name("plugins".to_owned())
            .spawn(move || replay_pools(&plugins, &networks, &endpoints))?;
    }
    Ok(())
}

/// The networks that somebody made, none of their addresses taken. One that cannot be understood is left out, and said so.
fn user_networks(records: Vec<NetworkRecord>) -> HashMap<NetworkId, Net> {
    let mut out = HashMap::new();
    for record in records {
        match Carrier::kept(&record) {
            Ok(carrier) => drop(out.insert(record.id, Net::new(record, carrier))),
            Err(error) => tracing::error!(network = record.name, %error, "a network cannot be used"),
        }
    }
    out
}

/// The network `bridge`, as if somebody had made it.
fn default_network(config: &NetConfig, info: &BridgeInfo) -> Net {
    let mut auxiliary = BTreeMap::new();
    if info.gateway != info.address {
        auxiliary.insert("DefaultGatewayIPv4".to_owned(), IpAddr::V4(info.gateway));
    }
    let record = NetworkRecord {
        id: info.id,
        name: "bridge".to_owned(),
        driver: Driver::Bridge,
        plugin: String::new(),
        scope: String::new(),
        cni: String::new(),
        addressing: Addressing::Own,
        internal: false,
        ipv4: vec![Pool {
            subnet: info.subnet.into(),
            range: info.ip_range.map(Into::into),
            gateway: Some(info.address.into()),
            auxiliary,
            chosen: config.bip.is_none(),
            lease: None,
        }],
        ipv6: info.ipv6.clone().into_iter().collect(),
        options: BTreeMap::new(),
        link: info.name.clone(),
        own_link: false,
    };
    let options =
        BridgeOptions::read(&record.options, false).expect("no option is wrong where there is none");
    let options = BridgeOptions { icc: info.icc, masquerade: info.ip_masq, mtu: info.mtu, ..options };
    let mut net = Net::new(record, Carrier::Bridge(options));
    net.is_default = true;
    net
}

fn info(config: &NetConfig, address: Ipv4Net, ipv6: Option<Pool>) -> Result<BridgeInfo, NetworkError> {
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
        ipv6,
        mtu: if config.mtu == 0 { bridge::DEFAULT_MTU } else { config.mtu },
        icc: config.icc,
        ip_masq: config.ip_masq,
        default_bind_address: config.default_bind_address,
    })
}

/// Notes which addresses are taken. An endpoint whose network is gone is forgotten: its container goes on with a link that
/// leads nowhere.
fn take_addresses(
    networks: &mut HashMap<NetworkId, Net>,
    endpoints: &mut Vec<EndpointRecord>,
) -> Result<(), NetworkError> {
    endpoints.retain(|record| networks.contains_key(&record.network));
    for record in endpoints {
        let Some(net) = networks.get_mut(&record.network) else { continue };
        net.take(record).map_err(|ip| {
            let subnets: Vec<String> = net.record.pools().map(|pool| pool.subnet.to_string()).collect();
            NetworkError::Config(format!(
                "container {} uses {ip} and cannot go on doing so in {}: stop it first",
                record.container.short(),
                subnets.join(", ")
            ))
        })?;
    }
    Ok(())
}

fn make_default(
    config: &NetConfig,
    plan: &bridge::Plan,
    plan6: &bridge6::Plan6,
    info: &BridgeInfo,
    state: &mut State,
) -> Result<Uplink, NetworkError> {
    let index = bridge::apply(plan, config, &mut state.route)?;
    bridge6::apply(plan6, &info.name, index, &mut state.route)?;
    if config.firewall {
        sysctl::route_loopback(&info.name)?;
    }
    let net = state.networks.get_mut(&info.id).expect("it was put there");
    net.index = index;
    Ok(Uplink { bridge: index, mtu: info.mtu, flags: net.flags() })
}

/// Makes the bridges and parents of the networks that somebody made. One that cannot be made keeps no other from being there: its
/// containers do not start.
fn make_others(state: &Arc<Mutex<State>>, shared: &Shared) -> Result<(), NetworkError> {
    let nets: Vec<(NetworkRecord, Carrier)> = {
        let state = lock(state);
        let others = state.networks.values().filter(|net| !net.is_default);
        others.map(|net| (net.record.clone(), net.carrier.clone())).collect()
    };
    let mut route = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
    for (record, carrier) in nets {
        let routed = match carrier {
            Carrier::Bridge(_) => shared.become_router(state, &record),
            Carrier::Parent(_) | Carrier::Remote(_) | Carrier::Cni(_) => Ok(()),
        };
        let made = routed.and_then(|()| shared.make_link(&record, &carrier, &mut route));
        match made {
            Ok(made) => {
                if let Some(net) = lock(state).networks.get_mut(&record.id) {
                    net.index = made.index;
                }
            }
            Err(error) => tracing::error!(network = record.name, %error, "a network's link cannot be made"),
        }
    }
    Ok(())
}

/// By what links of ours are known that nobody needs.
fn stale_parts(state: &Mutex<State>, shared: &Shared) -> stale::Known {
    let state = lock(state);
    stale::Known {
        bridges: state.networks.values().flat_map(Net::bridges).collect(),
        names: state
            .networks
            .values()
            .flat_map(|net| net.shards.iter().flat_map(Shard::links).chain([net.record.link.clone()]))
            .collect(),
        alias: shared.alias.clone(),
    }
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
