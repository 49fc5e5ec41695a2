//! Containers in lists.

use skiff_api::model as wire;
use skiff_engine::model::{ContainerSummary, PortSummary};

use super::{each, mount, network, some_map};

pub(crate) fn summary(container: ContainerSummary) -> wire::ContainerSummary {
    let sizes = container.sizes.unwrap_or_default();
    let boxed = |(name, settings)| (name, Box::new(network::endpoint(settings)));
    let networks = container.networks.into_iter().map(boxed).collect();
    wire::ContainerSummary {
        id: container.id,
        names: Some(container.names),
        image: container.image,
        image_id: container.image_id,
        command: container.command,
        created: container.created.as_second(),
        ports: each(container.ports, port),
        size_rw: sizes.rw,
        size_root_fs: sizes.root_fs,
        labels: Some(container.labels),
        state: container.state.as_str().to_owned(),
        status: container.status,
        host_config: wire::SummaryHostConfig {
            network_mode: container.network_mode,
            annotations: some_map(container.annotations),
        },
        network_settings: Some(wire::NetworkSettingsSummary { networks: Some(networks) }),
        mounts: each(container.mounts, |m| mount::point(m, true)),
    }
}

fn port(port: PortSummary) -> wire::Port {
    wire::Port {
        ip: port.ip,
        private_port: port.private_port,
        public_port: port.public_port,
        r#type: port.protocol,
    }
}
