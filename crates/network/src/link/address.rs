//! Addresses and routes of links.

use std::net::IpAddr;

use ipnet::IpNet;
use rustix::io::Errno;

use crate::{
    endpoint::Way,
    netlink::{
        Batch, Failure, Netlink,
        message::{ACK, CREATE, DUMP, EXCL, REPLACE, attribute, u32_at},
    },
};

const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
const GET_ROUTE: u16 = 26;

const INET: u8 = 2;
const INET6: u8 = 10;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
/// `IFA_F_NODAD`: usable at once; nobody else has it, for we gave it.
const NO_DUPLICATE_DETECTION: u32 = 2;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
/// `RT_SCOPE_UNIVERSE`, `RT_SCOPE_LINK`: behind a router, on the link itself. IPv6 knows no scopes.
const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_LINK: u8 = 253;
/// `RT_TABLE_MAIN`, `RTPROT_BOOT`, `RTN_UNICAST`.
const TABLE_MAIN: u8 = 254;
const PROTOCOL_BOOT: u8 = 3;
const UNICAST: u8 = 1;
/// `RTN_LOCAL`.
const LOCAL: u8 = 2;

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { INET } else { INET6 }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn address(batch: &mut Batch, kind: u16, flags: u16, index: u32, net: IpNet) {
    batch.push(kind, flags | ACK, |m| {
        let mut fixed = [family(net.addr()), net.prefix_len(), 0, 0, 0, 0, 0, 0];
        fixed[4..8].copy_from_slice(&index.to_ne_bytes());
        m.fixed(&fixed);
        let bytes = octets(net.addr());
        m.bytes(IFA_LOCAL, &bytes);
        m.bytes(IFA_ADDRESS, &bytes);
        match net {
            IpNet::V4(net) if net.prefix_len() < 31 => m.bytes(IFA_BROADCAST, &net.broadcast().octets()),
            IpNet::V4(_) => {}
            IpNet::V6(_) => m.u32(IFA_FLAGS, NO_DUPLICATE_DETECTION),
        }
    });
}

/// Give a link an address.
pub(crate) fn add_address(batch: &mut Batch, index: u32, net: IpNet) {
    address(batch, NEW_ADDRESS, CREATE | EXCL, index, net);
}

/// Take an address from a link.
pub(crate) fn delete_address(batch: &mut Batch, index: u32, net: IpNet) {
    address(batch, DELETE_ADDRESS, 0, index, net);
}

/// Ask for all addresses.
pub(crate) fn get_addresses(batch: &mut Batch) {
    batch.push(GET_ADDRESS, DUMP | ACK, |m| m.fixed(&[0; 8]));
}

/// Send everything of the way's family there, instead of any other way.
pub(crate) fn add_default_route(batch: &mut Batch, index: u32, way: Way) {
    let (family, scope) = match way {
        Way::Gateway(ip) => (family(ip), SCOPE_UNIVERSE),
        Way::Interface { ipv6: false } => (INET, SCOPE_LINK),
        Way::Interface { ipv6: true } => (INET6, SCOPE_UNIVERSE),
    };
    let via = match way {
        Way::Gateway(ip) => Some(ip),
        Way::Interface { .. } => None,
    };
    new_route(batch, index, family, None, scope, via);
}

/// Send what is for a net by a router, or to the link itself.
pub(crate) fn add_route(batch: &mut Batch, index: u32, to: IpNet, via: Option<IpAddr>) {
    let scope = if via.is_none() && to.addr().is_ipv4() { SCOPE_LINK } else { SCOPE_UNIVERSE };
    new_route(batch, index, family(to.addr()), Some(to), scope, via);
}

fn new_route(batch: &mut Batch, index: u32, family: u8, to: Option<IpNet>, scope: u8, via: Option<IpAddr>) {
    batch.push(NEW_ROUTE, CREATE | REPLACE | ACK, |m| {
        let length = to.map_or(0, |to| to.prefix_len());
        m.fixed(&[family, length, 0, 0, TABLE_MAIN, PROTOCOL_BOOT, scope, UNICAST, 0, 0, 0, 0]);
        if let Some(to) = to {
            m.bytes(RTA_DST, &octets(to.network()));
        }
        if let Some(router) = via {
            m.bytes(RTA_GATEWAY, &octets(router));
        }
        m.u32(RTA_OIF, index);
    });
}

/// Ask for all routes.
pub(crate) fn get_routes(batch: &mut Batch) {
    batch.push(GET_ROUTE, DUMP | ACK, |m| m.fixed(&[0; 12]));
}

/// Where the kernel sends packets for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// The link they leave by.
    pub(crate) link: u32,
    /// The router they are sent to, unless straight to the address.
    pub(crate) gateway: Option<IpAddr>,
    /// Whether the address is the namespace's own.
    pub(crate) is_local: bool,
}

/// Asks for the way to an address. None if there is none.
pub(crate) fn route_to(route: &mut Netlink, to: IpAddr) -> Result<Option<Route>, Errno> {
    let bytes = octets(to);
    let mut batch = Batch::default();
    batch.push(GET_ROUTE, ACK, |m| {
        m.fixed(&[family(to), bytes.len() as u8 * 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        m.bytes(RTA_DST, &bytes);
    });
    let mut found = None;
    let outcome = route.exchange(batch, |kind, body| {
        let Some(attributes) = body.get(12..).filter(|_| kind == NEW_ROUTE) else { return };
        let link = attribute(attributes, RTA_OIF).and_then(|v| u32_at(v, 0)).unwrap_or(0);
        let gateway = attribute(attributes, RTA_GATEWAY).and_then(ip);
        found =
            matches!(body[7], UNICAST | LOCAL).then_some(Route { link, gateway, is_local: body[7] == LOCAL });
    });
    match outcome {
        Ok(()) => Ok(found),
        Err(Failure {
            errno: Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::ACCESS | Errno::INVAL, ..
        }) => Ok(None),
        Err(Failure { errno, .. }) => Err(errno),
    }
}

/// The address a message describes, with its link.
pub(crate) fn parse_address(kind: u16, body: &[u8]) -> Option<(u32, IpNet)> {
    let attributes = body.get(8..).filter(|_| kind == NEW_ADDRESS)?;
    let own = attribute(attributes, IFA_LOCAL).or_else(|| attribute(attributes, IFA_ADDRESS))?;
    Some((u32_at(body, 4)?, IpNet::new(ip(own)?, body[1]).ok()?))
}

/// The destination of the unicast route a message describes and the link it leads out by; not the default route.
pub(crate) fn parse_route(kind: u16, body: &[u8]) -> Option<(u32, IpNet)> {
    let unicast = |body: &[u8]| matches!(body[0], INET | INET6) && body[7] == UNICAST;
    let attributes = body.get(12..).filter(|_| kind == NEW_ROUTE && unicast(body))?;
    let destination = ip(attribute(attributes, RTA_DST)?)?;
    let link = attribute(attributes, RTA_OIF).and_then(|v| u32_at(v, 0)).unwrap_or(0);
    Some((link, IpNet::new(destination, body[1]).ok()?))
}

/// As [`parse_route`], of a route that came or went.
pub(crate) fn changed_route(kind: u16, body: &[u8]) -> Option<(u32, IpNet)> {
    parse_route(if kind == DELETE_ROUTE { NEW_ROUTE } else { kind }, body)
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}
