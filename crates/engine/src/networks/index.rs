//! All networks in memory, by id and by name: those that somebody made, and the three that are always there.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use skiff_network::{Addressing, BridgeInfo, Driver, NetworkRecord, Pool};
use skiff_types::NetworkId;

use crate::{
    Error, Result,
    model::{IpamConfig, NetworkIpam, UserNetwork},
    records::Identity,
};

/// Which networks there are. Names are unique.
pub(crate) struct NetworkIndex {
    builtin: Vec<Arc<UserNetwork>>,
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    networks: BTreeMap<NetworkId, Arc<UserNetwork>>,
    /// Names of networks that are being made.
    reserved: BTreeSet<String>,
}

/// A name that is being given to a network; dropped, it is free again.
pub(crate) struct ReservedName<'a> {
    index: &'a NetworkIndex,
    name: String,
}

impl Drop for ReservedName<'_> {
    fn drop(&mut self) {
        self.index.lock().reserved.remove(&self.name);
    }
}

impl NetworkIndex {
    pub(crate) fn new(
        identity: &Identity,
        bridge: Option<(&BridgeInfo, NetworkRecord)>,
        made: Vec<UserNetwork>,
    ) -> Self {
        let mut builtin: Vec<Arc<UserNetwork>> = Vec::new();
        builtin.extend(bridge.map(|(info, record)| Arc::new(default_bridge(identity, info, record))));
        builtin.push(Arc::new(plain(identity, "host", identity.host, "host")));
        builtin.push(Arc::new(plain(identity, "none", identity.none, "null")));
        let networks = made.into_iter().map(|network| (network.id, Arc::new(network))).collect();
        Self { builtin, made: Mutex::new(Made { networks, ..Made::default() }) }
    }

    fn lock(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything, the built-in networks first.
    pub(crate) fn all(&self) -> Vec<Arc<UserNetwork>> {
        self.builtin.iter().chain(self.lock().networks.values()).cloned().collect()
    }

    /// Whether it is always there.
    pub(crate) fn is_builtin(&self, network: &NetworkId) -> bool {
        self.builtin.iter().any(|n| n.id == *network)
    }

    /// The network with this id.
    pub(crate) fn get(&self, id: &NetworkId) -> Option<Arc<UserNetwork>> {
        self.builtin.iter().find(|n| n.id == *id).cloned().or_else(|| self.lock().networks.get(id).cloned())
    }

    /// The network with this id, name, or unambiguous beginning of an id, in this order.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub(crate) fn resolve(&self, reference: &str) -> Result<Arc<UserNetwork>> {
        let all = self.all();
        let by = |test: &dyn Fn(&UserNetwork) -> bool| all.iter().find(|n| test(n)).cloned();
        if let Some(found) = by(&|n| n.id.to_string() == reference).or_else(|| by(&|n| n.name == reference)) {
            return Ok(found);
        }
        let begins = |n: &&Arc<UserNetwork>| !reference.is_empty() && n.id.to_string().starts_with(reference);
        let mut matching = all.iter().filter(begins);
        match (matching.next(), matching.count()) {
            (None, _) => Err(Error::NoSuchNetwork(reference.to_owned())),
            (Some(network), 0) => Ok(network.clone()),
            (Some(_), more) => Err(Error::Invalid(format!(
                "network {reference} is ambiguous ({} matches found based on ID prefix)",
                more + 1
            ))),
        }
    }

    /// Reserves a name until the network is added.
    ///
    /// # Errors
    /// Another network has it.
    pub(crate) fn reserve(&self, name: &str) -> Result<ReservedName<'_>> {
        let mut made = self.lock();
        let taken = made.networks.values().any(|n| n.name == name) || !made.reserved.insert(name.to_owned());
        match taken {
            true => Err(Error::Conflict(format!("network with name {name} already exists"))),
            false => Ok(ReservedName { index: self, name: name.to_owned() }),
        }
    }

    pub(crate) fn insert(&self, network: UserNetwork) {
        self.lock().networks.insert(network.id, Arc::new(network));
    }

    pub(crate) fn remove(&self, id: &NetworkId) {
        self.lock().networks.remove(id);
    }
}

/// The subnets of a network as it is shown: as asked for, and those that were chosen.
pub(super) fn with_chosen(mut ipam: NetworkIpam, record: &NetworkRecord) -> NetworkIpam {
    for pool in record.ipv4.iter().chain(&record.ipv6).filter(|pool| pool.chosen) {
        ipam.config.push(IpamConfig {
            subnet: pool.subnet.to_string(),
            gateway: pool.gateway.map(|ip| ip.to_string()).unwrap_or_default(),
            ..IpamConfig::default()
        });
    }
    if record.addressing == Addressing::Nobody {
        ipam.config.push(IpamConfig { subnet: "0.0.0.0/0".to_owned(), ..IpamConfig::default() });
    }
    if record.driver == Driver::Cni {
        ipam.driver = "cni".to_owned();
    }
    ipam
}

fn default_bridge(identity: &Identity, bridge: &BridgeInfo, record: NetworkRecord) -> UserNetwork {
    let mut default = plain(identity, "bridge", identity.bridge, "bridge");
    // As Docker: first what was asked for.
    let mut pools: Vec<_> = record.ipv4.iter().chain(&record.ipv6).collect();
    pools.sort_by_key(|pool| pool.chosen);
    default.ipam.config = pools.into_iter().map(shown).collect();
    default.enable_ipv6 = !record.ipv6.is_empty();
    let option = |name: &str, value: String| (format!("com.docker.network.{name}"), value);
    default.options = [
        option("bridge.default_bridge", "true".into()),
        option("bridge.enable_icc", bridge.icc.to_string()),
        option("bridge.enable_ip_masquerade", bridge.ip_masq.to_string()),
        option("bridge.host_binding_ipv4", bridge.default_bind_address.to_string()),
        option("bridge.name", bridge.name.clone()),
        option("driver.mtu", bridge.mtu.to_string()),
    ]
    .into();
    default.network = Some(record);
    default
}

/// A subnet of the default bridge. A gateway that follows from the range is not shown.
fn shown(pool: &Pool) -> IpamConfig {
    let text = |ip: &IpAddr| ip.to_string();
    let gateway = pool.gateway.filter(|_| pool.range != Some(pool.subnet));
    IpamConfig {
        subnet: pool.subnet.to_string(),
        ip_range: pool.range.map(|range| range.to_string()).unwrap_or_default(),
        gateway: gateway.as_ref().map(text).unwrap_or_default(),
        auxiliary: pool.auxiliary.iter().map(|(name, ip)| (name.clone(), text(ip))).collect(),
    }
}

fn plain(identity: &Identity, name: &str, id: NetworkId, driver: &str) -> UserNetwork {
    UserNetwork {
        id,
        name: name.to_owned(),
        created: identity.created,
        driver: driver.to_owned(),
        scope: "local".to_owned(),
        enable_ipv4: true,
        enable_ipv6: false,
        ipam: NetworkIpam { driver: "default".to_owned(), ..NetworkIpam::default() },
        internal: false,
        attachable: false,
        config_only: false,
        config_from: String::new(),
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
        network: None,
    }
}
