//! Drivers of others: network and IPAM plugins (libnetwork's remote protocols), and CNI plugins.
//!
//! Such a driver makes links, addresses and names of its own, as it thinks best. What is known of an endpoint is what the driver told,
//! and stands in the endpoint's record ([`Foreign`]). A driver must be told of an end, or it goes on keeping addresses and links:
//!
//! - Before a driver is asked for an endpoint, the endpoint's record is kept (the intent); so one that a killed daemon left half made is
//!   unmade by the next.
//! - The namespace of a container with such an endpoint has a path, and lives until the driver has been told ([`Namespaces`]).
//! - An end is recorded first and told then ([`crate::Network::part`]), for a plugin may take its time.
//!
//! A driver that fails to unmake something keeps nobody: it is logged, as Docker does.

mod attach;
mod namespaces;
mod pools;
mod protocol;

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::cni::Answer;

pub(crate) use attach::Farewell;
pub(crate) use namespaces::Namespaces;
pub use pools::Lease;
pub(crate) use pools::{Taking, leave, leave_pools, replay_pools, take_pools};
pub(crate) use protocol::Driver as RemoteDriver;

/// What a driver of others made of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Foreign {
    /// How far it got.
    pub(crate) progress: Progress,
    /// The name of the link before it came to the container, which it has again afterwards.
    pub(crate) source: String,
    /// Whether the driver has been told to publish the container's ports.
    pub(crate) outside: bool,
    /// Routes that the interface gives.
    pub(crate) routes: Vec<StaticRoute>,
    /// Name servers that the driver told of.
    pub(crate) servers: Vec<IpAddr>,
    /// Links of the host that the driver told of.
    pub(crate) host_links: Vec<String>,
    /// What CNI plugins answered.
    pub(crate) answer: Option<Answer>,
}

/// How far an endpoint got: what must be undone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Progress {
    /// It has its addresses.
    #[default]
    Reserved,
    /// The driver knows it.
    Created,
    /// The driver has joined it to its container, or may have.
    Joined,
}

/// A route besides the default one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticRoute {
    /// Where to.
    pub to: IpNet,
    /// The router; none if the destination is on the link itself.
    pub via: Option<IpAddr>,
}
