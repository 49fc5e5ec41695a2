//! Connection tracking (`linux/netfilter/nfnetlink_conntrack.h`): cutting the UDP flows of a container that is gone, and
//! establishing connections that the host's policy let in.
//!
//! A flow keeps the translation it began with for as long as packets come, so a client that goes on sending to a
//! published port would never reach the container that has the port now.

use std::net::{IpAddr, SocketAddr};

use rustix::io::Errno;

use crate::netlink::{
    Batch, Failure, Netlink,
    message::{ACK, DUMP, NESTED, attribute},
};

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW`.
const NEW: u16 = 1 << 8;
/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE`.
const DELETE: u16 = 1 << 8 | 2;
/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET`.
const GET: u16 = 1 << 8 | 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const UDP: u8 = 17;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_STATUS: u16 = 3;
/// `IPS_SEEN_REPLY | IPS_CONFIRMED`: the second is so already, and must be said.
const ESTABLISHED: u32 = 1 << 1 | 1 << 3;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
/// The parts of the tuple that must match: source address and protocol (`nf_internals.h`).
const SOURCE_AND_PROTOCOL: u32 = 1 | 1 << 3;

/// The family, the attribute of a source address, and the address itself.
fn source(address: IpAddr) -> (u8, u16, Vec<u8>) {
    match address {
        IpAddr::V4(ip) => (AF_INET, CTA_IP_V4_SRC, ip.octets().to_vec()),
        IpAddr::V6(ip) => (AF_INET6, CTA_IP_V6_SRC, ip.octets().to_vec()),
    }
}

/// Has a connection count as established before it was answered, and so if it never is. Of one that is not known, or was
/// answered, nothing changes.
pub(crate) fn establish(
    socket: &mut Netlink,
    protocol: u8,
    from: SocketAddr,
    to: SocketAddr,
) -> Result<(), Errno> {
    let (family, attribute, from_address) = source(from.ip());
    let (.., to_address) = source(to.ip());
    let mut batch = Batch::default();
    batch.push(NEW, ACK, |m| {
        m.fixed(&[family, 0, 0, 0]);
        m.nest(CTA_TUPLE_ORIG, |m| {
            m.nest(CTA_TUPLE_IP, |m| {
                m.bytes(attribute, &from_address);
                // `CTA_IP_V4_DST` and `CTA_IP_V6_DST` follow their sources.
                m.bytes(attribute + 1, &to_address);
            });
            m.nest(CTA_TUPLE_PROTO, |m| {
                m.u8(CTA_PROTO_NUM, protocol);
                m.bytes(CTA_PROTO_SRC_PORT, &from.port().to_be_bytes());
                m.bytes(CTA_PROTO_DST_PORT, &to.port().to_be_bytes());
            });
        });
        m.be32(CTA_STATUS, ESTABLISHED);
    });
    match socket.exchange(batch, |_, _| {}) {
        Err(Failure { errno: Errno::BUSY, .. }) => Ok(()),
        outcome => unless_gone(outcome),
    }
}

/// Forgets the UDP flows that a container answers.
pub(crate) fn cut_udp(socket: &mut Netlink, container: IpAddr) -> Result<(), Errno> {
    let (family, attribute, address) = source(container);
    let mut batch = Batch::default();
    batch.push(DELETE, ACK, |m| {
        m.fixed(&[family, 0, 0, 0]);
        m.nest(CTA_TUPLE_REPLY, |m| {
            m.nest(CTA_TUPLE_IP, |m| m.bytes(attribute, &address));
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
fn cut_one_by_one(socket: &mut Netlink, container: IpAddr) -> Result<(), Errno> {
    let (family, ..) = source(container);
    let mut flows = Vec::new();
    let mut dump = Batch::default();
    dump.push(GET, DUMP, |m| m.fixed(&[family, 0, 0, 0]));
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
            m.fixed(&[family, 0, 0, 0]);
            m.bytes(CTA_TUPLE_ORIG | NESTED, &flow);
        });
        unless_gone(socket.exchange(batch, |_, _| {}))?;
    }
    Ok(())
}

fn is_udp_answered_by(flow: &[u8], container: IpAddr) -> bool {
    let (_, source, address) = source(container);
    let reply = attribute(flow, CTA_TUPLE_REPLY).unwrap_or_default();
    let part = |kind, value| attribute(reply, kind).and_then(|part| attribute(part, value));
    part(CTA_TUPLE_IP, source) == Some(&address) && part(CTA_TUPLE_PROTO, CTA_PROTO_NUM) == Some(&[UDP])
}

/// A flow that is gone already is what was wanted.
fn unless_gone(outcome: Result<(), Failure>) -> Result<(), Errno> {
    match outcome {
        Ok(()) | Err(Failure { errno: Errno::NOENT, .. }) => Ok(()),
        Err(Failure { errno, .. }) => Err(errno),
    }
}
