//! The container's side of its network: what is asked of `network`, and what the record says of the answer.

use std::os::fd::OwnedFd;

use skiff_network::{Endpoint, EndpointRecord, EndpointRequest, HostPort, PortSpec, Protocol};

use super::parts::Parts;
use crate::{
    Error, Result,
    container::Container,
    model::{Actor, ContainerRecord, EndpointState, EventKind, PortBinding},
    validate::{self, NetworkMode},
};

/// A network namespace to start in.
#[derive(Default)]
pub(super) struct Attached {
    /// None for the host's and for another container's.
    pub(super) netns: Option<OwnedFd>,
    pub(super) endpoint: Option<EndpointRecord>,
}

/// Gives a container its network. Blocks for a moment.
pub(super) fn attach(parts: &Parts, record: &ContainerRecord) -> Result<Attached> {
    match validate::network_mode(&record.host.network_mode) {
        NetworkMode::Host | NetworkMode::Container(_) => Ok(Attached::default()),
        NetworkMode::None => Ok(Attached { netns: Some(parts.network.isolated()?), endpoint: None }),
        NetworkMode::Bridge if record.config.network_disabled => {
            Ok(Attached { netns: Some(parts.network.isolated()?), endpoint: None })
        }
        NetworkMode::Bridge => {
            let Endpoint { netns, record } = parts
                .network
                .attach(request(record)?)
                .map_err(|e| Error::from(e).labelled("failed to set up container networking"))?;
            Ok(Attached { netns: Some(netns), endpoint: Some(record) })
        }
        NetworkMode::Named(name) => {
            Err(Error::NoSuchNetwork(name).labelled("failed to set up container networking"))
        }
    }
}

fn request(record: &ContainerRecord) -> Result<EndpointRequest> {
    let config = record.network.networks.values().next().map(|n| &n.config);
    let mac = config.map_or("", |c| c.mac_address.as_str());
    Ok(EndpointRequest {
        container: record.id,
        name: record.name.clone(),
        mac: if mac.is_empty() {
            None
        } else {
            Some(mac.parse().map_err(|e: skiff_network::ParseMacError| Error::Invalid(e.to_string()))?)
        },
        ipv4: None,
        ports: ports(record)?,
    })
}

fn protocol(name: &str) -> Option<Protocol> {
    match name {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        "sctp" => Some(Protocol::Sctp),
        _ => None,
    }
}

/// Published ports; those whose protocol or number means nothing are left out, as Docker does.
fn ports(record: &ContainerRecord) -> Result<Vec<PortSpec>> {
    let mut out = Vec::new();
    let host = &record.host;
    for (port, bindings) in &host.port_bindings {
        let Some((container_port, name)) = validate::parse_port(port) else { continue };
        let Some(protocol) = protocol(name) else { continue };
        let any = [PortBinding::default()];
        let bindings = if bindings.is_empty() { &any } else { bindings.as_slice() };
        for binding in bindings {
            let host_port = match validate::parse_host_port(&binding.host_port) {
                Some((0, 0)) | None => HostPort::Ephemeral,
                Some((first, last)) => HostPort::Range(first, last),
            };
            out.push(PortSpec { container_port, protocol, host_ip: binding.host_ip.parse().ok(), host_port });
        }
    }
    if host.publish_all_ports {
        for port in record.config.exposed_ports.iter().filter(|p| !host.port_bindings.contains_key(*p)) {
            let Some((container_port, name)) = validate::parse_port(port) else { continue };
            let Some(protocol) = protocol(name) else { continue };
            out.push(PortSpec { container_port, protocol, host_ip: None, host_port: HostPort::Ephemeral });
        }
    }
    Ok(out)
}

/// Writes into the record what the network gave.
pub(super) fn began(record: &mut ContainerRecord, parts: &Parts, endpoint: Option<&EndpointRecord>) {
    let mode = validate::network_mode(&record.host.network_mode);
    let id = match mode {
        NetworkMode::Bridge => parts.identity.bridge,
        NetworkMode::Host => parts.identity.host,
        NetworkMode::None => parts.identity.none,
        NetworkMode::Container(_) | NetworkMode::Named(_) => return,
    };
    record.network.sandbox_id = record.id.to_string();
    record.network.sandbox_key = format!("/proc/{}/ns/net", record.state.pid);
    record.network.ports = published(record, endpoint);
    let state = EndpointState {
        endpoint_id: endpoint.map_or_else(|| record.id.to_string(), |e| e.id.to_string()),
        gateway: endpoint.map_or_else(String::new, |e| e.gateway.to_string()),
        ip_address: endpoint.map_or_else(String::new, |e| e.ipv4.to_string()),
        ip_prefix_len: endpoint.map_or(0, |e| e.prefix),
        mac_address: endpoint.map_or_else(String::new, |e| e.mac.to_string()),
        ..EndpointState::default()
    };
    for network in record.network.networks.values_mut() {
        network.network_id = Some(id);
        network.state = state.clone();
    }
}

/// Takes it out again when the container has ended. The networks' ids stay, as with Docker.
pub(super) fn ended(record: &mut ContainerRecord) {
    record.network.sandbox_id.clear();
    record.network.sandbox_key.clear();
    record.network.ports.clear();
    for network in record.network.networks.values_mut() {
        network.state = EndpointState::default();
    }
}

type Ports = std::collections::BTreeMap<String, Option<Vec<PortBinding>>>;

fn published(record: &ContainerRecord, endpoint: Option<&EndpointRecord>) -> Ports {
    let Some(endpoint) = endpoint else { return Ports::new() };
    let with_protocol = |p: &String| if p.contains('/') { p.clone() } else { format!("{p}/tcp") };
    let mut out: Ports = record.config.exposed_ports.iter().map(|p| (with_protocol(p), None)).collect();
    for port in &endpoint.ports {
        let binding =
            PortBinding { host_ip: port.host_ip.to_string(), host_port: port.host_port.to_string() };
        let key = format!("{}/{}", port.container_port, port.protocol);
        out.entry(key).or_default().get_or_insert_default().push(binding);
    }
    out
}

/// Tells that the container joined or left its network.
pub(super) fn tell(parts: &Parts, container: &Container, action: &str) {
    let record = container.record();
    for (name, network) in &record.network.networks {
        let Some(id) = network.network_id else { continue };
        let driver = match name.as_str() {
            "none" => "null",
            "host" => "host",
            _ => "bridge",
        };
        let attributes = [
            ("container".to_owned(), record.id.to_string()),
            ("name".to_owned(), name.clone()),
            ("type".to_owned(), driver.to_owned()),
        ];
        let actor = Actor { id: id.to_string(), attributes: attributes.into_iter().collect() };
        parts.events.publish(EventKind::Network, action, actor);
    }
}
