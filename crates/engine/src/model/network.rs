//! A container's place in networks: asked for, and as it is.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};
use skiff_types::{ContainerId, NetworkId};

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
    /// Names it answers to in this network; kept while it does not run.
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

/// A container on the default bridge that is known by a name of one's own (`--link`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The other container.
    pub target: ContainerId,
    /// What it was called when the link was made, for when it is gone.
    pub target_name: String,
    /// What it is called here.
    pub alias: String,
    /// Its address at the last start, and its names; empty if it was not on the default bridge.
    #[serde(default)]
    pub hosts: Option<(IpAddr, String)>,
    /// The variables that tell of it, as of the last start.
    #[serde(default)]
    pub environment: Vec<String>,
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

/// What `network create` is asked for.
#[derive(Clone, Debug, Default)]
pub struct NetworkCreateRequest {
    /// Name.
    pub name: String,
    /// Driver; empty means `bridge`.
    pub driver: String,
    /// Scope; empty means `local`.
    pub scope: String,
    /// IPv4 is on unless this says otherwise.
    pub enable_ipv4: Option<bool>,
    /// IPv6 is off unless this says otherwise.
    pub enable_ipv6: Option<bool>,
    /// How addresses are given out.
    pub ipam: NetworkIpam,
    /// It has no way out.
    pub internal: bool,
    /// Containers beside services may join it; means something in a swarm only.
    pub attachable: bool,
    /// It is the swarm's routing mesh.
    pub ingress: bool,
    /// It is a configuration for others, not a network.
    pub config_only: bool,
    /// The configuration it is made of; empty for none.
    pub config_from: String,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// How a network gives out addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkIpam {
    /// Driver; empty means `default`.
    pub driver: String,
    /// Its options.
    pub options: Option<BTreeMap<String, String>>,
    /// Subnets.
    pub config: Vec<IpamConfig>,
}

/// A subnet of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpamConfig {
    /// The subnet.
    pub subnet: String,
    /// The part that addresses are given out of, or empty.
    pub ip_range: String,
    /// The gateway, or empty.
    pub gateway: String,
    /// Addresses that are not given out, by name.
    pub auxiliary: BTreeMap<String, String>,
}

/// A network that somebody made, as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserNetwork {
    /// Id.
    pub id: NetworkId,
    /// Name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// `bridge`, or `null` of a configuration.
    pub driver: String,
    /// `local`, or what was asked for.
    #[serde(default)]
    pub scope: String,
    /// IPv4 is on.
    pub enable_ipv4: bool,
    /// IPv6 is on.
    pub enable_ipv6: bool,
    /// How it gives out addresses: as asked for, and the subnets that were chosen.
    #[serde(default)]
    pub ipam: NetworkIpam,
    /// It has no way out.
    #[serde(default)]
    pub internal: bool,
    /// Containers beside services may join it.
    #[serde(default)]
    pub attachable: bool,
    /// It is a configuration for others, not a network.
    #[serde(default)]
    pub config_only: bool,
    /// The name of the configuration it was made of.
    #[serde(default)]
    pub config_from: String,
    /// Driver options.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What carries it; a configuration has nothing.
    #[serde(default)]
    pub network: Option<skiff_network::NetworkRecord>,
}

/// A network as `network inspect` shows it.
#[derive(Clone, Debug)]
pub struct NetworkInspect {
    /// The network. The built-in ones are shown as if somebody had made them.
    pub network: UserNetwork,
    /// Whether it is one of `bridge`, `host` and `none`.
    pub builtin: bool,
    /// Running containers in it.
    pub containers: Vec<NetworkMember>,
}

/// A network to connect a container to, or to disconnect it from.
#[derive(Clone, Debug, Default)]
pub struct ConnectRequest {
    /// The container, by name or id.
    pub container: String,
    /// What its place is to be like.
    pub endpoint: EndpointConfig,
}

/// Whether one place reaches another. Ours: Docker has no such question.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Who, as asked.
    pub from: String,
    /// Whom, as asked.
    pub to: String,
    /// The address that that was found to be; empty if it has none.
    pub address: String,
    /// `reaches`, `ends` or `depends`.
    pub verdict: String,
    /// What each step is about (`name`, `route`, `link`, `rule`, `filter`, `port`, `place`), and what happens there.
    pub steps: Vec<(String, String)>,
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
