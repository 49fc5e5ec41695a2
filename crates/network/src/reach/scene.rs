//! What the daemon knows at one moment: networks, who is in them, and what is published.

use std::net::IpAddr;

use skiff_types::{ContainerId, NetworkId};

use crate::{
    BoundPort, EndpointRecord, NetworkRecord, Protocol,
    firewall::{Zone, plan::Rules},
    networks::Carrier,
    state::State,
};

/// A network as it is at that moment.
#[derive(Clone, Debug)]
pub(super) struct Net {
    /// What is remembered of it.
    pub(super) record: NetworkRecord,
    /// What carries it.
    pub(super) carrier: Carrier,
    /// What the table knows of it.
    pub(super) zone: Option<Zone>,
}

impl Net {
    /// Its bridges from one of its endpoints to another, by their numbers; that of the host is 0. With the verb.
    pub(super) fn bridges(&self, from: u16, to: u16) -> String {
        let mut numbers = vec![from, 0, to];
        if from == to {
            numbers.truncate(1);
        }
        numbers.dedup();
        let shards = self.zone.as_ref().map_or(&[][..], |zone| &zone.shards);
        let name = |number: &u16| match number.checked_sub(1) {
            None => Some(self.record.link.as_str()),
            Some(further) => shards.get(usize::from(further)).map(String::as_str),
        };
        match &numbers.iter().filter_map(name).collect::<Vec<_>>()[..] {
            [one] => format!("bridge {one} carries"),
            many => format!("bridges {} carry", many.join(", ")),
        }
    }
}

/// Everything.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    nets: Vec<Net>,
    endpoints: Vec<EndpointRecord>,
    /// What the table says of all networks; none if there is no table.
    pub(super) rules: Option<Rules>,
    /// Whether the daemon serves what the kernel does not forward.
    pub(super) relaying: bool,
}

impl Scene {
    /// A copy, so that no lock is held while the kernel is asked.
    pub(super) fn of(state: &State) -> Self {
        let net = |net: &crate::state::Net| Net {
            record: net.record.clone(),
            carrier: net.carrier.clone(),
            zone: net.zone.clone(),
        };
        Self {
            nets: state.networks.values().map(net).collect(),
            endpoints: state.endpoints.values().cloned().collect(),
            rules: state.firewall.as_ref().map(crate::firewall::Firewall::rules),
            relaying: state.publisher.is_relaying(),
        }
    }

    /// A network by its identifier.
    pub(super) fn net(&self, id: &NetworkId) -> Option<&Net> {
        self.nets.iter().find(|net| net.record.id == *id)
    }

    /// The network of a bridge.
    pub(super) fn of_bridge(&self, link: &str) -> Option<&Net> {
        self.nets.iter().find(|net| net.zone.is_some() && net.record.link == link)
    }

    /// The bridge network that an address is in.
    pub(super) fn of_address(&self, ip: IpAddr) -> Option<&Net> {
        self.nets.iter().find(|net| net.zone.is_some() && net.record.pool_of(ip).is_some())
    }

    /// A container's endpoints.
    pub(super) fn endpoints_of(&self, container: &ContainerId) -> impl Iterator<Item = &EndpointRecord> {
        self.endpoints.iter().filter(move |endpoint| endpoint.container == *container)
    }

    /// Who has an address, on networks that fit.
    pub(super) fn holder(&self, ip: IpAddr, fits: impl Fn(&Net) -> bool) -> Option<&EndpointRecord> {
        let has = |e: &&EndpointRecord| e.addresses().iter().any(|net| net.addr() == ip);
        let on = |e: &&EndpointRecord| self.net(&e.network).is_some_and(&fits);
        self.endpoints.iter().filter(has).find(on)
    }

    /// Whose port an address of the host and its port lead to.
    pub(super) fn published(
        &self,
        ip: IpAddr,
        protocol: Protocol,
        port: u16,
    ) -> Option<(&EndpointRecord, &BoundPort)> {
        let leads = |bound: &&BoundPort| {
            let at = bound.host_ip == ip
                || bound.host_ip.is_unspecified() && bound.host_ip.is_ipv4() == ip.is_ipv4();
            at && bound.host_port == port && bound.protocol == protocol
        };
        self.endpoints.iter().find_map(|e| Some((e, e.ports.iter().find(leads)?)))
    }
}
