//! From a question to what is answered here, or to whom it goes: a pure function of the names and of what the container
//! belongs to.
//!
//! A name may have its network's behind it, and both may have dots: `a.b.c` is looked up as `a.b.c` on every network of
//! the container, as `a.b` on its network `c`, as `a` on `b.c`. The container's own links come before names. A name that
//! is known here is never asked for elsewhere, whatever is asked about it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use skiff_types::{ContainerId, NetworkId};

use super::{
    book::{Book, Family},
    name::{self, Name},
    query::{Question, kind},
    reply::Data,
};

/// A network that a container belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The network.
    pub network: NetworkId,
    /// Its name.
    pub name: String,
    /// The container's links there: what it calls others, and what they are called there.
    pub links: Vec<(String, String)>,
}

/// What decides about a container's questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverConfig {
    /// The container.
    pub container: ContainerId,
    /// Its user-defined networks, in the order in which they are looked through.
    pub networks: Vec<Membership>,
    /// Whether what is not known here is asked for elsewhere. Not if every network is internal.
    pub forwards: bool,
    /// Whom to ask.
    pub servers: NameServers,
    /// The user has set `ndots`: a name without a dot is never asked for elsewhere, the client will add a domain.
    pub ndots_set: bool,
}

/// The name servers behind ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameServers {
    /// Those of `--dns`, asked from the container's network namespace.
    Given(Vec<IpAddr>),
    /// Those of the host's `resolv.conf` as it is at the moment, asked from the host's network namespace.
    Host,
}

/// What becomes of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is answered here.
    Answer(Data),
    /// The name exists, but not this of it.
    NoData,
    /// Nobody may be asked.
    Fail,
    /// Somebody else is asked.
    Forward,
}

/// Decides on a question.
pub(super) fn decide(question: &Question<'_>, config: &ResolverConfig, book: &Book) -> Verdict {
    let elsewhere = if config.forwards { Verdict::Forward } else { Verdict::Fail };
    if question.class != kind::INTERNET {
        return elsewhere;
    }
    if question.kind == kind::PTR {
        let name = address(question.name).and_then(|ip| name_of(config, book, &ip));
        return name.map_or(elsewhere, |name| Verdict::Answer(Data::Name(name)));
    }
    let Some(text) = question.name.text() else { return elsewhere };
    match known(&text, question.kind, config, book) {
        Some(addresses) if addresses.is_empty() => Verdict::NoData,
        Some(addresses) => Verdict::Answer(Data::Addresses(addresses)),
        None if config.ndots_set && is_address(question.kind) && !text.contains('.') => Verdict::NoData,
        None => elsewhere,
    }
}

fn is_address(kind: u16) -> bool {
    matches!(kind, kind::A | kind::AAAA)
}

/// The addresses that a question asks for; nothing if the name is not known here.
fn known(name: &str, kind: u16, config: &ResolverConfig, book: &Book) -> Option<Vec<IpAddr>> {
    let families: &[Family] = match kind {
        kind::A => &[Family::V4],
        kind::AAAA => &[Family::V6],
        kind::ANY => &[Family::V4, Family::V6],
        _ => &[],
    };
    let mut exists = false;
    for (host, network) in readings(name) {
        let networks =
            || config.networks.iter().filter(|n| network.is_none_or(|w| n.name.eq_ignore_ascii_case(w)));
        let links = networks().filter_map(|n| Some((n, link(n, host)?)));
        let names = networks().filter(|n| link(n, host).is_none()).map(|n| (n, host.to_owned()));
        for (network, name) in links.chain(names) {
            exists |= book.knows(&network.network, &name);
            let of = |family: &Family| book.addresses(&network.network, &name, *family);
            let addresses: Vec<IpAddr> = families.iter().filter_map(of).flatten().collect();
            if !addresses.is_empty() {
                return Some(addresses);
            }
        }
        if exists {
            return Some(Vec::new());
        }
    }
    None
}

/// What a container calls another on a network, if it calls somebody that; in lower case.
fn link(network: &Membership, alias: &str) -> Option<String> {
    let found = network.links.iter().find(|(name, _)| name.eq_ignore_ascii_case(alias));
    found.map(|(_, target)| target.to_ascii_lowercase())
}

/// The ways to read a name: alone, and as one on a network.
fn readings(name: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let with_network = name.rmatch_indices('.').map(|(at, _)| (&name[..at], Some(&name[at + 1..])));
    std::iter::once((name, None)).chain(with_network)
}

fn name_of(config: &ResolverConfig, book: &Book, ip: &IpAddr) -> Option<Vec<u8>> {
    let name = config.networks.iter().find_map(|network| book.name_of(&network.network, ip));
    name::encode(&name?)
}

/// The address that a name below `in-addr.arpa` or `ip6.arpa` stands for (RFC 1035, 3.5; RFC 3596, 2.5).
fn address(name: Name<'_>) -> Option<IpAddr> {
    let labels: Vec<&[u8]> = name.labels().collect();
    let (own, tree) = labels.split_at_checked(labels.len().checked_sub(2)?)?;
    if !tree[1].eq_ignore_ascii_case(b"arpa") {
        return None;
    }
    if tree[0].eq_ignore_ascii_case(b"in-addr") && own.len() == 4 {
        let mut octets = [0; 4];
        for (octet, label) in octets.iter_mut().rev().zip(own) {
            *octet = std::str::from_utf8(label).ok()?.parse().ok()?;
        }
        return Some(Ipv4Addr::from(octets).into());
    }
    if tree[0].eq_ignore_ascii_case(b"ip6") && own.len() == 32 {
        let mut bits = 0u128;
        for label in own.iter().rev() {
            let &[digit] = *label else { return None };
            bits = bits << 4 | u128::from(char::from(digit).to_digit(16)?);
        }
        return Some(Ipv6Addr::from(bits).into());
    }
    None
}
