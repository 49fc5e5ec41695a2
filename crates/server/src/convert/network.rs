//! Networks, and the places of containers in them.

use std::collections::BTreeMap;

use skiff_api::model as wire;
use skiff_engine::model::{
    EndpointConfig, EndpointSettings, IpamAddress, NetworkInspect, NetworkMember, PortBinding,
};

use super::{each, some_list, some_map};
use crate::time;

pub(crate) fn inspect(network: NetworkInspect, with_containers: bool) -> wire::NetworkInspect {
    let pool = |(subnet, gateway)| wire::IpamPool { subnet, gateway, ..wire::IpamPool::default() };
    wire::NetworkInspect {
        name: network.name,
        id: network.id.to_string(),
        created: time::render(Some(network.created)),
        scope: "local".to_owned(),
        driver: network.driver,
        enable_ipv4: true,
        enable_ipv6: network.enable_ipv6,
        ipam: wire::Ipam {
            driver: "default".to_owned(),
            options: None,
            config: some_list(each(network.ipam, pool)),
        },
        containers: match with_containers {
            true => network.containers.into_iter().map(member).collect(),
            false => BTreeMap::new(),
        },
        options: Some(network.options),
        labels: Some(network.labels),
        ..wire::NetworkInspect::default()
    }
}

fn member(member: NetworkMember) -> (String, wire::EndpointResource) {
    let NetworkMember { container_id, name, endpoint_id, mac_address, ipv4_address, ipv6_address } = member;
    (container_id, wire::EndpointResource { name, endpoint_id, mac_address, ipv4_address, ipv6_address })
}

/// The endpoints of a create request, by network.
pub(super) fn asked(networks: wire::NetworkingConfig) -> BTreeMap<String, EndpointConfig> {
    let endpoint = |(name, settings): (String, Option<wire::EndpointSettings>)| {
        let settings = settings.unwrap_or_default();
        let ipam = settings.ipam_config.map(|ipam| IpamAddress {
            ipv4_address: ipam.ipv4_address,
            ipv6_address: ipam.ipv6_address,
            link_local_ips: ipam.link_local_ips,
        });
        let config = EndpointConfig {
            ipam,
            links: settings.links,
            aliases: settings.aliases,
            mac_address: settings.mac_address,
            driver_opts: settings.driver_opts.unwrap_or_default(),
            network_id: settings.network_id,
            gw_priority: settings.gw_priority,
        };
        (name, config)
    };
    networks.endpoints_config.unwrap_or_default().into_iter().map(endpoint).collect()
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
