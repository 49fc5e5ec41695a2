//! Networks of containers: drivers, addresses, firewall, published ports.
//!
//! [`Network::open`] makes bridges, addresses and the firewall table agree with the records of the networks and of the
//! endpoints that are still in use. [`Network::create`] makes a network and [`Network::remove`] takes it away;
//! [`Network::attach`] gives a container that is about to start its endpoints, [`Network::connect`] and
//! [`Network::disconnect`] change those of one that runs, and [`Network::release`] takes all back. Calls block for a
//! millisecond as a rule.
//!
//! The crate keeps no file: the engine stores each [`NetworkRecord`] and [`EndpointRecord`] and hands them back after a restart. What the
//! kernel holds (bridge, table, namespaces) outlives the daemon by itself.

mod bridge;
mod bridge6;
mod child;
mod cni;
mod config;
mod conntrack;
mod dns;
mod endpoint;
mod error;
mod files;
mod firewall;
mod foreign;
mod ipam;
mod janitor;
mod link;
mod making;
mod naming;
mod netlink;
mod network;
mod networks;
mod nft;
mod open;
mod opener;
mod plug;
mod pool;
mod ports;
mod publish;
mod reach;
mod routes;
mod sandbox;
mod shards;
mod stale;
mod state;
mod sysctl;

pub use cni::CniError;
pub use config::{AddressPool, NetConfig};
pub use dns::{Dns, Membership, NameEntry, NameServers, ResolverConfig, addresses_of};
pub use endpoint::{
    AttachRequest, Attachment, BridgeInfo, EndpointRecord, EndpointRequest, LinkStats, MacAddr, ParseMacError,
};
pub use error::{NetworkError, PublishError};
pub use files::{
    HostsFile, ResolvConf, hostname_file, hosts_with_link, hosts_without_link, resolv_conf_path,
};
pub use foreign::{Foreign, Lease, StaticRoute};
pub use ipam::{PoolConfig, PoolRequest};
pub use naming::Asks;
pub use network::Network;
pub use networks::{Addressing, Driver, NetworkRecord, NetworkRequest, ParentError, Pool};
pub use opener::Opener;
pub use ports::{BoundPort, HostPort, PortSpec, Protocol};
pub use reach::{About, Namespaces, Place, Reach, Step, Verdict};
pub use sysctl::NEIGHBOURS;
