//! A container's place in a network: what is asked for, what it got, what must be remembered.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    os::fd::OwnedFd,
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use skiff_types::{ContainerId, EndpointId, NetworkId};

use crate::ports::{BoundPort, PortSpec};

/// The hardware address of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr(pub [u8; 6]);

/// A string that is not a unicast hardware address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("address {0}: invalid MAC address")]
pub struct ParseMacError(pub String);

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

/// What a container wants of the default bridge.
#[derive(Clone, Debug)]
pub struct EndpointRequest {
    /// The container.
    pub container: ContainerId,
    /// Its name, as errors show it.
    pub name: String,
    /// Its hardware address; a random one if none is named.
    pub mac: Option<MacAddr>,
    /// Its address; the lowest free one if none is named.
    pub ipv4: Option<Ipv4Addr>,
    /// The ports to publish.
    pub ports: Vec<PortSpec>,
}

/// An attached endpoint. The network namespace lives as long as this descriptor or a process in it; it has `lo` up and
/// `eth0` with address, routes and published ports ready.
#[derive(Debug)]
pub struct Endpoint {
    /// The namespace the container's first process must be started in.
    pub netns: OwnedFd,
    /// What to keep in the metadata store for as long as the container runs.
    pub record: EndpointRecord,
}

/// All that is needed to show an endpoint and to take it over after a restart of the daemon. Persisted by the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointRecord {
    /// Its identifier.
    pub id: EndpointId,
    /// The container.
    pub container: ContainerId,
    /// The network.
    pub network: NetworkId,
    /// The interface's name inside the container.
    pub interface: String,
    /// The name of its other end, a port of the bridge.
    pub host_interface: String,
    /// The index of that other end: together with the name never used twice.
    pub host_index: u32,
    /// The interface's hardware address.
    pub mac: MacAddr,
    /// The container's address.
    pub ipv4: Ipv4Addr,
    /// The length of the subnet's prefix.
    pub prefix: u8,
    /// Where the default route leads.
    pub gateway: Ipv4Addr,
    /// The published ports, in the order of the request; one entry for each host address.
    pub ports: Vec<BoundPort>,
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
    /// The MTU.
    pub mtu: u32,
    /// `com.docker.network.bridge.enable_icc`.
    pub icc: bool,
    /// `com.docker.network.bridge.enable_ip_masquerade`.
    pub ip_masq: bool,
    /// `com.docker.network.bridge.host_binding_ipv4`.
    pub default_bind_address: IpAddr,
}

#[cfg(test)]
mod tests {
    use super::*;

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
