//! Networks, and the places of containers in them.

use std::collections::BTreeMap;

use skiff_api::{ApiVersion, model as wire};
use skiff_engine::model::{
    ConnectRequest, EndpointConfig, EndpointSettings, Explanation, IpamAddress, IpamConfig,
    NetworkCreateRequest, NetworkInspect, NetworkIpam, NetworkMember, PortBinding,
};

use super::{each, some_list, some_map};
use crate::time;

pub(crate) fn inspect(shown: NetworkInspect, with_containers: bool) -> wire::NetworkInspect {
    let network = shown.network;
    wire::NetworkInspect {
        name: network.name,
        id: network.id.to_string(),
        created: time::render(Some(network.created)),
        scope: network.scope,
        driver: network.driver,
        enable_ipv4: network.enable_ipv4,
        enable_ipv6: network.enable_ipv6,
        ipam: wire::Ipam {
            driver: network.ipam.driver,
            options: network.ipam.options,
            config: some_list(each(network.ipam.config, pool)),
        },
        internal: network.internal,
        attachable: network.attachable,
        ingress: false,
        config_from: wire::ConfigReference { network: network.config_from },
        config_only: network.config_only,
        containers: match with_containers {
            true => shown.containers.into_iter().map(member).collect(),
            false => BTreeMap::new(),
        },
        options: Some(network.options),
        labels: Some(network.labels),
    }
}

/// Whether one place reaches another.
pub(crate) fn explanation(told: Explanation) -> wire::Explanation {
    let Explanation { from, to, address, verdict, steps } = told;
    let step = |(about, text)| wire::ExplanationStep { about, text };
    wire::Explanation { from, to, address, verdict, steps: steps.into_iter().map(step).collect() }
}

fn pool(config: IpamConfig) -> wire::IpamPool {
    let IpamConfig { subnet, ip_range, gateway, auxiliary } = config;
    wire::IpamPool { subnet, ip_range, gateway, auxiliary_addresses: some_map(auxiliary) }
}

/// A request to make a network, as the version meant it.
pub(crate) fn create(request: wire::NetworkCreateRequest, version: ApiVersion) -> NetworkCreateRequest {
    let wire::NetworkCreateRequest {
        name,
        // Names are unique whether this is asked for or not.
        check_duplicate: _,
        driver,
        scope,
        enable_ipv4,
        enable_ipv6,
        ipam,
        internal,
        attachable,
        ingress,
        config_only,
        config_from,
        options,
        labels,
    } = request;
    let ipam = ipam.unwrap_or_default();
    let asked = |pool: wire::IpamPool| IpamConfig {
        subnet: pool.subnet,
        ip_range: pool.ip_range,
        gateway: pool.gateway,
        auxiliary: pool.auxiliary_addresses.unwrap_or_default(),
    };
    NetworkCreateRequest {
        name,
        driver,
        scope,
        enable_ipv4: enable_ipv4.filter(|_| version.at_least(48)),
        enable_ipv6,
        ipam: NetworkIpam {
            driver: ipam.driver,
            options: ipam.options,
            config: each(ipam.config.unwrap_or_default(), asked),
        },
        internal,
        attachable,
        ingress,
        config_only,
        config_from: config_from.unwrap_or_default().network,
        options: options.unwrap_or_default(),
        labels: labels.unwrap_or_default(),
    }
}

/// A request to connect a container.
pub(crate) fn connect(request: wire::NetworkConnectRequest) -> ConnectRequest {
    ConnectRequest {
        container: request.container,
        endpoint: asked_endpoint(request.endpoint_config.unwrap_or_default()),
    }
}

fn member(member: NetworkMember) -> (String, wire::EndpointResource) {
    let NetworkMember { container_id, name, endpoint_id, mac_address, ipv4_address, ipv6_address } = member;
    (container_id, wire::EndpointResource { name, endpoint_id, mac_address, ipv4_address, ipv6_address })
}

/// The endpoints of a create request, by network.
pub(super) fn asked(networks: wire::NetworkingConfig) -> BTreeMap<String, EndpointConfig> {
    let endpoint = |(name, settings): (String, Option<wire::EndpointSettings>)| {
        (name, asked_endpoint(settings.unwrap_or_default()))
    };
    networks.endpoints_config.unwrap_or_default().into_iter().map(endpoint).collect()
}

fn asked_endpoint(settings: wire::EndpointSettings) -> EndpointConfig {
    let ipam = settings.ipam_config.map(|ipam| IpamAddress {
        ipv4_address: ipam.ipv4_address,
        ipv6_address: ipam.ipv6_address,
        link_local_ips: ipam.link_local_ips,
    });
    EndpointConfig {
        ipam,
        links: settings.links,
        aliases: settings.aliases,
        mac_address: settings.mac_address,
        driver_opts: settings.driver_opts.unwrap_or_default(),
        network_id: settings.network_id,
        gw_priority: settings.gw_priority,
    }
}

/// An endpoint as it is.
pub(super) fn endpoint(settings: EndpointSettings) -> wire::EndpointSettings {
    let EndpointSettings { config, network_id, state } = settings;
    let mac_address = if state.mac_address.is_empty() { config.mac_address } else { state.mac_address };
    wire::EndpointSettings {
        ipam_config: config.ipam.map(|ipam| wire::EndpointIpamConfig {
            ipv4_address: ipam.ipv4_address,
            ipv6_address: ipam.ipv6_address,
            link_local_ips: ipam.link_local_ips,
        }),
        links: config.links,
        aliases: config.aliases,
        mac_address,
        driver_opts: some_map(config.driver_opts),
        gw_priority: config.gw_priority,
        network_id: network_id.map(|id| id.to_string()).unwrap_or_default(),
        endpoint_id: state.endpoint_id,
        gateway: state.gateway,
        ip_address: state.ip_address,
        ip_prefix_len: i64::from(state.ip_prefix_len),
        ipv6_gateway: state.ipv6_gateway,
        global_ipv6_address: state.global_ipv6_address,
        global_ipv6_prefix_len: i64::from(state.global_ipv6_prefix_len),
        dns_names: state.dns_names,
    }
}

pub(super) fn binding(binding: PortBinding) -> wire::PortBinding {
    wire::PortBinding { host_ip: binding.host_ip, host_port: binding.host_port }
}

pub(super) fn asked_binding(binding: wire::PortBinding) -> PortBinding {
    PortBinding { host_ip: binding.host_ip, host_port: binding.host_port }
}
