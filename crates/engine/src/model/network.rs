//! A container's place in networks: asked for, and as it is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use skiff_types::NetworkId;

use super::Timestamp;

/// An address and port of the host that leads to a container's port.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct PortBinding {
    /// Empty means every address.
    pub host_ip: String,
    /// A port, a range, or empty for a free one.
    pub host_port: String,
}

/// What a client asks of one endpoint (`NetworkingConfig.EndpointsConfig`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointConfig {
    /// Addresses asked for.
    pub ipam: Option<IpamAddress>,
    /// Links.
    pub links: Option<Vec<String>>,
    /// Names of the container in this network.
    pub aliases: Option<Vec<String>>,
    /// Hardware address.
    pub mac_address: String,
    /// Options of the network driver.
    pub driver_opts: BTreeMap<String, String>,
    /// The network by id, as given.
    pub network_id: String,
    /// The network with the highest priority gives the default route.
    pub gw_priority: i64,
}

/// Addresses asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpamAddress {
    /// IPv4.
    pub ipv4_address: String,
    /// IPv6.
    pub ipv6_address: String,
    /// Link-local addresses.
    pub link_local_ips: Option<Vec<String>>,
}

/// An endpoint as it is: empty strings while the container does not run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointState {
    /// This endpoint's id.
    pub endpoint_id: String,
    /// IPv4 gateway.
    pub gateway: String,
    /// IPv4 address.
    pub ip_address: String,
    /// Bits of its network.
    pub ip_prefix_len: u8,
    /// IPv6 gateway.
    pub ipv6_gateway: String,
    /// IPv6 address.
    pub global_ipv6_address: String,
    /// Bits of its network.
    pub global_ipv6_prefix_len: u8,
    /// Hardware address.
    pub mac_address: String,
    /// Names it answers to.
    pub dns_names: Option<Vec<String>>,
}

/// One network of a container: what was asked, and what is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointSettings {
    /// As asked for.
    pub config: EndpointConfig,
    /// The network's id, once it is known.
    pub network_id: Option<NetworkId>,
    /// As it is.
    pub state: EndpointState,
}

/// Everything about a container's networks (`NetworkSettings`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkState {
    /// Id of the network sandbox; empty while not running.
    pub sandbox_id: String,
    /// Where its network namespace can be entered; empty while not running.
    pub sandbox_key: String,
    /// `80/tcp` → where it is published; `None` for a port that is exposed only. Empty while not running.
    pub ports: BTreeMap<String, Option<Vec<PortBinding>>>,
    /// By network name.
    pub networks: BTreeMap<String, EndpointSettings>,
}

/// A network as `network inspect` shows it.
#[derive(Clone, Debug)]
pub struct NetworkInspect {
    /// Name.
    pub name: String,
    /// Id.
    pub id: NetworkId,
    /// When it was made.
    pub created: Timestamp,
    /// `bridge`, `host`, `null`.
    pub driver: String,
    /// Address pools: subnet and gateway.
    pub ipam: Vec<(String, String)>,
    /// Driver options.
    pub options: BTreeMap<String, String>,
    /// IPv6 is on.
    pub enable_ipv6: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Running containers in it.
    pub containers: Vec<NetworkMember>,
}

/// A running container in a network.
#[derive(Clone, Debug)]
pub struct NetworkMember {
    /// Container id in full.
    pub container_id: String,
    /// Container name.
    pub name: String,
    /// Endpoint id.
    pub endpoint_id: String,
    /// Hardware address.
    pub mac_address: String,
    /// Address with prefix, or empty.
    pub ipv4_address: String,
    /// Address with prefix, or empty.
    pub ipv6_address: String,
}
