//! Making, removing and pruning networks. What a request may hold is checked here, in Docker's order and words.

use std::{str::FromStr, sync::Arc};

use skiff_network::{Addressing, Driver, NetworkRequest, PoolConfig, PoolRequest};
use skiff_types::NetworkId;

use super::index::with_chosen;
use crate::{
    Error, Result,
    containers::{Parts, blocking, to_the_end},
    model::{
        Actor, EventKind, Filters, IpamConfig, NetworkCreateRequest, NetworkIpam, Timestamp, UserNetwork,
    },
    prune::Selection,
    records::durable,
};

pub(super) async fn create(parts: &Arc<Parts>, request: NetworkCreateRequest) -> Result<NetworkId> {
    let parts = parts.clone();
    to_the_end(async move { make(&parts, request).await }).await
}

async fn make(parts: &Arc<Parts>, mut request: NetworkCreateRequest) -> Result<NetworkId> {
    check_name(&request.name)?;
    let _name = parts.networks.reserve(&request.name)?;
    apply_enable_options(&mut request)?;
    check_place(&request)?;
    take_configuration(parts, &mut request)?;
    let network = match request.config_only {
        true => described(request, "null", None),
        false => {
            let (parts, request) = (parts.clone(), request);
            blocking(move || build(&parts, request)).await??
        }
    };
    let id = network.id;
    if let Err(e) = durable(parts.records.put_network(&network)).await {
        if network.network.is_some() {
            let parts = parts.clone();
            // What went wrong first is what is told.
            let _ = blocking(move || parts.network.remove(&id)).await;
        }
        return Err(e);
    }
    parts.networks.insert(network.clone());
    tell(parts, &network, "create");
    Ok(id)
}

fn check_name(name: &str) -> Result<()> {
    if name.trim().is_empty() {
        return Err(Error::Invalid("invalid name: name is empty".into()));
    }
    if matches!(name, "bridge" | "host" | "none" | "default") {
        return Err(Error::Forbidden(format!("operation is not permitted on predefined {name} network ")));
    }
    Ok(())
}

/// The families may be chosen by options too.
fn apply_enable_options(request: &mut NetworkCreateRequest) -> Result<()> {
    for (option, family) in [
        ("com.docker.network.enable_ipv4", &mut request.enable_ipv4),
        ("com.docker.network.enable_ipv6", &mut request.enable_ipv6),
    ] {
        let Some(text) = request.options.get(option).filter(|_| family.is_none()) else { continue };
        *family = Some(match text.as_str() {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => true,
            "0" | "f" | "F" | "FALSE" | "false" | "False" => false,
            _ => return Err(Error::Invalid(format!("driver-opt \"{option}\" is not a valid bool"))),
        });
    }
    Ok(())
}

/// What only a swarm has.
fn check_place(request: &NetworkCreateRequest) -> Result<()> {
    let forbidden = |text: &str| Err(Error::Forbidden(text.to_owned()));
    if request.config_only {
        let operators = request.internal || request.attachable || request.ingress;
        if operators || !matches!(request.scope.as_str(), "" | "local") {
            return forbidden(
                "configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | attachable | scope ] are not supported.",
            );
        }
        if !request.config_from.is_empty() {
            return forbidden("a configuration network cannot depend on another configuration network");
        }
        return Ok(());
    }
    if request.scope == "swarm" {
        return forbidden("cannot create a swarm scoped network when swarm is not active");
    }
    if request.ingress {
        return forbidden("Ingress network can only be global scope network");
    }
    match request.driver.as_str() {
        "overlay" => forbidden(
            "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
        ),
        driver @ ("host" | "null") => {
            forbidden(&format!("only one instance of {driver:?} network is allowed"))
        }
        _ => Ok(()),
    }
}

/// Fills in what a configuration network says.
fn take_configuration(parts: &Parts, request: &mut NetworkCreateRequest) -> Result<()> {
    if request.config_from.is_empty() {
        return Ok(());
    }
    let name = &request.config_from;
    let config = parts.networks.resolve(name).ok().filter(|network| network.config_only);
    let config =
        config.ok_or_else(|| Error::NotFound(format!("configuration network {name:?} does not exist")))?;
    let own = !request.ipam.config.is_empty()
        || request.enable_ipv6.is_some_and(|on| on)
        || !request.labels.is_empty();
    if own {
        return Err(Error::Forbidden(
            "user specified configurations are not supported if the network depends on a configuration network"
                .into(),
        ));
    }
    if !request.options.is_empty() {
        return Err(Error::Forbidden(
            "network driver options are not supported if the network depends on a configuration network"
                .into(),
        ));
    }
    request.config_from.clone_from(&config.name);
    request.enable_ipv4 = Some(config.enable_ipv4);
    request.enable_ipv6 = Some(config.enable_ipv6);
    request.ipam = config.ipam.clone();
    request.options.clone_from(&config.options);
    request.labels.clone_from(&config.labels);
    Ok(())
}

/// Makes the network itself. Blocks.
fn build(parts: &Parts, request: NetworkCreateRequest) -> Result<UserNetwork> {
    let driver = match request.driver.as_str() {
        "" => "bridge",
        driver => driver,
    };
    // Who is none of ours may be a plugin.
    let kind = Driver::from_str(driver).unwrap_or(Driver::Remote);
    let pools = pools(&request.ipam.config)?;
    let addressing = match request.ipam.driver.as_str() {
        "" | "default" => Addressing::Own,
        "null" if kind == Driver::Remote => Addressing::Nobody,
        "null" => return Err(Error::Invalid("ipv4 pool is empty".into())),
        plugin => Addressing::Plugin {
            name: plugin.to_owned(),
            options: request.ipam.options.clone().unwrap_or_default(),
        },
    };
    let wanted = NetworkRequest {
        id: NetworkId::random(),
        name: request.name.clone(),
        driver: kind,
        plugin: if kind == Driver::Remote { driver.to_owned() } else { String::new() },
        addressing,
        ipv4: request.enable_ipv4.unwrap_or(true),
        ipv6: request.enable_ipv6.unwrap_or(false),
        internal: request.internal,
        pools,
        options: request.options.clone(),
    };
    let record = parts.network.create(&wanted)?;
    let driver = driver.to_owned();
    Ok(described(request, &driver, Some(record)))
}

fn pools(configs: &[IpamConfig]) -> Result<Vec<PoolRequest>> {
    let configs: Vec<PoolConfig> = configs
        .iter()
        .map(|config| PoolConfig {
            subnet: config.subnet.clone(),
            ip_range: config.ip_range.clone(),
            gateway: config.gateway.clone(),
            auxiliary: config.auxiliary.clone(),
        })
        .collect();
    PoolRequest::read(&configs).map_err(|faults| skiff_network::NetworkError::Ipam(faults).into())
}

fn described(
    request: NetworkCreateRequest,
    driver: &str,
    network: Option<skiff_network::NetworkRecord>,
) -> UserNetwork {
    let or = |text: String, default: &str| if text.is_empty() { default.to_owned() } else { text };
    let ipam = NetworkIpam { driver: or(request.ipam.driver, "default"), ..request.ipam };
    UserNetwork {
        id: network.as_ref().map_or_else(NetworkId::random, |record| record.id),
        name: request.name,
        created: Timestamp::now(),
        driver: driver.to_owned(),
        scope: match &network {
            Some(record) if !record.scope.is_empty() => record.scope.clone(),
            _ => or(request.scope, "local"),
        },
        enable_ipv4: request.enable_ipv4.unwrap_or(true),
        enable_ipv6: request.enable_ipv6.unwrap_or(false),
        ipam: match &network {
            Some(record) => with_chosen(ipam, record),
            None => ipam,
        },
        internal: request.internal,
        attachable: request.attachable,
        config_only: request.config_only,
        config_from: request.config_from,
        options: request.options,
        labels: request.labels,
        network,
    }
}

pub(super) async fn remove(parts: &Arc<Parts>, reference: &str) -> Result<()> {
    let network = parts.networks.resolve(reference)?;
    let parts = parts.clone();
    to_the_end(async move { unmake(&parts, &network).await }).await
}

async fn unmake(parts: &Arc<Parts>, network: &Arc<UserNetwork>) -> Result<()> {
    if parts.networks.is_builtin(&network.id) {
        let text = format!("{} is a pre-defined network and cannot be removed", network.name);
        return Err(Error::Forbidden(text));
    }
    const LABEL: &str = "error while removing network";
    let users = |n: &Arc<UserNetwork>| n.config_from == network.name && !n.config_only;
    if network.config_only && parts.networks.all().iter().any(users) {
        let text = format!("configuration network {:?} is in use", network.name);
        return Err(Error::Forbidden(text).labelled(LABEL));
    }
    if network.network.is_some() {
        let (engine, id) = (parts.clone(), network.id);
        blocking(move || engine.network.remove(&id)).await?.map_err(|e| Error::from(e).labelled(LABEL))?;
    }
    if let Err(e) = durable(parts.records.delete_network(&network.id)).await {
        if let Some(record) = network.network.clone() {
            let parts = parts.clone();
            let restored = blocking(move || parts.network.restore(&record)).await?;
            restored.map_err(|e| Error::from(e).labelled(LABEL))?;
        }
        return Err(e);
    }
    parts.networks.remove(&network.id);
    tell(parts, network, "destroy");
    Ok(())
}

/// Removes networks that no container is in, and answers their names.
pub(super) async fn prune(parts: &Arc<Parts>, filters: &Filters) -> Result<Vec<String>> {
    let selection = Selection::read(filters, &[])?;
    let mut removed = Vec::new();
    for network in parts.networks.all() {
        let chosen = !parts.networks.is_builtin(&network.id)
            && !network.config_only
            && selection.takes(network.created, &network.labels);
        if !chosen {
            continue;
        }
        let (engine, network) = (parts.clone(), network.clone());
        // One that is in use stays; what else cannot be removed is no reason to keep the others.
        let name = network.name.clone();
        match to_the_end(async move { unmake(&engine, &network).await }).await {
            Ok(()) => removed.push(name),
            Err(e) if e.kind() == skiff_types::ErrorKind::Forbidden => {}
            Err(e) => tracing::warn!(network = name, "cannot remove: {e}"),
        }
    }
    if !removed.is_empty() {
        let actor =
            Actor { id: String::new(), attributes: [("reclaimed".to_owned(), "0".to_owned())].into() };
        parts.events.publish(EventKind::Network, "prune", actor);
    }
    Ok(removed)
}

fn tell(parts: &Parts, network: &UserNetwork, action: &str) {
    let attributes = [("name".to_owned(), network.name.clone()), ("type".to_owned(), network.driver.clone())];
    let actor = Actor { id: network.id.to_string(), attributes: attributes.into() };
    parts.events.publish(EventKind::Network, action, actor);
}
