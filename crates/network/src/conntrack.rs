//! Connection tracking (`linux/netfilter/nfnetlink_conntrack.h`): cutting the UDP flows of a container that is gone.
//!
//! A flow keeps the translation it began with for as long as packets come, so a client that goes on sending to a
//! published port would never reach the container that has the port now.

use std::net::Ipv4Addr;

use rustix::io::Errno;

use crate::netlink::{Batch, Failure, Netlink, message::ACK};

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE`.
const DELETE: u16 = 1 << 8 | 2;
const AF_INET: u8 = 2;
const UDP: u8 = 17;
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

/// Forgets the UDP flows that a container answers. Kernels before 6.8 cannot choose flows and forget none.
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
        Ok(()) | Err(Failure { errno: Errno::INVAL | Errno::NOENT, .. }) => Ok(()),
        Err(Failure { errno, .. }) => Err(errno),
    }
}
