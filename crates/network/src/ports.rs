//! Published ports: what is asked for and what was bound.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

/// A transport protocol whose ports can be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// The number in the IP header.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// One port of a container to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSpec {
    /// The port inside the container.
    pub container_port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// The host's address; none means the configured default, which usually is every address of IPv4 and IPv6.
    pub host_ip: Option<IpAddr>,
    /// The port on the host.
    pub host_port: HostPort,
}

/// Which port of the host is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostPort {
    /// The next free one of the kernel's local range.
    Ephemeral,
    /// The first free one of this range, both ends included. A single port is a range of one.
    Range(u16, u16),
}

/// One published port: a host address and port that lead to a port of the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundPort {
    /// The port inside the container.
    pub container_port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// The host's address.
    pub host_ip: IpAddr,
    /// The port on the host.
    pub host_port: u16,
}
