//! Networks that somebody made: what is asked of one, what is remembered of it, and how the host gets its links.

mod gateway;
mod links;
mod options;
mod record;
mod subnets;

pub(crate) use gateway::gateways;
pub(crate) use links::{make_bridge, unmake_bridge};
pub(crate) use options::{BridgeOptions, GatewayMode};
pub use record::{Driver, NetworkRecord, NetworkRequest, Pool};
pub(crate) use subnets::{Taken, decide};
