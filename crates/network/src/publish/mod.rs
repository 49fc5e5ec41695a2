//! Publishing ports: which port of the host leads to which container, and the sockets that keep it ours.
//!
//! Every published port has a socket in the daemon, bound like any server's. It settles conflicts with other
//! processes, in both directions, by the kernel's own rules and without races; and whatever the firewall's maps do not
//! translate arrives there and is served by the [`relay`]: IPv6 clients of a container that has no IPv6, `[::1]`, one
//! container's way to another's published port where they are isolated, everything when the firewall is not ours to
//! write. One thread serves them all, asleep unless something arrives.

mod registry;
mod relay;
mod sockets;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4},
};

use rustix::io::Errno;

use crate::{
    NetworkError, PublishError,
    endpoint::EndpointRecord,
    ports::{BoundPort, HostPort, PortSpec, Protocol},
    sysctl,
};
use registry::Registry;
use relay::Relay;

/// How published ports behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PublishConfig {
    /// Where to publish what names no address.
    pub(crate) default_address: IpAddr,
    /// Whether to serve what the kernel does not forward.
    pub(crate) relay: bool,
}

/// The published ports of the host.
#[derive(Debug)]
pub(crate) struct Publisher {
    config: PublishConfig,
    ipv6: bool,
    registry: Registry,
    relay: Relay,
}

impl Publisher {
    /// No ports yet. Must be called inside a tokio runtime.
    pub(crate) fn new(config: PublishConfig) -> Result<Self, NetworkError> {
        Ok(Self {
            config,
            ipv6: sysctl::has_ipv6(),
            registry: Registry::new(sysctl::local_port_range()?),
            relay: Relay::start()?,
        })
    }

    /// Binds the ports. On failure none of them is.
    pub(crate) fn publish(
        &mut self,
        container: Ipv4Addr,
        specs: &[PortSpec],
    ) -> Result<Vec<BoundPort>, PublishError> {
        let mut bound = Vec::new();
        for spec in specs {
            match self.publish_one(container, spec) {
                Ok(ports) => bound.extend(ports),
                Err(error) => {
                    self.withdraw(&bound);
                    return Err(error);
                }
            }
        }
        Ok(bound)
    }

    /// Takes over the ports of an endpoint that an earlier daemon published. The kernel still forwards them; those
    /// that cannot be bound again are given back, for the log.
    pub(crate) fn restore(&mut self, endpoint: &EndpointRecord) -> Vec<(BoundPort, Errno)> {
        let mut lost = Vec::new();
        for port in &endpoint.ports {
            let target = SocketAddrV4::new(endpoint.ipv4, port.container_port);
            let held = self.open(port.host_ip, port.host_port, port.protocol, target);
            let token = held.unwrap_or_else(|errno| {
                lost.push((*port, errno));
                None
            });
            self.registry.hold(port.protocol, port.host_port, port.host_ip, token);
        }
        lost
    }

    /// Frees the ports; when this returns they can be bound again.
    pub(crate) fn withdraw(&mut self, ports: &[BoundPort]) {
        for port in ports {
            if let Some(token) = self.registry.free(port.protocol, port.host_port, port.host_ip) {
                self.relay.close(token);
            }
        }
    }

    fn publish_one(&mut self, container: Ipv4Addr, spec: &PortSpec) -> Result<Vec<BoundPort>, PublishError> {
        let addresses = self.addresses(spec.host_ip);
        let target = SocketAddrV4::new(container, spec.container_port);
        let (first, last) = match spec.host_port {
            HostPort::Range(first, last) => (first, last),
            HostPort::Ephemeral => self.registry.local_range(),
        };
        let start = match spec.host_port {
            HostPort::Range(..) => first,
            HostPort::Ephemeral => self.registry.next_ephemeral(spec.protocol, addresses[0]),
        };
        let mut refused = None;
        for port in (start..=last).chain(first..start) {
            match self.bind_all(&addresses, port, spec.protocol, target) {
                Ok(()) => {
                    if spec.host_port == HostPort::Ephemeral {
                        self.registry.gave_ephemeral(spec.protocol, addresses[0], port);
                    }
                    return Ok(bound(&addresses, port, spec));
                }
                // Only a taken port makes the next one worth a try; an address that is not ours stays so.
                Err(error @ PublishError::Bind { errno, .. }) if errno != Errno::ADDRINUSE => {
                    return Err(error);
                }
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        match spec.host_port {
            HostPort::Ephemeral => Err(PublishError::AllAllocated { host_ip: addresses[0] }),
            HostPort::Range(..) => {
                Err(refused.unwrap_or(PublishError::AllAllocated { host_ip: addresses[0] }))
            }
        }
    }

    /// No address named, or a default of all IPv4 addresses, means all addresses of both families.
    fn addresses(&self, wanted: Option<IpAddr>) -> Vec<IpAddr> {
        let all_v6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        match wanted {
            Some(address) => vec![address],
            None if self.config.default_address == IpAddr::V4(Ipv4Addr::UNSPECIFIED)
                && self.ipv6
                && self.config.relay =>
            {
                vec![self.config.default_address, all_v6]
            }
            None => vec![self.config.default_address],
        }
    }

    fn bind_all(
        &mut self,
        addresses: &[IpAddr],
        port: u16,
        protocol: Protocol,
        target: SocketAddrV4,
    ) -> Result<(), PublishError> {
        if let Some(holder) = addresses.iter().find_map(|ip| self.registry.holder(protocol, port, *ip)) {
            return Err(PublishError::Allocated { host_ip: holder, host_port: port });
        }
        for (done, address) in addresses.iter().enumerate() {
            match self.open(*address, port, protocol, target) {
                Ok(token) => self.registry.hold(protocol, port, *address, token),
                Err(errno) => {
                    for address in &addresses[..done] {
                        if let Some(token) = self.registry.free(protocol, port, *address) {
                            self.relay.close(token);
                        }
                    }
                    let host = SocketAddr::new(*address, port);
                    return Err(PublishError::Bind { host, container: target.into(), protocol, errno });
                }
            }
        }
        Ok(())
    }

    /// Binds a socket and has it served. There are no SCTP sockets to do so with: the kernel alone forwards SCTP.
    fn open(
        &mut self,
        address: IpAddr,
        port: u16,
        protocol: Protocol,
        target: SocketAddrV4,
    ) -> Result<Option<u64>, Errno> {
        if protocol == Protocol::Sctp {
            return Ok(None);
        }
        let socket = sockets::bind(SocketAddr::new(address, port), protocol, self.config.relay)?;
        let served = self.relay.serve(socket, protocol, target, self.config.relay);
        served.map(Some).map_err(|error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }
}

fn bound(addresses: &[IpAddr], port: u16, spec: &PortSpec) -> Vec<BoundPort> {
    addresses
        .iter()
        .map(|address| BoundPort {
            container_port: spec.container_port,
            protocol: spec.protocol,
            host_ip: *address,
            host_port: port,
        })
        .collect()
}
