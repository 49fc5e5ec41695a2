//! How endpoints become names, and containers get somebody to ask.
//!
//! A container is served in its own network namespace from its first user-defined network on; joining and leaving others
//! only changes what it is told. Names come and go with endpoints, under the same lock.

use std::os::fd::BorrowedFd;

use skiff_types::ContainerId;

use crate::{
    EndpointRecord, Membership, NameEntry, NameServers, Network, NetworkError, ResolverConfig, state::State,
};

/// What a container's own configuration says about names that are not known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asks {
    /// Whom to ask.
    pub servers: NameServers,
    /// Whether `ndots` is set: a name without a dot is then never asked for elsewhere.
    pub ndots_set: bool,
}

impl Network {
    /// Serves names to a container that runs in this namespace, if it is on a user-defined network; or tells its resolver of
    /// the networks it is on now. It ends with [`Network::release`].
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn serve_names(
        &self,
        container: &ContainerId,
        asks: Asks,
        netns: BorrowedFd<'_>,
    ) -> Result<(), NetworkError> {
        let config = self.lock().resolver(container, asks);
        if self.dns.serves(container) {
            self.dns.change(config);
            return Ok(());
        }
        if config.networks.is_empty() {
            return Ok(());
        }
        self.dns.serve(config, netns)
    }
}

impl State {
    /// Makes an endpoint known by its names, if it has any.
    pub(crate) fn name_endpoint(&self, record: &EndpointRecord) {
        let Some(net) = self.networks.get(&record.network).filter(|_| !record.names.is_empty()) else {
            return;
        };
        self.dns.put(NameEntry {
            network: record.network,
            network_name: net.record.name.clone(),
            container: record.container,
            names: record.names.clone(),
            ipv4: record.ipv4,
            ipv6: record.ipv6,
        });
    }

    fn resolver(&self, container: &ContainerId, asks: Asks) -> ResolverConfig {
        let endpoints = self.of(container);
        let network = |endpoint: &EndpointRecord| self.networks.get(&endpoint.network);
        let membership = |endpoint: &EndpointRecord| {
            let net = network(endpoint).filter(|net| !net.is_default)?;
            let links = endpoint.links.iter().map(|(alias, target)| (alias.clone(), known_as(target)));
            let (network, name) = (endpoint.network, net.record.name.clone());
            Some(Membership { network, name, links: links.collect() })
        };
        // Drivers of others may know better than the host whom to ask.
        let told = endpoints.iter().filter_map(|endpoint| endpoint.foreign.as_ref());
        let told: Vec<_> = told.flat_map(|foreign| foreign.servers.iter().copied()).collect();
        ResolverConfig {
            container: *container,
            networks: endpoints.iter().filter_map(membership).collect(),
            forwards: endpoints.iter().filter_map(network).any(|net| !net.record.internal),
            servers: match asks.servers {
                NameServers::Host if !told.is_empty() => NameServers::Given(told),
                asked => asked,
            },
            ndots_set: asks.ndots_set,
        }
    }
}

/// A container is known by the beginning of its id, not by all of it.
fn known_as(target: &str) -> String {
    target.parse::<ContainerId>().map_or_else(|_| target.to_owned(), |id| id.short())
}
