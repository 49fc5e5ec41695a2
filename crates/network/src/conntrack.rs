//! Connection tracking (`linux/netfilter/nfnetlink_conntrack.h`): cutting the UDP flows of a container that is gone.
//!
//! A flow keeps the translation it began with for as long as packets come, so a client that goes on sending to a
//! published port would never reach the container that has the port now.

use std::net::Ipv4Addr;

use rustix::io::Errno;

use crate::netlink::{
    Batch, Failure, Netlink,
    message::{ACK, DUMP, NESTED, attribute},
};

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE`.
const DELETE: u16 = 1 << 8 | 2;
/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET`.
const GET: u16 = 1 << 8 | 1;
const AF_INET: u8 = 2;
const UDP: u8 = 17;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_PROTO_NUM: u16 = 1;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
/// The parts of the tuple that must match: source address and protocol (`nf_internals.h`).
const SOURCE_AND_PROTOCOL: u32 = 1 | 1 << 3;

/// Forgets the UDP flows that a container answers.
pub(crate) fn cut_udp(socket: &mut Netlink, container: Ipv4Addr) -> Result<(), Errno> {
    let mut batch = Batch::default();
    batch.push(DELETE, ACK, |m| {
        m.fixed(&[AF_INET, 0, 0, 0]);
        m.nest(CTA_TUPLE_REPLY, |m| {
            m.nest(CTA_TUPLE_IP, |m| m.bytes(CTA_IP_V4_SRC, &container.octets()));
            m.nest(CTA_TUPLE_PROTO, |m| m.u8(CTA_PROTO_NUM, UDP));
        });
        m.nest(CTA_FILTER, |m| {
            m.u32(CTA_FILTER_ORIG_FLAGS, 0);
            m.u32(CTA_FILTER_REPLY_FLAGS, SOURCE_AND_PROTOCOL);
        });
    });
    match socket.exchange(batch, |_, _| {}) {
        Err(Failure { errno: Errno::INVAL, .. }) => cut_one_by_one(socket, container),
        outcome => unless_gone(outcome),
    }
}

/// As [`cut_udp`] for kernels before 6.8, which cannot choose flows: looks at every flow.
fn cut_one_by_one(socket: &mut Netlink, container: Ipv4Addr) -> Result<(), Errno> {
    let mut flows = Vec::new();
    let mut dump = Batch::default();
    dump.push(GET, DUMP, |m| m.fixed(&[AF_INET, 0, 0, 0]));
    let listed = socket.exchange(dump, |_, body| {
        let attributes = body.get(4..).unwrap_or_default();
        if is_udp_answered_by(attributes, container) {
            flows.extend(attribute(attributes, CTA_TUPLE_ORIG).map(<[u8]>::to_vec));
        }
    });
    listed.map_err(|failure| failure.errno)?;
    for flow in flows {
        let mut batch = Batch::default();
        batch.push(DELETE, ACK, |m| {
            m.fixed(&[AF_INET, 0, 0, 0]);
            m.bytes(CTA_TUPLE_ORIG | NESTED, &flow);
        });
        unless_gone(socket.exchange(batch, |_, _| {}))?;
    }
    Ok(())
}

fn is_udp_answered_by(flow: &[u8], container: Ipv4Addr) -> bool {
    let reply = attribute(flow, CTA_TUPLE_REPLY).unwrap_or_default();
    let part = |kind, value| attribute(reply, kind).and_then(|part| attribute(part, value));
    part(CTA_TUPLE_IP, CTA_IP_V4_SRC) == Some(&container.octets())
        && part(CTA_TUPLE_PROTO, CTA_PROTO_NUM) == Some(&[UDP])
}

/// A flow that is gone already is what was wanted.
fn unless_gone(outcome: Result<(), Failure>) -> Result<(), Errno> {
    match outcome {
        Ok(()) | Err(Failure { errno: Errno::NOENT, .. }) => Ok(()),
        Err(Failure { errno, .. }) => Err(errno),
    }
}
