//! Transactions in nfnetlink's format, and sending them.

use rustix::io::Errno;

use super::op::{Chain, Element, Lasting, Op, Set, SetKind};
use crate::netlink::{
    Batch, Failure, Message, Netlink,
    message::{ACK, APPEND, CREATE, DUMP, EXCL, attribute},
};

/// `NFNL_SUBSYS_NFTABLES`.
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const GET_CHAIN: u16 = 4;
const NEW_RULE: u16 = 6;
const NEW_SET: u16 = 9;
const NEW_ELEMENTS: u16 = 12;
const DELETE_ELEMENTS: u16 = 14;
const DESTROY_TABLE: u16 = 26;
/// `NFT_TABLE_F_OWNER | NFT_TABLE_F_PERSIST`.
const OWNED: u32 = 2 | 4;

/// The address family of a table (`NFPROTO_…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv4 and IPv6 in one table: ours.
    Inet = 1,
    /// IPv4 alone, as iptables has it.
    Ipv4 = 2,
}

/// An attribute holds at most 64 KiB; an element takes 120 bytes at most.
const ELEMENTS_PER_MESSAGE: usize = 400;

/// Sends the steps as one transaction on the table.
///
/// # Errors
/// The kernel's answer to the first step it refused; nothing has changed then.
pub(crate) fn commit(socket: &mut Netlink, table: &str, ops: &[Op]) -> Result<(), Errno> {
    let mut batch = Batch::default();
    batch.push(BATCH_BEGIN, 0, |m| m.fixed(&[0, 0, 0, SUBSYSTEM as u8]));
    let mut ops = ops.iter().filter(|op| !op.is_empty()).peekable();
    if ops.peek().is_none() {
        return Ok(());
    }
    while let Some(op) = ops.next() {
        let ack = if ops.peek().is_none() { ACK } else { 0 };
        encode(&mut batch, table, op, ack);
    }
    let acknowledged = batch.count();
    batch.push(BATCH_END, 0, |m| m.fixed(&[0, 0, 0, SUBSYSTEM as u8]));
    socket.exchange_until(batch, acknowledged, |_, _| {}).map_err(|Failure { errno, .. }| errno)
}

/// What becomes of the packets that no rule of a base chain decides on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// They pass.
    Accept,
    /// They do not.
    Drop,
}

/// The policy of a base chain; nothing if there is none of that name.
pub(crate) fn policy(
    socket: &mut Netlink,
    family: Family,
    table: &str,
    chain: &str,
) -> Result<Option<Policy>, Errno> {
    const POLICY: u16 = 5;
    let mut batch = Batch::default();
    push_for(&mut batch, family, GET_CHAIN, ACK, |m| {
        m.str(1, table);
        m.str(3, chain);
    });
    let mut policy = None;
    let outcome = socket.exchange(batch, |_, body| {
        let value = body.get(4..).and_then(|body| attribute(body, POLICY));
        policy = value.map(|value| if value == [0; 4] { Policy::Drop } else { Policy::Accept });
    });
    match outcome {
        Ok(()) => Ok(policy),
        Err(Failure { errno: Errno::NOENT, .. }) => Ok(None),
        Err(Failure { errno, .. }) => Err(errno),
    }
}

/// Ask for the chains of every table.
pub(super) fn get_all_chains(batch: &mut Batch) {
    batch.push(SUBSYSTEM << 8 | GET_CHAIN, DUMP | ACK, |m| m.fixed(&[0; 4]));
}

/// Whether there is a chain of that name.
pub(crate) fn has_chain(socket: &mut Netlink, table: &str, chain: &str) -> Result<bool, Errno> {
    let mut batch = Batch::default();
    push(&mut batch, GET_CHAIN, ACK, |m| {
        m.str(1, table);
        m.str(3, chain);
    });
    match socket.exchange(batch, |_, _| {}) {
        Ok(()) => Ok(true),
        Err(Failure { errno: Errno::NOENT, .. }) => Ok(false),
        Err(Failure { errno, .. }) => Err(errno),
    }
}

fn encode(batch: &mut Batch, table: &str, op: &Op, ack: u16) {
    match op {
        Op::AddTable => add_table(batch, table, 0, ack),
        Op::NewTable => add_table(batch, table, 0, EXCL | ack),
        Op::AddOwnTable => add_table(batch, table, OWNED, ack),
        Op::DeleteTable => push(batch, DELETE_TABLE, ack, |m| m.str(1, table)),
        Op::DestroyTable => push(batch, DESTROY_TABLE, ack, |m| m.str(1, table)),
        Op::AddSet(set) => {
            let id = batch.count();
            push(batch, NEW_SET, CREATE | ack, |m| add_set(m, table, set, id));
        }
        Op::AddChain(chain) => push(batch, NEW_CHAIN, CREATE | ack, |m| add_chain(m, table, chain)),
        Op::AddRule { chain, rule } => push(batch, NEW_RULE, CREATE | APPEND | ack, |m| {
            m.str(1, table);
            m.str(2, chain);
            m.nest(4, |list| rule.iter().for_each(|e| e.encode(list)));
        }),
        Op::AddElements { set, elements } => {
            push_elements(batch, NEW_ELEMENTS, CREATE, ack, table, set, elements);
        }
        Op::DeleteElements { set, elements } => {
            push_elements(batch, DELETE_ELEMENTS, 0, ack, table, set, elements);
        }
    }
}

fn add_table(batch: &mut Batch, table: &str, properties: u32, flags: u16) {
    push(batch, NEW_TABLE, CREATE | flags, |m| {
        m.str(1, table);
        m.be32(2, properties);
    });
}

fn push(batch: &mut Batch, kind: u16, flags: u16, build: impl FnOnce(&mut Message<'_>)) {
    push_for(batch, Family::Inet, kind, flags, build);
}

fn push_for(batch: &mut Batch, family: Family, kind: u16, flags: u16, build: impl FnOnce(&mut Message<'_>)) {
    batch.push(SUBSYSTEM << 8 | kind, flags, |m| {
        m.fixed(&[family as u8, 0, 0, 0]);
        build(m);
    });
}

fn add_set(m: &mut Message<'_>, table: &str, set: &Set, id: u32) {
    const INTERVAL: u32 = 4;
    const MAP: u32 = 8;
    const TIMEOUT: u32 = 0x10;
    const DYNAMIC: u32 = 0x20;
    let flags =
        [(!set.data.is_empty(), MAP), (set.intervals, INTERVAL), (set.lasting.is_some(), TIMEOUT | DYNAMIC)];
    m.str(1, table);
    m.str(2, set.name);
    m.be32(3, flags.iter().filter(|(has, _)| *has).fold(0, |all, (_, flag)| all | flag));
    m.be32(4, type_number(set.key));
    m.be32(5, padded_length(set.key));
    if !set.data.is_empty() {
        m.be32(6, type_number(set.data));
        m.be32(7, padded_length(set.data));
    }
    m.be32(10, id);
    if let Some(Lasting { size, timeout }) = set.lasting {
        m.nest(9, |m| m.be32(1, size));
        m.bytes(11, &timeout.to_be_bytes());
    }
    if let [one] = set.key
        && one.host_order
    {
        // NFTNL_UDATA_SET_KEYBYTEORDER, four bytes, BYTEORDER_HOST_ENDIAN: only for `nft list` to read.
        m.bytes(13, &[0, 4, 1, 0, 0, 0]);
    }
}

/// The number `nft list` decodes a concatenation by: six bits for each part.
fn type_number(parts: &[SetKind]) -> u32 {
    parts.iter().fold(0, |number, part| number << 6 | part.number)
}

fn padded_length(parts: &[SetKind]) -> u32 {
    match parts {
        [one] => one.length,
        parts => parts.iter().map(|p| p.length.next_multiple_of(4)).sum(),
    }
}

fn add_chain(m: &mut Message<'_>, table: &str, chain: &Chain) {
    m.str(1, table);
    m.str(3, chain.name);
    if let Some(hook) = &chain.hook {
        m.nest(4, |m| {
            m.be32(1, hook.number);
            m.be32(2, hook.priority as u32);
        });
        m.be32(5, 1); // NF_ACCEPT: what no rule decides on is for others to decide
        m.str(7, hook.kind);
    }
}

fn push_elements(
    batch: &mut Batch,
    kind: u16,
    flags: u16,
    ack: u16,
    table: &str,
    set: &str,
    elements: &[Element],
) {
    let mut chunks = elements.chunks(ELEMENTS_PER_MESSAGE).peekable();
    while let Some(chunk) = chunks.next() {
        let ack = if chunks.peek().is_none() { ack } else { 0 };
        push(batch, kind, flags | ack, |m| {
            m.str(1, table);
            m.str(2, set);
            m.nest(3, |list| chunk.iter().for_each(|element| element_data(list, element)));
        });
    }
}

fn element_data(list: &mut Message<'_>, element: &Element) {
    list.nest(1, |m| {
        m.nest(1, |m| m.bytes(1, &element.key));
        if element.end {
            m.be32(3, 1); // NFT_SET_ELEM_INTERVAL_END
        }
        if !element.data.is_empty() {
            m.nest(2, |m| m.bytes(1, &element.data));
        }
    });
}
