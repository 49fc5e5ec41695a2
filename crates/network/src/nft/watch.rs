//! Hearing of what others do to the table: somebody flushes the whole rule set, or another program's reload does.

use rustix::{io, net::netlink};

use crate::netlink::{
    Watch,
    message::{Received, attribute},
};

/// `1 << (NFNLGRP_NFTABLES - 1)`.
const GROUP: u32 = 1 << 6;
/// `NFNL_SUBSYS_NFTABLES`.
const SUBSYSTEM: u16 = 10;
/// The attribute that names the table: the first one of tables, chains, rules, sets and elements alike.
const TABLE: u16 = 1;

/// Listens for changes of a table that are not made through the socket with `own_port`.
pub(crate) fn watch(table: &'static str, own_port: u32) -> io::Result<Watch> {
    let names_table = |body: &[u8]| {
        attribute(body, TABLE).and_then(|name| name.strip_suffix(&[0])) == Some(table.as_bytes())
    };
    Watch::open(Some(netlink::NETFILTER), GROUP, move |message: &Received<'_>| {
        message.kind >> 8 == SUBSYSTEM
            && message.port != own_port
            && message.body.get(4..).is_some_and(names_table)
    })
}
