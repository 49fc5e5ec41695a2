//! The way from 127.0.0.11:53 to our sockets: one small table in the container's namespace.
//!
//! Our sockets have ports of their own, so that a program of the container may listen at port 53, of every address if it
//! likes. The table rewrites port 53 of questions on their way out, behind everything that the container's own rules do
//! and see, and the ports of answers before they do: to them it is an ordinary conversation with 127.0.0.11:53. No
//! connection is tracked for it. It costs the kernel no memory and no lookup per question, and a container that flushes
//! iptables does not cut itself off. While no daemon runs, questions are lost, to be asked again, and none is refused.

use std::net::Ipv4Addr;

use rustix::io::Errno;

use crate::{
    netlink::Netlink,
    nft::{self, Chain, Expr, Field, Hook, Op, field, meta},
};

/// The address that the container's `resolv.conf` names.
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
/// The port that its programs ask at.
pub(super) const PORT: u16 = 53;
/// The table's name.
const TABLE: &str = "skiff_names";
const QUESTIONS: &str = "questions";
const ANSWERS: &str = "answers";
/// `NFPROTO_IPV4`.
const IPV4: u8 = 2;

/// Our sockets' ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) udp: u16,
    pub(super) tcp: u16,
}

/// Writes the table into the namespace of the calling thread, in place of an earlier daemon's.
pub(super) fn write(ports: Ports) -> Result<(), Errno> {
    let mut socket = Netlink::netfilter()?;
    let rules = plan(ports);
    let mut write = |table: &[Op]| nft::commit(&mut socket, TABLE, &[table, &rules].concat());
    // Who has removed a table waits, when his socket is closed, until the kernel is done with it: ten milliseconds of a container's start.
    match write(&[Op::NewTable]) {
        Err(Errno::EXIST) => write(&[Op::AddTable, Op::DeleteTable, Op::AddTable]),
        written => written,
    }
}

fn plan(ports: Ports) -> Vec<Op> {
    let chain = |name, number, priority| {
        Op::AddChain(Chain { name, hook: Some(Hook { kind: "filter", number, priority }) })
    };
    let mut ops = vec![
        // Behind source NAT, which is the last that others do.
        chain(QUESTIONS, Hook::POSTROUTING, 300),
        // Before connections are tracked.
        chain(ANSWERS, Hook::OUTPUT, -400),
    ];
    ops.push(Op::AddRule { chain: ANSWERS, rule: refusal(ports.tcp) });
    for (protocol, port, checksum) in [(UDP, ports.udp, UDP_CHECKSUM), (TCP, ports.tcp, TCP_CHECKSUM)] {
        let rewrite = |address, field, from, to: u16| {
            let mut rule = conversation(protocol, address, field, from);
            rule.extend([
                Expr::Load { to: 0, value: to.to_be_bytes().to_vec() },
                Expr::Write { field, from: 0, checksum },
            ]);
            rule
        };
        ops.push(Op::AddRule {
            chain: QUESTIONS,
            rule: rewrite(field::IPV4_DESTINATION, field::DESTINATION_PORT, PORT, port),
        });
        ops.push(Op::AddRule {
            chain: ANSWERS,
            rule: rewrite(field::IPV4_SOURCE, field::SOURCE_PORT, port, PORT),
        });
    }
    ops
}

/// The kernel's refusal of a connection while no daemon runs is dropped: the client tries again, and by then there may be one. Whom a
/// daemon has hung up on is told so. A datagram's refusal means nothing to the client: it names our port, at which nobody has asked.
fn refusal(port: u16) -> Vec<Expr> {
    let is = |field, value: Vec<u8>| [Expr::Payload { field, to: 0 }, Expr::Equal { register: 0, value }];
    let mut rule = conversation(TCP, field::IPV4_SOURCE, field::SOURCE_PORT, port);
    rule.extend(is(field::TCP_FLAGS, vec![RESET_AND_ACK]));
    // To the first packet of a connection.
    rule.extend(is(field::TCP_SEQUENCE, vec![0; 4]));
    rule.push(Expr::Drop);
    rule
}

const UDP: u8 = 17;
const TCP: u8 = 6;
const RESET_AND_ACK: u8 = 0x14;
/// Where the checksum lies in the header.
const UDP_CHECKSUM: u32 = 6;
const TCP_CHECKSUM: u32 = 16;

fn conversation(protocol: u8, address: Field, port: Field, number: u16) -> Vec<Expr> {
    let is = |value: Vec<u8>| Expr::Equal { register: 0, value };
    vec![
        Expr::Meta { key: meta::FAMILY, to: 0 },
        is(vec![IPV4]),
        Expr::Payload { field: address, to: 0 },
        is(ADDRESS.octets().to_vec()),
        Expr::Meta { key: meta::PROTOCOL, to: 0 },
        is(vec![protocol]),
        Expr::Payload { field: port, to: 0 },
        is(number.to_be_bytes().to_vec()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_answers_are_rewritten_for_both_protocols() {
        let ops = plan(Ports { udp: 1000, tcp: 2000 });
        let rewritten = |chain: &str| {
            let rules = ops.iter().filter_map(|op| match op {
                Op::AddRule { chain: c, rule } if *c == chain && !rule.contains(&Expr::Drop) => Some(rule),
                _ => None,
            });
            let values = rules.map(|rule| {
                let last: Vec<_> = rule[5..].iter().collect();
                let [
                    Expr::Equal { value: protocol, .. },
                    _,
                    Expr::Equal { value: from, .. },
                    Expr::Load { value: to, .. },
                    Expr::Write { .. },
                ] = last[..]
                else {
                    panic!("{last:?}")
                };
                let port = |bytes: &[u8]| u16::from_be_bytes([bytes[0], bytes[1]]);
                (protocol[0], port(from), port(to))
            });
            values.collect::<Vec<_>>()
        };
        assert_eq!(rewritten(QUESTIONS), [(UDP, 53, 1000), (TCP, 53, 2000)]);
        assert_eq!(rewritten(ANSWERS), [(UDP, 1000, 53), (TCP, 2000, 53)]);
    }
}
