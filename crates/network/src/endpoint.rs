//! A container's place in a network: what is asked for, what it got, what must be remembered.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::OwnedFd,
    str::FromStr,
};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use skiff_types::{ContainerId, EndpointId, NetworkId};

use crate::{
    foreign::Foreign,
    networks::{Driver, Pool},
    ports::{BoundPort, PortSpec, Protocol},
};

/// The hardware address of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr(pub [u8; 6]);

/// A string that is not a unicast hardware address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("address {0}: invalid MAC address")]
pub struct ParseMacError(pub String);

impl MacAddr {
    /// A random, locally administered, unicast hardware address.
    pub(crate) fn random() -> Self {
        let mut octets: [u8; 6] = rand::random();
        octets[0] = octets[0] & !1 | 2;
        Self(octets)
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddr {
    type Err = ParseMacError;
    fn from_str(s: &str) -> Result<Self, ParseMacError> {
        let bad = || ParseMacError(s.to_owned());
        let mut octets = [0; 6];
        let mut parts = s.split([':', '-']);
        for octet in &mut octets {
            let part = parts.next().filter(|p| p.len() == 2).ok_or_else(bad)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        if parts.next().is_some() || octets[0] & 1 == 1 || octets == [0; 6] {
            return Err(bad());
        }
        Ok(Self(octets))
    }
}

impl Serialize for MacAddr {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MacAddr {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// What a container that is about to start wants.
#[derive(Clone, Debug)]
pub struct AttachRequest {
    /// The container.
    pub container: ContainerId,
    /// Its name, as errors show it.
    pub name: String,
    /// Its networks, the main one first: its interface comes first too.
    pub endpoints: Vec<EndpointRequest>,
    /// The ports to publish, on the endpoint that gives the default route.
    pub ports: Vec<PortSpec>,
}

/// What a container wants of one network.
#[derive(Clone, Debug)]
pub struct EndpointRequest {
    /// The network.
    pub network: NetworkId,
    /// The hardware address; a random one if none is named.
    pub mac: Option<MacAddr>,
    /// The IPv4 address; the lowest free one if none is named.
    pub ipv4: Option<Ipv4Addr>,
    /// The IPv6 address likewise.
    pub ipv6: Option<Ipv6Addr>,
    /// Further addresses, link-local ones.
    pub link_local: Vec<IpAddr>,
    /// What the container is called in this network.
    pub names: Vec<String>,
    /// What it calls others: alias, and name or id of the container.
    pub links: Vec<(String, String)>,
    /// What the interface is to be called.
    pub interface: Option<String>,
    /// Kernel parameters of the interface: path below `/proc/sys` with `IFNAME` for its name, and value.
    pub sysctls: Vec<(String, String)>,
    /// The endpoint with the highest gives the default route.
    pub gateway_priority: i64,
    /// Options for the driver, if it is a plugin.
    pub driver_options: BTreeMap<String, String>,
    /// The container's ports that plugins are told of, published or not.
    pub exposed: Vec<(u16, Protocol)>,
}

impl EndpointRequest {
    /// Nothing but the network.
    pub fn new(network: NetworkId) -> Self {
        Self {
            network,
            mac: None,
            ipv4: None,
            ipv6: None,
            link_local: Vec::new(),
            names: Vec::new(),
            links: Vec::new(),
            interface: None,
            sysctls: Vec::new(),
            gateway_priority: 0,
            driver_options: BTreeMap::new(),
            exposed: Vec::new(),
        }
    }
}

/// What a container got. The network namespace lives as long as this descriptor or a process in it; it has `lo` and its
/// interfaces up with addresses, routes and published ports ready.
#[derive(Debug)]
pub struct Attachment {
    /// The namespace the container's first process must be started in.
    pub netns: OwnedFd,
    /// What to keep in the metadata store for as long as the container runs, in the order of the request.
    pub endpoints: Vec<EndpointRecord>,
}

/// All that is needed to show an endpoint and to take it over after a restart of the daemon. Persisted by the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointRecord {
    /// Its identifier.
    pub id: EndpointId,
    /// The container.
    pub container: ContainerId,
    /// The container's name.
    #[serde(default)]
    pub container_name: String,
    /// The network.
    pub network: NetworkId,
    /// The network's driver.
    #[serde(default)]
    pub driver: Driver,
    /// The interface's name inside the container.
    pub interface: String,
    /// The name of its other end, a port of the bridge; empty where there is none.
    pub host_interface: String,
    /// The index of that other end: together with the name never used twice. 0 where there is none.
    pub host_index: u32,
    /// The interface's hardware address; none if it is the parent's.
    pub mac: Option<MacAddr>,
    /// The container's IPv4 address.
    #[serde(default)]
    pub ipv4: Option<Ipv4Addr>,
    /// The length of the IPv4 subnet's prefix; 0 without IPv4.
    #[serde(default)]
    pub prefix: u8,
    /// Where the IPv4 default route could lead; none in a network without a way out.
    #[serde(default)]
    pub gateway: Option<Ipv4Addr>,
    /// The container's IPv6 address.
    #[serde(default)]
    pub ipv6: Option<Ipv6Addr>,
    /// The length of the IPv6 subnet's prefix; 0 without IPv6.
    #[serde(default)]
    pub prefix6: u8,
    /// Where the IPv6 default route could lead.
    #[serde(default)]
    pub gateway6: Option<Ipv6Addr>,
    /// Whether the default route could lead to the interface itself, without a gateway.
    #[serde(default)]
    pub routes_to_interface: bool,
    /// Further addresses, link-local ones.
    #[serde(default)]
    pub link_local: Vec<IpAddr>,
    /// What the container is called in this network.
    #[serde(default)]
    pub names: Vec<String>,
    /// What it calls others: alias, and name or id of the container.
    #[serde(default)]
    pub links: Vec<(String, String)>,
    /// The endpoint with the highest gives the default route.
    #[serde(default)]
    pub gateway_priority: i64,
    /// The published ports, in the order of the request; one entry for each host address. Only the endpoint with the
    /// default route has them.
    pub ports: Vec<BoundPort>,
    /// Which bridge of its network it is on: 0 is the first, which has the network's address.
    #[serde(default)]
    pub shard: u16,
    /// What a driver of others made of it; none if it is ours.
    #[serde(default)]
    pub foreign: Option<Foreign>,
}

impl EndpointRecord {
    /// Its addresses with the lengths of their prefixes.
    pub(crate) fn addresses(&self) -> Vec<IpNet> {
        let v4 = self.ipv4.map(|ip| (IpAddr::V4(ip), self.prefix));
        let v6 = self.ipv6.map(|ip| (IpAddr::V6(ip), self.prefix6));
        let link_local = self.link_local.iter().map(|ip| (*ip, if ip.is_ipv4() { 16 } else { 64 }));
        let all = v4.into_iter().chain(v6).chain(link_local);
        all.filter_map(|(ip, prefix)| IpNet::new(ip, prefix).ok()).collect()
    }

    /// Its addresses in the network.
    pub(crate) fn own_addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.ipv4.map(IpAddr::V4).into_iter().chain(self.ipv6.map(IpAddr::V6))
    }

    /// Where a default route of a family could lead.
    pub(crate) fn way(&self, ipv6: bool) -> Option<Way> {
        let (has_address, gateway) = match ipv6 {
            false => (self.ipv4.is_some(), self.gateway.map(IpAddr::V4)),
            true => (self.ipv6.is_some(), self.gateway6.map(IpAddr::V6)),
        };
        let to_interface = (self.routes_to_interface && has_address).then_some(Way::Interface { ipv6 });
        gateway.map(Way::Gateway).or(to_interface)
    }

    /// Whether ports of the host can lead there.
    pub fn publishes(&self) -> bool {
        let leads_out = self.gateway.is_some() || self.gateway6.is_some() || !self.ports.is_empty();
        match self.driver {
            Driver::Bridge => leads_out,
            _ => !self.ports.is_empty(),
        }
    }

    /// The address that traffic for a host address of either family goes to: of the same family, if there is one.
    pub(crate) fn target(&self, host: IpAddr) -> Option<IpAddr> {
        let (v4, v6) = (self.ipv4.map(IpAddr::V4), self.ipv6.map(IpAddr::V6));
        if host.is_ipv4() { v4.or(v6) } else { v6.or(v4) }
    }
}

/// Where a default route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To a router.
    Gateway(IpAddr),
    /// To the interface itself, for one family.
    Interface {
        /// Which.
        ipv6: bool,
    },
}

/// What a container sent and received, as the container sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Packets that could not be received.
    pub rx_errors: u64,
    /// Packets dropped on the way in.
    pub rx_dropped: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Packets dropped on the way out.
    pub tx_dropped: u64,
}

impl LinkStats {
    /// The same traffic as seen from the other end of the link.
    pub(crate) fn reversed(self) -> Self {
        Self {
            rx_bytes: self.tx_bytes,
            rx_packets: self.tx_packets,
            rx_errors: self.tx_errors,
            rx_dropped: self.tx_dropped,
            tx_bytes: self.rx_bytes,
            tx_packets: self.rx_packets,
            tx_errors: self.rx_errors,
            tx_dropped: self.rx_dropped,
        }
    }
}

/// What `docker network inspect bridge` shows of the default bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeInfo {
    /// The network's identifier.
    pub id: NetworkId,
    /// The bridge's interface.
    pub name: String,
    /// The subnet.
    pub subnet: ipnet::Ipv4Net,
    /// The bridge's own address, or that of `--default-gateway`.
    pub gateway: Ipv4Addr,
    /// The bridge's own address: what `host-gateway` stands for.
    pub address: Ipv4Addr,
    /// The part of the subnet that addresses are given out of, if it is not all of it.
    pub ip_range: Option<ipnet::Ipv4Net>,
    /// Its IPv6 subnet, if it has one.
    pub ipv6: Option<Pool>,
    /// The MTU.
    pub mtu: u32,
    /// `com.docker.network.bridge.enable_icc`.
    pub icc: bool,
    /// `com.docker.network.bridge.enable_ip_masquerade`.
    pub ip_masq: bool,
    /// `com.docker.network.bridge.host_binding_ipv4`.
    pub default_bind_address: IpAddr,
}

impl BridgeInfo {
    /// The bridge's own addresses.
    pub fn own_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let ipv6 = self.ipv6.as_ref().and_then(|pool| pool.gateway);
        std::iter::once(IpAddr::V4(self.address)).chain(ipv6)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An endpoint with nothing special.
    pub(crate) fn record() -> EndpointRecord {
        EndpointRecord {
            id: EndpointId::random(),
            container: ContainerId::random(),
            container_name: "web".into(),
            network: NetworkId::random(),
            driver: Driver::Bridge,
            interface: "eth0".into(),
            host_interface: "veth0000001".into(),
            host_index: 7,
            mac: Some(MacAddr::random()),
            ipv4: Some(Ipv4Addr::new(172, 17, 0, 2)),
            prefix: 16,
            gateway: Some(Ipv4Addr::new(172, 17, 0, 1)),
            ipv6: None,
            prefix6: 0,
            gateway6: None,
            routes_to_interface: false,
            link_local: vec![],
            names: vec![],
            links: vec![],
            gateway_priority: 0,
            ports: vec![],
            shard: 0,
            foreign: None,
        }
    }

    #[test]
    fn records_of_the_first_versions_are_read() {
        let old = format!(
            r#"{{"id":"{0}","container":"{0}","network":"{0}","interface":"eth0","host_interface":"v","host_index":3,
               "mac":"02:42:ac:11:00:02","ipv4":"172.17.0.2","prefix":16,"gateway":"172.17.0.1","ports":[]}}"#,
            "ab".repeat(32)
        );
        let record: EndpointRecord = serde_json::from_str(&old).unwrap();
        assert_eq!(record.addresses(), ["172.17.0.2/16".parse().unwrap()]);
    }

    #[test]
    fn a_hardware_address_reads_back_and_is_never_multicast() {
        let mac: MacAddr = "02:42:AC-11:00:02".parse().unwrap();
        assert_eq!(mac.to_string(), "02:42:ac:11:00:02");
        for bad in [
            "",
            "02:42:ac:11:00",
            "02:42:ac:11:00:02:03",
            "01:00:5e:00:00:01",
            "00:00:00:00:00:00",
            "2:42:ac:11:0:2",
        ] {
            assert_eq!(bad.parse::<MacAddr>(), Err(ParseMacError(bad.to_owned())));
        }
    }
}
