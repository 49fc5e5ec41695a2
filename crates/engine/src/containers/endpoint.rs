//! The container's side of its networks: what is asked of `network`, and what the record says of the answer.

use std::{
    collections::BTreeSet,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use skiff_network::{
    AttachRequest, Attachment, Driver, EndpointRecord, EndpointRequest, HostPort, ParseMacError, PortSpec,
    Protocol,
};

use super::{
    etc,
    parts::{Parts, blocking},
};
pub(crate) use crate::validate::{check_endpoint as check, settings_faults};
use crate::{
    Error, Result,
    container::{Container, Live},
    model::{
        Actor, ContainerRecord, EndpointConfig, EndpointSettings, EndpointState, EventKind, PortBinding,
        UserNetwork,
    },
    validate::{self, NetworkMode},
};

const FAILED: &str = "failed to set up container networking";
/// Options of an endpoint's interface.
const INTERFACE_NAME: &str = "com.docker.network.endpoint.ifname";

/// A network namespace to start in.
#[derive(Default)]
pub(super) struct Attached {
    /// None for the host's and for another container's.
    pub(super) netns: Option<OwnedFd>,
    pub(super) endpoints: Vec<EndpointRecord>,
}

/// Gives a container its networks. Blocks for a moment.
pub(super) fn attach(parts: &Parts, record: &ContainerRecord) -> Result<Attached> {
    attach_all(parts, record).map_err(|e| e.labelled(FAILED))
}

fn attach_all(parts: &Parts, record: &ContainerRecord) -> Result<Attached> {
    let mode = validate::network_mode(&record.host.network_mode);
    if matches!(mode, NetworkMode::Host | NetworkMode::Container(_)) {
        return Ok(Attached::default());
    }
    let mut endpoints = Vec::new();
    for (name, settings) in in_order(record) {
        let network = find(parts, name, settings)?;
        if network.driver == "null" || record.config.network_disabled {
            continue;
        }
        endpoints.push(request(record, &network, settings)?);
    }
    let request =
        AttachRequest { container: record.id, name: record.name.clone(), endpoints, ports: ports(record)? };
    let Attachment { netns, endpoints } = parts.network.attach(request)?;
    if endpoints.iter().any(|endpoint| !endpoint.names.is_empty()) {
        parts.network.serve_names(&record.id, etc::asks(parts, record)?, netns.as_fd())?;
    }
    Ok(Attached { netns: Some(netns), endpoints })
}

/// Serves names to a running container as its networks are now. A container without names still has its addresses: nothing
/// fails for it. Blocks for a moment.
pub(crate) fn serve_names(parts: &Parts, record: &ContainerRecord, netns: BorrowedFd<'_>) {
    let served =
        etc::asks(parts, record).and_then(|asks| Ok(parts.network.serve_names(&record.id, asks, netns)?));
    if let Err(e) = served {
        tracing::error!(container = record.name, "names cannot be served to it: {e}");
    }
}

/// Serves names to a container that an earlier daemon started.
pub(super) fn take_over_names(parts: &Parts, record: &ContainerRecord, live: &Live) {
    if parts.network.endpoints_of(&record.id).iter().all(|endpoint| endpoint.names.is_empty()) {
        return;
    }
    match namespace(live) {
        Ok(netns) => serve_names(parts, record, netns.as_fd()),
        Err(e) => tracing::error!(container = record.name, "names cannot be served to it: {e}"),
    }
}

/// The network namespace of a container, which runs and goes on running as long as its number is not used again.
pub(crate) fn namespace(live: &Live) -> Result<OwnedFd> {
    let file = fs_err::File::open(format!("/proc/{}/ns/net", live.pid))?;
    let ended = rustix::event::poll(
        &mut [rustix::event::PollFd::new(&live.pidfd, rustix::event::PollFlags::IN)],
        Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 }),
    );
    match ended {
        Ok(0) => Ok(file.into_parts().0.into()),
        _ => Err(Error::Conflict("the container has ended".into())),
    }
}

/// The container's networks, the main one first.
fn in_order(record: &ContainerRecord) -> Vec<(&String, &EndpointSettings)> {
    let mut all: Vec<_> = record.network.networks.iter().collect();
    let mode = record.host.network_mode.as_str();
    let is_main = |name: &str, settings: &EndpointSettings| {
        let id = settings.network_id.map(|id| id.to_string()).unwrap_or_default();
        name == mode || id == mode || (name == "bridge" && matches!(mode, "" | "default"))
    };
    all.sort_by_key(|(name, settings)| (!is_main(name, settings), name.as_str() != "bridge"));
    all
}

/// The network of a place: the one it was in last, or that the request named by id, or by name.
fn find(parts: &Parts, name: &str, settings: &EndpointSettings) -> Result<Arc<UserNetwork>> {
    match (settings.network_id, settings.config.network_id.as_str()) {
        (Some(id), _) => parts.networks.get(&id).ok_or_else(|| Error::NoSuchNetwork(id.to_string())),
        (None, "") => parts.networks.resolve(name),
        (None, id) => parts.networks.resolve(id),
    }
}

/// What a container asks of one network.
pub(crate) fn request(
    record: &ContainerRecord,
    network: &UserNetwork,
    settings: &EndpointSettings,
) -> Result<EndpointRequest> {
    let config = &settings.config;
    if config.links.iter().flatten().any(String::is_empty) {
        // Recorded: Docker answers 500 here.
        return Err(Error::Internal("empty string specified for links".into()));
    }
    let mac = config.mac_address.as_str();
    let mac = if mac.is_empty() { None } else { Some(mac.parse()) };
    let ipam = config.ipam.clone().unwrap_or_default();
    let links = config.links.iter().flatten().map(|link| {
        let (target, alias) = link.split_once(':').unwrap_or((link, link));
        (alias.to_owned(), target.to_owned())
    });
    Ok(EndpointRequest {
        mac: mac.transpose().map_err(|e: ParseMacError| Error::Invalid(e.to_string()))?,
        ipv4: ipam.ipv4_address.parse().ok(),
        ipv6: ipam.ipv6_address.parse().ok(),
        link_local: ipam.link_local_ips.iter().flatten().filter_map(|ip| ip.parse().ok()).collect(),
        names: dns_names(record, network, config).unwrap_or_default(),
        links: links.collect(),
        interface: config.driver_opts.get(INTERFACE_NAME).cloned(),
        sysctls: validate::endpoint_sysctls(config).map_err(Error::Invalid)?,
        gateway_priority: config.gw_priority,
        driver_options: match network.network.as_ref().is_some_and(|n| n.driver == Driver::Remote) {
            true => config.driver_opts.clone(),
            false => Default::default(),
        },
        exposed: exposed(record),
        ..EndpointRequest::new(network.id)
    })
}

/// The names a container answers to in a network; the built-in ones have none.
pub(crate) fn dns_names(
    record: &ContainerRecord,
    network: &UserNetwork,
    config: &EndpointConfig,
) -> Option<Vec<String>> {
    if matches!(network.name.as_str(), "bridge" | "host" | "none") {
        return None;
    }
    let mut names: Vec<String> = Vec::new();
    let short = record.id.short();
    let all = std::iter::once(&record.name)
        .chain(config.aliases.iter().flatten())
        .chain([&short, &record.config.hostname]);
    for name in all {
        let hostname_is_missing = name.is_empty() && std::ptr::eq(name, &record.config.hostname);
        if !names.contains(name) && !hostname_is_missing {
            names.push(name.clone());
        }
    }
    Some(names)
}

/// Ports that the container exposes, published or not.
fn exposed(record: &ContainerRecord) -> Vec<(u16, Protocol)> {
    let published = record.host.port_bindings.iter().flat_map(|bindings| bindings.keys());
    let all: BTreeSet<(u16, Protocol)> = record
        .config
        .exposed_ports
        .iter()
        .chain(published)
        .filter_map(|port| validate::parse_port(port))
        .filter_map(|(port, name)| Some((port, protocol(name)?)))
        .collect();
    all.into_iter().collect()
}

/// Tells drivers of others, in the background, that a container has ended; the next start and a removal wait for that.
pub(super) fn part_later(parts: &Arc<Parts>, container: &Arc<Container>) {
    if parts.network.leaving(&container.id).is_empty() {
        return;
    }
    let (parts, of) = (parts.clone(), container.clone());
    container.tidy(tokio::spawn(async move {
        // A panic has been printed; the next daemon finds what it left.
        let _ = blocking(move || part(&parts, &of)).await;
    }));
}

/// Tells drivers of others that a container has ended, and forgets its endpoints. Blocks for as long as they take.
pub(super) fn part(parts: &Parts, container: &Container) {
    if parts.network.leaving(&container.id).is_empty() {
        return;
    }
    parts.network.part(&container.id);
    container.commit(|_| (), |record| parts.records.put_with_endpoints(record, &[])).1.detach();
}

/// A protocol by its name.
pub(crate) fn protocol(name: &str) -> Option<Protocol> {
    match name {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        "sctp" => Some(Protocol::Sctp),
        _ => None,
    }
}

/// Published ports; those whose protocol or number means nothing are left out, as Docker does.
pub(crate) fn ports(record: &ContainerRecord) -> Result<Vec<PortSpec>> {
    let mut out = Vec::new();
    let host = &record.host;
    for (port, bindings) in host.port_bindings.iter().flatten() {
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
        let bound = |port: &String| host.port_bindings.as_ref().is_some_and(|ports| ports.contains_key(port));
        for port in record.config.exposed_ports.iter().filter(|port| !bound(port)) {
            let Some((container_port, name)) = validate::parse_port(port) else { continue };
            let Some(protocol) = protocol(name) else { continue };
            out.push(PortSpec { container_port, protocol, host_ip: None, host_port: HostPort::Ephemeral });
        }
    }
    Ok(out)
}

/// Writes into the record what the networks gave.
pub(super) fn began(record: &mut ContainerRecord, parts: &Parts, endpoints: &[EndpointRecord]) {
    let mode = validate::network_mode(&record.host.network_mode);
    if matches!(mode, NetworkMode::Container(_)) {
        return;
    }
    record.network.sandbox_id = record.id.to_string();
    let has_path = endpoints.iter().any(|endpoint| endpoint.foreign.is_some());
    record.network.sandbox_key = match has_path.then(|| parts.network.namespace_path(&record.id)).flatten() {
        Some(path) => path.to_string_lossy().into_owned(),
        None => format!("/proc/{}/ns/net", record.state.pid),
    };
    for (name, settings) in &mut record.network.networks {
        if let Ok(network) = find(parts, name, settings) {
            settings.network_id = Some(network.id);
        }
    }
    describe(record, endpoints);
}

/// Brings the record's places up to date with a running container's endpoints.
pub(crate) fn describe(record: &mut ContainerRecord, endpoints: &[EndpointRecord]) {
    record.network.ports = published(record, endpoints);
    let id = record.id.to_string();
    for network in record.network.networks.values_mut() {
        let endpoint = endpoints.iter().find(|e| Some(e.network) == network.network_id);
        network.state = match endpoint {
            Some(endpoint) => state(endpoint),
            // A network that gives no endpoints: the host's or none.
            None => EndpointState { endpoint_id: id.clone(), ..EndpointState::default() },
        };
    }
}

fn state(endpoint: &EndpointRecord) -> EndpointState {
    let text = |ip: Option<String>| ip.unwrap_or_default();
    EndpointState {
        endpoint_id: endpoint.id.to_string(),
        gateway: text(endpoint.gateway.map(|ip| ip.to_string())),
        ip_address: text(endpoint.ipv4.map(|ip| ip.to_string())),
        ip_prefix_len: endpoint.ipv4.map_or(0, |_| endpoint.prefix),
        ipv6_gateway: text(endpoint.gateway6.map(|ip| ip.to_string())),
        global_ipv6_address: text(endpoint.ipv6.map(|ip| ip.to_string())),
        global_ipv6_prefix_len: endpoint.ipv6.map_or(0, |_| endpoint.prefix6),
        mac_address: text(endpoint.mac.map(|mac| mac.to_string())),
        dns_names: (!endpoint.names.is_empty()).then(|| endpoint.names.clone()),
    }
}

/// Takes it out again when the container has ended. The networks' ids and the names stay, as with Docker.
pub(super) fn ended(record: &mut ContainerRecord) {
    record.network.sandbox_id.clear();
    record.network.sandbox_key.clear();
    record.network.ports.clear();
    for network in record.network.networks.values_mut() {
        let dns_names = network.state.dns_names.take();
        network.state = EndpointState { dns_names, ..EndpointState::default() };
    }
}

type Ports = std::collections::BTreeMap<String, Option<Vec<PortBinding>>>;

fn published(record: &ContainerRecord, endpoints: &[EndpointRecord]) -> Ports {
    // A network without a way out publishes nothing, and does not speak of what it could.
    if !endpoints.iter().any(EndpointRecord::publishes) {
        return Ports::new();
    }
    let with_protocol = |p: &String| if p.contains('/') { p.clone() } else { format!("{p}/tcp") };
    let mut out: Ports = record.config.exposed_ports.iter().map(|p| (with_protocol(p), None)).collect();
    for port in endpoints.iter().flat_map(|endpoint| &endpoint.ports) {
        let host_port = match port.host_port {
            // Reached at the container's own address alone.
            0 => String::new(),
            number => number.to_string(),
        };
        let binding = PortBinding { host_ip: port.host_ip.to_string(), host_port };
        let key = format!("{}/{}", port.container_port, port.protocol);
        out.entry(key).or_default().get_or_insert_default().push(binding);
    }
    out
}

/// Tells that the container joined or left its networks.
pub(super) fn tell(parts: &Parts, container: &Container, action: &str) {
    let ids: Vec<_> = container.record().network.networks.values().filter_map(|n| n.network_id).collect();
    for network in ids.into_iter().filter_map(|id| parts.networks.get(&id)) {
        tell_of(parts, container, &network, action);
    }
}

/// Tells that the container joined or left a network.
pub(crate) fn tell_of(parts: &Parts, container: &Container, network: &UserNetwork, action: &str) {
    let attributes = [
        ("container".to_owned(), container.id.to_string()),
        ("name".to_owned(), network.name.clone()),
        ("type".to_owned(), network.driver.clone()),
    ];
    let actor = Actor { id: network.id.to_string(), attributes: attributes.into_iter().collect() };
    parts.events.publish(EventKind::Network, action, actor);
}
