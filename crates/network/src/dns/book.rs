//! Who is called what on which network. Names of one network are never seen from another.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use skiff_types::{ContainerId, NetworkId};

/// A container's names and addresses on one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameEntry {
    /// The network.
    pub network: NetworkId,
    /// The network's name, which an address's name ends with.
    pub network_name: String,
    /// The container.
    pub container: ContainerId,
    /// What it is called there; its own name comes first and is the one that its addresses are given. Others may be called
    /// the same.
    pub names: Vec<String>,
    /// Its IPv4 address there.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address there.
    pub ipv6: Option<Ipv6Addr>,
}

/// Addresses of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// All names.
#[derive(Debug, Default)]
pub(super) struct Book {
    networks: HashMap<NetworkId, Names>,
}

/// The names of one network.
#[derive(Debug, Default)]
struct Names {
    entries: BTreeMap<ContainerId, NameEntry>,
    by_name: HashMap<String, Vec<ContainerId>>,
    by_address: HashMap<IpAddr, ContainerId>,
}

impl Book {
    /// Puts an entry in place of what the container had on that network.
    pub(super) fn put(&mut self, entry: NameEntry) {
        self.remove(&entry.network, &entry.container);
        let names = self.networks.entry(entry.network).or_default();
        for name in distinct(&entry.names) {
            names.by_name.entry(name).or_default().push(entry.container);
        }
        for address in addresses(&entry) {
            names.by_address.insert(address, entry.container);
        }
        names.entries.insert(entry.container, entry);
    }

    /// Forgets a container on one network.
    pub(super) fn remove(&mut self, network: &NetworkId, container: &ContainerId) {
        let Some(names) = self.networks.get_mut(network) else { return };
        let Some(entry) = names.entries.remove(container) else { return };
        for name in distinct(&entry.names) {
            if let Some(holders) = names.by_name.get_mut(&name) {
                holders.retain(|holder| holder != container);
                if holders.is_empty() {
                    names.by_name.remove(&name);
                }
            }
        }
        for address in addresses(&entry) {
            if names.by_address.get(&address) == Some(container) {
                names.by_address.remove(&address);
            }
        }
        if names.entries.is_empty() {
            self.networks.remove(network);
        }
    }

    /// Forgets a container everywhere.
    pub(super) fn remove_everywhere(&mut self, container: &ContainerId) {
        let networks: Vec<NetworkId> = self.networks.keys().copied().collect();
        for network in networks {
            self.remove(&network, container);
        }
    }

    /// The addresses of a name in lower case, each once. None if nobody is called that; empty if who is has no address of
    /// that family.
    pub(super) fn addresses(&self, network: &NetworkId, name: &str, family: Family) -> Option<Vec<IpAddr>> {
        let names = self.networks.get(network)?;
        let holders = names.by_name.get(name)?;
        let of = |entry: &NameEntry| match family {
            Family::V4 => entry.ipv4.map(IpAddr::V4),
            Family::V6 => entry.ipv6.map(IpAddr::V6),
        };
        let mut seen = HashSet::new();
        let entries = holders.iter().filter_map(|holder| names.entries.get(holder));
        Some(entries.filter_map(of).filter(|ip| holders.len() == 1 || seen.insert(*ip)).collect())
    }

    /// Whether somebody is called that.
    pub(super) fn knows(&self, network: &NetworkId, name: &str) -> bool {
        self.networks.get(network).is_some_and(|names| names.by_name.contains_key(name))
    }

    /// The name of an address, with the network's behind it.
    pub(super) fn name_of(&self, network: &NetworkId, address: &IpAddr) -> Option<String> {
        let names = self.networks.get(network)?;
        let entry = names.entries.get(names.by_address.get(address)?)?;
        Some(format!("{}.{}", entry.names.first()?, entry.network_name))
    }
}

fn distinct(names: &[String]) -> HashSet<String> {
    names.iter().map(|name| name.to_ascii_lowercase()).filter(|name| !name.is_empty()).collect()
}

fn addresses(entry: &NameEntry) -> impl Iterator<Item = IpAddr> {
    entry.ipv4.map(IpAddr::V4).into_iter().chain(entry.ipv6.map(IpAddr::V6))
}
