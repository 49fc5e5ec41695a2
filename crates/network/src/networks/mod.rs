//! Networks that somebody made: what is asked of one, what is remembered of it, and how the host gets its links.

mod carrier;
mod child;
mod gateway;
mod links;
mod options;
mod parent;
mod record;
mod subnets;

pub(crate) use carrier::Carrier;
pub(crate) use child::{ChildKind, ChildOptions, IpvlanFlag, MacvlanMode};
pub(crate) use gateway::gateways;
pub(crate) use links::{Made, make_bridge, unmake_bridge};
pub(crate) use options::{BridgeOptions, GatewayMode};
pub use parent::ParentError;
pub(crate) use parent::{find as find_parent, make_parent, unmake_parent};
pub use record::{Addressing, Driver, NetworkRecord, NetworkRequest, Pool};
pub(crate) use subnets::{Taken, decide};
