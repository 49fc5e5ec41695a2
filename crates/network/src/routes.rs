//! Routes of the host that lead elsewhere what is for a network: those of a VPN that came later, say.
//!
//! A network's subnet is free when it is chosen; nobody asks us before he takes it too. Such routes are told of in the log when they appear, and to
//! who asks as long as they are there. The more particular route counts: either the network's containers are out of the host's reach, or
//! those on the other side who have the same addresses.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use ipnet::IpNet;

use crate::{
    NetworkError,
    bridge::HostFacts,
    ipam::overlap,
    link,
    netlink::{Netlink, Seen, Watch},
    network::lock,
    state::State,
};

/// `1 << (RTNLGRP_IPV4_ROUTE - 1)` and that of IPv6.
const GROUPS: u32 = 1 << 6 | 1 << 10;
/// Wider routes are another way to everywhere.
const WIDEST: u8 = 8;

/// What is in conflict, in words.
pub(crate) type Conflicts = Arc<Mutex<BTreeSet<String>>>;

/// Hears of routes that come and go where a network is.
pub(crate) fn watch(state: &Arc<Mutex<State>>) -> Result<Watch, NetworkError> {
    let state = Arc::clone(state);
    let watch = Watch::open(None, GROUPS, move |message| {
        let changed = link::changed_route(message.kind, message.body);
        changed.is_some_and(|route| lock(&state).crossed_by(route).next().is_some())
    });
    watch.map_err(NetworkError::kernel("listen for changes of routes"))
}

/// Looks which routes are there now, and tells of new ones.
pub(crate) fn look(
    state: &Arc<Mutex<State>>,
    conflicts: &Conflicts,
) -> impl Fn(Seen) -> Result<(), NetworkError> + Send + use<> {
    let (state, conflicts) = (Arc::clone(state), Arc::clone(conflicts));
    move |_| {
        let mut route = Netlink::route().map_err(NetworkError::kernel("open a routing socket"))?;
        let facts = HostFacts::read(&mut route)?;
        let mut now = BTreeSet::new();
        for (index, net) in &facts.routes {
            let by = facts.links.iter().find(|link| link.index == *index);
            let by = by.map_or_else(String::new, |link| format!(" by {}", link.name));
            for (name, subnet) in lock(&state).crossed_by((*index, *net)) {
                now.insert(match net.prefix_len() >= subnet.prefix_len() {
                    true => format!("the host sends {net}{by}, which is of network {name} ({subnet}): its containers there are out of reach"),
                    false => format!("the host sends {net}{by}, of which {subnet} is network {name}'s: who has these addresses there is out of reach"),
                });
            }
        }
        let mut told = lock(&conflicts);
        now.difference(&told).for_each(|conflict| tracing::warn!("{conflict}"));
        *told = now;
        Ok(())
    }
}

impl State {
    /// The networks, and their subnets, that a route leads elsewhere than to their bridges.
    fn crossed_by(&self, (link, net): (u32, IpNet)) -> impl Iterator<Item = (&str, IpNet)> {
        let nets = self.networks.values().filter(move |other| {
            other.zone.is_some() && other.index != 0 && other.index != link && net.prefix_len() >= WIDEST
        });
        nets.flat_map(|other| other.record.pools().map(|pool| (other.record.name.as_str(), pool.subnet)))
            .filter(move |(_, subnet)| overlap(subnet, &net))
    }
}
