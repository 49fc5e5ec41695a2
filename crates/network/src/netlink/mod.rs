//! Netlink as far as this crate needs it: one encoder and one blocking socket for both routing (links, addresses,
//! routes) and netfilter (nftables).
//!
//! Own code rather than a crate, because an endpoint is attached by two or three messages sent in one system call
//! through a socket of the container's namespace, and because the table is written as one transaction.

pub(crate) mod message;
mod socket;
mod watch;

pub(crate) use message::{Batch, Message};
pub(crate) use socket::{Failure, Netlink};
pub(crate) use watch::{Seen, Watch};
