//! What the table holds: pure functions from networks and ports to steps of a transaction.
//!
//! ```text
//! guard    (prerouting, raw)   what claims to come from or go to the loopback network without being there is dropped,
//!                              because published loopback addresses are rewritten before the kernel would look
//! inbound  (prerouting, nat)   local destinations → publish
//! outbound (output, nat)       the same for what the host itself sends, 127.0.0.1 included
//! publish                      address . protocol . port → container's address . port
//! forward  (forward, filter)   to a bridge → inward; from a bridge → accepted
//! inward                       answers, published ports and neighbours pass; nothing else reaches a container
//! leaving  (postrouting, nat)  masquerade: containers to the outside; the host's loopback and hairpins to containers
//! ```

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::Ipv4Net;

use crate::{
    endpoint::EndpointRecord,
    nft::{Chain, Element, Expr, Hook, Op, Set, ct, field, kind, meta},
    ports::BoundPort,
};

/// The table's name.
pub(crate) const TABLE: &str = "skiff";
/// The chain whose policy says whether the host forwards for others.
pub(crate) const FORWARD: &str = "forward";

const GUARD: &str = "guard";
const INBOUND: &str = "inbound";
const OUTBOUND: &str = "outbound";
const PUBLISH: &str = "publish";
const INWARD: &str = "inward";
const LEAVING: &str = "leaving";

const BRIDGES: &str = "bridges";
const NEIGHBOURS: &str = "neighbours";
const PUBLISHED: &str = "published";
const PUBLISHED_ANYWHERE: &str = "published_anywhere";
const DIRECT: &str = "direct";

/// `NFPROTO_IPV4`.
const FAMILY_IPV4: u8 = 2;
/// `RTN_LOCAL`.
const LOCAL: u32 = 2;

/// What the table says apart from the ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// The bridge.
    pub(crate) bridge: String,
    /// Its subnet.
    pub(crate) subnet: Ipv4Net,
    /// Whether its containers reach each other.
    pub(crate) icc: bool,
    /// Whether they carry the host's address outside.
    pub(crate) masquerade: bool,
    /// Whether published ports can also be reached at the container's own address.
    pub(crate) direct: bool,
    /// Whether what neither comes from nor goes to a bridge is not forwarded.
    pub(crate) drop_foreign: bool,
}

/// The steps that replace the whole table.
pub(crate) fn table<'a>(rules: &Rules, endpoints: impl IntoIterator<Item = &'a EndpointRecord>) -> Vec<Op> {
    // Made first so that it can be deleted whether or not it was there.
    let mut ops = vec![Op::AddTable, Op::DeleteTable, Op::AddTable];
    ops.extend(sets());
    ops.extend(chains(rules));
    ops.extend(rules_of_chains(rules));
    let bridge = name(&rules.bridge).to_vec();
    ops.push(add(BRIDGES, vec![Element { key: bridge.clone(), data: vec![] }]));
    if rules.icc {
        ops.push(add(NEIGHBOURS, vec![Element { key: [&bridge[..], &bridge].concat(), data: vec![] }]));
    }
    let mut published = Elements::default();
    endpoints.into_iter().for_each(|endpoint| published.extend(endpoint));
    ops.extend(published.steps(rules, add));
    ops
}

/// The steps that publish an endpoint's ports.
pub(crate) fn publish(rules: &Rules, endpoint: &EndpointRecord) -> Vec<Op> {
    Elements::of(endpoint).steps(rules, add)
}

/// The steps that withdraw an endpoint's ports.
pub(crate) fn unpublish(rules: &Rules, endpoint: &EndpointRecord) -> Vec<Op> {
    Elements::of(endpoint).steps(rules, |set, elements| {
        let elements = elements.into_iter().map(|e| Element { key: e.key, data: vec![] }).collect();
        Op::DeleteElements { set, elements }
    })
}

fn add(set: &'static str, elements: Vec<Element>) -> Op {
    Op::AddElements { set, elements }
}

fn sets() -> Vec<Op> {
    use kind::{INTERFACE, IPV4, PORT, PROTOCOL};
    let sets = [
        Set { name: BRIDGES, key: &[INTERFACE], data: &[] },
        Set { name: NEIGHBOURS, key: &[INTERFACE, INTERFACE], data: &[] },
        Set { name: PUBLISHED, key: &[IPV4, PROTOCOL, PORT], data: &[IPV4, PORT] },
        Set { name: PUBLISHED_ANYWHERE, key: &[PROTOCOL, PORT], data: &[IPV4, PORT] },
        Set { name: DIRECT, key: &[IPV4, PROTOCOL, PORT], data: &[] },
    ];
    sets.into_iter().map(Op::AddSet).collect()
}

fn chains(rules: &Rules) -> Vec<Op> {
    let base = |name, kind, number, priority| Chain {
        name,
        hook: Some(Hook { kind, number, priority, drop: name == FORWARD && rules.drop_foreign }),
    };
    let chains = [
        Chain { name: PUBLISH, hook: None },
        Chain { name: INWARD, hook: None },
        base(GUARD, "filter", Hook::PREROUTING, -300),
        base(INBOUND, "nat", Hook::PREROUTING, -100),
        base(OUTBOUND, "nat", Hook::OUTPUT, -100),
        base(FORWARD, "filter", Hook::FORWARD, 0),
        base(LEAVING, "nat", Hook::POSTROUTING, 100),
    ];
    chains.into_iter().map(Op::AddChain).collect()
}

fn rules_of_chains(rules: &Rules) -> Vec<Op> {
    let mut ops = Vec::new();
    let mut rule = |chain, parts: Vec<Vec<Expr>>| ops.push(Op::AddRule { chain, rule: parts.concat() });

    let not_loopback = || vec![input(0), Expr::NotEqual { register: 0, value: name("lo").to_vec() }];
    let from_loopback_net = || in_net(field::IPV4_SOURCE, loopback());
    rule(GUARD, vec![not_loopback(), in_net(field::IPV4_DESTINATION, loopback()), vec![Expr::Drop]]);
    rule(GUARD, vec![not_loopback(), from_loopback_net(), vec![Expr::Drop]]);

    let local = || {
        vec![
            Expr::DestinationType { to: 0 },
            Expr::Equal { register: 0, value: LOCAL.to_ne_bytes().to_vec() },
        ]
    };
    // Without ICC one container reaches another's published port through the daemon: the bridge would not carry it.
    let unless_isolated = match rules.icc {
        true => vec![],
        false => vec![input(0), Expr::NotEqual { register: 0, value: name(&rules.bridge).to_vec() }],
    };
    rule(INBOUND, vec![unless_isolated, local(), vec![Expr::Jump(PUBLISH)]]);
    rule(OUTBOUND, vec![local(), vec![Expr::Jump(PUBLISH)]]);

    let port_key = |first| {
        vec![
            Expr::Meta { key: meta::PROTOCOL, to: first },
            Expr::Payload { field: field::DESTINATION_PORT, to: first + 1 },
        ]
    };
    let address_key = || vec![Expr::Payload { field: field::IPV4_DESTINATION, to: 0 }];
    let dnat = |map| vec![Expr::Map { map, key: 0 }, Expr::Dnat { address: 0, port: 1 }];
    rule(PUBLISH, vec![ipv4(), address_key(), port_key(1), dnat(PUBLISHED)]);
    rule(PUBLISH, vec![ipv4(), port_key(0), dnat(PUBLISHED_ANYWHERE)]);

    rule(FORWARD, vec![vec![output(0), in_set(BRIDGES), Expr::Jump(INWARD)]]);
    rule(FORWARD, vec![vec![input(0), in_set(BRIDGES), Expr::Accept]]);
    rule(INWARD, vec![bits(ct::STATE, ct::ESTABLISHED_OR_RELATED), vec![Expr::Accept]]);
    rule(INWARD, vec![dnat_done(), vec![Expr::Accept]]);
    rule(INWARD, vec![vec![input(0), output(4), in_set(NEIGHBOURS), Expr::Accept]]);
    if rules.direct {
        rule(INWARD, vec![ipv4(), address_key(), port_key(1), vec![in_set(DIRECT), Expr::Accept]]);
    }
    rule(INWARD, vec![vec![Expr::Drop]]);

    let to_bridge = || vec![output(0), in_set(BRIDGES)];
    let from_subnet = || in_net(field::IPV4_SOURCE, rules.subnet);
    rule(LEAVING, vec![from_loopback_net(), to_bridge(), vec![Expr::Masquerade]]);
    // The answer must come back through this host, although both ends are neighbours.
    rule(LEAVING, vec![from_subnet(), to_bridge(), dnat_done(), vec![Expr::Masquerade]]);
    if rules.masquerade {
        let elsewhere = vec![output(0), Expr::NotEqual { register: 0, value: name(&rules.bridge).to_vec() }];
        rule(LEAVING, vec![from_subnet(), elsewhere, vec![Expr::Masquerade]]);
    }
    ops
}

fn input(to: u32) -> Expr {
    Expr::Meta { key: meta::INPUT_NAME, to }
}

fn output(to: u32) -> Expr {
    Expr::Meta { key: meta::OUTPUT_NAME, to }
}

fn in_set(set: &'static str) -> Expr {
    Expr::InSet { set, key: 0 }
}

fn ipv4() -> Vec<Expr> {
    vec![Expr::Meta { key: meta::FAMILY, to: 0 }, Expr::Equal { register: 0, value: vec![FAMILY_IPV4] }]
}

fn in_net(field: crate::nft::Field, net: Ipv4Net) -> Vec<Expr> {
    let mut rule = ipv4();
    rule.extend([
        Expr::Payload { field, to: 0 },
        Expr::And { register: 0, mask: net.netmask().octets().to_vec() },
        Expr::Equal { register: 0, value: net.network().octets().to_vec() },
    ]);
    rule
}

fn loopback() -> Ipv4Net {
    Ipv4Net::new_assert(std::net::Ipv4Addr::new(127, 0, 0, 0), 8)
}

fn bits(key: u32, bits: u32) -> Vec<Expr> {
    vec![
        Expr::Ct { key, to: 0 },
        Expr::And { register: 0, mask: bits.to_ne_bytes().to_vec() },
        Expr::NotEqual { register: 0, value: vec![0; 4] },
    ]
}

fn dnat_done() -> Vec<Expr> {
    bits(ct::STATUS, ct::DNAT)
}

/// An interface's name as registers hold it.
fn name(interface: &str) -> [u8; 16] {
    let mut name = [0; 16];
    name[..interface.len()].copy_from_slice(interface.as_bytes());
    name
}

/// Elements for the three collections that ports are in.
#[derive(Debug, Default)]
struct Elements {
    at_address: Vec<Element>,
    anywhere: Vec<Element>,
    direct: BTreeSet<Vec<u8>>,
}

impl Elements {
    fn of(endpoint: &EndpointRecord) -> Self {
        let mut this = Self::default();
        this.extend(endpoint);
        this
    }

    fn extend(&mut self, endpoint: &EndpointRecord) {
        for port in &endpoint.ports {
            let inside = key(&endpoint.ipv4.octets(), None, port.container_port);
            match port.host_ip {
                IpAddr::V4(ip) if ip.is_unspecified() => {
                    self.anywhere.push(Element { key: host_key(&[], port), data: inside });
                }
                IpAddr::V4(ip) => {
                    self.at_address.push(Element { key: host_key(&ip.octets(), port), data: inside });
                }
                // The container has no IPv6 address the kernel could translate to: the daemon serves these.
                IpAddr::V6(_) => continue,
            }
            let direct = key(&endpoint.ipv4.octets(), Some(port.protocol.number()), port.container_port);
            self.direct.insert(direct);
        }
    }

    fn steps(self, rules: &Rules, step: impl Fn(&'static str, Vec<Element>) -> Op) -> Vec<Op> {
        let mut steps = vec![step(PUBLISHED, self.at_address), step(PUBLISHED_ANYWHERE, self.anywhere)];
        if rules.direct {
            let direct = self.direct.into_iter().map(|key| Element { key, data: vec![] });
            steps.push(step(DIRECT, direct.collect()));
        }
        steps
    }
}

fn host_key(address: &[u8], port: &BoundPort) -> Vec<u8> {
    key(address, Some(port.protocol.number()), port.host_port)
}

/// Address, protocol and port as registers hold them: each padded to four bytes.
fn key(address: &[u8], protocol: Option<u8>, port: u16) -> Vec<u8> {
    let mut key = address.to_vec();
    key.extend(protocol.map(|p| [p, 0, 0, 0]).into_iter().flatten());
    key.extend(port.to_be_bytes());
    key.extend([0, 0]);
    key
}
