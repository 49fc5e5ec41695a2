//! nftables over netlink, all but write-only: what the tables of this crate need and nothing else.
//!
//! [`Op`]s are data; [`commit`] sends them as one transaction, which the kernel applies whole or not at all. No
//! generation is compared: the table is ours alone and nothing written depends on something read. [`watch`] tells when
//! somebody else changed it, and it is written anew from the records.

mod chains;
mod encode;
mod expr;
mod op;
mod watch;

pub(crate) use chains::chains;
pub(crate) use encode::{Family, Policy, commit, has_chain, policy};
pub(crate) use expr::{Expr, Field, ct, field, meta};
pub(crate) use op::{Chain, Element, Hook, Lasting, Op, Set, kind};
pub(crate) use watch::watch;
