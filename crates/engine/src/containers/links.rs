//! Links on the default bridge (`--link`): a container knows others by names of its own, from its `/etc/hosts` and from
//! variables that tell of their ports.
//!
//! A link is to a container, whatever that is called later. What it tells is worked out anew at each start; when the
//! other one comes back with another address, the lines in `/etc/hosts` follow. Links on user-defined networks are names
//! like others and none of this module's business.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::Path,
    sync::Arc,
};

use skiff_network::{hosts_with_link, hosts_without_link};
use skiff_types::ContainerId;

use super::parts::{Parts, blocking, to_the_end};
use crate::{
    Error, Result,
    container::Container,
    model::{ContainerConfig, ContainerRecord, CreateRequest, Link},
    records::durable,
    validate::{self, NetworkMode},
};

/// The links that a request asks for.
///
/// # Errors
/// One that is malformed or to nobody.
pub(super) fn asked(parts: &Parts, request: &CreateRequest) -> Result<Vec<Link>> {
    let mut links: Vec<Link> = Vec::new();
    if matches!(validate::network_mode(&request.host.network_mode), NetworkMode::Named(_)) {
        return Ok(links);
    }
    for link in request.host.links.iter().flatten() {
        if link.is_empty() {
            // Recorded: Docker answers 500 here.
            return Err(Error::Internal("empty string specified for links".to_owned()));
        }
        let (reference, alias) = link.split_once(':').unwrap_or((link, link));
        if alias.contains(':') {
            return Err(Error::Internal(format!("bad format for links: {link}")));
        }
        let unknown = |e: &dyn std::fmt::Display| {
            Error::Invalid(format!("could not get container for {reference}: {e}"))
        };
        if reference.is_empty() {
            return Err(unknown(&"invalid name or ID supplied: \"\""));
        }
        let target = parts.registry.resolve(reference).map_err(|e| unknown(&e))?;
        // As inspect shows it: `/target:/own/alias`.
        let alias = alias.rsplit('/').next().unwrap_or_default();
        if alias.is_empty() || links.iter().any(|known| known.alias == alias) {
            continue;
        }
        links.push(Link {
            target: target.id,
            target_name: target.name(),
            alias: alias.to_owned(),
            hosts: None,
            environment: Vec::new(),
        });
    }
    Ok(links)
}

/// As `inspect` shows them; nothing if there are none.
pub(super) fn shown(parts: &Parts, record: &ContainerRecord) -> Option<Vec<String>> {
    let one = |link: &Link| format!("/{}:/{}/{}", target_name(parts, link), record.name, link.alias);
    Some(record.links.iter().map(one).collect()).filter(|links: &Vec<String>| !links.is_empty())
}

/// What the containers are called by those that link to them, as `ps` shows it.
pub(super) fn names(parts: &Parts) -> BTreeMap<ContainerId, BTreeSet<String>> {
    let mut names: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for container in parts.registry.all() {
        let record = container.record();
        for link in &record.links {
            names.entry(link.target).or_default().insert(format!("/{}/{}", record.name, link.alias));
        }
    }
    names
}

/// The record of a container that is about to start, with what its links tell now; nothing if it has none. Without a place
/// on the default bridge they tell nothing.
///
/// # Errors
/// A linked container does not run, or is not on the default bridge.
pub(super) fn at_start(
    parts: &Parts,
    record: &ContainerRecord,
    on_bridge: bool,
) -> Result<Option<ContainerRecord>> {
    if record.links.is_empty() {
        return Ok(None);
    }
    let mut linked = record.clone();
    for link in &mut linked.links {
        (link.hosts, link.environment) = (None, Vec::new());
        if on_bridge {
            tell(parts, record, link)?;
        }
    }
    Ok(Some(linked))
}

fn tell(parts: &Parts, record: &ContainerRecord, link: &mut Link) -> Result<()> {
    let own = format!("/{}/{}", record.name, link.alias);
    let target = parts.registry.get(&link.target).filter(|target| target.live().is_ok());
    let target = target.ok_or_else(|| {
        let name = target_name(parts, link);
        Error::Internal(format!("Cannot link to a non running container: /{name} AS {own}"))
    })?;
    let address = address(parts, &link.target).ok_or_else(|| {
        Error::Internal(format!("container {} not attached to default bridge network", link.target))
    })?;
    let target = target.record();
    link.hosts = Some((address, hosts_names(&link.alias, &target)));
    link.environment = environment(&link.alias, &own, address, &target.config);
    Ok(())
}

/// A container's address on the default bridge.
fn address(parts: &Parts, container: &ContainerId) -> Option<IpAddr> {
    let endpoints = parts.network.endpoints_of(container);
    let on_bridge = endpoints.iter().find(|endpoint| endpoint.network == parts.identity.bridge)?;
    on_bridge.ipv4.map(IpAddr::V4)
}

fn target_name(parts: &Parts, link: &Link) -> String {
    parts.registry.get(&link.target).map_or_else(|| link.target_name.clone(), |target| target.name())
}

/// The alias comes first; the name is not said twice.
fn hosts_names(alias: &str, target: &ContainerRecord) -> String {
    let mut names = format!("{alias} {}", target.config.hostname);
    if alias != target.name {
        names.push(' ');
        names.push_str(&target.name);
    }
    names
}

/// Docker's variables: for each exposed port its address in pieces, for each run of ports its ends, the link's name, and
/// the other's own variables.
fn environment(alias: &str, own_name: &str, address: IpAddr, target: &ContainerConfig) -> Vec<String> {
    let prefix = alias.to_uppercase().replace('-', "_");
    let mut ports: Vec<(u16, &str)> =
        target.exposed_ports.iter().filter_map(|port| validate::parse_port(port)).collect();
    ports.sort_by_key(|&(number, protocol)| (protocol != "tcp", protocol, number));
    let mut out = Vec::new();
    if let Some((number, protocol)) = ports.first() {
        out.push(format!("{prefix}_PORT={protocol}://{address}:{number}"));
    }
    let key = |(number, protocol): (u16, &str)| format!("{prefix}_PORT_{number}_{}", protocol.to_uppercase());
    let follows = |a: (u16, &str), b: (u16, &str)| a.1 == b.1 && a.0.checked_add(1) == Some(b.0);
    for run in ports.chunk_by(|a, b| follows(*a, *b)) {
        for &(number, protocol) in run {
            let key = key((number, protocol));
            out.push(format!("{key}={protocol}://{address}:{number}"));
            out.push(format!("{key}_ADDR={address}"));
            out.push(format!("{key}_PORT={number}"));
            out.push(format!("{key}_PROTO={protocol}"));
        }
        if let [(first, protocol), .., (last, _)] = *run {
            let key = key((first, protocol));
            out.push(format!("{key}_START={protocol}://{address}:{first}"));
            out.push(format!("{key}_PORT_START={first}"));
            out.push(format!("{key}_END={protocol}://{address}:{last}"));
            out.push(format!("{key}_PORT_END={last}"));
        }
    }
    out.push(format!("{prefix}_NAME={own_name}"));
    let told = target.env.iter().filter_map(|variable| variable.split_once('='));
    let told = told.filter(|(name, _)| !matches!(*name, "HOME" | "PATH"));
    out.extend(told.map(|(name, value)| format!("{prefix}_ENV_{name}={value}")));
    out
}

/// Tells those that link to a container which has just started where it is now. Blocks for a moment.
pub(super) fn target_started(parts: &Parts, target: &ContainerId) {
    let Some(address) = address(parts, target) else { return };
    for container in parts.registry.all() {
        let record = container.record();
        let links: Vec<&Link> =
            record.links.iter().filter(|l| l.target == *target && l.hosts.is_some()).collect();
        if links.is_empty() || !record.state.status.is_running() {
            continue;
        }
        let change =
            |text: String| links.iter().fold(text, |text, link| hosts_with_link(&text, &link.alias, address));
        rewrite(&parts.dir(&record.id).join("hosts"), change);
    }
}

/// Changes a file in place: it is mounted into a container.
fn rewrite(hosts: &Path, change: impl FnOnce(String) -> String) {
    let changed = fs_err::read_to_string(hosts).and_then(|old| {
        let new = change(old.clone());
        if new == old { Ok(()) } else { fs_err::write(hosts, new) }
    });
    if let Err(error) = changed {
        tracing::warn!(%error, "a linked container's address could not be told");
    }
}

/// Removes a link, by its name `container/alias`.
///
/// # Errors
/// There is no such link.
pub(super) async fn remove(parts: &Arc<Parts>, reference: &str) -> Result<()> {
    let name = reference.strip_prefix('/').unwrap_or(reference);
    let Some((owner, alias)) = name.split_once('/') else {
        parts.registry.resolve(reference)?;
        // Recorded: Docker answers 500 here.
        return Err(Error::Internal("Conflict, cannot remove the default link name of the container".into()));
    };
    let missing = || Error::NoSuchContainer(reference.to_owned());
    let owner = parts.registry.resolve(owner).map_err(|_| missing())?;
    if !owner.record().links.iter().any(|link| link.alias == alias) {
        return Err(missing());
    }
    let (parts, alias) = (parts.clone(), alias.to_owned());
    to_the_end(async move {
        let _order = owner.order.lock().await;
        let change = |record: &mut ContainerRecord| record.links.retain(|link| link.alias != alias);
        let (record, changed) = owner.commit(change, |record| parts.records.put(record));
        durable(changed).await?;
        if record.state.status.is_running() {
            let hosts = parts.dir(&record.id).join("hosts");
            blocking(move || rewrite(&hosts, |text| hosts_without_link(&text, &alias))).await?;
        }
        Ok(())
    })
    .await
}

/// The containers in an order in which each comes after those that it links to.
pub(super) fn in_order(mut containers: Vec<Arc<Container>>) -> Vec<Arc<Container>> {
    let mut ordered = Vec::with_capacity(containers.len());
    while !containers.is_empty() {
        let waiting: BTreeSet<ContainerId> = containers.iter().map(|c| c.id).collect();
        let waits = |c: &Arc<Container>| c.record().links.iter().any(|link| waiting.contains(&link.target));
        let (later, now): (Vec<_>, Vec<_>) = containers.into_iter().partition(waits);
        if now.is_empty() {
            // They link to each other in a circle: in any order.
            ordered.extend(later);
            break;
        }
        ordered.extend(now);
        containers = later;
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::tests::{container, record};

    /// Recorded from Docker 28.5.2, but for the order of what it keeps in maps.
    #[test]
    fn variables_tell_of_ports_and_of_the_others_own() {
        let words = |words: &[&str]| words.iter().map(|&w| w.to_owned()).collect::<Vec<_>>();
        let config = ContainerConfig {
            exposed_ports: words(&["5432/tcp", "53/udp", "80/tcp", "81/tcp", "82/tcp"]).into_iter().collect(),
            env: words(&["PW=geheim", "WITH SPACE=1", "HOME=/x", "PATH=/bin"]),
            ..ContainerConfig::default()
        };
        let told = environment("data-base", "/l1/data-base", "172.31.255.2".parse().unwrap(), &config);
        let mut expected = vec!["DATA_BASE_PORT=tcp://172.31.255.2:80".to_owned()];
        for (number, protocol) in [(80, "tcp"), (81, "tcp"), (82, "tcp"), (5432, "tcp"), (53, "udp")] {
            let key = format!("DATA_BASE_PORT_{number}_{}", protocol.to_uppercase());
            expected.extend([
                format!("{key}={protocol}://172.31.255.2:{number}"),
                format!("{key}_ADDR=172.31.255.2"),
                format!("{key}_PORT={number}"),
                format!("{key}_PROTO={protocol}"),
            ]);
        }
        expected.extend(words(&[
            "DATA_BASE_PORT_80_TCP_START=tcp://172.31.255.2:80",
            "DATA_BASE_PORT_80_TCP_PORT_START=80",
            "DATA_BASE_PORT_80_TCP_END=tcp://172.31.255.2:82",
            "DATA_BASE_PORT_80_TCP_PORT_END=82",
            "DATA_BASE_NAME=/l1/data-base",
            "DATA_BASE_ENV_PW=geheim",
            "DATA_BASE_ENV_WITH SPACE=1",
        ]));
        let sorted = |list: &[String]| list.iter().cloned().collect::<BTreeSet<_>>();
        assert_eq!(sorted(&told), sorted(&expected));
        assert_eq!(told.len(), expected.len());
        let nothing = environment("x", "/l1/x", "1.2.3.4".parse().unwrap(), &ContainerConfig::default());
        assert_eq!(nothing, ["X_NAME=/l1/x"]);
    }

    #[test]
    fn a_link_says_the_alias_first_and_the_name_once() {
        let mut target = record(&"a".repeat(64), "db");
        target.config.hostname = "dbhost".into();
        assert_eq!(hosts_names("data", &target), "data dbhost db");
        assert_eq!(hosts_names("db", &target), "db dbhost");
    }

    #[test]
    fn who_links_starts_after_those_it_links_to() {
        let ids = ["a", "b", "c", "d"].map(|id| id.repeat(64));
        let containers: Vec<_> = ids.iter().map(|id| container(id, &id[..1])).collect();
        let link = |from: usize, to: usize| {
            let link = Link {
                target: containers[to].id,
                target_name: String::new(),
                alias: "x".into(),
                hosts: None,
                environment: Vec::new(),
            };
            containers[from].change(|record| record.links.push(link));
        };
        let order = || in_order(containers.clone()).iter().map(|c| c.name()).collect::<String>();
        assert_eq!(order(), "abcd");
        link(0, 2);
        link(2, 3);
        assert_eq!(order(), "bdca");
        link(3, 0);
        assert_eq!(order(), "bacd");
    }
}
