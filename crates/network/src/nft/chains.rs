//! Reading which chains there are, of all tables.

use std::fmt;

use rustix::io::Errno;

use super::encode::{Policy, get_all_chains};
use crate::netlink::{
    Batch, Netlink,
    message::{attribute, zero_terminated},
};

const TABLE: u16 = 1;
const NAME: u16 = 3;
const HOOK: u16 = 4;
const POLICY: u16 = 5;
const USE: u16 = 6;
const KIND: u16 = 7;
const HOOK_NUMBER: u16 = 1;

/// A chain that the kernel enters by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundChain {
    family: u8,
    /// Its table.
    pub(crate) table: String,
    name: String,
    /// What becomes of packets that no rule decides on.
    pub(crate) policy: Policy,
    /// How many rules it has.
    pub(crate) rules: u32,
    /// Whether it filters.
    pub(crate) is_filter: bool,
}

impl fmt::Display for FoundChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            1 => "inet",
            2 => "ip",
            10 => "ip6",
            _ => "?",
        };
        write!(f, "chain {} of table {family} {}", self.name, self.table)
    }
}

/// The base chains of a hook (`enum nf_inet_hooks`) in the tables of IPv4, IPv6 and both.
pub(crate) fn chains(socket: &mut Netlink, hook: u32) -> Result<Vec<FoundChain>, Errno> {
    let mut batch = Batch::default();
    get_all_chains(&mut batch);
    let mut out = Vec::new();
    socket.exchange(batch, |_, body| out.extend(read(body, hook))).map_err(|failure| failure.errno)?;
    Ok(out)
}

fn read(body: &[u8], hook: u32) -> Option<FoundChain> {
    let family = *body.first().filter(|family| matches!(family, 1 | 2 | 10))?;
    let attributes = body.get(4..)?;
    let text = |kind| attribute(attributes, kind).map(zero_terminated).unwrap_or_default();
    let number = |attributes, kind| {
        attribute(attributes, kind).and_then(|v| v.try_into().ok()).map(u32::from_be_bytes)
    };
    let entered = number(attribute(attributes, HOOK)?, HOOK_NUMBER)?;
    (entered == hook).then(|| FoundChain {
        family,
        table: text(TABLE),
        name: text(NAME),
        policy: if number(attributes, POLICY) == Some(0) { Policy::Drop } else { Policy::Accept },
        rules: number(attributes, USE).unwrap_or(0),
        is_filter: text(KIND) == "filter",
    })
}
