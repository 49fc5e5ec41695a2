//! Network modes, endpoints and ports.

use skiff_network::MacAddr;

use super::invalid;
use crate::{
    Result,
    model::{ContainerConfig, CreateRequest, HostConfig},
};

/// Where a container's network comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NetworkMode {
    /// The default bridge.
    Bridge,
    /// The host's own.
    Host,
    /// Loopback only.
    None,
    /// Another container's, by name or id.
    Container(String),
    /// A network that somebody made, by name or id.
    Named(String),
}

pub(crate) fn network_mode(mode: &str) -> NetworkMode {
    match mode {
        "" | "default" | "bridge" => NetworkMode::Bridge,
        "host" => NetworkMode::Host,
        "none" => NetworkMode::None,
        other => match other.strip_prefix("container:").or((other == "container").then_some("")) {
            Some(container) => NetworkMode::Container(container.to_owned()),
            None => NetworkMode::Named(other.to_owned()),
        },
    }
}

pub(super) fn check(config: &ContainerConfig, host: &HostConfig) -> Result<()> {
    ports(host)?;
    let mode = network_mode(&host.network_mode);
    match &mode {
        NetworkMode::Container(of) if of.is_empty() => {
            return invalid("invalid network mode: invalid container format container:<name|id>");
        }
        NetworkMode::Container(_) => shared(config, host)?,
        NetworkMode::Host if host.links.as_ref().is_some_and(|l| !l.is_empty()) => {
            return invalid(
                "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
            );
        }
        _ => {}
    }
    if host.uts_mode == "host" && !config.hostname.is_empty() {
        return invalid("conflicting options: hostname and the UTS mode");
    }
    Ok(())
}

/// What cannot be had together with another container's network.
fn shared(config: &ContainerConfig, host: &HostConfig) -> Result<()> {
    let conflict = |what: &str| invalid(format!("conflicting options: {what}"));
    if !config.hostname.is_empty() {
        return conflict("hostname and the network mode");
    }
    if host.links.as_ref().is_some_and(|l| !l.is_empty()) {
        return conflict(
            "container type network can't be used with links. This would result in undefined behavior",
        );
    }
    if host.dns.as_ref().is_some_and(|dns| !dns.is_empty()) {
        return conflict("dns and the network mode");
    }
    if host.extra_hosts.as_ref().is_some_and(|e| !e.is_empty()) {
        return conflict("custom host-to-IP mapping and the network mode");
    }
    if host.port_bindings.as_ref().is_some_and(|ports| !ports.is_empty()) || host.publish_all_ports {
        return conflict("port publishing and the container type network mode");
    }
    if !config.exposed_ports.is_empty() {
        return conflict("port exposing and the container type network mode");
    }
    Ok(())
}

fn ports(host: &HostConfig) -> Result<()> {
    let bad = |text: &str| invalid(format!("invalid port specification: \"{text}\""));
    for (port, bindings) in host.port_bindings.iter().flatten() {
        let number = port.split('/').next().unwrap_or_default();
        if number.parse::<u16>().is_err() {
            return bad(number);
        }
        for binding in bindings {
            if parse_host_port(&binding.host_port).is_none() {
                return bad(&binding.host_port);
            }
        }
    }
    Ok(())
}

/// A container's port: number and protocol; none for what is no port.
pub(crate) fn parse_port(port: &str) -> Option<(u16, &str)> {
    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    Some((number.parse().ok()?, protocol))
}

/// A host port: `(0, 0)` for any, or the first and last of a range; none for what is neither.
pub(crate) fn parse_host_port(port: &str) -> Option<(u16, u16)> {
    let number = |s: &str| if s.bytes().all(|c| c.is_ascii_digit()) { s.parse::<u16>().ok() } else { None };
    let port = port.split('/').next().unwrap_or_default();
    match port.split_once('-') {
        _ if port.is_empty() => Some((0, 0)),
        None => number(port).map(|p| (p, p)),
        Some((first, last)) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some((first, last))
        }
    }
}

/// Hardware addresses. What depends on the networks is looked at when they are found.
pub(super) fn check_endpoints(request: &CreateRequest) -> Result<()> {
    let mode = network_mode(&request.host.network_mode);
    let bridge = matches!(mode, NetworkMode::Bridge);
    let mac = request.config.mac_address.as_deref().filter(|m| bridge && !m.is_empty());
    if let Some(mac) = mac
        && mac.parse::<MacAddr>().is_err()
    {
        return invalid(format!("invalid config for network bridge: invalid MAC address {mac}"));
    }
    for (network, endpoint) in &request.endpoints {
        if !endpoint.mac_address.is_empty() && endpoint.mac_address.parse::<MacAddr>().is_err() {
            return invalid(format!(
                "invalid config for network {network}: invalid MAC address {}",
                endpoint.mac_address
            ));
        }
    }
    Ok(())
}
