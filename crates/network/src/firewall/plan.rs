//! What the table holds: pure functions from networks and ports to steps of a transaction.
//!
//! ```text
//! guard    (prerouting, raw)   what claims to come from or go to the loopback network without being there is dropped,
//!                              because published loopback addresses are rewritten before the kernel would look
//!                              what passes a network's further bridges is not tracked
//! inbound  (prerouting, nat)   local destinations → publish; from outside only if the host's policy is not asked, or
//!                              let the packet in (see judged.rs)
//! outbound (output, nat)       the same for what the host itself sends, 127.0.0.1 included
//! publish                      address . protocol . port → container's address . port
//! to_shard (input, raw)        what is for the host comes by a network's first bridge, not by a further one
//! forward  (forward, filter)   what stays on a further bridge or among neighbours passes; nothing else leaves a further bridge or an internal
//!                              network; to a bridge → inward; from a bridge → accepted
//! inward                       answers and published ports pass, and what the network's mode lets in; nothing else
//!                              reaches a container: not from outside, not from other networks
//! leaving  (postrouting, nat)  masquerade: containers to the outside; the host's loopback and hairpins to containers
//!                              or from or to a link that another's driver has joined to a container
//! foreign4, foreign6           what passes by no bridge: dropped where we made the host a router of that family
//! ```
//!
//! Networks and ports are elements of sets and maps, so neither the number of rules nor the cost of a lookup grows with
//! theirs.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;

use super::{judged, ports::Elements, zone::Zone};
use crate::{
    endpoint::EndpointRecord,
    nft::{Chain, Element, Expr, Hook, Op, Set, ct, field, kind, meta},
};

/// The table's name.
pub(crate) const TABLE: &str = "skiff";
/// The chain that what is forwarded passes.
pub(crate) const FORWARD: &str = "forward";
/// The chains that are there only if the host does not forward the family for others.
pub(crate) const FOREIGN4: &str = "foreign4";
pub(crate) const FOREIGN6: &str = "foreign6";

const GUARD: &str = "guard";
const INBOUND: &str = "inbound";
const TO_SHARD: &str = "to_shard";
const OUTBOUND: &str = "outbound";
const PUBLISH: &str = "publish";
const INWARD: &str = "inward";
const LEAVING: &str = "leaving";

/// All bridges.
pub(super) const BRIDGES: &str = "bridges";
/// Further bridges of networks.
pub(super) const SHARDS: &str = "shards";
/// Bridges, twice each, whose containers reach each other, and further bridges.
pub(super) const NEIGHBOURS: &str = "neighbours";
/// Bridges whose containers do not.
pub(super) const CLOSED: &str = "closed";
/// Bridges of internal networks.
pub(super) const SECLUDED: &str = "secluded";
/// Links of the host that lead to containers of others' drivers, which see to their own rules.
const GUESTS: &str = "guests";
/// Families and bridges whose containers carry another address outside.
pub(super) const MASQUERADED: &str = "masqueraded";
/// Families and bridges whose containers are reached at their own addresses: at published ports, and by ICMP.
pub(super) const ROUTED: &str = "routed";
/// Families and bridges whose containers are reached at every port.
pub(super) const UNPROTECTED: &str = "unprotected";
/// Links and the bridges whose published ports can be reached from them at the containers' own addresses.
pub(super) const TRUSTED: &str = "trusted";
/// The networks' subnets.
pub(super) const SUBNETS4: &str = "subnets";
pub(super) const SUBNETS6: &str = "subnets6";
/// Bridges and the addresses that their containers carry outside.
pub(super) const SOURCES4: &str = "sources";
pub(super) const SOURCES6: &str = "sources6";
pub(super) const PUBLISHED: &str = "published";
pub(super) const PUBLISHED_ANYWHERE: &str = "published_anywhere";
pub(super) const PUBLISHED6: &str = "published6";
pub(super) const PUBLISHED6_ANYWHERE: &str = "published6_anywhere";
/// Published ports at the containers' own addresses, for those who may.
pub(super) const DIRECT: &str = "direct";
pub(super) const DIRECT6: &str = "direct6";
/// The same for everybody.
pub(super) const OPEN: &str = "open";
pub(super) const OPEN6: &str = "open6";

/// `NFPROTO_IPV4` and `NFPROTO_IPV6`.
pub(super) const FAMILY_IPV4: u8 = 2;
pub(super) const FAMILY_IPV6: u8 = 10;
/// `RTN_LOCAL`.
const LOCAL: u32 = 2;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// What the table says of all networks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Whether the host's input policy decides who reaches published ports from outside.
    pub(crate) respect_host: bool,
    /// Whether published ports can also be reached at the containers' own addresses, by everybody.
    pub(crate) direct: bool,
    /// Whether IPv4 that neither comes from nor goes to a bridge is not forwarded.
    pub(crate) drop_foreign4: bool,
    /// The same for IPv6.
    pub(crate) drop_foreign6: bool,
}

/// The steps that replace the whole table by one that is ours alone, or by one that everybody may change.
pub(crate) fn table<'a>(
    rules: &Rules,
    owned: bool,
    zones: impl IntoIterator<Item = &'a Zone>,
    endpoints: impl IntoIterator<Item = (&'a Zone, &'a EndpointRecord)>,
) -> Vec<Op> {
    let mut ops = match owned {
        true => vec![Op::DestroyTable, Op::AddOwnTable],
        // Made first so that it can be deleted whether or not it was there.
        false => vec![Op::AddTable, Op::DeleteTable, Op::AddTable],
    };
    ops.extend(sets());
    if rules.respect_host {
        ops.extend(judged::sets());
    }
    ops.extend(chains(rules));
    ops.extend(rules_of_chains(rules));
    ops.extend(zones.into_iter().flat_map(Zone::add));
    let mut published = Elements::default();
    endpoints.into_iter().for_each(|(zone, endpoint)| published.extend(rules, zone, endpoint));
    ops.extend(published.steps(add));
    ops
}

/// The steps that have these links' packets forwarded where strangers' are not.
pub(crate) fn guests(links: &BTreeSet<String>) -> Option<Op> {
    let elements: Vec<Element> = links.iter().map(|link| Element::key(name(link).to_vec())).collect();
    (!elements.is_empty()).then(|| add(GUESTS, elements))
}

/// The steps that publish an endpoint's ports.
pub(crate) fn publish(rules: &Rules, zone: &Zone, endpoint: &EndpointRecord) -> Vec<Op> {
    Elements::of(rules, zone, endpoint).steps(add)
}

/// The steps that withdraw an endpoint's ports.
pub(crate) fn unpublish(rules: &Rules, zone: &Zone, endpoint: &EndpointRecord) -> Vec<Op> {
    Elements::of(rules, zone, endpoint).steps(|set, elements| {
        let elements = elements.into_iter().map(Element::name).collect();
        Op::DeleteElements { set, elements }
    })
}

fn add(set: &'static str, elements: Vec<Element>) -> Op {
    Op::AddElements { set, elements }
}

fn sets() -> Vec<Op> {
    use kind::{FAMILY, INTERFACE, IPV4, IPV6, PORT, PROTOCOL};
    let set = |name, key| Set { name, key, data: &[], intervals: false, lasting: None };
    let map = |name, key, data| Set { name, key, data, intervals: false, lasting: None };
    let sets = [
        set(BRIDGES, &[INTERFACE]),
        set(SHARDS, &[INTERFACE]),
        set(NEIGHBOURS, &[INTERFACE, INTERFACE]),
        set(CLOSED, &[INTERFACE]),
        set(SECLUDED, &[INTERFACE]),
        set(GUESTS, &[INTERFACE]),
        set(MASQUERADED, &[FAMILY, INTERFACE]),
        set(ROUTED, &[FAMILY, INTERFACE]),
        set(UNPROTECTED, &[FAMILY, INTERFACE]),
        set(TRUSTED, &[INTERFACE, INTERFACE]),
        Set { intervals: true, ..set(SUBNETS4, &[IPV4]) },
        Set { intervals: true, ..set(SUBNETS6, &[IPV6]) },
        map(SOURCES4, &[INTERFACE], &[IPV4]),
        map(SOURCES6, &[INTERFACE], &[IPV6]),
        map(PUBLISHED, &[IPV4, PROTOCOL, PORT], &[IPV4, PORT]),
        map(PUBLISHED_ANYWHERE, &[PROTOCOL, PORT], &[IPV4, PORT]),
        map(PUBLISHED6, &[IPV6, PROTOCOL, PORT], &[IPV6, PORT]),
        map(PUBLISHED6_ANYWHERE, &[PROTOCOL, PORT], &[IPV6, PORT]),
        set(DIRECT, &[IPV4, PROTOCOL, PORT]),
        set(DIRECT6, &[IPV6, PROTOCOL, PORT]),
        set(OPEN, &[IPV4, PROTOCOL, PORT]),
        set(OPEN6, &[IPV6, PROTOCOL, PORT]),
    ];
    sets.into_iter().map(Op::AddSet).collect()
}

fn chains(rules: &Rules) -> Vec<Op> {
    let base = |name, kind, number, priority| Chain { name, hook: Some(Hook { kind, number, priority }) };
    let mut chains = vec![
        Chain { name: PUBLISH, hook: None },
        Chain { name: INWARD, hook: None },
        base(GUARD, "filter", Hook::PREROUTING, -300),
        base(INBOUND, "nat", Hook::PREROUTING, -100),
        base(TO_SHARD, "filter", Hook::INPUT, -300),
        base(OUTBOUND, "nat", Hook::OUTPUT, -100),
        base(FORWARD, "filter", Hook::FORWARD, 0),
        base(LEAVING, "nat", Hook::POSTROUTING, 100),
    ];
    chains.extend(foreign(rules).map(|(_, name)| Chain { name, hook: None }));
    if rules.respect_host {
        chains.extend(judged::chains());
    }
    chains.into_iter().map(Op::AddChain).collect()
}

/// The families that are not forwarded for others, with the chain that says so.
fn foreign(rules: &Rules) -> impl Iterator<Item = (u8, &'static str)> + use<> {
    let v4 = rules.drop_foreign4.then_some((FAMILY_IPV4, FOREIGN4));
    v4.into_iter().chain(rules.drop_foreign6.then_some((FAMILY_IPV6, FOREIGN6)))
}

fn rules_of_chains(rules: &Rules) -> Vec<Op> {
    let mut ops = Vec::new();
    let mut rule = |chain, parts: Vec<Vec<Expr>>| ops.push(Op::AddRule { chain, rule: parts.concat() });

    rule(GUARD, vec![vec![input(0), in_set(SHARDS), Expr::NoTrack, Expr::Accept]]);
    rule(TO_SHARD, vec![vec![input(0), in_set(SHARDS), Expr::Drop]]);
    let not_loopback = || vec![input(0), Expr::NotEqual { register: 0, value: name("lo").to_vec() }];
    let from_loopback_net = || in_net(field::IPV4_SOURCE, loopback());
    rule(GUARD, vec![not_loopback(), in_net(field::IPV4_DESTINATION, loopback()), vec![Expr::Drop]]);
    rule(GUARD, vec![not_loopback(), from_loopback_net(), vec![Expr::Drop]]);

    // Without ICC one container reaches another's published port through the daemon: the bridge would not carry it.
    rule(INBOUND, vec![vec![input(0), in_set(CLOSED), Expr::Accept]]);
    if rules.respect_host {
        rule(INBOUND, vec![vec![input(0), in_set(BRIDGES)], local(), vec![Expr::Jump(PUBLISH)]]);
        for family in [FAMILY_IPV4, FAMILY_IPV6] {
            rule(INBOUND, vec![judged::is_admitted(family), vec![Expr::Jump(PUBLISH)]]);
        }
        judged::rules().into_iter().for_each(|(chain, parts)| rule(chain, vec![parts]));
    } else {
        rule(INBOUND, vec![local(), vec![Expr::Jump(PUBLISH)]]);
    }
    // What the host sends to [::1] the kernel would not let out by a bridge: the daemon serves it.
    let to_loopback6 = vec![
        Expr::Payload { field: field::IPV6_DESTINATION, to: 0 },
        Expr::Equal { register: 0, value: std::net::Ipv6Addr::LOCALHOST.octets().to_vec() },
    ];
    rule(OUTBOUND, vec![of_family(FAMILY_IPV6), to_loopback6, vec![Expr::Accept]]);
    rule(OUTBOUND, vec![local(), vec![Expr::Jump(PUBLISH)]]);

    for (family, map, anywhere) in
        [(FAMILY_IPV4, PUBLISHED, PUBLISHED_ANYWHERE), (FAMILY_IPV6, PUBLISHED6, PUBLISHED6_ANYWHERE)]
    {
        let ipv6 = family == FAMILY_IPV6;
        let dnat =
            |map| vec![Expr::Map { map, key: 0 }, Expr::Dnat { ipv6, address: 0, port: words(family) }];
        rule(PUBLISH, vec![of_family(family), full_key(family), dnat(map)]);
        rule(PUBLISH, vec![of_family(family), port_key(0), dnat(anywhere)]);
    }

    rule(FORWARD, vec![vec![input(0), output(4), in_set(NEIGHBOURS), Expr::Accept]]);
    rule(FORWARD, vec![vec![input(0), in_set(SHARDS), Expr::Drop]]);
    rule(FORWARD, vec![vec![input(0), in_set(SECLUDED), Expr::Drop]]);
    rule(FORWARD, vec![vec![output(0), in_set(BRIDGES), Expr::Jump(INWARD)]]);
    rule(FORWARD, vec![vec![input(0), in_set(BRIDGES), Expr::Accept]]);
    rule(FORWARD, vec![vec![input(0), in_set(GUESTS), Expr::Accept]]);
    rule(FORWARD, vec![vec![output(0), in_set(GUESTS), Expr::Accept]]);
    for (family, chain) in foreign(rules) {
        rule(FORWARD, vec![of_family(family), vec![Expr::Jump(chain)]]);
        rule(chain, vec![vec![Expr::Drop]]);
    }
    rule(INWARD, vec![bits(ct::STATE, ct::ESTABLISHED_OR_RELATED), vec![Expr::Accept]]);
    rule(INWARD, vec![vec![output(0), in_set(SECLUDED), Expr::Drop]]);
    rule(INWARD, vec![dnat_done(), vec![Expr::Accept]]);
    let family_and_output = || vec![Expr::Meta { key: meta::FAMILY, to: 0 }, output(1)];
    rule(INWARD, vec![family_and_output(), vec![in_set(UNPROTECTED), Expr::Accept]]);
    for (family, protocol, open, direct) in
        [(FAMILY_IPV4, ICMP, OPEN, DIRECT), (FAMILY_IPV6, ICMPV6, OPEN6, DIRECT6)]
    {
        let icmp = vec![
            Expr::Meta { key: meta::PROTOCOL, to: 5 },
            Expr::Equal { register: 5, value: vec![protocol] },
        ];
        rule(INWARD, vec![of_family(family), icmp, family_and_output(), vec![in_set(ROUTED), Expr::Accept]]);
        rule(INWARD, vec![of_family(family), full_key(family), vec![in_set(open), Expr::Accept]]);
        let who = match rules.direct {
            true => vec![],
            false => vec![input(0), output(4), in_set(TRUSTED)],
        };
        rule(INWARD, vec![of_family(family), who, full_key(family), vec![in_set(direct), Expr::Accept]]);
    }
    rule(INWARD, vec![vec![Expr::Drop]]);

    let to_bridge = || vec![output(0), in_set(BRIDGES)];
    rule(LEAVING, vec![from_loopback_net(), to_bridge(), vec![Expr::Masquerade]]);
    // The answer must come back through this host, although both ends are neighbours. By the source, for what bridges pass
    // through netfilter came in by no link.
    for (family, field, subnets) in
        [(FAMILY_IPV4, field::IPV4_SOURCE, SUBNETS4), (FAMILY_IPV6, field::IPV6_SOURCE, SUBNETS6)]
    {
        let from_container = vec![Expr::Payload { field, to: 0 }, in_set(subnets)];
        rule(
            LEAVING,
            vec![of_family(family), from_container, to_bridge(), dnat_done(), vec![Expr::Masquerade]],
        );
    }
    rule(LEAVING, vec![to_bridge(), vec![Expr::Accept]]);
    for (family, sources) in [(FAMILY_IPV4, SOURCES4), (FAMILY_IPV6, SOURCES6)] {
        let ipv6 = family == FAMILY_IPV6;
        let snat = vec![input(0), Expr::Map { map: sources, key: 0 }, Expr::Snat { ipv6, address: 0 }];
        rule(LEAVING, vec![of_family(family), snat]);
    }
    let family_and_input = vec![Expr::Meta { key: meta::FAMILY, to: 0 }, input(1)];
    rule(LEAVING, vec![family_and_input, vec![in_set(MASQUERADED), Expr::Masquerade]]);
    ops
}

/// Addressed to the host.
pub(super) fn local() -> Vec<Expr> {
    vec![Expr::DestinationType { to: 0 }, Expr::Equal { register: 0, value: LOCAL.to_ne_bytes().to_vec() }]
}

pub(super) fn input(to: u32) -> Expr {
    Expr::Meta { key: meta::INPUT_NAME, to }
}

fn output(to: u32) -> Expr {
    Expr::Meta { key: meta::OUTPUT_NAME, to }
}

pub(super) fn in_set(set: &'static str) -> Expr {
    Expr::InSet { set, key: 0 }
}

pub(super) fn of_family(family: u8) -> Vec<Expr> {
    vec![Expr::Meta { key: meta::FAMILY, to: 0 }, Expr::Equal { register: 0, value: vec![family] }]
}

/// Registers that an address takes.
fn words(family: u8) -> u32 {
    if family == FAMILY_IPV6 { 4 } else { 1 }
}

/// Protocol and port of the destination.
pub(super) fn port_key(first: u32) -> Vec<Expr> {
    vec![
        Expr::Meta { key: meta::PROTOCOL, to: first },
        Expr::Payload { field: field::DESTINATION_PORT, to: first + 1 },
    ]
}

/// Address, protocol and port of the destination.
pub(super) fn full_key(family: u8) -> Vec<Expr> {
    let field = if family == FAMILY_IPV6 { field::IPV6_DESTINATION } else { field::IPV4_DESTINATION };
    let mut key = vec![Expr::Payload { field, to: 0 }];
    key.extend(port_key(words(family)));
    key
}

fn in_net(field: crate::nft::Field, net: Ipv4Net) -> Vec<Expr> {
    let mut rule = of_family(FAMILY_IPV4);
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

pub(super) fn bits(key: u32, bits: u32) -> Vec<Expr> {
    vec![
        Expr::Ct { key, to: 0 },
        Expr::And { register: 0, mask: bits.to_ne_bytes().to_vec() },
        Expr::NotEqual { register: 0, value: vec![0; 4] },
    ]
}

pub(super) fn dnat_done() -> Vec<Expr> {
    bits(ct::STATUS, ct::DNAT)
}

/// An interface's name as registers hold it.
pub(super) fn name(interface: &str) -> [u8; 16] {
    let mut name = [0; 16];
    name[..interface.len()].copy_from_slice(interface.as_bytes());
    name
}
