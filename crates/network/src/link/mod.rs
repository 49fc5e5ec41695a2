//! Links, addresses and routes: requests as rtnetlink messages, and what its answers say (rtnetlink(7)).

mod address;
mod child;
mod exchange;

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::{
    endpoint::{LinkStats, MacAddr},
    netlink::{
        Batch, Message,
        message::{ACK, CREATE, DUMP, EXCL, attribute, u32_at, u64_at, zero_terminated},
    },
};

pub(crate) use address::{
    Route, add_address, add_default_route, add_route, changed_route, delete_address, get_addresses,
    get_routes, parse_address, parse_route, route_to,
};
pub(crate) use child::{create_child, create_dummy, create_vlan};
pub(crate) use exchange::{dump, find, find_by_name, one_link, remove, run, wait_until};

const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const SET_LINK: u16 = 19;

const INET6: u16 = 10;
const UP: u32 = 1;
const NO_ARP: u32 = 0x80;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_STATS64: u16 = 23;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_GROUP: u16 = 27;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IFLA_BRPORT_STATE: u16 = 1;
const IFLA_BRPORT_MODE: u16 = 4;
/// `IF_OPER_UP`.
const OPERATIONAL: u8 = 6;
/// `BR_STATE_FORWARDING`.
const FORWARDING: u8 = 3;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const VETH_INFO_PEER: u16 = 1;

/// `IFNAMSIZ`, without the zero at the end.
pub(crate) const MAX_NAME: usize = 15;
/// The name of a container's interface, inside.
pub(crate) const CONTAINER_INTERFACE: &str = "eth0";
/// The alias of the bridge ports that Skiff made, by which it knows them again.
pub(crate) const ALIAS: &str = "skiff";
/// The group of links that we made and have not given their alias yet, which the kernel does not take when it makes a link.
pub(crate) const UNFINISHED: u32 = u32::from_be_bytes(*b"skif");

/// A link as the kernel describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its index.
    pub(crate) index: u32,
    /// Its name.
    pub(crate) name: String,
    /// Its kind (`bridge`, `veth`, `macvlan`); empty for hardware.
    pub(crate) kind: String,
    /// Its alias.
    pub(crate) alias: String,
    /// The index of the link it is bound to, a pair's other end or a child's parent, which may be in another namespace; or zero.
    pub(crate) bound_to: u32,
    /// The number of the group it is in.
    pub(crate) group: u32,
    /// The bridge it is a port of, or zero.
    pub(crate) master: u32,
    /// Whether it is a bridge's port and forwards frames.
    pub(crate) forwarding: bool,
    /// Whether it is switched on and has its carrier.
    pub(crate) operational: bool,
    /// Its hardware address.
    pub(crate) mac: Option<MacAddr>,
    /// What went through it, as this end sees it.
    pub(crate) stats: LinkStats,
}

impl Link {
    /// Whether the two may be the ends of one pair. Indexes are numbers of their namespaces: which those are is not asked.
    pub(crate) fn is_other_end_of(&self, other: &Self) -> bool {
        let is_end = |link: &Self| link.kind == "veth";
        is_end(self) && is_end(other) && (self.index, other.index) == (other.bound_to, self.bound_to)
    }
}

/// How a bridge treats a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortFlags {
    /// Frames may leave by the port they came in by: needed where br_netfilter makes the bridge forward what was
    /// addressed to the host's published port and is now for the sender itself.
    pub(crate) hairpin: bool,
    /// No frames to other isolated ports.
    pub(crate) isolated: bool,
}

/// A name for the host's end of a pair, as long as a name may be: of a thousand shorter ones now and then two would be the same.
pub(crate) fn random_name() -> String {
    format!("veth{:011x}", rand::random::<u64>() >> 20)
}

fn link(batch: &mut Batch, kind: u16, flags: u16, index: u32, on: u32, build: impl FnOnce(&mut Message<'_>)) {
    batch.push(kind, flags | ACK, |m| {
        let mut fixed = [0; 16];
        fixed[4..8].copy_from_slice(&index.to_ne_bytes());
        fixed[8..12].copy_from_slice(&on.to_ne_bytes());
        fixed[12..16].copy_from_slice(&on.to_ne_bytes());
        m.fixed(&fixed);
        build(m);
    });
}

/// Make a bridge. It is given its hardware address, or the bridge would take on that of a port, and lose it with it.
pub(crate) fn create_bridge(batch: &mut Batch, name: &str, mac: MacAddr, mtu: u32) {
    link(batch, NEW_LINK, CREATE | EXCL, 0, 0, |m| {
        m.str(IFLA_IFNAME, name);
        m.bytes(IFLA_ADDRESS, &mac.0);
        m.u32(IFLA_MTU, mtu);
        m.nest(IFLA_LINKINFO, |m| m.str(IFLA_INFO_KIND, "bridge"));
    });
}

/// Make a veth pair: one end a port of the bridge, if one is named, the other the container's interface `inner` in
/// `netns`. Both are down.
pub(crate) fn create_veth(
    batch: &mut Batch,
    name: &str,
    bridge: Option<u32>,
    mtu: u32,
    inner: &str,
    netns: BorrowedFd<'_>,
) {
    link(batch, NEW_LINK, CREATE | EXCL, 0, 0, |m| {
        m.str(IFLA_IFNAME, name);
        m.u32(IFLA_MTU, mtu);
        if let Some(bridge) = bridge {
            m.u32(IFLA_MASTER, bridge);
        }
        m.nest(IFLA_LINKINFO, |m| {
            m.str(IFLA_INFO_KIND, "veth");
            m.nest(IFLA_INFO_DATA, |m| {
                m.nest(VETH_INFO_PEER, |m| {
                    m.fixed(&[0; 16]);
                    m.str(IFLA_IFNAME, inner);
                    m.u32(IFLA_MTU, mtu);
                    m.u32(IFLA_NET_NS_FD, netns.as_raw_fd() as u32);
                });
            });
        });
    });
}

/// Make a link a port of a bridge, with the bridge's MTU.
pub(crate) fn enslave(batch: &mut Batch, index: u32, bridge: u32, mtu: u32) {
    link(batch, SET_LINK, 0, index, 0, |m| {
        m.u32(IFLA_MTU, mtu);
        m.u32(IFLA_MASTER, bridge);
    });
}

/// Set a link's MTU.
pub(crate) fn set_mtu(batch: &mut Batch, index: u32, mtu: u32) {
    link(batch, SET_LINK, 0, index, 0, |m| m.u32(IFLA_MTU, mtu));
}

/// Switch on a link that is no bridge's port yet, without an IPv6 address of its own, and mark it as ours.
pub(crate) fn bring_up_loose(batch: &mut Batch, name: &str) {
    link(batch, NEW_LINK, 0, 0, UP, |m| {
        m.str(IFLA_IFNAME, name);
        m.str(IFLA_IFALIAS, ALIAS);
        m.nest(IFLA_AF_SPEC, |m| m.nest(INET6, |m| m.u8(IFLA_INET6_ADDR_GEN_MODE, 1)));
    });
}

/// Set a bridge port's flags and switch it on, without an IPv6 address of its own.
pub(crate) fn bring_up_port(batch: &mut Batch, name: &str, flags: PortFlags) {
    link(batch, NEW_LINK, 0, 0, UP, |m| {
        m.str(IFLA_IFNAME, name);
        m.str(IFLA_IFALIAS, ALIAS);
        m.nest(IFLA_LINKINFO, |m| {
            m.str(IFLA_INFO_SLAVE_KIND, "bridge");
            m.nest(IFLA_INFO_SLAVE_DATA, |m| {
                m.u8(IFLA_BRPORT_MODE, u8::from(flags.hairpin));
                m.u8(IFLA_BRPORT_ISOLATED, u8::from(flags.isolated));
            });
        });
        m.nest(IFLA_AF_SPEC, |m| m.nest(INET6, |m| m.u8(IFLA_INET6_ADDR_GEN_MODE, 1)));
    });
}

/// Switch a link on.
pub(crate) fn bring_up(batch: &mut Batch, name: &str) {
    link(batch, SET_LINK, 0, 0, UP, |m| m.str(IFLA_IFNAME, name));
}

/// Switch a link on that answers no ARP: the host has no part in what passes it.
pub(crate) fn bring_up_mute(batch: &mut Batch, name: &str) {
    link(batch, SET_LINK, 0, 0, UP | NO_ARP, |m| m.str(IFLA_IFNAME, name));
}

/// Switch on the link of an index.
pub(crate) fn bring_up_index(batch: &mut Batch, index: u32) {
    link(batch, SET_LINK, 0, index, UP, |_| {});
}

/// Switch the link of an index off.
pub(crate) fn take_down(batch: &mut Batch, index: u32) {
    batch.push(SET_LINK, ACK, |m| {
        let mut fixed = [0; 16];
        fixed[4..8].copy_from_slice(&index.to_ne_bytes());
        fixed[12..16].copy_from_slice(&UP.to_ne_bytes());
        m.fixed(&fixed);
    });
}

/// Move a link to another network namespace.
pub(crate) fn move_to(batch: &mut Batch, index: u32, netns: BorrowedFd<'_>) {
    link(batch, SET_LINK, 0, index, 0, |m| m.u32(IFLA_NET_NS_FD, netns.as_raw_fd() as u32));
}

/// Give a link another name.
pub(crate) fn rename(batch: &mut Batch, index: u32, name: &str) {
    link(batch, SET_LINK, 0, index, 0, |m| m.str(IFLA_IFNAME, name));
}

/// Give a link an alias, by which it is known again.
pub(crate) fn set_alias(batch: &mut Batch, name: &str, alias: &str) {
    link(batch, NEW_LINK, 0, 0, 0, |m| {
        m.str(IFLA_IFNAME, name);
        m.str(IFLA_IFALIAS, alias);
        m.u32(IFLA_GROUP, 0);
    });
}

/// Give a link its hardware address.
pub(crate) fn set_mac(batch: &mut Batch, index: u32, mac: MacAddr) {
    link(batch, SET_LINK, 0, index, 0, |m| m.bytes(IFLA_ADDRESS, &mac.0));
}

/// Remove a link.
pub(crate) fn delete(batch: &mut Batch, index: u32) {
    link(batch, DELETE_LINK, 0, index, 0, |_| {});
}

/// Ask for one link by its name.
pub(crate) fn get_by_name(batch: &mut Batch, name: &str) {
    link(batch, GET_LINK, 0, 0, 0, |m| m.str(IFLA_IFNAME, name));
}

/// Ask for one link by its index.
pub(crate) fn get_by_index(batch: &mut Batch, index: u32) {
    link(batch, GET_LINK, 0, index, 0, |_| {});
}

/// Ask for all links.
pub(crate) fn get_all(batch: &mut Batch) {
    link(batch, GET_LINK, DUMP, 0, 0, |_| {});
}

/// The link a message describes.
pub(crate) fn parse_link(kind: u16, body: &[u8]) -> Option<Link> {
    let attributes = body.get(16..).filter(|_| kind == NEW_LINK)?;
    let text = |body, kind| attribute(body, kind).map(zero_terminated).unwrap_or_default();
    let info = attribute(attributes, IFLA_LINKINFO).unwrap_or_default();
    let port = attribute(info, IFLA_INFO_SLAVE_DATA).unwrap_or_default();
    Some(Link {
        index: u32_at(body, 4)?,
        name: text(attributes, IFLA_IFNAME),
        kind: text(info, IFLA_INFO_KIND),
        alias: text(attributes, IFLA_IFALIAS),
        bound_to: attribute(attributes, IFLA_LINK).and_then(|v| u32_at(v, 0)).unwrap_or(0),
        group: attribute(attributes, IFLA_GROUP).and_then(|v| u32_at(v, 0)).unwrap_or(0),
        master: attribute(attributes, IFLA_MASTER).and_then(|v| u32_at(v, 0)).unwrap_or(0),
        forwarding: attribute(port, IFLA_BRPORT_STATE) == Some(&[FORWARDING]),
        operational: attribute(attributes, IFLA_OPERSTATE) == Some(&[OPERATIONAL]),
        mac: attribute(attributes, IFLA_ADDRESS).and_then(|v| v.try_into().ok()).map(MacAddr),
        stats: attribute(attributes, IFLA_STATS64).and_then(parse_stats).unwrap_or_default(),
    })
}

/// `struct rtnl_link_stats64`.
fn parse_stats(value: &[u8]) -> Option<LinkStats> {
    let field = |n: usize| u64_at(value, n * 8);
    Some(LinkStats {
        rx_packets: field(0)?,
        tx_packets: field(1)?,
        rx_bytes: field(2)?,
        tx_bytes: field(3)?,
        rx_errors: field(4)?,
        tx_errors: field(5)?,
        rx_dropped: field(6)?,
        tx_dropped: field(7)?,
    })
}
