//! More than one bridge for a network: the kernel gives a bridge 1,023 ports.
//!
//! Who comes when a network's bridge is nearly full gets his port on a further one, a *shard*, which a pair of links, its *cable*, joins to the
//! first. All are one LAN. The network's address is the first bridge's, and so is all that the table decides: what passes a shard stays among
//! neighbours or passes the first bridge too, and is neither tracked nor filtered on the way (where br_netfilter has it pass netfilter at all).
//! The host has no part in a shard: it answers no ARP there, and the table drops what is sent to it there, which would pass by the rules.
//! Where containers do not reach each other, their ports are isolated, and so is the first bridge's port to a shard: from there only
//! the first bridge itself is reached.
//!
//! Shards are not recorded: which there are follows from the endpoints and from the links that are there. They are removed with their network.
//!
//! One thing does not work on them: where br_netfilter is on, the first bridge turns what is sent to a published port before it would be taken in, and
//! gives nothing back by the port it came in by; so from a shard no published port of a container on that same shard is reached by the
//! host's address.

use std::{os::fd::AsFd, sync::Mutex};

use skiff_types::NetworkId;

use crate::{
    EndpointRecord, Network, NetworkError,
    bridge::HostFacts,
    endpoint::MacAddr,
    janitor::Dead,
    link::{self, Link, PortFlags},
    netlink::{Batch, Netlink},
    network::lock,
    state::State,
    sysctl,
};

/// How many endpoints a bridge gets. The rest of its ports are for shards, for links that are prepared, and for those that the kernel takes its
/// time to remove.
pub(crate) const MOST: usize = 960;

/// A further bridge of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    /// Its name.
    pub(crate) name: String,
    /// Its index.
    pub(crate) index: u32,
    /// The index of the first bridge's port to it.
    cable: u32,
}

impl Shard {
    /// The names of its links.
    pub(crate) fn links(&self) -> [String; 3] {
        let [near, far] = ends(&self.name);
        [self.name.clone(), near, far]
    }

    /// What is to be removed with it.
    pub(crate) fn dead(&self) -> [Dead; 2] {
        let [near, _] = ends(&self.name);
        [Dead { name: near, index: self.cable }, Dead { name: self.name.clone(), index: self.index }]
    }
}

impl Network {
    /// Sees to it that the bridge of an endpoint is there.
    pub(crate) fn make_shards(&self, record: &EndpointRecord) -> Result<(), NetworkError> {
        let count = usize::from(record.shard);
        if self.lock().networks.get(&record.network).is_some_and(|net| net.shards.len() >= count) {
            return Ok(());
        }
        // Two that need the same one wait for each other.
        let _making = lock(&self.sharding);
        let mut route = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
        make(&self.state, &record.network, count, &self.shared.alias, &mut route)
    }
}

/// Makes the shards that endpoints are on, and takes those that are there. One that cannot be made keeps no network from being there.
pub(crate) fn make_again(state: &Mutex<State>, facts: &HostFacts, alias: &str) -> Result<(), NetworkError> {
    let is_there = |name: &String| facts.links.iter().any(|link| link.name == *name);
    let wanted: Vec<(NetworkId, usize)> = {
        let state = lock(state);
        let there = |id: &NetworkId| (1..).take_while(|number| is_there(&name(id, *number))).count();
        let needed = |id: &NetworkId| {
            let on = state.endpoints.values().filter(|record| record.network == *id);
            on.map(|record| record.shard.into()).max().unwrap_or(0)
        };
        state.networks.keys().map(|id| (*id, there(id).max(needed(id)))).collect()
    };
    let mut route = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
    for (network, count) in wanted {
        if let Err(error) = make(state, &network, count, alias, &mut route) {
            tracing::error!(%network, %error, "a further bridge of a network cannot be made");
        }
    }
    Ok(())
}

/// Makes the first `count` shards of a network, or takes those that are there.
fn make(
    state: &Mutex<State>,
    network: &NetworkId,
    count: usize,
    alias: &str,
    route: &mut Netlink,
) -> Result<(), NetworkError> {
    loop {
        let mut held = lock(state);
        let net = held.networks.get_mut(network).ok_or(NetworkError::UnknownNetwork(*network))?;
        if net.shards.len() >= count {
            return Ok(());
        }
        let name = name(network, net.shards.len() + 1);
        let (bridge, mtu, isolated) = (net.index, net.mtu(), net.flags().isolated);
        // Rules come before links.
        if let Some(zone) = net.zone.as_mut().filter(|zone| !zone.shards.contains(&name)) {
            zone.shards.push(name.clone());
            if let Some(firewall) = &mut held.firewall {
                let found = firewall.add_shard(&name);
                held.unless_gone(found)?;
            }
        }
        drop(held);
        let shard = join(route, name, bridge, mtu, isolated, alias)?;
        let mut held = lock(state);
        let net = held.networks.get_mut(network).ok_or(NetworkError::UnknownNetwork(*network))?;
        net.shards.push(shard);
    }
}

/// The name of a network's shard.
fn name(network: &NetworkId, number: usize) -> String {
    let mut name = format!("br{}-{}", number + 1, network.short());
    name.truncate(link::MAX_NAME);
    name
}

/// The names of a shard's cable: the first bridge's end, and the shard's own.
fn ends(shard: &str) -> [String; 2] {
    ["up", "dn"].map(|end| shard.replacen("br", end, 1))
}

/// Makes a shard and joins it to the first bridge. What is there already, whole or half made, is taken and completed.
fn join(
    route: &mut Netlink,
    name: String,
    first: u32,
    mtu: u32,
    isolated: bool,
    alias: &str,
) -> Result<Shard, NetworkError> {
    let operation = format!("set up bridge {name}");
    match link::find_by_name(route, &name)? {
        None => {
            let mut batch = Batch::default();
            link::create_bridge(&mut batch, &name, MacAddr::random(), mtu);
            link::run(route, batch, &operation)?;
        }
        Some(other) if other.kind != "bridge" => return Err(NetworkError::NotABridge(name)),
        Some(_) => {}
    }
    sysctl::disable_ipv6(&name)?;
    let index = up(route, &name, None, alias, &operation)?.index;
    let [near, far] = ends(&name);
    if link::find_by_name(route, &near)?.is_none() {
        let here = fs_err::File::open("/proc/thread-self/ns/net")?;
        let mut batch = Batch::default();
        link::create_veth(&mut batch, &near, None, mtu, &far, here.as_fd());
        link::run(route, batch, &operation)?;
    }
    let port = PortFlags { hairpin: false, isolated };
    let cable = up(route, &near, Some((first, mtu, port)), alias, &operation)?.index;
    up(route, &far, Some((index, mtu, PortFlags { isolated: false, ..port })), alias, &operation)?;
    link::wait_until(route, cable, |link| link.forwarding)?;
    Ok(Shard { name, index, cable })
}

/// Switches a link on that is ours: a bridge's port, or itself a bridge.
fn up(
    route: &mut Netlink,
    name: &str,
    port: Option<(u32, u32, PortFlags)>,
    alias: &str,
    operation: &str,
) -> Result<Link, NetworkError> {
    let mut batch = Batch::default();
    match port {
        Some((bridge, mtu, flags)) => {
            let mut look = Batch::default();
            link::get_by_name(&mut look, name);
            let index = link::one_link(route, look, operation)?.index;
            link::enslave(&mut batch, index, bridge, mtu);
            link::bring_up_port(&mut batch, name, flags);
        }
        None => link::bring_up_mute(&mut batch, name),
    }
    link::set_alias(&mut batch, name, alias);
    link::get_by_name(&mut batch, name);
    link::one_link(route, batch, operation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_enough_and_differ() {
        let network = NetworkId::from_bytes([0xab; 32]);
        let names: Vec<String> = [1, 9, 10]
            .iter()
            .flat_map(|number| Shard { name: name(&network, *number), index: 1, cable: 2 }.links())
            .collect();
        assert_eq!(names[..3], ["br2-abababababa", "up2-abababababa", "dn2-abababababa"]);
        assert!(names.iter().all(|name| name.len() == link::MAX_NAME));
        assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), 9);
    }
}
