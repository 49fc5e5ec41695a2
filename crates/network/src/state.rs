//! What changes with every network and endpoint: who has which subnet, address and ports, and the table that says so.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use ipnet::IpNet;
use skiff_types::{ContainerId, EndpointId, NetworkId};

use crate::{
    Dns, EndpointRecord, EndpointRequest, LinkStats, MacAddr, NetworkError, NetworkRecord,
    firewall::{Firewall, Found, Zone},
    ipam::{Addresses, Refused},
    link::{self, PortFlags},
    netlink::Netlink,
    networks::{BridgeOptions, gateways},
    ports::{HostPort, PortSpec},
    publish::{Destination, Publisher},
};

/// A network in use.
#[derive(Debug)]
pub(crate) struct Net {
    /// As it is remembered; the default bridge's is made at each start.
    pub(crate) record: NetworkRecord,
    /// Its options, understood.
    pub(crate) options: BridgeOptions,
    /// As the table knows it.
    pub(crate) zone: Zone,
    /// The index of its bridge; 0 while that is not there.
    pub(crate) index: u32,
    /// Whether it is the network `bridge`.
    pub(crate) is_default: bool,
    ipv4: Option<Addresses>,
    ipv6: Option<Addresses>,
}

impl Net {
    /// A network no address of which is taken.
    pub(crate) fn new(record: NetworkRecord, options: BridgeOptions) -> Self {
        let addresses = |pool: &crate::Pool| Addresses::new(pool.subnet, pool.range, pool.reserved());
        Self {
            zone: Zone {
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
            },
            ipv4: record.first_ipv4().map(addresses),
            ipv6: record.first_ipv6().map(addresses),
            index: 0,
            is_default: false,
            record,
            options,
        }
    }

    /// How the bridge treats its ports.
    pub(crate) fn flags(&self) -> PortFlags {
        PortFlags { hairpin: self.options.icc, isolated: !self.options.icc }
    }

    /// Notes that an endpoint has its addresses.
    pub(crate) fn take(&mut self, record: &EndpointRecord) -> Result<(), IpAddr> {
        let v4 = record.ipv4.map(IpAddr::V4).zip(self.ipv4.as_mut());
        let v6 = record.ipv6.map(IpAddr::V6).zip(self.ipv6.as_mut());
        for (ip, addresses) in v4.into_iter().chain(v6) {
            addresses.take(ip).map_err(|_| ip)?;
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
        let addresses = if ipv6 { &mut self.ipv6 } else { &mut self.ipv4 };
        let Some(addresses) = addresses else {
            return wanted.map_or(Ok(None), |ip| Err(NetworkError::AddressOutside(ip)));
        };
        let Some(address) = wanted else {
            let any = addresses.take_any(|link| !link_exists(route, link));
            return any.map(Some).ok_or_else(|| NetworkError::AddressesExhausted {
                family: if ipv6 { "IPv6" } else { "IPv4" },
                name: self.record.name.clone(),
                id: self.record.id,
            });
        };
        match addresses.take(address) {
            Ok(()) => Ok(Some(address)),
            Err(Refused::Outside) => Err(NetworkError::AddressOutside(address)),
            Err(Refused::Taken) => Err(NetworkError::AddressInUse(address)),
        }
    }

    /// Takes the addresses of an endpoint back. Its link may still have them, unless it never had one.
    fn release(&mut self, record: &EndpointRecord) {
        let v4 = record.ipv4.map(IpAddr::V4).zip(self.ipv4.as_mut());
        let v6 = record.ipv6.map(IpAddr::V6).zip(self.ipv6.as_mut());
        for (ip, addresses) in v4.into_iter().chain(v6) {
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
        let ipv4 = net.give(request.ipv4.map(IpAddr::V4), false, route)?;
        let ipv6 = net.give(request.ipv6.map(IpAddr::V6), true, route).inspect_err(|_| {
            if let (Some(ip), Some(addresses)) = (ipv4, &mut net.ipv4) {
                addresses.give_back(ip);
            }
        })?;
        let record = record(container, name, request, net, interface, ipv4, ipv6);
        self.insert(record.clone());
        Ok(record)
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
        if let Some(net) = self.networks.get_mut(&network) {
            net.release(&record);
        }
        Some(record)
    }

    /// Forgets all endpoints of a container.
    pub(crate) fn release(&mut self, container: &ContainerId) {
        for record in self.of(container) {
            self.forget(*container, record.network);
        }
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
            ways.routes.extend(record.gateway.map(|ip| (record.interface.clone(), ip.into())));
        }
        if let Some(record) = v6.map(|i| records[i]) {
            ways.routes.extend(record.gateway6.map(|ip| (record.interface.clone(), ip.into())));
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
        let Some(record) = self.endpoints.get_mut(&(container, network)) else { return Ok(()) };
        let default_address =
            if net.is_default { Some(self.default_binding) } else { net.options.host_binding };
        let to = Destination { endpoint: record, zone: &net.zone, default_address };
        record.ports = self.publisher.publish(to, ports).map_err(|source| NetworkError::Publish {
            endpoint_name: record.container_name.clone(),
            endpoint: record.id,
            source: Box::new(source),
        })?;
        let Some(firewall) = &mut self.firewall else { return Ok(()) };
        let found = firewall.publish(&net.zone, record);
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
        if let (Some(firewall), Some(net)) = (&mut self.firewall, self.networks.get(&network)) {
            let found = firewall.unpublish(&net.zone, &published);
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
        let zoned = |record: &'_ EndpointRecord| networks.get(&record.network).map(|net| &net.zone);
        firewall.rewrite(
            networks.values().map(|net| &net.zone),
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
        let taken: Vec<&str> =
            self.of_unordered(&container).map(|record| record.interface.as_str()).collect();
        let mut names = (0..).map(|n| format!("{}{n}", net.options.prefix));
        Ok(names.find(|name| !taken.contains(&name.as_str())).expect("there is no last number"))
    }
}

/// Where a container's packets go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ways {
    /// Interface and gateway of each default route.
    pub(crate) routes: Vec<(String, IpAddr)>,
    /// The network whose endpoint publishes the ports.
    pub(crate) publishing: Option<NetworkId>,
}

impl Ways {
    /// The gateways that lie behind an interface.
    pub(crate) fn through(&self, interface: &str) -> Vec<IpAddr> {
        self.routes.iter().filter(|(name, _)| name == interface).map(|(_, ip)| *ip).collect()
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
    let gateway = |pool: Option<&crate::Pool>, ipv6: bool| {
        let leads_out = !net.record.internal && net.options.has_gateway(ipv6);
        pool.filter(|_| leads_out).and_then(crate::Pool::container_gateway)
    };
    let prefix = |pool: Option<&crate::Pool>| pool.map_or(0, |pool| pool.subnet.prefix_len());
    let (v4, v6) = (net.record.first_ipv4(), net.record.first_ipv6());
    EndpointRecord {
        id: EndpointId::random(),
        container,
        container_name: name.to_owned(),
        network: request.network,
        interface,
        host_interface: String::new(),
        host_index: 0,
        mac: request.mac.unwrap_or_else(MacAddr::random),
        ipv4: ipv4.and_then(as_ipv4),
        prefix: prefix(v4),
        gateway: gateway(v4, false).and_then(as_ipv4),
        ipv6: ipv6.and_then(as_ipv6),
        prefix6: prefix(v6),
        gateway6: gateway(v6, true).and_then(as_ipv6),
        link_local: request.link_local.clone(),
        names: request.names.clone(),
        links: request.links.clone(),
        gateway_priority: request.gateway_priority,
        ports: Vec::new(),
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
