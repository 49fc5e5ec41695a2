//! Addresses: what a request for subnets means, which subnet a network gets, and which address a container gets.
//!
//! Nothing here is stored: subnets in use are those of the networks' records, addresses in use those of the endpoints'.

mod addresses;
mod choose;
mod number;
mod request;

pub(crate) use addresses::{Addresses, Refused};
pub(crate) use choose::{choose_subnet, default_pools, overlap, unique_local};
pub use request::{PoolConfig, PoolRequest};
