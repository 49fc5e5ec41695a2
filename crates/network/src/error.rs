//! What can go wrong, as data. The text of [`PublishError`] is Docker's.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use rustix::io::Errno;
use skiff_types::{ContainerId, EndpointId, ErrorKind, NetworkId};

use crate::ports::Protocol;

/// Why a network could not be set up or an endpoint not be attached.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The configuration contradicts itself.
    #[error("invalid network configuration: {0}")]
    Config(String),
    /// The configuration wants no default bridge.
    #[error("network bridge not found")]
    NoBridge,
    /// Every subnet of the default pools overlaps with a route of the host.
    #[error("all predefined address pools have been fully subnetted")]
    PoolsExhausted,
    /// The subnet has no free address left.
    #[error("no available IPv4 addresses on this network's address pools: bridge ({0})")]
    AddressesExhausted(NetworkId),
    /// The address asked for is another's.
    #[error("Address already in use")]
    AddressInUse(Ipv4Addr),
    /// The address asked for does not belong to the network.
    #[error("no configured subnet or ip-range contain the IP address {0}")]
    AddressOutside(Ipv4Addr),
    /// The container is attached already.
    #[error("endpoint of container {0} already exists")]
    AlreadyAttached(ContainerId),
    /// A port could not be published.
    #[error(
        "driver failed programming external connectivity on endpoint {endpoint_name} ({endpoint}): {source}"
    )]
    Publish {
        /// The container's name, which Docker shows here.
        endpoint_name: String,
        /// The endpoint that was being made.
        endpoint: EndpointId,
        /// The reason.
        source: Box<PublishError>,
    },
    /// The kernel refused an operation on a link, an address, a route, a namespace or the table.
    #[error("{operation}: {errno}")]
    Kernel {
        /// What was tried, with the object's name.
        operation: String,
        /// The kernel's answer.
        errno: Errno,
    },
    /// A file could not be read or written; the error names it.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why a port could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Another container has it.
    #[error("Bind for {host_ip}:{host_port} failed: port is already allocated")]
    Allocated {
        /// The holder's address.
        host_ip: IpAddr,
        /// The port.
        host_port: u16,
    },
    /// No port of the kernel's local range is free.
    #[error("Bind for {host_ip}: all ports are allocated")]
    AllAllocated {
        /// The host's address.
        host_ip: IpAddr,
    },
    /// The host refused it: another process has the port, or the address is not the host's.
    #[error("failed to bind host port for {host}:{container}/{protocol}: {}", go_errno(*.errno))]
    Bind {
        /// The host's address and the port.
        host: SocketAddr,
        /// Where it would have led.
        container: SocketAddr,
        /// The protocol.
        protocol: Protocol,
        /// The kernel's answer.
        errno: Errno,
    },
}

impl NetworkError {
    /// The sort of failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Config(_) | Self::AddressOutside(_) => ErrorKind::InvalidArgument,
            Self::NoBridge => ErrorKind::NotFound,
            Self::AddressInUse(_) | Self::AlreadyAttached(_) => ErrorKind::Conflict,
            // Docker answers 500 to ports and pools that are taken.
            Self::Publish { .. }
            | Self::PoolsExhausted
            | Self::AddressesExhausted(_)
            | Self::Kernel { .. }
            | Self::Io(_) => ErrorKind::Internal,
        }
    }

    pub(crate) fn kernel(operation: impl Into<String>) -> impl FnOnce(Errno) -> Self {
        let operation = operation.into();
        move |errno| Self::Kernel { operation, errno }
    }
}

/// The errors of bind(2) in Go's words, which is what Docker's users see.
fn go_errno(errno: Errno) -> String {
    match errno {
        Errno::ADDRINUSE => "address already in use".to_owned(),
        Errno::ADDRNOTAVAIL => "cannot assign requested address".to_owned(),
        Errno::ACCESS => "permission denied".to_owned(),
        other => other.to_string(),
    }
}
