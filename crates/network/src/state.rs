//! What changes with every network and endpoint: who has which subnet, address and ports, and the table that says so.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use ipnet::IpNet;
use skiff_types::{ContainerId, EndpointId, NetworkId};

use crate::{
    BoundPort, Dns, EndpointRecord, EndpointRequest, LinkStats, MacAddr, NetworkError, NetworkRecord,
    PublishError,
    bridge::DEFAULT_MTU,
    cni::{CniError, Config},
    endpoint::Way,
    firewall::{Firewall, Found, Zone},
    foreign::{Farewell, Foreign},
    ipam::{Addresses, Refused},
    link::{self, PortFlags},
    netlink::Netlink,
    networks::{Carrier, Driver, ParentError, gateways},
    ports::{HostPort, PortSpec},
    publish::{Destination, Publisher},
    shards::{self, Shard},
};

/// A network in use.
#[derive(Debug)]
pub(crate) struct Net {
    /// As it is remembered; the default bridge's is made at each start.
    pub(crate) record: NetworkRecord,
    /// What carries it.
    pub(crate) carrier: Carrier,
    /// As the table knows it; what leaves by a parent link passes no table.
    pub(crate) zone: Option<Zone>,
    /// The index of its bridge or parent; 0 while that is not there.
    pub(crate) index: u32,
    /// Its further bridges.
    pub(crate) shards: Vec<Shard>,
    /// Whether it is the network `bridge`.
    pub(crate) is_default: bool,
    ipv4: Vec<Addresses>,
    ipv6: Vec<Addresses>,
}

impl Net {
    /// A network no address of which is taken.
    pub(crate) fn new(record: NetworkRecord, carrier: Carrier) -> Self {
        let addresses = |pool: &crate::Pool| Addresses::new(pool.subnet, pool.range, pool.reserved());
        Self {
            zone: carrier.bridge().map(|options| Zone {
                bridge: record.link.clone(),
                subnets: record.pools().map(|pool| pool.subnet).collect(),
                icc: options.icc,
                internal: record.internal,
                masquerade: options.masquerade,
                mode4: options.mode4,
                mode6: options.mode6,
                trusted: options.trusted.clone(),
                source4: options.source4,
                source6: options.source6,
                shards: Vec::new(),
            }),
            ipv4: record.ipv4.iter().map(addresses).collect(),
            ipv6: record.ipv6.iter().map(addresses).collect(),
            index: 0,
            shards: Vec::new(),
            is_default: false,
            record,
            carrier,
        }
    }

    /// Whether somebody else is to be told when an endpoint ends: the driver, or who gives out addresses.
    fn needs_farewell(&self) -> bool {
        self.record.driver.is_foreign() || self.record.addressing.is_plugin()
    }

    /// The MTU of its bridge.
    pub(crate) fn mtu(&self) -> u32 {
        self.carrier.bridge().map_or(DEFAULT_MTU, |options| options.mtu)
    }

    /// The indexes of its bridges; 0 for one that is not there.
    pub(crate) fn bridges(&self) -> impl Iterator<Item = u32> + '_ {
        std::iter::once(self.index).chain(self.shards.iter().map(|shard| shard.index))
    }

    /// How the bridge treats its ports.
    pub(crate) fn flags(&self) -> PortFlags {
        let icc = self.carrier.bridge().is_none_or(|options| options.icc);
        PortFlags { hairpin: icc, isolated: !icc }
    }

    /// Notes that an endpoint has its addresses.
    pub(crate) fn take(&mut self, record: &EndpointRecord) -> Result<(), IpAddr> {
        if !self.record.addressing.is_own() {
            return Ok(());
        }
        for ip in record.own_addresses() {
            if !self.has_family(ip.is_ipv6()) {
                continue;
            }
            self.addresses_of(ip).ok_or(ip)?.take(ip).map_err(|_| ip)?;
        }
        Ok(())
    }

    /// Takes an address of a family, if the network has it.
    fn give(
        &mut self,
        wanted: Option<IpAddr>,
        ipv6: bool,
        route: &mut Netlink,
    ) -> Result<Option<IpAddr>, NetworkError> {
        if !self.record.addressing.is_own() {
            return Ok(wanted);
        }
        if let Some(address) = wanted {
            let addresses = self.addresses_of(address).ok_or(NetworkError::AddressOutside(address))?;
            return match addresses.take(address) {
                Ok(()) => Ok(Some(address)),
                Err(Refused::Outside) => Err(NetworkError::AddressOutside(address)),
                Err(Refused::Taken) => Err(NetworkError::AddressInUse(address)),
            };
        }
        if !self.has_family(ipv6) {
            return Ok(None);
        }
        let pools = if ipv6 { &mut self.ipv6 } else { &mut self.ipv4 };
        let any = pools.iter_mut().find_map(|pool| pool.take_any(|link| !link_exists(route, link)));
        any.map(Some).ok_or_else(|| NetworkError::AddressesExhausted {
            family: if ipv6 { "IPv6" } else { "IPv4" },
            name: self.record.name.clone(),
            id: self.record.id,
        })
    }

    fn has_family(&self, ipv6: bool) -> bool {
        !if ipv6 { &self.ipv6 } else { &self.ipv4 }.is_empty()
    }

    /// The subnet that an address is in.
    fn addresses_of(&mut self, ip: IpAddr) -> Option<&mut Addresses> {
        let pools = if ip.is_ipv6() { &mut self.ipv6 } else { &mut self.ipv4 };
        pools.iter_mut().find(|pool| pool.contains(ip))
    }

    /// Takes the addresses of an endpoint back. Its link may still have them, unless it never had one.
    pub(crate) fn release(&mut self, record: &EndpointRecord) {
        if !self.record.addressing.is_own() {
            return;
        }
        for ip in record.own_addresses() {
            let Some(addresses) = self.addresses_of(ip) else { continue };
            match record.host_index {
                0 => addresses.give_back(ip),
                link => addresses.release(ip, link),
            }
        }
    }
}

/// What changes with every network and endpoint. The lock is held for system calls that do not wait, never while a
/// namespace or a link is made.
#[derive(Debug)]
pub(crate) struct State {
    /// The networks.
    pub(crate) networks: HashMap<NetworkId, Net>,
    /// Who is where.
    pub(crate) endpoints: BTreeMap<(ContainerId, NetworkId), EndpointRecord>,
    /// Endpoints of containers that have ended whose drivers are to be told.
    pub(crate) leaving: HashMap<ContainerId, Vec<Farewell>>,
    /// Who has which ports, and their sockets.
    pub(crate) publisher: Publisher,
    /// The table; none if it is not ours to write.
    pub(crate) firewall: Option<Firewall>,
    /// For questions about links.
    pub(crate) route: Netlink,
    /// Where ports of the default bridge are published that name no address.
    pub(crate) default_binding: IpAddr,
    /// Who tells the containers' programs who is called what.
    pub(crate) dns: Arc<Dns>,
}

impl State {
    /// Takes addresses and a name for the interface: all that is not inside the container's namespace. The endpoint has
    /// no link yet.
    pub(crate) fn reserve(
        &mut self,
        container: ContainerId,
        name: &str,
        request: &EndpointRequest,
    ) -> Result<EndpointRecord, NetworkError> {
        let interface = self.interface_name(container, request)?;
        let route = &mut self.route;
        let net =
            self.networks.get_mut(&request.network).ok_or(NetworkError::UnknownNetwork(request.network))?;
        if self.endpoints.contains_key(&(container, request.network)) {
            let (container, network) = (name.to_owned(), net.record.name.clone());
            return Err(NetworkError::AlreadyAttached { container, network });
        }
        if let Some(ip) = request.link_local.iter().find(|ip| !is_link_local(**ip)) {
            return Err(NetworkError::NotLinkLocal(*ip));
        }
        if request.mac.is_some() && net.record.driver == Driver::Ipvlan {
            let (endpoint, network) = (name.to_owned(), net.record.name.clone());
            return Err(ParentError::OwnMac { endpoint, network }.into());
        }
        let ipv4 = net.give(request.ipv4.map(IpAddr::V4), false, route)?;
        let ipv6 = net.give(request.ipv6.map(IpAddr::V6), true, route).inspect_err(|_| {
            if let Some((ip, addresses)) = ipv4.and_then(|ip| Some((ip, net.addresses_of(ip)?))) {
                addresses.give_back(ip);
            }
        })?;
        let mut record = record(container, name, request, net, interface, ipv4, ipv6);
        record.shard = self.free_bridge(&record);
        self.insert(record.clone());
        Ok(record)
    }

    /// The number of the first bridge of its network that has a port left for an endpoint: 0 is the network's own.
    fn free_bridge(&self, record: &EndpointRecord) -> u16 {
        let mut taken = BTreeMap::<u16, usize>::new();
        let on_bridge =
            |other: &&EndpointRecord| other.network == record.network && other.driver == Driver::Bridge;
        for other in self.endpoints.values().filter(on_bridge) {
            *taken.entry(other.shard).or_default() += 1;
        }
        let has_room = |number: &u16| taken.get(number).is_none_or(|count| *count < shards::MOST);
        (0..).find(has_room).expect("there is no last number")
    }

    /// Keeps an endpoint, new or changed.
    pub(crate) fn insert(&mut self, record: EndpointRecord) {
        self.name_endpoint(&record);
        self.endpoints.insert((record.container, record.network), record);
    }

    /// Forgets an endpoint with its addresses and ports, and answers it as it was.
    pub(crate) fn forget(&mut self, container: ContainerId, network: NetworkId) -> Option<EndpointRecord> {
        let record = self.endpoints.get(&(container, network))?.clone();
        self.withdraw(container, network);
        self.endpoints.remove(&(container, network));
        self.dns.remove(&network, &container);
        // What somebody else has made is in use until he has been told.
        if let Some(net) = self.networks.get_mut(&network).filter(|_| record.foreign.is_none()) {
            net.release(&record);
        }
        Some(record)
    }

    /// Forgets all endpoints of a container.
    pub(crate) fn release(&mut self, container: &ContainerId) {
        for record in self.of(container) {
            if let Some(farewell) = self.farewell(&record) {
                self.leaving.entry(*container).or_default().push(farewell);
            }
            self.forget(*container, record.network);
        }
    }

    /// What the driver of an endpoint is to be told, if it is none of ours.
    pub(crate) fn farewell(&self, record: &EndpointRecord) -> Option<Farewell> {
        let net = self.networks.get(&record.network).filter(|_| record.foreign.is_some())?;
        Some(Farewell { record: record.clone(), network: net.record.clone(), carrier: net.carrier.clone() })
    }

    /// Takes ports of the host that CNI plugins will have lead to an endpoint.
    pub(crate) fn claim_ports(
        &mut self,
        record: &EndpointRecord,
        config: &Config,
        ports: &[PortSpec],
    ) -> Result<Vec<BoundPort>, NetworkError> {
        if !config.publishes() {
            return Err(CniError::NoPorts(self.name(&record.network).to_owned()).into());
        }
        let to = Destination { endpoint: record, zone: None, default_address: Some(self.default_binding) };
        self.publisher.publish(to, ports).map_err(|source| not_published(record, source))
    }

    /// The endpoints of a container, those first that a default route would rather lead through.
    pub(crate) fn of(&self, container: &ContainerId) -> Vec<EndpointRecord> {
        let mut all: Vec<&EndpointRecord> = self.of_unordered(container).collect();
        let mut out = Vec::with_capacity(all.len());
        while !all.is_empty() {
            let named: Vec<_> = all.iter().map(|record| (*record, self.name(&record.network))).collect();
            let (v4, v6) = gateways(&named);
            out.push(all.remove(v4.or(v6).unwrap_or(0)).clone());
        }
        out
    }

    fn of_unordered(&self, container: &ContainerId) -> impl Iterator<Item = &EndpointRecord> {
        let from = (*container, NetworkId::from_bytes([0; 32]));
        let to = (*container, NetworkId::from_bytes([0xff; 32]));
        self.endpoints.range(from..=to).map(|(_, record)| record)
    }

    /// A network's name; empty if there is no such network.
    pub(crate) fn name(&self, network: &NetworkId) -> &str {
        self.networks.get(network).map_or("", |net| net.record.name.as_str())
    }

    /// The interfaces and gateways that a container's default routes lead through, and the network whose endpoint
    /// publishes its ports: the one with the default route.
    pub(crate) fn ways(&self, container: &ContainerId) -> Ways {
        let records: Vec<&EndpointRecord> = self.of_unordered(container).collect();
        let named: Vec<_> = records.iter().map(|record| (*record, self.name(&record.network))).collect();
        let (v4, v6) = gateways(&named);
        let mut ways = Ways::default();
        if let Some(record) = v4.map(|i| records[i]) {
            ways.routes.extend(record.way(false).map(|way| (record.interface.clone(), way)));
        }
        if let Some(record) = v6.map(|i| records[i]) {
            ways.routes.extend(record.way(true).map(|way| (record.interface.clone(), way)));
        }
        ways.publishing = v4.or(v6).map(|i| records[i].network);
        ways
    }

    /// Publishes ports on the endpoint that is to have them.
    pub(crate) fn publish(
        &mut self,
        container: ContainerId,
        network: NetworkId,
        ports: &[PortSpec],
    ) -> Result<(), NetworkError> {
        let Some(net) = self.networks.get(&network).filter(|_| !ports.is_empty()) else { return Ok(()) };
        // Who is on the parent's LAN is reached there.
        let (Some(zone), Some(options)) = (&net.zone, net.carrier.bridge()) else { return Ok(()) };
        let Some(record) = self.endpoints.get_mut(&(container, network)) else { return Ok(()) };
        let default_address = if net.is_default { Some(self.default_binding) } else { options.host_binding };
        let to = Destination { endpoint: record, zone: Some(zone), default_address };
        record.ports = self.publisher.publish(to, ports).map_err(|source| not_published(record, source))?;
        let Some(firewall) = &mut self.firewall else { return Ok(()) };
        let found = firewall.publish(zone, record);
        if let Err(error) = self.unless_gone(found) {
            self.withdraw(container, network);
            return Err(error);
        }
        Ok(())
    }

    /// Withdraws the ports of an endpoint.
    fn withdraw(&mut self, container: ContainerId, network: NetworkId) {
        let Some(record) = self.endpoints.get_mut(&(container, network)) else { return };
        if record.ports.is_empty() {
            return;
        }
        let published = record.clone();
        record.ports.clear();
        let zone = self.networks.get(&network).and_then(|net| net.zone.as_ref());
        if let (Some(firewall), Some(zone)) = (&mut self.firewall, zone) {
            let found = firewall.unpublish(zone, &published);
            let cut = self.unless_gone(found).and_then(|()| {
                self.firewall.as_mut().map_or(Ok(()), |firewall| firewall.cut_flows(&published))
            });
            if let Err(error) = cut {
                tracing::warn!(%container, %error, "published ports could not be withdrawn");
            }
        }
        self.publisher.withdraw(&published.ports);
    }

    /// Sees to it that the endpoint with the default route has the container's ports: those it published so far, on
    /// whichever endpoint, or else `ports`.
    pub(crate) fn settle_ports(
        &mut self,
        container: ContainerId,
        ports: &[PortSpec],
    ) -> Result<(), NetworkError> {
        let Some(network) = self.ways(&container).publishing else { return Ok(()) };
        let holder = self.of_unordered(&container).find(|record| !record.ports.is_empty()).cloned();
        match holder {
            Some(holder) if holder.network == network => Ok(()),
            Some(holder) => {
                self.withdraw(container, holder.network);
                let same: Vec<PortSpec> = again(&holder, ports);
                self.publish(container, network, &same)
            }
            None => self.publish(container, network, ports),
        }
    }

    /// A change of the table that found none is made by writing the whole.
    pub(crate) fn unless_gone(&mut self, found: Result<Found, NetworkError>) -> Result<(), NetworkError> {
        match found? {
            Found::Table => Ok(()),
            Found::Nothing => self.rewrite_table(),
        }
    }

    /// Writes the whole table anew.
    pub(crate) fn rewrite_table(&mut self) -> Result<(), NetworkError> {
        let Some(firewall) = &mut self.firewall else { return Ok(()) };
        let networks = &self.networks;
        let zoned = |record: &'_ EndpointRecord| networks.get(&record.network)?.zone.as_ref();
        let guests = self.endpoints.values().filter_map(|record| record.foreign.as_ref());
        firewall.set_guests(guests.flat_map(|foreign| &foreign.host_links));
        firewall.rewrite(
            networks.values().filter_map(|net| net.zone.as_ref()),
            self.endpoints.values().filter_map(|record| Some((zoned(record)?, record))),
        )
    }

    /// Binds the ports of the endpoints that were there before.
    pub(crate) fn restore_ports(&mut self) {
        for record in self.endpoints.values() {
            for (port, errno) in self.publisher.restore(record) {
                let address = SocketAddr::new(port.host_ip, port.host_port);
                let container = record.container;
                tracing::warn!(%container, %address, %errno, "a published port could not be bound again");
            }
        }
    }

    /// Traffic as the container sees it, by interface: the other way round than the bridges' ports.
    pub(crate) fn stats(&mut self, container: &ContainerId) -> Vec<(String, LinkStats)> {
        let links: Vec<_> = self
            .of_unordered(container)
            .map(|record| (record.interface.clone(), record.host_index))
            .collect();
        let mut out = Vec::new();
        for (interface, index) in links {
            let Some(outside) = link::find(&mut self.route, index).ok().flatten() else { continue };
            out.push((interface, outside.stats.reversed()));
        }
        out
    }

    /// Whether a network may have its parent.
    pub(crate) fn admit_parent(&self, carrier: &Carrier) -> Result<(), NetworkError> {
        let Some(options) = carrier.parent() else { return Ok(()) };
        let conflict =
            |net: &Net| net.carrier.parent().and_then(|other| options.conflict(other, net.record.id));
        self.networks.values().find_map(conflict).map_or(Ok(()), |error| Err(error.into()))
    }

    /// What is taken of the address space: by networks.
    pub(crate) fn subnets(&self) -> Vec<IpNet> {
        self.networks.values().flat_map(|net| net.record.pools().map(|pool| pool.subnet)).collect()
    }

    /// The name asked for, or the network's prefix and the lowest number that is free.
    fn interface_name(
        &self,
        container: ContainerId,
        request: &EndpointRequest,
    ) -> Result<String, NetworkError> {
        if let Some(name) = &request.interface {
            return Ok(name.clone());
        }
        let net = self.networks.get(&request.network).ok_or(NetworkError::UnknownNetwork(request.network))?;
        Ok(self.numbered(self.of_unordered(&container), net.carrier.prefix()))
    }

    /// The name with another prefix of an interface that an endpoint has.
    pub(crate) fn free_name(&self, record: &EndpointRecord, prefix: &str) -> String {
        let others = self.of_unordered(&record.container).filter(|other| other.network != record.network);
        self.numbered(others, if prefix.is_empty() { "eth" } else { prefix })
    }

    /// The prefix with the lowest number that none of these has.
    fn numbered<'a>(&self, others: impl Iterator<Item = &'a EndpointRecord>, prefix: &str) -> String {
        let taken: Vec<&str> = others.map(|record| record.interface.as_str()).collect();
        let mut names = (0..).map(|n| format!("{prefix}{n}"));
        names.find(|name| !taken.contains(&name.as_str())).expect("there is no last number")
    }
}

/// Where a container's packets go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ways {
    /// Interface and end of each default route.
    pub(crate) routes: Vec<(String, Way)>,
    /// The network whose endpoint publishes the ports.
    pub(crate) publishing: Option<NetworkId>,
}

impl Ways {
    /// Those through an interface.
    pub(crate) fn through(&self, interface: &str) -> Vec<Way> {
        self.routes.iter().filter(|(name, _)| name == interface).map(|(_, way)| *way).collect()
    }
}

fn record(
    container: ContainerId,
    name: &str,
    request: &EndpointRequest,
    net: &Net,
    interface: String,
    ipv4: Option<IpAddr>,
    ipv6: Option<IpAddr>,
) -> EndpointRecord {
    let pool = |ip: Option<IpAddr>| ip.and_then(|ip| net.record.pool_of(ip));
    let gateway = |ip: Option<IpAddr>| {
        let leads_out = !net.record.internal && net.carrier.has_gateway(ip?.is_ipv6());
        let pool = pool(ip).filter(|_| leads_out)?;
        if net.carrier.bridge().is_some() { pool.container_gateway() } else { pool.gateway }
    };
    let prefix = |ip: Option<IpAddr>| pool(ip).map_or(0, |pool| pool.subnet.prefix_len());
    let parent = net.carrier.parent();
    let mac = || request.mac.unwrap_or_else(MacAddr::random);
    EndpointRecord {
        id: EndpointId::random(),
        container,
        container_name: name.to_owned(),
        network: request.network,
        driver: net.record.driver,
        interface,
        host_interface: String::new(),
        host_index: 0,
        mac: match net.record.driver.is_foreign() {
            true => request.mac,
            false => parent.is_none_or(|options| options.has_own_mac()).then(mac),
        },
        ipv4: ipv4.and_then(as_ipv4),
        prefix: prefix(ipv4),
        gateway: gateway(ipv4).and_then(as_ipv4),
        ipv6: ipv6.and_then(as_ipv6),
        prefix6: prefix(ipv6),
        gateway6: gateway(ipv6).and_then(as_ipv6),
        routes_to_interface: parent.is_some_and(|options| options.routes_to_interface()),
        link_local: request.link_local.clone(),
        names: request.names.clone(),
        links: request.links.clone(),
        gateway_priority: request.gateway_priority,
        ports: Vec::new(),
        shard: 0,
        foreign: net.needs_farewell().then(Foreign::default),
    }
}

/// What asks for the ports that an endpoint has. Ports that were reached at the container's own address only, and have none
/// of the host's, are asked for as at first.
pub(crate) fn again(holder: &EndpointRecord, ports: &[PortSpec]) -> Vec<PortSpec> {
    if holder.ports.is_empty() || holder.ports.iter().any(|port| port.host_port == 0) {
        return ports.to_vec();
    }
    let spec = |port: &crate::BoundPort| PortSpec {
        container_port: port.container_port,
        protocol: port.protocol,
        host_ip: Some(port.host_ip),
        host_port: HostPort::Range(port.host_port, port.host_port),
    };
    holder.ports.iter().map(spec).collect()
}

fn not_published(record: &EndpointRecord, source: PublishError) -> NetworkError {
    NetworkError::Publish {
        endpoint_name: record.container_name.clone(),
        endpoint: record.id,
        source: Box::new(source),
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn as_ipv4(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

fn as_ipv6(ip: IpAddr) -> Option<Ipv6Addr> {
    match ip {
        IpAddr::V6(ip) => Some(ip),
        IpAddr::V4(_) => None,
    }
}

/// In doubt it does.
fn link_exists(route: &mut Netlink, index: u32) -> bool {
    !matches!(link::find(route, index), Ok(None))
}
