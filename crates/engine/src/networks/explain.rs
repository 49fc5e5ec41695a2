//! Whether A reaches B: who A and B are, and what A calls B. The way between them is told by the network.

use std::{net::IpAddr, os::fd::AsFd, sync::Arc};

use skiff_network::{About, EndpointRecord, Place, Protocol, Reach, ResolvConf, Step, Verdict};
use skiff_types::{ContainerId, ErrorKind};

use crate::{
    Error, Result,
    container::Container,
    containers::{Parts, blocking, endpoint},
    model::Explanation,
    validate::{self, NetworkMode},
};

/// The word that stands for the host.
const HOST: &str = "host";

/// One end, as somebody named it.
enum End {
    Host,
    Container(Arc<Container>),
    Address(IpAddr),
    Name,
}

/// What is asked: who, where, and at which port.
struct Question<'a> {
    from: &'a str,
    to: &'a str,
    port: Option<(Protocol, u16)>,
}

pub(super) async fn explain(parts: &Arc<Parts>, from: &str, to: &str) -> Result<Explanation> {
    if from.is_empty() || to.is_empty() {
        return Err(Error::Invalid("who is to reach whom must be named".into()));
    }
    let (parts, from, to) = (parts.clone(), from.to_owned(), to.to_owned());
    blocking(move || {
        let (name, port) = split(&to)?;
        let question = Question { from: &from, to: name, port };
        let (address, reach) = answer(&parts, &question)?;
        let steps = reach.steps.into_iter().map(|step| (step.about.to_string(), step.text)).collect();
        let address = address.map(|ip| ip.to_string()).unwrap_or_default();
        Ok(Explanation { from, to, address, verdict: reach.verdict.to_string(), steps })
    })
    .await?
}

/// Takes `:PORT` and `/PROTOCOL` from the end of a name or an address.
fn split(text: &str) -> Result<(&str, Option<(Protocol, u16)>)> {
    let wrong = || Error::Invalid(format!("invalid port in {text:?}"));
    let (place, protocol) = match text.rsplit_once('/') {
        Some((place, name)) => (place, endpoint::protocol(name).ok_or_else(wrong)?),
        None => (text, Protocol::Tcp),
    };
    if place.parse::<IpAddr>().is_ok() {
        return Ok((place, None));
    }
    let (place, port) = match place.rsplit_once(':') {
        Some((place, port)) => (place, Some(port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?)),
        None => (place, None),
    };
    let place = place.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(place);
    Ok((place, port.map(|port| (protocol, port))))
}

/// Who is meant. A container that shares another's network stands for that one, or for the host.
fn end(parts: &Parts, text: &str) -> Result<End> {
    if text == HOST {
        return Ok(End::Host);
    }
    if let Ok(ip) = text.parse() {
        let has =
            |e: &EndpointRecord| e.ipv4.map(IpAddr::V4) == Some(ip) || e.ipv6.map(IpAddr::V6) == Some(ip);
        let holder = parts.network.endpoints().into_iter().find(has);
        return Ok(match holder.and_then(|e| parts.registry.get(&e.container)) {
            Some(container) => End::Container(container),
            None => End::Address(ip),
        });
    }
    let mut container = match parts.registry.resolve(text) {
        Ok(container) => container,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(End::Name),
        Err(e) => return Err(e),
    };
    // No container shares its own network by way of others.
    for _ in 0..8 {
        let mode = validate::network_mode(&container.record().host.network_mode);
        match mode {
            NetworkMode::Host => return Ok(End::Host),
            NetworkMode::Container(other) => container = parts.registry.resolve(&other)?,
            _ => break,
        }
    }
    Ok(End::Container(container))
}

fn answer(parts: &Parts, question: &Question<'_>) -> Result<(Option<IpAddr>, Reach)> {
    let Question { from, to, port } = *question;
    let (source, target) = (end(parts, from)?, end(parts, to)?);
    for end in [&source, &target] {
        if let End::Container(container) = end
            && container.live().is_err()
        {
            return Ok((None, ends(About::Place, format!("{} does not run", container.name()))));
        }
    }
    let place = match &source {
        End::Host => Place::Host,
        End::Container(container) => Place::Container(container.id),
        End::Address(ip) => Place::Outside(*ip),
        End::Name => return Err(Error::NoSuchContainer(from.to_owned())),
    };
    let mut steps = Vec::new();
    let address = match (&source, &target) {
        (_, End::Address(ip)) => Some(*ip),
        // Said as an address, it is one.
        (_, End::Container(_)) if to.parse::<IpAddr>().is_ok() => to.parse().ok(),
        (End::Container(a), End::Container(b)) if a.id == b.id => Some([127, 0, 0, 1].into()),
        (End::Container(a), End::Container(b)) => Some(neighbour(parts, a, b, to, &mut steps)?),
        (_, End::Container(b)) => own_addresses(parts, &b.id).into_iter().next(),
        (End::Host, End::Host) => Some([127, 0, 0, 1].into()),
        (_, End::Host) => hosts_address(parts, place, &mut steps),
        (End::Container(a), End::Name) => resolve(parts, a, to)?.map(|(ip, by)| {
            steps.push(named(format!("{} knows {to} as {ip}, from {by}", a.name())));
            ip
        }),
        (_, End::Name) => known_to_the_host(to).inspect(|ip| {
            steps.push(named(format!("the host knows {to} as {ip}")));
        }),
    };
    let Some(address) = address else {
        steps.push(named(format!("{from} knows no address of {to}")));
        return Ok((None, Reach { steps, verdict: Verdict::Ends }));
    };
    let namespaces = |id: &ContainerId| {
        let container =
            parts.registry.get(id).ok_or_else(|| std::io::Error::other("the container is gone"))?;
        let live = container.live().map_err(std::io::Error::other)?;
        endpoint::namespace(&live).map_err(std::io::Error::other)
    };
    let mut reach = parts.network.reach(place, address, port, &namespaces)?;
    reach.steps.splice(0..0, steps);
    Ok((Some(address), reach))
}

fn named(text: String) -> Step {
    Step { about: About::Name, text }
}

fn ends(about: About, text: String) -> Reach {
    Reach { steps: vec![Step { about, text }], verdict: Verdict::Ends }
}

/// A container's addresses, those first that a default route would rather lead through.
fn own_addresses(parts: &Parts, id: &ContainerId) -> Vec<IpAddr> {
    let of = |e: EndpointRecord| e.ipv4.map(IpAddr::V4).into_iter().chain(e.ipv6.map(IpAddr::V6));
    parts.network.endpoints_of(id).into_iter().flat_map(of).collect()
}

/// What one container calls another, or else an address of it, on a network of both if there is one.
fn neighbour(
    parts: &Parts,
    a: &Container,
    b: &Container,
    name: &str,
    steps: &mut Vec<Step>,
) -> Result<IpAddr> {
    if let Some((ip, by)) = resolve(parts, a, name)? {
        steps.push(named(format!("{} knows {name} as {ip}, from {by}", a.name())));
        return Ok(ip);
    }
    let (mine, theirs) = (parts.network.endpoints_of(&a.id), parts.network.endpoints_of(&b.id));
    let common = theirs.iter().find(|e| mine.iter().any(|own| own.network == e.network)).or(theirs.first());
    let address = common.and_then(|e| e.ipv4.map(IpAddr::V4).or(e.ipv6.map(IpAddr::V6)));
    let Some(ip) = address else {
        return Err(Error::Invalid(format!("{} has no address", b.name())));
    };
    steps.push(named(format!("{} has no name for {name}, whose address is {ip}", a.name())));
    Ok(ip)
}

/// The address at which a place finds the host: its router's, if that is a bridge.
fn hosts_address(parts: &Parts, place: Place, steps: &mut Vec<Step>) -> Option<IpAddr> {
    let router = match place {
        Place::Container(id) => parts.network.endpoints_of(&id).into_iter().find_map(|e| {
            let net =
                parts.network.net(&e.network).filter(|net| net.driver == skiff_network::Driver::Bridge)?;
            net.ipv4.first().or(net.ipv6.first())?.gateway
        }),
        Place::Host | Place::Outside(_) => None,
    };
    let ip = router.or_else(|| parts.network.bridge().map(|bridge| bridge.address.into()))?;
    steps.push(named(format!("the host has the address {ip}")));
    Some(ip)
}

/// What a container finds a name to be, and from whom: its hosts file, or its name servers.
fn resolve(parts: &Parts, container: &Container, name: &str) -> Result<Option<(IpAddr, String)>> {
    let dir = parts.dir(&container.id);
    let hosts = fs_err::read_to_string(dir.join("hosts")).unwrap_or_default();
    if let Some(ip) = in_hosts(&hosts, name) {
        return Ok(Some((ip, "/etc/hosts".to_owned())));
    }
    let text = fs_err::read_to_string(dir.join("resolv.conf")).unwrap_or_default();
    let servers = ResolvConf::parse(&text).addresses();
    let netns = endpoint::namespace(&*container.live()?)?;
    let found = skiff_network::addresses_of(name, &servers, netns.as_fd())?;
    let by = servers.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
    Ok(found.first().map(|ip| (*ip, by)))
}

fn in_hosts(text: &str, name: &str) -> Option<IpAddr> {
    text.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_ascii_whitespace();
        let ip = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(ip)
    })
}

/// By the host's own ways.
fn known_to_the_host(name: &str) -> Option<IpAddr> {
    let found = std::net::ToSocketAddrs::to_socket_addrs(&(name, 0)).ok()?.map(|at| at.ip());
    let found: Vec<IpAddr> = found.collect();
    found.iter().find(|ip| ip.is_ipv4()).or(found.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_protocols_are_told_from_names_and_addresses() {
        let split = |text: &'static str| split(text).map_err(|e| e.to_string());
        assert_eq!(split("web"), Ok(("web", None)));
        assert_eq!(split("web:80"), Ok(("web", Some((Protocol::Tcp, 80)))));
        assert_eq!(split("web:53/udp"), Ok(("web", Some((Protocol::Udp, 53)))));
        assert_eq!(split("10.1.0.2:80"), Ok(("10.1.0.2", Some((Protocol::Tcp, 80)))));
        assert_eq!(split("fd00::1"), Ok(("fd00::1", None)));
        assert_eq!(split("[fd00::1]:80"), Ok(("fd00::1", Some((Protocol::Tcp, 80)))));
        for wrong in ["web:x", "web:0", "web:70000", "web:80/icmp"] {
            assert_eq!(split(wrong), Err(format!("invalid port in {wrong:?}")));
        }
    }

    #[test]
    fn names_in_hosts_files_have_the_first_address() {
        let text = "127.0.0.1\tlocalhost\n10.0.0.2\tDb alias # other\n10.0.0.3\tdb\n";
        assert_eq!(in_hosts(text, "db"), Some([10, 0, 0, 2].into()));
        assert_eq!((in_hosts(text, "other"), in_hosts(text, "alias")), (None, Some([10, 0, 0, 2].into())));
    }
}
