//! Networks: made, listed, removed; containers connected and disconnected.
//!
//! A network's record is kept when it is made and forgotten when it is removed, in this order: the kernel first, then the
//! store, then the answer. What a daemon that was killed in between has left in the kernel the next one takes away or makes
//! again, as the store says.

mod create;
mod explain;
mod index;
mod membership;
mod rejoin;

use std::sync::Arc;

use skiff_network::EndpointRecord;
use skiff_types::NetworkId;

use crate::{
    Error, Result,
    containers::Parts,
    model::{
        ConnectRequest, Explanation, Filters, NetworkCreateRequest, NetworkInspect, NetworkMember,
        UserNetwork,
    },
};
pub(crate) use index::NetworkIndex;
pub(crate) use rejoin::rejoin;

const FILTERS: &[&str] = &["dangling", "driver", "id", "label", "name", "scope", "type"];

/// The service.
#[derive(Clone)]
pub struct Networks {
    parts: Arc<Parts>,
}

impl Networks {
    pub(crate) fn new(parts: Arc<Parts>) -> Self {
        Self { parts }
    }

    /// Makes a network.
    ///
    /// # Errors
    /// Names, subnets, options and drivers that cannot be had. Nothing is left behind then.
    pub async fn create(&self, request: NetworkCreateRequest) -> Result<NetworkId> {
        create::create(&self.parts, request).await
    }

    /// Removes a network that no container is in.
    ///
    /// # Errors
    /// There is no such network; it is in use, or one of those that are always there.
    pub async fn remove(&self, network: &str) -> Result<()> {
        create::remove(&self.parts, network).await
    }

    /// Removes all networks that no container is in, and answers their names.
    ///
    /// # Errors
    /// Unknown filters or values.
    pub async fn prune(&self, filters: Filters) -> Result<Vec<String>> {
        create::prune(&self.parts, &filters).await
    }

    /// Connects a container, which may run.
    ///
    /// # Errors
    /// There is no such network or container; it cannot be in this network; addresses that cannot be had.
    pub async fn connect(&self, network: &str, request: ConnectRequest) -> Result<()> {
        membership::connect(&self.parts, network, request).await
    }

    /// Disconnects a container, which may run. With `force` the endpoint of a container that is gone.
    ///
    /// # Errors
    /// There is no such network or container; it is not in the network.
    pub async fn disconnect(&self, network: &str, container: &str, force: bool) -> Result<()> {
        membership::disconnect(&self.parts, network, container, force).await
    }

    /// Lists networks.
    ///
    /// # Errors
    /// Unknown filters.
    pub async fn list(&self, filters: Filters) -> Result<Vec<NetworkInspect>> {
        filters.accept(FILTERS)?;
        let dangling = match filters.has("dangling") {
            true => Some(filters.boolean("dangling", false).map_err(|_| {
                Error::Invalid(
                    "invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")"
                        .to_owned(),
                )
            })?),
            false => None,
        };
        if let Some(other) = filters.values("type").find(|kind| !matches!(*kind, "builtin" | "custom")) {
            return Err(Error::Internal(format!("invalid filter: 'type'='{other}'")));
        }
        let matches = |n: &NetworkInspect| {
            let network = &n.network;
            let kind = if n.builtin { "builtin" } else { "custom" };
            let unused = !n.builtin && n.containers.is_empty();
            filters.exact("driver", &network.driver)
                && filters.any("id", |id| is_match(id, &network.id.to_string()))
                && filters.any("name", |name| is_match(name, &network.name))
                && filters.labels("label", &network.labels)
                && filters.exact("scope", &network.scope)
                && filters.exact("type", kind)
                && dangling.is_none_or(|dangling| dangling == unused)
        };
        let endpoints = self.parts.network.endpoints();
        let all = self.parts.networks.all().into_iter();
        Ok(all.map(|network| self.shown(&network, &endpoints)).filter(matches).collect())
    }

    /// One network by name, id or beginning of its id.
    ///
    /// # Errors
    /// There is no such network; the beginning is that of several.
    pub async fn inspect(&self, network: &str) -> Result<NetworkInspect> {
        let network = self.parts.networks.resolve(network)?;
        let endpoints = self.parts.network.members(&network.id);
        Ok(self.shown(&network, &endpoints))
    }

    /// Whether a container, the host or an address reaches another, or a name, at a port if one is named (`B:PORT`, `B:PORT/udp`), by which
    /// way, or where it ends.
    ///
    /// # Errors
    /// There is no such container; ports that are none; what the kernel refuses.
    pub async fn explain(&self, from: &str, to: &str) -> Result<Explanation> {
        explain::explain(&self.parts, from, to).await
    }

    fn shown(&self, network: &UserNetwork, endpoints: &[EndpointRecord]) -> NetworkInspect {
        let builtin = self.parts.networks.is_builtin(&network.id);
        let containers = match network.driver.as_str() {
            "host" | "null" => self.sharers(network),
            _ => endpoints.iter().filter(|e| e.network == network.id).map(member).collect(),
        };
        NetworkInspect { network: network.clone(), builtin, containers }
    }

    /// Running containers on a network that gives no endpoints.
    fn sharers(&self, network: &UserNetwork) -> Vec<NetworkMember> {
        let member = |container: Arc<crate::container::Container>| {
            let record = container.record();
            let endpoint = &record.network.networks.get(&network.name)?.state;
            if !record.state.status.is_running() || endpoint.endpoint_id.is_empty() {
                return None;
            }
            Some(NetworkMember {
                container_id: record.id.to_string(),
                name: record.name.clone(),
                endpoint_id: endpoint.endpoint_id.clone(),
                mac_address: String::new(),
                ipv4_address: String::new(),
                ipv6_address: String::new(),
            })
        };
        self.parts.registry.all().into_iter().filter_map(member).collect()
    }
}

fn member(endpoint: &EndpointRecord) -> NetworkMember {
    let with_prefix =
        |ip: Option<String>, prefix: u8| ip.map(|ip| format!("{ip}/{prefix}")).unwrap_or_default();
    NetworkMember {
        container_id: endpoint.container.to_string(),
        name: endpoint.container_name.clone(),
        endpoint_id: endpoint.id.to_string(),
        mac_address: endpoint.mac.map(|mac| mac.to_string()).unwrap_or_default(),
        ipv4_address: with_prefix(endpoint.ipv4.map(|ip| ip.to_string()), endpoint.prefix),
        ipv6_address: with_prefix(endpoint.ipv6.map(|ip| ip.to_string()), endpoint.prefix6),
    }
}

/// Whether a regular expression is found in a text; what is none is looked for as it stands.
fn is_match(wanted: &str, text: &str) -> bool {
    match regex_lite::Regex::new(wanted) {
        Ok(regex) => regex.is_match(text),
        Err(_) => text.contains(wanted),
    }
}
