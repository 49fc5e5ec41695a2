//! What the table knows of one network: which sets its bridge is in, and with whom.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::plan::{
    BRIDGES, CLOSED, FAMILY_IPV4, FAMILY_IPV6, MASQUERADED, NEIGHBOURS, ROUTED, SECLUDED, SHARDS, SOURCES4,
    SOURCES6, SUBNETS4, SUBNETS6, TRUSTED, UNPROTECTED, name,
};
use crate::{
    networks::GatewayMode,
    nft::{Element, Op},
};

/// A network as the table sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Zone {
    /// Its bridge.
    pub(crate) bridge: String,
    /// Its subnets.
    pub(crate) subnets: Vec<IpNet>,
    /// Whether its containers reach each other.
    pub(crate) icc: bool,
    /// Whether it has no way out.
    pub(crate) internal: bool,
    /// Whether its containers carry the host's address outside.
    pub(crate) masquerade: bool,
    /// How its IPv4 is joined to the world.
    pub(crate) mode4: GatewayMode,
    /// How its IPv6 is.
    pub(crate) mode6: GatewayMode,
    /// Links from which published ports can be reached at the containers' own addresses.
    pub(crate) trusted: Vec<String>,
    /// The address that its containers carry outside, if it is not the outgoing link's.
    pub(crate) source4: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub(crate) source6: Option<Ipv6Addr>,
    /// Its further bridges.
    pub(crate) shards: Vec<String>,
}

impl Zone {
    /// The mode of a family.
    pub(crate) fn mode(&self, ipv6: bool) -> GatewayMode {
        if ipv6 { self.mode6 } else { self.mode4 }
    }

    /// What it has in which set.
    fn elements(&self) -> Vec<(&'static str, Element)> {
        let bridge = name(&self.bridge).to_vec();
        let key = Element::key;
        let mut out = vec![(BRIDGES, key(bridge.clone()))];
        self.subnets.iter().for_each(|net| out.extend(interval(net)));
        out.extend(self.shards.iter().flat_map(|shard| of_shard(shard)));
        match self.icc {
            true => out.push((NEIGHBOURS, key([&bridge[..], &bridge].concat()))),
            false => out.push((CLOSED, key(bridge.clone()))),
        }
        if self.internal {
            out.push((SECLUDED, key(bridge)));
            return out;
        }
        for (family, mode) in [(FAMILY_IPV4, self.mode4), (FAMILY_IPV6, self.mode6)] {
            if !self.subnets.iter().any(|net| net.addr().is_ipv6() == (family == FAMILY_IPV6)) {
                continue;
            }
            let with_family = [&[family, 0, 0, 0][..], &bridge].concat();
            match mode {
                GatewayMode::Nat if self.masquerade => out.push((MASQUERADED, key(with_family))),
                GatewayMode::Unprotected => {
                    out.push((UNPROTECTED, key(with_family.clone())));
                    if self.masquerade {
                        out.push((MASQUERADED, key(with_family)));
                    }
                }
                GatewayMode::Routed => out.push((ROUTED, key(with_family))),
                GatewayMode::Nat | GatewayMode::Isolated => {}
            }
        }
        for link in self.trusted.iter().filter(|link| link.len() < 16) {
            out.push((TRUSTED, key([&name(link)[..], &bridge].concat())));
        }
        let source = |ip: &[u8]| Element::pair(bridge.clone(), ip.to_vec());
        out.extend(self.source4.filter(|_| self.masquerade).map(|ip| (SOURCES4, source(&ip.octets()))));
        out.extend(self.source6.filter(|_| self.masquerade).map(|ip| (SOURCES6, source(&ip.octets()))));
        out
    }

    /// The steps that make the network known.
    pub(super) fn add(&self) -> Vec<Op> {
        self.elements().into_iter().map(add).collect()
    }

    /// The steps that make it unknown again.
    pub(super) fn delete(&self) -> Vec<Op> {
        let delete =
            |(set, element): (_, Element)| Op::DeleteElements { set, elements: vec![element.name()] };
        self.elements().into_iter().map(delete).collect()
    }
}

/// The steps that make a further bridge of a network known.
pub(super) fn add_shard(bridge: &str) -> Vec<Op> {
    of_shard(bridge).into_iter().map(add).collect()
}

/// What is of a further bridge in which set: who is on it is kept apart, if at all, by its ports.
fn of_shard(bridge: &str) -> [(&'static str, Element); 2] {
    let bridge = name(bridge);
    [(SHARDS, Element::key(bridge.to_vec())), (NEIGHBOURS, Element::key([bridge, bridge].concat()))]
}

fn add((set, element): (&'static str, Element)) -> Op {
    Op::AddElements { set, elements: vec![element] }
}

/// A subnet's first address, and the first behind it, if there is one.
fn interval(net: &IpNet) -> Vec<(&'static str, Element)> {
    let behind = |key: Vec<u8>| Element { end: true, ..Element::key(key) };
    match net {
        IpNet::V4(net) => {
            let end = u32::from(net.broadcast()).checked_add(1).map(|end| behind(end.to_be_bytes().to_vec()));
            let start = Element::key(net.network().octets().to_vec());
            std::iter::once(start).chain(end).map(|element| (SUBNETS4, element)).collect()
        }
        IpNet::V6(net) => {
            let end =
                u128::from(net.broadcast()).checked_add(1).map(|end| behind(end.to_be_bytes().to_vec()));
            let start = Element::key(net.network().octets().to_vec());
            std::iter::once(start).chain(end).map(|element| (SUBNETS6, element)).collect()
        }
    }
}
