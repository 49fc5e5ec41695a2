//! Making and removing networks: addresses first, then the rules, then the link; and back.

use rustix::io::Errno;
use skiff_types::NetworkId;

use crate::{
    Addressing, Driver, EndpointRecord, Network, NetworkError, NetworkRecord, NetworkRequest,
    bridge::HostFacts,
    foreign::{RemoteDriver, Taking, leave, leave_pools, take_pools},
    janitor::Dead,
    link::MAX_NAME,
    netlink::Netlink,
    network::Shared,
    networks::{self, Carrier, Made, Pool, Taken},
    shards::Shard,
    state::Net,
    sysctl,
};

/// The IPv4 and the IPv6 subnets of a network.
type Pools = (Vec<Pool>, Vec<Pool>);

impl Network {
    /// Makes a network: its subnets are chosen, its bridge is there, the table knows it. Keep the record; until it is kept,
    /// the network is gone when the daemon dies.
    ///
    /// # Errors
    /// Subnets, options or links that cannot be had, what the kernel refuses. Nothing is left then.
    pub fn create(&self, request: &NetworkRequest) -> Result<NetworkRecord, NetworkError> {
        if !request.ipv4 && !request.ipv6 && request.driver == Driver::Bridge {
            return Err(NetworkError::NoFamily);
        }
        let carrier = Carrier::asked(request)?;
        let mut route = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
        let host = HostFacts::read_nets(&mut route)?.reserved(None);
        let record = self.decide(request, carrier, host)?;
        if let Err(error) = self.introduce(&record) {
            self.lock().networks.remove(&record.id);
            leave_pools(&self.shared.plugins, &record);
            return Err(error);
        }
        self.janitor.clear(&record.link, &mut route);
        let made = self.make(&record, &mut route);
        if made.is_err() {
            self.unmake(&record.id, &mut route);
        }
        made
    }

    /// Makes a network again that was removed, because that could not be recorded.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn restore(&self, record: &NetworkRecord) -> Result<(), NetworkError> {
        let carrier = Carrier::kept(record)?;
        let mut route = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
        self.lock().networks.insert(record.id, Net::new(record.clone(), carrier));
        self.introduce(record)?;
        self.janitor.clear(&record.link, &mut route);
        self.make(record, &mut route).map(drop)
    }

    /// Tells a network plugin of a new network.
    fn introduce(&self, record: &NetworkRecord) -> Result<(), NetworkError> {
        match record.driver {
            Driver::Remote => {
                RemoteDriver::find(&self.shared.plugins, &record.plugin)?.create_network(record)
            }
            _ => Ok(()),
        }
    }

    /// The subnets that are not ours to give: those of an IPAM plugin, and none.
    fn foreign_pools(
        &self,
        request: &NetworkRequest,
        carrier: &Carrier,
        scope: &str,
        taken: &Taken,
    ) -> Result<Option<Pools>, NetworkError> {
        match &request.addressing {
            _ if request.driver == Driver::Cni => Ok(Some(Default::default())),
            Addressing::Own => Ok(None),
            Addressing::Nobody => Ok(Some(Default::default())),
            Addressing::Plugin { name, options } => {
                let taking = Taking {
                    plugins: &self.shared.plugins,
                    name,
                    options,
                    scope,
                    has_gateway: &|ipv6| carrier.has_gateway(ipv6),
                    is_taken: &|net| taken.by_anybody(net),
                };
                take_pools(&taking, request).map(Some)
            }
        }
    }

    /// Decides on the subnets of a network and takes them.
    fn decide(
        &self,
        request: &NetworkRequest,
        carrier: Carrier,
        host: Vec<ipnet::IpNet>,
    ) -> Result<NetworkRecord, NetworkError> {
        let link = carrier.link(&request.id);
        let is_bridge = carrier.bridge().is_some();
        if is_bridge && link.len() > MAX_NAME {
            return Err(NetworkError::Kernel {
                operation: format!("set up bridge {link}"),
                errno: Errno::RANGE,
            });
        }
        let scope = match &carrier {
            Carrier::Remote(plugin) => RemoteDriver::find(&self.shared.plugins, plugin)?.scope()?,
            _ => String::new(),
        };
        let mut taken = Taken { networks: self.lock().subnets(), host };
        let foreign = self.foreign_pools(request, &carrier, &scope, &taken)?;
        let leased =
            foreign.as_ref().map(|(ipv4, ipv6)| ipv4.iter().chain(ipv6).cloned().collect::<Vec<_>>());
        let decided = self.enter(request, carrier, link, scope, foreign, &mut taken);
        if let (Err(_), Some(leased), Addressing::Plugin { name, .. }) =
            (&decided, leased, &request.addressing)
        {
            leave(&self.shared.plugins, name, &leased);
        }
        decided
    }

    /// Enters a network into the state, with its subnets if they are decided.
    fn enter(
        &self,
        request: &NetworkRequest,
        carrier: Carrier,
        link: String,
        scope: String,
        decided: Option<Pools>,
        taken: &mut Taken,
    ) -> Result<NetworkRecord, NetworkError> {
        let is_bridge = carrier.bridge().is_some();
        let mut state = self.lock();
        let same_bridge = |net: &&Net| net.record.link == link && net.zone.is_some();
        if let Some(other) = state.networks.values().find(same_bridge).filter(|_| is_bridge) {
            return Err(NetworkError::SameBridge { id: request.id, other: other.record.id, link });
        }
        taken.networks = state.subnets();
        let (ipv4, ipv6) = match decided {
            // What a plugin gives to a plugin's network is theirs to settle.
            Some((ipv4, ipv6)) => {
                if is_bridge && ipv4.iter().chain(&ipv6).any(|pool| taken.by_network(&pool.subnet)) {
                    return Err(NetworkError::PoolOverlaps);
                }
                (ipv4, ipv6)
            }
            None => networks::decide(request, &carrier, &self.shared.pools, taken)?,
        };
        if is_bridge && (ipv4.len() > 1 || ipv6.len() > 1) {
            return Err(NetworkError::ManySubnets);
        }
        state.admit_parent(&carrier)?;
        let record = NetworkRecord {
            id: request.id,
            name: request.name.clone(),
            driver: request.driver,
            plugin: request.plugin.clone(),
            scope: if scope == "global" { scope } else { String::new() },
            cni: match &carrier {
                Carrier::Cni(config) => config.text.clone(),
                _ => String::new(),
            },
            addressing: request.addressing.clone(),
            internal: carrier.is_internal(request.internal),
            ipv4,
            ipv6,
            options: request.options.clone(),
            link,
            own_link: true,
        };
        state.networks.insert(record.id, Net::new(record.clone(), carrier));
        Ok(record)
    }

    /// Makes the kernel's part of a network that is reserved: first the rules, then the link.
    fn make(&self, record: &NetworkRecord, route: &mut Netlink) -> Result<NetworkRecord, NetworkError> {
        let (zone, carrier) = {
            let state = self.lock();
            let net = state.networks.get(&record.id).ok_or(NetworkError::UnknownNetwork(record.id))?;
            (net.zone.clone(), net.carrier.clone())
        };
        if let Some(zone) = &zone {
            self.shared.become_router(&self.state, record)?;
            let mut state = self.lock();
            if let Some(firewall) = &mut state.firewall {
                let found = firewall.add_zone(zone);
                state.unless_gone(found)?;
            }
        }
        let made = self.shared.make_link(record, &carrier, route)?;
        let mut state = self.lock();
        let net = state.networks.get_mut(&record.id).ok_or(NetworkError::UnknownNetwork(record.id))?;
        net.index = made.index;
        net.record.own_link = made.ours;
        let record = net.record.clone();
        drop(state);
        self.keep_loose_if_needed();
        Ok(record)
    }

    /// Removes a network.
    ///
    /// # Errors
    /// Containers are in it; it is the default bridge; there is none.
    pub fn remove(&self, network: &NetworkId) -> Result<NetworkRecord, NetworkError> {
        self.wait_for_leaving(network);
        {
            let state = self.lock();
            let net = state.networks.get(network).ok_or(NetworkError::UnknownNetwork(*network))?;
            if net.is_default {
                return Err(NetworkError::Predefined(net.record.name.clone()));
            }
            let members = state.endpoints.values().filter(|endpoint| endpoint.network == *network);
            let describe = |e: &EndpointRecord| format!("name:{:?} id:{:?}", e.container_name, e.id.short());
            let endpoints: Vec<String> = members.map(describe).collect();
            if !endpoints.is_empty() {
                return Err(NetworkError::ActiveEndpoints { name: net.record.name.clone(), endpoints });
            }
        }
        let mut route = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
        self.unmake(network, &mut route).ok_or(NetworkError::UnknownNetwork(*network))
    }

    /// Forgets a network; its bridge goes soon, without its addresses, its parent at once if we made it and nobody else uses it.
    /// What the kernel refuses is logged: the next start cleans up.
    fn unmake(&self, network: &NetworkId, route: &mut Netlink) -> Option<NetworkRecord> {
        let mut state = self.lock();
        let occupied = state.endpoints.keys().any(|(_, of)| of == network);
        let net = if occupied { None } else { state.networks.remove(network) }?;
        if let (Some(firewall), Some(zone)) = (&mut state.firewall, &net.zone) {
            let found = firewall.delete_zone(zone);
            if let Err(error) = state.unless_gone(found) {
                tracing::warn!(network = net.record.name, %error, "a network could not be taken from the table");
            }
        }
        let shared = state.networks.values().any(|other| other.record.link == net.record.link);
        drop(state);
        if net.index != 0 {
            self.unmake_link(&net, shared, route);
        }
        leave_pools(&self.shared.plugins, &net.record);
        if let Carrier::Remote(plugin) = &net.carrier {
            let deleted =
                RemoteDriver::find(&self.shared.plugins, plugin).and_then(|d| d.delete_network(&net.record));
            if let Err(error) = deleted {
                tracing::warn!(network = net.record.name, %error, "a network plugin did not delete a network");
            }
        }
        self.keep_loose_if_needed();
        Some(net.record)
    }

    fn unmake_link(&self, net: &Net, shared: bool, route: &mut Netlink) {
        let Net { record, index, .. } = net;
        match &net.carrier {
            Carrier::Bridge(options) => {
                if let Err(error) = networks::unmake_bridge(route, record, options, *index) {
                    tracing::warn!(network = record.name, %error, "a bridge could not be taken down");
                }
                net.shards.iter().flat_map(Shard::dead).for_each(|dead| self.janitor.bury(dead));
                if record.own_link {
                    self.janitor.bury(Dead { name: record.link.clone(), index: *index });
                }
            }
            Carrier::Parent(_) if record.own_link && !shared => {
                if let Err(error) = networks::unmake_parent(route, &record.link, *index) {
                    tracing::warn!(network = record.name, %error, "a parent link could not be removed");
                }
            }
            Carrier::Parent(_) | Carrier::Remote(_) | Carrier::Cni(_) => {}
        }
    }
}

impl Shared {
    /// Makes or finds the link that carries a network.
    pub(crate) fn make_link(
        &self,
        record: &NetworkRecord,
        carrier: &Carrier,
        route: &mut Netlink,
    ) -> Result<Made, NetworkError> {
        match carrier {
            Carrier::Remote(_) | Carrier::Cni(_) => Ok(Made { index: 0, ours: false }),
            Carrier::Parent(options) => networks::make_parent(route, options, &self.alias),
            Carrier::Bridge(options) => {
                let made = networks::make_bridge(route, record, options, &self.alias)?;
                if self.firewall {
                    sysctl::route_loopback(&record.link)?;
                }
                Ok(made)
            }
        }
    }
}
