//! Networks of containers: drivers, addresses, firewall, published ports.
//!
//! So far the default bridge. [`Network::open`] makes the bridge, the addresses and the firewall table agree with the
//! records of the endpoints that are still in use; [`Network::attach`] gives a container its endpoint and
//! [`Network::release`] takes it back. Calls block for less than a millisecond as a rule and may be made from
//! asynchronous code.
//!
//! The crate keeps no file: the engine stores each [`EndpointRecord`] and hands them back after a restart. What the
//! kernel holds (bridge, table, namespaces) outlives the daemon by itself.

mod bridge;
mod config;
mod conntrack;
mod dns;
mod endpoint;
mod error;
mod files;
mod firewall;
mod ipam;
mod link;
mod netlink;
mod network;
mod nft;
mod pool;
mod ports;
mod publish;
mod stale;
mod state;
mod sysctl;

pub use config::{AddressPool, NetConfig};
pub use dns::{Dns, Membership, NameEntry, NameServers, ResolverConfig};
pub use endpoint::{
    BridgeInfo, Endpoint, EndpointRecord, EndpointRequest, LinkStats, MacAddr, ParseMacError,
};
pub use error::{NetworkError, PublishError};
pub use files::{HostsFile, ResolvConf, hostname_file, resolv_conf_path};
pub use network::Network;
pub use ports::{BoundPort, HostPort, PortSpec, Protocol};
