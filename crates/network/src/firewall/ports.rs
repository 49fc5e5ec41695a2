//! What published ports are in the table: elements of its maps and sets.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use super::{
    plan::{
        DIRECT, DIRECT6, OPEN, OPEN6, PUBLISHED, PUBLISHED_ANYWHERE, PUBLISHED6, PUBLISHED6_ANYWHERE, Rules,
    },
    zone::Zone,
};
use crate::{
    endpoint::EndpointRecord,
    networks::GatewayMode,
    nft::{Element, Op},
    ports::BoundPort,
};

/// Elements for all collections that ports are in.
#[derive(Debug, Default)]
pub(super) struct Elements {
    /// Address, protocol and port of the host: for each family those at one address and those at any.
    translated: [[Vec<Element>; 2]; 2],
    /// Ports that can be reached at the container's own address by those who may, of each family.
    direct: [BTreeSet<Vec<u8>>; 2],
    /// Those that everybody can reach there.
    open: [BTreeSet<Vec<u8>>; 2],
}

impl Elements {
    /// Those of one endpoint.
    pub(super) fn of(rules: &Rules, zone: &Zone, endpoint: &EndpointRecord) -> Self {
        let mut this = Self::default();
        this.extend(rules, zone, endpoint);
        this
    }

    /// Adds those of an endpoint.
    pub(super) fn extend(&mut self, rules: &Rules, zone: &Zone, endpoint: &EndpointRecord) {
        for port in &endpoint.ports {
            let ipv6 = port.host_ip.is_ipv6();
            // A container that lacks the family is served by the daemon.
            let own = match ipv6 {
                true => endpoint.ipv6.map(IpAddr::V6),
                false => endpoint.ipv4.map(IpAddr::V4),
            };
            let Some(own) = own else { continue };
            let at_container = key(own, Some(port.protocol.number()), port.container_port);
            if zone.mode(ipv6) == GatewayMode::Routed {
                self.open[usize::from(ipv6)].insert(at_container);
                continue;
            }
            let anywhere = port.host_ip.is_unspecified();
            let host = match anywhere {
                true => anywhere_key(port),
                false => key(port.host_ip, Some(port.protocol.number()), port.host_port),
            };
            let data = key(own, None, port.container_port);
            self.translated[usize::from(ipv6)][usize::from(anywhere)].push(Element::pair(host, data));
            if rules.direct || !zone.trusted.is_empty() {
                self.direct[usize::from(ipv6)].insert(at_container);
            }
        }
    }

    /// What is done with them, collection by collection.
    pub(super) fn steps(self, step: impl Fn(&'static str, Vec<Element>) -> Op) -> Vec<Op> {
        let keys = |keys: BTreeSet<Vec<u8>>| keys.into_iter().map(Element::key).collect();
        let [[at4, any4], [at6, any6]] = self.translated;
        let [direct4, direct6] = self.direct;
        let [open4, open6] = self.open;
        vec![
            step(PUBLISHED, at4),
            step(PUBLISHED_ANYWHERE, any4),
            step(PUBLISHED6, at6),
            step(PUBLISHED6_ANYWHERE, any6),
            step(DIRECT, keys(direct4)),
            step(DIRECT6, keys(direct6)),
            step(OPEN, keys(open4)),
            step(OPEN6, keys(open6)),
        ]
    }
}

/// Whether the kernel passes a port on, so that the daemon need not.
pub(crate) fn is_translated(zone: &Zone, endpoint: &EndpointRecord, host: SocketAddr) -> bool {
    let ipv6 = host.is_ipv6();
    let has_family = if ipv6 { endpoint.ipv6.is_some() } else { endpoint.ipv4.is_some() };
    has_family && zone.mode(ipv6) != GatewayMode::Routed
}

fn anywhere_key(port: &BoundPort) -> Vec<u8> {
    let mut key = vec![port.protocol.number(), 0, 0, 0];
    key.extend(port.host_port.to_be_bytes());
    key.extend([0, 0]);
    key
}

/// Address, protocol and port as registers hold them: each padded to four bytes.
fn key(address: IpAddr, protocol: Option<u8>, port: u16) -> Vec<u8> {
    let mut key = match address {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    key.extend(protocol.map(|p| [p, 0, 0, 0]).into_iter().flatten());
    key.extend(port.to_be_bytes());
    key.extend([0, 0]);
    key
}
