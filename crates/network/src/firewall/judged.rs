//! The part of the table by which the host's own policy decides who reaches published ports from outside.
//!
//! ```text
//! inbound  (prerouting, nat)   from outside: nobody but the senders in admitted → publish; the rest stays addressed
//!                              to the host and so passes whatever input filters the host has
//! judged   (input, last)       a first packet to a published port that got here was let in → admit
//! admit                        its sender is admitted for some seconds, a copy goes to the daemon, it ends here
//! ```
//!
//! The daemon sends the copy on at once (see [`super::Usher`]), so nobody waits; if it does not, being away or
//! overrun, the sender's next attempt finds the sender admitted. Once a connection is known to conntrack none of this
//! concerns it.

use super::plan::{
    BRIDGES, FAMILY_IPV4, FAMILY_IPV6, PUBLISHED, PUBLISHED_ANYWHERE, PUBLISHED6, PUBLISHED6_ANYWHERE, bits,
    dnat_done, full_key, in_set, input, of_family, port_key,
};
use crate::nft::{Chain, Expr, Hook, Lasting, Op, Set, ct, field, kind, meta};

/// The group of netfilter's log that copies of admitted packets are sent to.
pub(crate) const GROUP: u16 = 21_355;

/// Sender's address and port, the host's address, protocol and port.
const ADMITTED: &str = "admitted";
const ADMITTED6: &str = "admitted6";
const JUDGED: &str = "judged";
const ADMIT: &str = "admit";

/// Behind every filter that anybody has: one before conntrack keeps the connection, which is the last of all.
const LAST: i32 = i32::MAX - 1;

/// Longer than a sender of TCP or SCTP waits before it tries again; and how many there are at once, that a flood of senders
/// who were let in does not take the host's memory.
const LASTING: Lasting = Lasting { size: 65_535, timeout: 5_000 };

/// The sets.
pub(super) fn sets() -> Vec<Op> {
    use kind::{IPV4, IPV6, PORT, PROTOCOL};
    let set = |name, key| Set { name, key, data: &[], intervals: false, lasting: Some(LASTING) };
    let sets = [
        set(ADMITTED, &[IPV4, PORT, IPV4, PROTOCOL, PORT]),
        set(ADMITTED6, &[IPV6, PORT, IPV6, PROTOCOL, PORT]),
    ];
    sets.into_iter().map(Op::AddSet).collect()
}

/// The chains.
pub(super) fn chains() -> [Chain; 2] {
    let last = Hook { kind: "filter", number: Hook::INPUT, priority: LAST };
    [Chain { name: ADMIT, hook: None }, Chain { name: JUDGED, hook: Some(last) }]
}

/// What must hold of a packet from outside that is on its way to a published port.
pub(super) fn is_admitted(family: u8) -> Vec<Expr> {
    [of_family(family), sender_key(family), vec![in_set(admitted(family))]].concat()
}

/// The rules of the chains.
pub(super) fn rules() -> Vec<(&'static str, Vec<Expr>)> {
    let from_lo = vec![input(0), Expr::Equal { register: 0, value: super::plan::name("lo").to_vec() }];
    let mut rules = vec![
        // Neither the host itself nor a container is outside: what of theirs gets here is for the daemon to serve.
        (JUDGED, [from_lo, vec![Expr::Accept]].concat()),
        (JUDGED, vec![input(0), in_set(BRIDGES), Expr::Accept]),
        // Nor what others have sent on to this port.
        (JUDGED, [dnat_done(), vec![Expr::Accept]].concat()),
    ];
    for (family, map, anywhere) in
        [(FAMILY_IPV4, PUBLISHED, PUBLISHED_ANYWHERE), (FAMILY_IPV6, PUBLISHED6, PUBLISHED6_ANYWHERE)]
    {
        let first = || [of_family(family), bits(ct::STATE, ct::NEW), super::plan::local()].concat();
        // A map is looked into for its values only, and no address is zero.
        let none = vec![0; if family == FAMILY_IPV6 { 16 } else { 8 }];
        let leads_somewhere =
            |map| vec![Expr::Map { map, key: 0 }, Expr::NotEqual { register: 0, value: none.clone() }];
        for (key, map) in [(full_key(family), map), (port_key(0), anywhere)] {
            rules.push((JUDGED, [first(), key, leads_somewhere(map), vec![Expr::Jump(ADMIT)]].concat()));
        }
    }
    for family in [FAMILY_IPV4, FAMILY_IPV6] {
        let update = Expr::Update { set: admitted(family), key: 0 };
        rules.push((ADMIT, [of_family(family), sender_key(family), vec![update]].concat()));
    }
    rules.push((ADMIT, vec![Expr::Log { group: GROUP }]));
    rules.push((ADMIT, vec![Expr::Drop]));
    rules
}

fn admitted(family: u8) -> &'static str {
    if family == FAMILY_IPV6 { ADMITTED6 } else { ADMITTED }
}

/// The key of [`ADMITTED`], from the first register on.
fn sender_key(family: u8) -> Vec<Expr> {
    let (source, destination, words) = match family {
        FAMILY_IPV6 => (field::IPV6_SOURCE, field::IPV6_DESTINATION, 4),
        _ => (field::IPV4_SOURCE, field::IPV4_DESTINATION, 1),
    };
    vec![
        Expr::Payload { field: source, to: 0 },
        Expr::Payload { field: field::SOURCE_PORT, to: words },
        Expr::Payload { field: destination, to: words + 1 },
        Expr::Meta { key: meta::PROTOCOL, to: 2 * words + 1 },
        Expr::Payload { field: field::DESTINATION_PORT, to: 2 * words + 2 },
    ]
}
