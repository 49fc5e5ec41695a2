//! Connecting containers to networks and disconnecting them, while they run and while they do not.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use skiff_network::NetworkError;
use skiff_types::NetworkId;

use crate::{
    Error, Result,
    container::{Container, Live},
    containers::{Parts, blocking, endpoint, etc, to_the_end},
    model::{ConnectRequest, ContainerRecord, EndpointConfig, EndpointSettings, EndpointState, UserNetwork},
    records::durable,
    validate::{self, NetworkMode},
};

const SHARES: &str = "container sharing network namespace with another container or host cannot be connected to any other network";
const NONE: &str =
    "container cannot be connected to multiple networks with one of the networks in private (none) mode";

pub(super) async fn connect(parts: &Arc<Parts>, reference: &str, request: ConnectRequest) -> Result<()> {
    let ConnectRequest { container, endpoint } = request;
    if container.is_empty() {
        return Err(Error::Invalid("invalid name or ID supplied: \"\"".into()));
    }
    let container = parts.registry.resolve(&container)?;
    let network = parts.networks.resolve(reference)?;
    endpoint::check(&network, &endpoint).map_err(|faults| match faults.as_slice() {
        [mac] if mac.starts_with("invalid MAC address") => Error::Invalid(mac.clone()),
        _ => Error::Invalid(endpoint::settings_faults(&faults)),
    })?;
    let parts = parts.clone();
    to_the_end(async move {
        let _order = container.order.lock().await;
        match container.live() {
            Ok(live) => connect_running(&parts, &container, &live, &network, endpoint).await,
            Err(_) => connect_stopped(&parts, &container, &network, endpoint).await,
        }
    })
    .await
}

/// What keeps a container out of a network, whatever its addresses.
fn may_connect(record: &ContainerRecord, network: &UserNetwork, running: bool) -> Result<()> {
    let invalid = |text: &str| Err(Error::Invalid(text.to_owned()));
    let mode = validate::network_mode(&record.host.network_mode);
    if matches!(mode, NetworkMode::Host) || (running && matches!(mode, NetworkMode::Container(_))) {
        return invalid(SHARES);
    }
    if network.config_only {
        return Err(Error::Forbidden("cannot create endpoint on configuration-only network".into()));
    }
    match network.name.as_str() {
        "host" => invalid(
            "cannot connect container to host network - container must be created in host network mode",
        ),
        "none" if !record.network.networks.is_empty() => invalid(NONE),
        _ if record.network.networks.contains_key("none") => invalid(NONE),
        _ => Ok(()),
    }
}

async fn connect_stopped(
    parts: &Parts,
    container: &Container,
    network: &UserNetwork,
    config: EndpointConfig,
) -> Result<()> {
    if container.is_being_removed() {
        return Err(Error::Conflict(format!(
            "container {} is marked for removal and cannot be connected or disconnected to the network",
            container.id
        )));
    }
    may_connect(&container.record(), network, false)?;
    let change = |record: &mut ContainerRecord| {
        let names = endpoint::dns_names(record, network, &config);
        let state = EndpointState { dns_names: names, ..EndpointState::default() };
        let settings = EndpointSettings { config, network_id: None, state };
        record.network.networks.insert(network.name.clone(), settings);
    };
    let (_, committed) = container.commit(change, |record| parts.records.put(record));
    durable(committed).await
}

async fn connect_running(
    parts: &Arc<Parts>,
    container: &Arc<Container>,
    live: &Arc<Live>,
    network: &Arc<UserNetwork>,
    config: EndpointConfig,
) -> Result<()> {
    may_connect(&container.record(), network, true)?;
    let settings = EndpointSettings { config, network_id: Some(network.id), state: EndpointState::default() };
    let netns = endpoint::namespace(live)?;
    let (engine, record, id) = (parts.clone(), container.record().clone(), network.id);
    let request = endpoint::request(&record, network, &settings)?;
    let connected = blocking(move || {
        let ports = endpoint::ports(&record)?;
        let all = engine.network.connect(netns.as_fd(), record.id, &record.name, &request, &ports)?;
        if let Some(new) = all.iter().find(|e| e.network == id) {
            etc::add_to_hosts(&engine, &record, new);
            if !new.names.is_empty() {
                etc::name_embedded_server(&engine, &record);
            }
        }
        endpoint::serve_names(&engine, &record, netns.as_fd());
        Ok::<_, Error>((all, netns))
    });
    let (endpoints, netns) = connected.await??;
    if container.live().is_err() {
        // It ended meanwhile, and may have given its endpoints back before it got this one.
        parts.network.release(&container.id);
        return Err(Error::NotRunning(container.id.to_string()));
    }
    let change = |record: &mut ContainerRecord| {
        record.network.networks.insert(network.name.clone(), settings);
        endpoint::describe(record, &endpoints);
    };
    let (_, committed) =
        container.commit(change, |record| parts.records.put_with_endpoints(record, &endpoints));
    if let Err(e) = durable(committed).await {
        // What went wrong first is what is told.
        let _ = take_out(parts, container, netns, network.id, &network.name).await;
        return Err(e);
    }
    endpoint::tell_of(parts, container, network, "connect");
    Ok(())
}

pub(super) async fn disconnect(
    parts: &Arc<Parts>,
    reference: &str,
    container: &str,
    force: bool,
) -> Result<()> {
    let found = parts.registry.resolve(container);
    let Ok(container) = found else {
        if !force {
            return found.map(drop);
        }
        // Endpoints go with their containers: there is none without.
        parts.networks.resolve(reference)?;
        return Err(Error::NotFound(format!("endpoint {container} not found")));
    };
    let (parts, reference) = (parts.clone(), reference.to_owned());
    to_the_end(async move {
        let _order = container.order.lock().await;
        match container.live() {
            Ok(live) => disconnect_running(&parts, &container, &live, &reference).await,
            Err(_) => disconnect_stopped(&parts, &container, &reference).await,
        }
    })
    .await
}

async fn disconnect_stopped(parts: &Parts, container: &Container, reference: &str) -> Result<()> {
    let network = parts.networks.resolve(reference).ok();
    let name = network.map_or_else(|| reference.to_owned(), |network| network.name.clone());
    if !container.record().network.networks.contains_key(&name) {
        let text = format!("container {} is not connected to the network {name}", container.id);
        return Err(Error::Internal(text));
    }
    let change = |record: &mut ContainerRecord| drop(record.network.networks.remove(&name));
    let (_, committed) = container.commit(change, |record| parts.records.put(record));
    durable(committed).await
}

async fn disconnect_running(
    parts: &Arc<Parts>,
    container: &Arc<Container>,
    live: &Arc<Live>,
    reference: &str,
) -> Result<()> {
    let network = parts.networks.resolve(reference)?;
    let is_host = matches!(validate::network_mode(&container.record().host.network_mode), NetworkMode::Host);
    if is_host && network.name == "host" {
        return Err(Error::Invalid(
            "cannot disconnect container from host network - container was created in host network mode"
                .into(),
        ));
    }
    if !container.record().network.networks.contains_key(&network.name) {
        let text = format!("container {} is not connected to network {}", container.id, network.name);
        return Err(Error::Internal(text));
    }
    if network.name == "none" {
        let change = |record: &mut ContainerRecord| drop(record.network.networks.remove("none"));
        let (_, committed) = container.commit(change, |record| parts.records.put(record));
        durable(committed).await?;
    } else {
        let netns = endpoint::namespace(live)?;
        take_out(parts, container, netns, network.id, &network.name).await?;
    }
    endpoint::tell_of(parts, container, &network, "disconnect");
    Ok(())
}

/// Takes a running container out of a network.
async fn take_out(
    parts: &Arc<Parts>,
    container: &Arc<Container>,
    netns: OwnedFd,
    network: NetworkId,
    name: &str,
) -> Result<()> {
    let (engine, record) = (parts.clone(), container.record().clone());
    let left = blocking(move || {
        let ports = endpoint::ports(&record)?;
        let before = engine.network.endpoints_of(&record.id);
        let left = match engine.network.disconnect(netns.as_fd(), record.id, network, &ports) {
            // Its link was lost before: what is left to do is to say so.
            Err(NetworkError::NotAttached { .. }) => engine.network.endpoints_of(&record.id),
            left => left?,
        };
        if let Some(gone) = before.iter().find(|e| e.network == network) {
            etc::take_from_hosts(&engine, &record, gone);
        }
        endpoint::serve_names(&engine, &record, netns.as_fd());
        Ok::<_, Error>(left)
    });
    let endpoints = left.await??;
    let change = |record: &mut ContainerRecord| {
        record.network.networks.remove(name);
        endpoint::describe(record, &endpoints);
    };
    let (_, committed) =
        container.commit(change, |record| parts.records.put_with_endpoints(record, &endpoints));
    durable(committed).await
}
