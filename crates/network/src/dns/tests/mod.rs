//! What is asked, what is answered, what strangers send.

mod damage;
mod lookups;
mod messages;
mod serving;

use std::net::{IpAddr, Ipv4Addr};

use skiff_types::{ContainerId, NetworkId};

use super::{
    book::{Book, NameEntry},
    lookup::{Membership, NameServers, ResolverConfig},
    name,
    query::{Question, flag, header},
};

/// A query as programs send it.
pub(super) fn query(text: &str, kind: u16) -> Vec<u8> {
    let mut message = header(0x1234, flag::RECURSION_DESIRED, 0, 0);
    message.extend_from_slice(&question(text, kind));
    message
}

/// A query with an OPT record.
pub(super) fn edns_query(text: &str, kind: u16, size: u16) -> Vec<u8> {
    let mut message = header(0x1234, flag::RECURSION_DESIRED, 0, 1);
    message.extend_from_slice(&question(text, kind));
    message.extend_from_slice(&[0, 0, 41]);
    message.extend_from_slice(&size.to_be_bytes());
    message.extend_from_slice(&[0; 6]);
    message
}

pub(super) fn question(text: &str, kind: u16) -> Vec<u8> {
    let mut wire = name::encode(text).expect("a name");
    wire.extend_from_slice(&kind.to_be_bytes());
    wire.extend_from_slice(&1u16.to_be_bytes());
    wire
}

/// A record of the question's name.
pub(super) fn record(kind: u16, lifetime: u32, data: &[u8]) -> Vec<u8> {
    let mut wire = vec![0xc0, 12];
    wire.extend_from_slice(&kind.to_be_bytes());
    wire.extend_from_slice(&1u16.to_be_bytes());
    wire.extend_from_slice(&lifetime.to_be_bytes());
    wire.extend_from_slice(&(data.len() as u16).to_be_bytes());
    wire.extend_from_slice(data);
    wire
}

/// The response of a server to a query: a code, records of the answer and of the authority section.
pub(super) fn response(to: &[u8], code: u16, answers: &[Vec<u8>], authority: &[Vec<u8>]) -> Vec<u8> {
    let (_, end) = Question::read(to).expect("a question");
    let mut message = to[..end].to_vec();
    message[2..4].copy_from_slice(&(flag::RESPONSE | 0x0180 | code).to_be_bytes());
    message[6..8].copy_from_slice(&(answers.len() as u16).to_be_bytes());
    message[8..10].copy_from_slice(&(authority.len() as u16).to_be_bytes());
    message[10..12].fill(0);
    answers.iter().chain(authority).for_each(|record| message.extend_from_slice(record));
    message
}

/// The addresses in a response to a query for them.
pub(super) fn addresses(message: &[u8]) -> Vec<IpAddr> {
    let (_, mut at) = Question::read(message).expect("a question");
    let count = u16::from_be_bytes([message[6], message[7]]);
    let mut found = Vec::new();
    for _ in 0..count {
        at = name::skip(message, at).expect("a record");
        let kind = u16::from_be_bytes([message[at], message[at + 1]]);
        let length = usize::from(u16::from_be_bytes([message[at + 8], message[at + 9]]));
        let data = &message[at + 10..at + 10 + length];
        match kind {
            1 => found.push(IpAddr::from(<[u8; 4]>::try_from(data).expect("four bytes"))),
            28 => found.push(IpAddr::from(<[u8; 16]>::try_from(data).expect("sixteen bytes"))),
            _ => {}
        }
        at += 10 + length;
    }
    found.sort();
    found
}

/// The code of a response.
pub(super) fn code(message: &[u8]) -> u8 {
    message[3] & 0xf
}

pub(super) fn network(n: u8) -> NetworkId {
    format!("{n:064x}").parse().expect("an id")
}

pub(super) fn container(n: u8) -> ContainerId {
    format!("{n:064x}").parse().expect("an id")
}

pub(super) fn member(n: u8, network: NetworkId, network_name: &str, names: &[&str]) -> NameEntry {
    NameEntry {
        network,
        network_name: network_name.to_owned(),
        container: container(n),
        names: names.iter().map(|&n| n.to_owned()).collect(),
        ipv4: Some(Ipv4Addr::new(10, 0, 0, n)),
        ipv6: None,
    }
}

pub(super) fn config(networks: &[(NetworkId, &str)]) -> ResolverConfig {
    let membership = |(network, name): &(NetworkId, &str)| Membership {
        network: *network,
        name: (*name).to_owned(),
        links: Vec::new(),
    };
    ResolverConfig {
        container: container(99),
        networks: networks.iter().map(membership).collect(),
        forwards: true,
        servers: NameServers::Given(Vec::new()),
        ndots_set: false,
    }
}

/// Two networks: `front` with web and two of a service, `back` with db and another web.
pub(super) fn book() -> Book {
    let mut book = Book::default();
    book.put(member(2, network(1), "front", &["Web", "svc", "aaaaaaaaaaaa"]));
    book.put(member(3, network(1), "front", &["api", "Svc", "svc"]));
    book.put(member(4, network(2), "back.net", &["db", "a.b"]));
    book.put(member(5, network(2), "back.net", &["web"]));
    let v6 = Some("fd00::6".parse().expect("an address"));
    book.put(NameEntry { ipv6: v6, ..member(6, network(2), "back.net", &["both"]) });
    book
}
