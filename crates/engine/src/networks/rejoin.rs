//! Running containers whose places in networks did not survive the last daemon: it was killed while it put one in or took one out, or
//! somebody removed a link meanwhile. What was not acknowledged is undone: the record says where the container is.

use std::os::fd::AsFd;

use skiff_network::{Driver, EndpointRecord};

use crate::{
    Result,
    container::{Container, Live},
    containers::{Parts, endpoint},
    model::{ContainerRecord, EndpointSettings, UserNetwork},
};

/// Brings a running container's endpoints and its record together. Blocks for a moment. What cannot be had is logged: the container goes
/// on without.
pub(crate) fn rejoin(parts: &Parts, container: &Container, record: &ContainerRecord, live: &Live) {
    if let Err(e) = try_rejoin(parts, container, record, live) {
        tracing::error!(container = container.name(), "it lost its place in a network: {e}");
    }
}

fn try_rejoin(parts: &Parts, container: &Container, record: &ContainerRecord, live: &Live) -> Result<()> {
    let has_children = |net: &UserNetwork| net.network.as_ref().is_some_and(|n| n.driver != Driver::Bridge);
    if parts.networks.all().iter().any(|net| has_children(net)) {
        parts.network.tidy(endpoint::namespace(live)?.as_fd(), &record.id)?;
    }
    let mut endpoints = parts.network.endpoints_of(&record.id);
    let is_in = |e: &EndpointRecord| {
        record.network.networks.values().any(|settings| settings.network_id == Some(e.network))
    };
    let strays: Vec<_> = endpoints.extract_if(.., |e| e.foreign.is_some() && !is_in(e)).collect();
    if !strays.is_empty() {
        let netns = endpoint::namespace(live)?;
        for stray in &strays {
            parts.network.disconnect(netns.as_fd(), record.id, stray.network, &endpoint::ports(record)?)?;
        }
    }
    let lost = |settings: &EndpointSettings| {
        let network = parts.networks.get(&settings.network_id?).filter(|net| net.network.is_some())?;
        (!endpoints.iter().any(|e| e.network == network.id)).then_some(network)
    };
    let lost: Vec<_> = record.network.networks.values().filter_map(|s| Some((lost(s)?, s))).collect();
    if lost.is_empty() && strays.is_empty() {
        return Ok(());
    }
    let netns = endpoint::namespace(live)?;
    let ports = endpoint::ports(record)?;
    for (network, settings) in lost {
        let request = endpoint::request(record, &network, settings)?;
        parts.network.connect(netns.as_fd(), record.id, &record.name, &request, &ports)?;
        tracing::warn!(container = record.name, network = network.name, "it is back in a network");
    }
    let endpoints = parts.network.endpoints_of(&record.id);
    let change = |record: &mut ContainerRecord| endpoint::describe(record, &endpoints);
    let (_, committed) =
        container.commit(change, |record| parts.records.put_with_endpoints(record, &endpoints));
    committed.detach();
    Ok(())
}
