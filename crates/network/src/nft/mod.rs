//! nftables over netlink, write-only: what the tables of this crate need and nothing else.
//!
//! [`Op`]s are data, so that plans can be compared in tests; [`commit`] sends them as one transaction, which the kernel
//! applies whole or not at all. No generation is compared: the table is ours alone and nothing written depends on
//! something read; when somebody removed it, adding to it fails and it is written anew from the records.

mod encode;
mod expr;
mod op;

pub(crate) use encode::{chain_policy_is_drop, commit};
pub(crate) use expr::{Expr, Field, ct, field, meta};
pub(crate) use op::{Chain, Element, Hook, Op, Set, kind};
