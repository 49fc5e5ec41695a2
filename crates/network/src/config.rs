//! What the operator decides about networking: dockerd's flags and `daemon.json` keys, already parsed.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use skiff_types::NetworkId;

/// A range of addresses out of which networks get subnets (`--default-address-pool base=…,size=…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPool {
    /// The whole range.
    pub base: IpNet,
    /// The prefix length of each subnet taken from it; not shorter than the base's.
    pub size: u8,
}

impl AddressPool {
    /// Whether subnets of that size lie in the range.
    pub fn fits(&self) -> bool {
        (self.base.prefix_len()..=self.base.max_prefix_len()).contains(&self.size)
    }
}

/// The configuration of the default bridge network and of what all networks share.
#[derive(Clone, Debug)]
pub struct NetConfig {
    /// The identifier of the network called `bridge`.
    pub network_id: NetworkId,
    /// The bridge's interface. One that exists already and was not made by Skiff keeps its address (`--bridge`). `none`
    /// means that there is no default bridge.
    pub bridge: String,
    /// The bridge's address and subnet (`--bip`). Without it one is chosen that no host route covers.
    pub bip: Option<Ipv4Net>,
    /// The part of the subnet that containers get addresses from (`--fixed-cidr`).
    pub fixed_cidr: Option<Ipv4Net>,
    /// Where containers send what is not on the bridge, if not to the bridge itself (`--default-gateway`).
    pub default_gateway: Option<Ipv4Addr>,
    /// Whether the default bridge has IPv6 (`--ipv6`). Without it the next three say nothing.
    pub ipv6: bool,
    /// The bridge's IPv6 address and subnet (`--bip6`). Without it the subnet is `fixed_cidr6`, or one is chosen.
    pub bip6: Option<Ipv6Net>,
    /// The part of the IPv6 subnet that containers get addresses from (`--fixed-cidr-v6`).
    pub fixed_cidr6: Option<Ipv6Net>,
    /// Where containers send IPv6 that is not on the bridge, if not to the bridge itself (`--default-gateway-v6`).
    pub default_gateway6: Option<Ipv6Addr>,
    /// Where subnets come from. Empty: Docker's list, and unique local addresses.
    pub default_address_pools: Vec<AddressPool>,
    /// Whether containers of the bridge reach each other's unpublished ports (`--icc`).
    pub icc: bool,
    /// Whether what containers send to the outside carries the host's address (`--ip-masq`).
    pub ip_masq: bool,
    /// Whether to switch the host's IPv4 forwarding on when it is off (`--ip-forward`).
    pub ip_forward: bool,
    /// Whether a host that was not forwarding before may now forward for others too (`--ip-forward-no-drop`).
    pub ip_forward_no_drop: bool,
    /// Whether to write the firewall table (`--iptables`). Without it published ports are served by the daemon alone.
    pub firewall: bool,
    /// Whether the host's own input policy decides who reaches published ports from outside
    /// (`--firewall=respect-host`); otherwise everybody does. Without a table it always decides.
    pub respect_host: bool,
    /// Whether other hosts may reach containers' addresses by a route of their own (`--allow-direct-routing`).
    pub allow_direct_routing: bool,
    /// Whether the daemon serves what the kernel cannot forward to a published port (`--userland-proxy`). Without it
    /// ports are published for IPv4 only.
    pub userland_proxy: bool,
    /// The address a port is published on when the request names none (`--ip`). Unspecified IPv4 means every
    /// address, of IPv6 too.
    pub default_bind_address: IpAddr,
    /// The MTU of the bridge and of the containers' interfaces (`--mtu`). Zero: 1500.
    pub mtu: u32,
    /// How many network namespaces are kept prepared.
    pub pool_size: usize,
    /// The engine's run directory, below which network namespaces get their paths.
    pub run: PathBuf,
}

impl NetConfig {
    /// What a daemon without any flag does.
    pub fn new(network_id: NetworkId) -> Self {
        Self {
            network_id,
            bridge: "docker0".to_owned(),
            bip: None,
            fixed_cidr: None,
            default_gateway: None,
            ipv6: false,
            bip6: None,
            fixed_cidr6: None,
            default_gateway6: None,
            default_address_pools: Vec::new(),
            icc: true,
            ip_masq: true,
            ip_forward: true,
            ip_forward_no_drop: false,
            firewall: true,
            respect_host: true,
            allow_direct_routing: false,
            userland_proxy: true,
            default_bind_address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            mtu: 0,
            pool_size: 8,
            run: PathBuf::from("/run/skiff"),
        }
    }
}
