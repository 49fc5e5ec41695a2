//! What can go wrong, as data. The text of [`PublishError`] is Docker's.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;
use rustix::io::Errno;
use skiff_types::{ContainerId, EndpointId, ErrorKind, NetworkId};

use crate::{cni::CniError, networks::ParentError, ports::Protocol};

/// Why a network could not be set up or an endpoint not be attached.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The configuration contradicts itself.
    #[error("invalid network configuration: {0}")]
    Config(String),
    /// The configuration wants no default bridge.
    #[error("network bridge not found")]
    NoBridge,
    /// There is no such network.
    #[error("network {0} not found")]
    UnknownNetwork(NetworkId),
    /// Subnets, ranges, gateways or auxiliary addresses that mean nothing, one line for each.
    #[error("invalid network config:\n{}", bullets(.0))]
    Ipam(Vec<String>),
    /// Neither family is wanted.
    #[error("IPv4 or IPv6 must be enabled")]
    NoFamily,
    /// Another network has part of the subnet.
    #[error("invalid pool request: Pool overlaps with other one on this address space")]
    PoolOverlaps,
    /// A bridge has one subnet of each family.
    #[error("bridge driver doesn't support multiple subnets")]
    ManySubnets,
    /// The gateway asked for is the subnet's own or its broadcast address.
    #[error("failed to allocate gateway ({0}): Address already in use")]
    GatewayInUse(IpAddr),
    /// The range has no address for the gateway.
    #[error("failed to allocate gateway: no available addresses in {0}")]
    NoGateway(IpNet),
    /// An auxiliary address is the gateway's or cannot be used.
    #[error("failed to allocate secondary ip address ({name}:{address}): Address already in use")]
    AuxiliaryInUse {
        /// Its name.
        name: String,
        /// The address.
        address: IpAddr,
    },
    /// A parent, or a child of one, that cannot be had.
    #[error(transparent)]
    Parent(#[from] ParentError),
    /// An option of the driver that means nothing.
    #[error("failed to parse {name} value: {value} ({why})")]
    Option {
        /// The option.
        name: String,
        /// What it was set to.
        value: String,
        /// The fault.
        why: String,
    },
    /// An MTU below zero.
    #[error("invalid MTU number: {0}")]
    Mtu(i64),
    /// A gateway mode for internal networks only.
    #[error("gateway mode 'isolated' can only be used for an internal network")]
    IsolatedIsInternal,
    /// The link of that name is another kind.
    #[error("existing interface {0} is not a bridge")]
    NotABridge(String),
    /// Another network has the bridge.
    #[error(
        "cannot create network {id} ({link}): conflicts with network {other} ({link}): networks have same bridge name"
    )]
    SameBridge {
        /// The network that was to be made.
        id: NetworkId,
        /// The one that is there.
        other: NetworkId,
        /// The bridge.
        link: String,
    },
    /// Containers are in the network.
    #[error("network {name} has active endpoints ({})", endpoints.join(", "))]
    ActiveEndpoints {
        /// The network.
        name: String,
        /// Each as `name:"web" id:"322cfeee4f81"`.
        endpoints: Vec<String>,
    },
    /// The network is the daemon's own.
    #[error("{0} is a pre-defined network and cannot be removed")]
    Predefined(String),
    /// Not a link-local address.
    #[error("invalid link local IP address: {0}")]
    NotLinkLocal(IpAddr),
    /// A kernel parameter of an interface that the kernel does not have.
    #[error("failed to add interface {interface} to sandbox: {path} is not a sysctl file")]
    NoSuchSysctl {
        /// The host's end.
        interface: String,
        /// The file.
        path: String,
    },
    /// Every subnet of the default pools overlaps with a route of the host.
    #[error("all predefined address pools have been fully subnetted")]
    PoolsExhausted,
    /// The subnet has no free address left.
    #[error("no available {family} addresses on this network's address pools: {name} ({id})")]
    AddressesExhausted {
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// The network's name.
        name: String,
        /// Its identifier.
        id: NetworkId,
    },
    /// The address asked for is another's.
    #[error("Address already in use")]
    AddressInUse(IpAddr),
    /// The address asked for does not belong to the network.
    #[error("no configured subnet or ip-range contain the IP address {0}")]
    AddressOutside(IpAddr),
    /// The container is attached already.
    #[error("endpoint with name {container} already exists in network {network}")]
    AlreadyAttached {
        /// The container's name.
        container: String,
        /// The network's name.
        network: String,
    },
    /// The container is not in the network.
    #[error("container {container} is not connected to network {network}")]
    NotAttached {
        /// The container.
        container: ContainerId,
        /// The network.
        network: NetworkId,
    },
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
    /// A plugin did not do what it was asked for.
    #[error("{}", in_plugins_words(.0))]
    Plugin(#[from] skiff_plugins::Error),
    /// A plugin did not make an endpoint.
    #[error("failed to create endpoint {endpoint} on network {network}: {source}")]
    CreateEndpoint {
        /// The container's name.
        endpoint: String,
        /// The network's name.
        network: String,
        /// The reason.
        source: Box<NetworkError>,
    },
    /// A plugin did not publish ports.
    #[error(
        "driver failed programming external connectivity on endpoint {endpoint_name} ({endpoint}): {source}"
    )]
    Outside {
        /// The container's name.
        endpoint_name: String,
        /// The endpoint.
        endpoint: EndpointId,
        /// The reason.
        source: Box<NetworkError>,
    },
    /// A plugin decided about something that was decided.
    #[error("endpoint interface {what} present ({present}). Cannot be modified with {given}.")]
    Present {
        /// What.
        what: &'static str,
        /// As it is.
        present: String,
        /// What the plugin said.
        given: String,
    },
    /// A plugin answered something that is not what it should be.
    #[error("the network plugin answered {value:?}, which is not {what}")]
    Strange {
        /// What it should be.
        what: String,
        /// What it said.
        value: String,
    },
    /// A CNI network or an endpoint in one that cannot be had.
    #[error(transparent)]
    Cni(#[from] CniError),
    /// Another error, with words before it.
    #[error("{label}: {source}")]
    Labelled {
        /// The words.
        label: String,
        /// The error.
        source: Box<NetworkError>,
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
            Self::Config(_)
            | Self::AddressOutside(_)
            | Self::Ipam(_)
            | Self::NoFamily
            | Self::Option { .. }
            | Self::Mtu(_)
            | Self::NotLinkLocal(_)
            | Self::PoolsExhausted => ErrorKind::InvalidArgument,
            Self::NoBridge | Self::UnknownNetwork(_) => ErrorKind::NotFound,
            Self::Plugin(error) => error.kind(),
            Self::Labelled { source, .. } | Self::CreateEndpoint { source, .. } => source.kind(),
            Self::Cni(
                CniError::Decided(_)
                | CniError::UnknownOption(_)
                | CniError::BadConfiguration { .. }
                | CniError::NoPorts(_),
            ) => ErrorKind::InvalidArgument,
            Self::Cni(CniError::NoConfiguration { .. } | CniError::NoPlugin { .. }) => ErrorKind::NotFound,
            Self::AddressInUse(_)
            | Self::AlreadyAttached { .. }
            | Self::PoolOverlaps
            | Self::ManySubnets
            | Self::SameBridge { .. }
            | Self::ActiveEndpoints { .. }
            | Self::Predefined(_) => ErrorKind::Forbidden,
            // Docker answers 500 to ports that are taken, and to these others.
            Self::Publish { .. }
            | Self::Outside { .. }
            | Self::Present { .. }
            | Self::Strange { .. }
            | Self::Cni(CniError::Failed { .. })
            | Self::GatewayInUse(_)
            | Self::NoGateway(_)
            | Self::AuxiliaryInUse { .. }
            | Self::IsolatedIsInternal
            | Self::NotABridge(_)
            | Self::Parent(_)
            | Self::NotAttached { .. }
            | Self::NoSuchSysctl { .. }
            | Self::AddressesExhausted { .. }
            | Self::Kernel { .. }
            | Self::Io(_) => ErrorKind::Internal,
        }
    }

    /// The error with words before it.
    pub(crate) fn labelled(self, label: impl Into<String>) -> Self {
        Self::Labelled { label: label.into(), source: Box::new(self) }
    }

    pub(crate) fn kernel(operation: impl Into<String>) -> impl FnOnce(Errno) -> Self {
        let operation = operation.into();
        move |errno| Self::Kernel { operation, errno }
    }
}

/// What a plugin refuses Docker marks so.
fn in_plugins_words(error: &skiff_plugins::Error) -> String {
    match error {
        skiff_plugins::Error::Refused(words) => format!("remote: {words}"),
        other => other.to_string(),
    }
}

/// One fault as it is, several as a list.
fn bullets(faults: &[String]) -> String {
    match faults {
        [one] => one.clone(),
        many => many.iter().map(|fault| format!("* {fault}")).collect::<Vec<_>>().join("\n"),
    }
}

/// Errors of the kernel in Go's words, which is what Docker's users see.
pub(crate) fn go_errno(errno: Errno) -> String {
    match errno {
        Errno::ADDRINUSE => "address already in use".to_owned(),
        Errno::ADDRNOTAVAIL => "cannot assign requested address".to_owned(),
        Errno::ACCESS => "permission denied".to_owned(),
        Errno::BUSY => "device or resource busy".to_owned(),
        Errno::EXIST => "file exists".to_owned(),
        Errno::INVAL => "invalid argument".to_owned(),
        Errno::NODEV => "no such device".to_owned(),
        Errno::OPNOTSUPP => "operation not supported".to_owned(),
        Errno::PERM => "operation not permitted".to_owned(),
        other => other.to_string(),
    }
}
