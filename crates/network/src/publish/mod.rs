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
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use rustix::io::Errno;

use crate::{
    NetworkError, PublishError,
    endpoint::EndpointRecord,
    firewall::{Zone, is_translated},
    networks::{Driver, GatewayMode},
    ports::{BoundPort, HostPort, PortSpec, Protocol},
    sysctl,
};
use registry::Registry;
use relay::Relay;

/// Where published ports lead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Destination<'a> {
    /// The endpoint.
    pub(crate) endpoint: &'a EndpointRecord,
    /// Its network; none where others forward the ports.
    pub(crate) zone: Option<&'a Zone>,
    /// Where to publish what names no address; every address if none.
    pub(crate) default_address: Option<IpAddr>,
}

/// The published ports of the host.
#[derive(Debug)]
pub(crate) struct Publisher {
    /// Whether to serve what the kernel does not forward.
    relaying: bool,
    ipv6: bool,
    registry: Registry,
    relay: Relay,
}

impl Publisher {
    /// No ports yet. Must be called inside a tokio runtime.
    pub(crate) fn new(relaying: bool) -> Result<Self, NetworkError> {
        Ok(Self {
            relaying,
            ipv6: sysctl::has_ipv6(),
            registry: Registry::new(sysctl::local_port_range()?),
            relay: Relay::start()?,
        })
    }

    /// Whether what the kernel does not forward is served.
    pub(crate) fn is_relaying(&self) -> bool {
        self.relaying
    }

    /// Binds the ports. On failure none of them is.
    pub(crate) fn publish(
        &mut self,
        to: Destination<'_>,
        specs: &[PortSpec],
    ) -> Result<Vec<BoundPort>, PublishError> {
        let mut bound = Vec::new();
        for spec in specs {
            match self.publish_one(to, spec) {
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
        for port in endpoint.ports.iter().filter(|port| port.host_port != 0) {
            let target = endpoint.target(port.host_ip).map(|ip| SocketAddr::new(ip, port.container_port));
            let Some(target) = target else { continue };
            let served = self.relaying && endpoint.driver == Driver::Bridge;
            let held = self.open(port.host_ip, port.host_port, port.protocol, target, served);
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

    fn publish_one(&mut self, to: Destination<'_>, spec: &PortSpec) -> Result<Vec<BoundPort>, PublishError> {
        // In a network whose addresses are routed a port of the host leads nowhere: the container's own is reached.
        let is_routed = |ip: &IpAddr| {
            to.zone.is_some_and(|zone| zone.mode(ip.is_ipv6()) == GatewayMode::Routed)
                && to.endpoint.target(*ip).is_some_and(|own| own.is_ipv6() == ip.is_ipv6())
        };
        let all = self.addresses(spec.host_ip, to);
        let (routed, addresses): (Vec<_>, Vec<_>) = all.into_iter().partition(is_routed);
        let mut out = bound(&routed, 0, spec);
        if let Some(first) = addresses.first().copied() {
            let port = self.find_port(to, spec, &addresses, first)?;
            out.extend(bound(&addresses, port, spec));
        }
        Ok(out)
    }

    fn find_port(
        &mut self,
        to: Destination<'_>,
        spec: &PortSpec,
        addresses: &[IpAddr],
        main: IpAddr,
    ) -> Result<u16, PublishError> {
        let (first, last) = match spec.host_port {
            HostPort::Range(first, last) => (first, last),
            HostPort::Ephemeral => self.registry.local_range(),
        };
        let start = match spec.host_port {
            HostPort::Range(..) => first,
            HostPort::Ephemeral => self.registry.next_ephemeral(spec.protocol, main),
        };
        let mut refused = None;
        for port in (start..=last).chain(first..start) {
            match self.bind_all(addresses, port, spec, to) {
                Ok(()) => {
                    if spec.host_port == HostPort::Ephemeral {
                        self.registry.gave_ephemeral(spec.protocol, main, port);
                    }
                    return Ok(port);
                }
                // Only a taken port makes the next one worth a try; an address that is not ours stays so.
                Err(error @ PublishError::Bind { errno, .. }) if errno != Errno::ADDRINUSE => {
                    return Err(error);
                }
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        match spec.host_port {
            HostPort::Ephemeral => Err(PublishError::AllAllocated { host_ip: main }),
            HostPort::Range(..) => Err(refused.unwrap_or(PublishError::AllAllocated { host_ip: main })),
        }
    }

    /// No address named, or a default of all IPv4 addresses, means all addresses of both families, if the container can
    /// be reached by them.
    fn addresses(&self, wanted: Option<IpAddr>, to: Destination<'_>) -> Vec<IpAddr> {
        let reached = |ip: &IpAddr| match to.zone {
            Some(zone) => self.relaying || is_translated(zone, to.endpoint, SocketAddr::new(*ip, 0)),
            None => ip.is_ipv4(),
        };
        let all_v4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let all_v6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        match (wanted, to.default_address) {
            (Some(address), _) => vec![address],
            (None, Some(default)) if default != all_v4 => vec![default],
            (None, _) => match self.ipv6 && reached(&all_v6) {
                true if !reached(&all_v4) => vec![all_v6],
                true => vec![all_v4, all_v6],
                false => vec![all_v4],
            },
        }
    }

    fn bind_all(
        &mut self,
        addresses: &[IpAddr],
        port: u16,
        spec: &PortSpec,
        to: Destination<'_>,
    ) -> Result<(), PublishError> {
        let protocol = spec.protocol;
        if let Some(holder) = addresses.iter().find_map(|ip| self.registry.holder(protocol, port, *ip)) {
            return Err(PublishError::Allocated { host_ip: holder, host_port: port });
        }
        for (done, address) in addresses.iter().enumerate() {
            let own = to.endpoint.target(*address).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            let target = SocketAddr::new(own, spec.container_port);
            match self.open(*address, port, protocol, target, self.relaying && to.zone.is_some()) {
                Ok(token) => self.registry.hold(protocol, port, *address, token),
                Err(errno) => {
                    for address in &addresses[..done] {
                        if let Some(token) = self.registry.free(protocol, port, *address) {
                            self.relay.close(token);
                        }
                    }
                    let host = SocketAddr::new(*address, port);
                    return Err(PublishError::Bind { host, container: target, protocol, errno });
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
        target: SocketAddr,
        served: bool,
    ) -> Result<Option<u64>, Errno> {
        if protocol == Protocol::Sctp {
            return Ok(None);
        }
        let socket = sockets::bind(SocketAddr::new(address, port), protocol, served)?;
        let kept = self.relay.serve(socket, protocol, target, served);
        kept.map(Some).map_err(|error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
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
