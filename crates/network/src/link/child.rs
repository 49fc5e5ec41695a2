//! Requests for links that live on another one: children of a parent, VLANs; and for dummy links.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::{
    IFLA_ADDRESS, IFLA_GROUP, IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINK, IFLA_LINKINFO,
    IFLA_NET_NS_FD, NEW_LINK, UNFINISHED, link,
};
use crate::{
    endpoint::MacAddr,
    netlink::{
        Batch,
        message::{CREATE, EXCL},
    },
    networks::ChildKind,
};

const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_FLAGS: u16 = 2;
const IFLA_VLAN_ID: u16 = 1;

/// Make a child of the link `parent` in `netns`, down and yet to be given its alias.
pub(crate) fn create_child(
    batch: &mut Batch,
    name: &str,
    parent: u32,
    kind: ChildKind,
    mac: Option<MacAddr>,
    netns: BorrowedFd<'_>,
) {
    link(batch, NEW_LINK, CREATE | EXCL, 0, 0, |m| {
        m.str(IFLA_IFNAME, name);
        m.u32(IFLA_LINK, parent);
        m.u32(IFLA_GROUP, UNFINISHED);
        m.u32(IFLA_NET_NS_FD, netns.as_raw_fd() as u32);
        if let Some(mac) = mac {
            m.bytes(IFLA_ADDRESS, &mac.0);
        }
        m.nest(IFLA_LINKINFO, |m| {
            m.str(IFLA_INFO_KIND, kind.driver());
            m.nest(IFLA_INFO_DATA, |m| match kind {
                ChildKind::Macvlan(mode) => m.u32(IFLA_MACVLAN_MODE, mode as u32),
                ChildKind::Ipvlan(mode, flag) => {
                    m.u16(IFLA_IPVLAN_MODE, mode as u16);
                    m.u16(IFLA_IPVLAN_FLAGS, flag as u16);
                }
            });
        });
    });
}

/// Make the VLAN of this number on the link `master`.
pub(crate) fn create_vlan(batch: &mut Batch, name: &str, master: u32, number: u16) {
    link(batch, NEW_LINK, CREATE | EXCL, 0, 0, |m| {
        m.str(IFLA_IFNAME, name);
        m.u32(IFLA_LINK, master);
        m.nest(IFLA_LINKINFO, |m| {
            m.str(IFLA_INFO_KIND, "vlan");
            m.nest(IFLA_INFO_DATA, |m| m.u16(IFLA_VLAN_ID, number));
        });
    });
}

/// Make a link behind which there is nothing.
pub(crate) fn create_dummy(batch: &mut Batch, name: &str) {
    link(batch, NEW_LINK, CREATE | EXCL, 0, 0, |m| {
        m.str(IFLA_IFNAME, name);
        m.nest(IFLA_LINKINFO, |m| m.str(IFLA_INFO_KIND, "dummy"));
    });
}
