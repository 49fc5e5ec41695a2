//! A network as it is asked for and as it is remembered.

use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use skiff_types::NetworkId;

use crate::{foreign::Lease, ipam::PoolRequest};

/// What carries a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A bridge on this host.
    #[default]
    Bridge,
    /// Children of a link of the host, each with a hardware address of its own.
    Macvlan,
    /// Children of a link of the host, which have its hardware address.
    Ipvlan,
    /// A network plugin.
    Remote,
    /// CNI plugins.
    Cni,
}

impl Driver {
    /// Whether endpoints are children of a link of the host.
    pub fn is_child(self) -> bool {
        matches!(self, Self::Macvlan | Self::Ipvlan)
    }

    /// Whether somebody else makes the endpoints.
    pub fn is_foreign(self) -> bool {
        matches!(self, Self::Remote | Self::Cni)
    }
}

/// Who gives out the addresses of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Addressing {
    /// We.
    #[default]
    Own,
    /// Nobody here: the driver of the network knows.
    Nobody,
    /// A plugin.
    Plugin {
        /// Its name.
        name: String,
        /// Its options.
        options: BTreeMap<String, String>,
    },
}

impl Addressing {
    pub(crate) fn is_own(&self) -> bool {
        *self == Self::Own
    }

    pub(crate) fn is_plugin(&self) -> bool {
        matches!(self, Self::Plugin { .. })
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bridge => "bridge",
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
            Self::Remote => "remote",
            Self::Cni => "cni",
        })
    }
}

impl FromStr for Driver {
    type Err = ();
    fn from_str(name: &str) -> Result<Self, ()> {
        match name {
            "bridge" => Ok(Self::Bridge),
            "macvlan" => Ok(Self::Macvlan),
            "ipvlan" => Ok(Self::Ipvlan),
            "cni" => Ok(Self::Cni),
            _ => Err(()),
        }
    }
}

/// What is asked of a new network.
#[derive(Clone, Debug)]
pub struct NetworkRequest {
    /// Its identifier.
    pub id: NetworkId,
    /// Its name.
    pub name: String,
    /// Its driver.
    pub driver: Driver,
    /// The name of the plugin that is its driver, if one is.
    pub plugin: String,
    /// Who gives out its addresses.
    pub addressing: Addressing,
    /// Whether it has IPv4.
    pub ipv4: bool,
    /// Whether it has IPv6.
    pub ipv6: bool,
    /// Whether it has no way out.
    pub internal: bool,
    /// The subnets asked for. A family without one gets one of the default pools.
    pub pools: Vec<PoolRequest>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
}

/// All that is needed to make a network again after a reboot. Persisted by the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// Its identifier.
    pub id: NetworkId,
    /// Its name.
    pub name: String,
    /// Its driver.
    pub driver: Driver,
    /// The name of the plugin that is its driver, if one is.
    #[serde(default)]
    pub plugin: String,
    /// `global` if a plugin says that the network is the same on every host.
    #[serde(default)]
    pub scope: String,
    /// The CNI configuration that is its driver, if one is.
    #[serde(default)]
    pub cni: String,
    /// Who gives out its addresses.
    #[serde(default)]
    pub addressing: Addressing,
    /// Whether it has no way out.
    #[serde(default)]
    pub internal: bool,
    /// Its IPv4 subnets; none if it has no IPv4. A bridge has one, a parent may have several.
    #[serde(default)]
    pub ipv4: Vec<Pool>,
    /// Its IPv6 subnets likewise.
    #[serde(default)]
    pub ipv6: Vec<Pool>,
    /// Options of the driver, as asked for.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// The link that carries it: the bridge, or the parent.
    pub link: String,
    /// Whether the link goes with the network; one that was there before stays.
    #[serde(default)]
    pub own_link: bool,
}

/// A subnet of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// The subnet.
    pub subnet: IpNet,
    /// The part that addresses are given out of.
    #[serde(default)]
    pub range: Option<IpNet>,
    /// Where containers send what is for elsewhere: the address of the bridge, or of a router on the parent's LAN.
    #[serde(default)]
    pub gateway: Option<IpAddr>,
    /// Addresses that are not given out, by name.
    #[serde(default)]
    pub auxiliary: BTreeMap<String, IpAddr>,
    /// Whether the subnet was chosen, not asked for.
    #[serde(default)]
    pub chosen: bool,
    /// What an IPAM plugin calls it, if one gave it.
    #[serde(default)]
    pub lease: Option<Lease>,
}

impl Pool {
    /// The name of the auxiliary address that containers use as their gateway instead of the bridge's.
    const OTHER_GATEWAY: [&str; 2] = ["DefaultGatewayIPv4", "DefaultGatewayIPv6"];

    /// Where containers send what is for elsewhere.
    pub(crate) fn container_gateway(&self) -> Option<IpAddr> {
        let other = Self::OTHER_GATEWAY[usize::from(self.subnet.addr().is_ipv6())];
        self.auxiliary.get(other).copied().or(self.gateway)
    }

    /// The gateway's address with the length of the prefix, as an interface has it.
    pub(crate) fn gateway_net(&self) -> Option<IpNet> {
        IpNet::new(self.gateway?, self.subnet.prefix_len()).ok()
    }

    /// Addresses that no container gets.
    pub(crate) fn reserved(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.gateway.into_iter().chain(self.auxiliary.values().copied())
    }
}

impl NetworkRecord {
    /// The subnet and so on of IPv4, if it has it.
    pub(crate) fn first_ipv4(&self) -> Option<&Pool> {
        self.ipv4.first()
    }

    /// The same of IPv6.
    pub(crate) fn first_ipv6(&self) -> Option<&Pool> {
        self.ipv6.first()
    }

    /// The subnet that an address is in.
    pub(crate) fn pool_of(&self, ip: IpAddr) -> Option<&Pool> {
        self.pools().find(|pool| pool.subnet.contains(&ip))
    }

    /// Whether nobody here gives out addresses.
    pub(crate) fn has_no_ipam(&self) -> bool {
        self.addressing == Addressing::Nobody
    }

    /// All its subnets.
    pub(crate) fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.ipv4.iter().chain(&self.ipv6)
    }
}
