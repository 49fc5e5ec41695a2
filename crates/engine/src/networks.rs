//! The built-in networks: `bridge`, `host`, `none`.

use std::{collections::BTreeMap, sync::Arc};

use skiff_network::{BridgeInfo, Network};
use skiff_types::NetworkId;

use crate::{
    Error, Result,
    model::{Filters, NetworkInspect, NetworkMember},
    records::Identity,
    registry::Registry,
};

const FILTERS: &[&str] = &["dangling", "driver", "id", "label", "name", "scope", "type"];

/// The service.
#[derive(Clone)]
pub struct Networks {
    identity: Identity,
    network: Arc<Network>,
    registry: Arc<Registry>,
}

impl Networks {
    pub(crate) fn new(identity: Identity, network: Arc<Network>, registry: Arc<Registry>) -> Self {
        Self { identity, network, registry }
    }

    /// Lists networks.
    ///
    /// # Errors
    /// Unknown filters.
    pub async fn list(&self, filters: Filters) -> Result<Vec<NetworkInspect>> {
        filters.accept(FILTERS)?;
        let dangling = filters.boolean("dangling", false).map_err(|_| {
            Error::Invalid(
                "invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")"
                    .to_owned(),
            )
        })?;
        if let Some(other) = filters.values("type").find(|kind| !matches!(*kind, "builtin" | "custom")) {
            return Err(Error::Internal(format!("invalid filter: 'type'='{other}'")));
        }
        let matches = |n: &NetworkInspect| {
            filters.exact("driver", &n.driver)
                && filters.any("id", |id| n.id.to_string().starts_with(id))
                && filters.any("name", |name| n.name.contains(name))
                && filters.labels("label", &n.labels)
                && filters.exact("scope", "local")
                && filters.exact("type", "builtin")
                // Built-in networks are never left over.
                && !dangling
        };
        Ok(self.all().into_iter().filter(matches).collect())
    }

    /// One network by name, id or beginning of its id.
    ///
    /// # Errors
    /// There is no such network.
    pub async fn inspect(&self, network: &str) -> Result<NetworkInspect> {
        let all = self.all();
        let by = |test: &dyn Fn(&NetworkInspect) -> bool| all.iter().find(|n| test(n)).cloned();
        by(&|n| n.id.to_string() == network)
            .or_else(|| by(&|n| n.name == network))
            .or_else(|| by(&|n| !network.is_empty() && n.id.to_string().starts_with(network)))
            .ok_or_else(|| Error::NoSuchNetwork(network.to_owned()))
    }

    fn all(&self) -> Vec<NetworkInspect> {
        let default = self.network.bridge().map(|bridge| self.default_bridge(bridge));
        let host = self.builtin("host", self.identity.host, "host");
        let none = self.builtin("none", self.identity.none, "null");
        default.into_iter().chain([host, none]).collect()
    }

    fn default_bridge(&self, bridge: &BridgeInfo) -> NetworkInspect {
        let mut default = self.builtin("bridge", self.identity.bridge, "bridge");
        default.ipam = vec![(bridge.subnet.to_string(), bridge.gateway.to_string())];
        let option = |name: &str, value: String| (format!("com.docker.network.{name}"), value);
        default.options = [
            option("bridge.default_bridge", "true".into()),
            option("bridge.enable_icc", bridge.icc.to_string()),
            option("bridge.enable_ip_masquerade", bridge.ip_masq.to_string()),
            option("bridge.host_binding_ipv4", bridge.default_bind_address.to_string()),
            option("bridge.name", bridge.name.clone()),
            option("driver.mtu", bridge.mtu.to_string()),
        ]
        .into();
        default
    }

    fn builtin(&self, name: &str, id: NetworkId, driver: &str) -> NetworkInspect {
        NetworkInspect {
            name: name.to_owned(),
            id,
            created: self.identity.created,
            driver: driver.to_owned(),
            ipam: Vec::new(),
            options: BTreeMap::new(),
            enable_ipv6: false,
            labels: BTreeMap::new(),
            containers: self.members(name),
        }
    }

    fn members(&self, network: &str) -> Vec<NetworkMember> {
        let member = |container: Arc<crate::container::Container>| {
            let record = container.record();
            let endpoint = &record.network.networks.get(network)?.state;
            if !record.state.status.is_running() || endpoint.endpoint_id.is_empty() {
                return None;
            }
            let address = match endpoint.ip_address.as_str() {
                "" => String::new(),
                ip => format!("{ip}/{}", endpoint.ip_prefix_len),
            };
            Some(NetworkMember {
                container_id: record.id.to_string(),
                name: record.name.clone(),
                endpoint_id: endpoint.endpoint_id.clone(),
                mac_address: endpoint.mac_address.clone(),
                ipv4_address: address,
                ipv6_address: String::new(),
            })
        };
        self.registry.all().into_iter().filter_map(member).collect()
    }
}
