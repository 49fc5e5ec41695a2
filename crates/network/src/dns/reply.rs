//! Answers that are given here, as bytes.

use std::net::IpAddr;

use super::query::{Bad, Code, HEADER, OWN_OPT, Query, flag, header, kind, own_opt};

/// How long what is answered here may be remembered, in seconds: Docker's number.
const LIFETIME: u32 = 600;
/// A pointer to the question's name.
const SAME_NAME: [u8; 2] = [0xc0, HEADER as u8];

/// What an answer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Data {
    /// Addresses of the name.
    Addresses(Vec<IpAddr>),
    /// The name of an address, as it lies in messages.
    Name(Vec<u8>),
}

/// An answer with data: as many records as fit into `limit` bytes, and a mark if some do not.
pub(super) fn answer(query: &Query<'_>, data: &Data, limit: usize) -> Vec<u8> {
    let mut message = open(query, Code::NoError, true);
    let room = limit.saturating_sub(if query.edns.is_some() { OWN_OPT } else { 0 });
    let mut answers = 0u16;
    let mut fits = true;
    let mut record = |kind: u16, data: &[u8]| {
        fits = fits && message.len() + 12 + data.len() <= room && answers < u16::MAX;
        if fits {
            message.extend_from_slice(&SAME_NAME);
            message.extend_from_slice(&kind.to_be_bytes());
            message.extend_from_slice(&kind::INTERNET.to_be_bytes());
            message.extend_from_slice(&LIFETIME.to_be_bytes());
            message.extend_from_slice(&(data.len() as u16).to_be_bytes());
            message.extend_from_slice(data);
            answers += 1;
        }
    };
    match data {
        Data::Addresses(addresses) => {
            for address in addresses {
                match address {
                    IpAddr::V4(ip) => record(kind::A, &ip.octets()),
                    IpAddr::V6(ip) => record(kind::AAAA, &ip.octets()),
                }
            }
        }
        Data::Name(name) => record(kind::PTR, name),
    }
    message[6..8].copy_from_slice(&answers.to_be_bytes());
    if !fits {
        mark_truncated(&mut message);
    }
    close(message, query)
}

/// An answer without data: the name exists, but not this of it.
pub(super) fn no_data(query: &Query<'_>) -> Vec<u8> {
    close(open(query, Code::NoError, true), query)
}

/// An answer that says why there is none. As Docker's it does not claim that recursion is available.
pub(super) fn failure(query: &Query<'_>, code: Code) -> Vec<u8> {
    close(open(query, code, false), query)
}

/// An answer with nothing but the question and the mark that the rest must be asked for over TCP.
pub(super) fn truncated(query: &Query<'_>) -> Vec<u8> {
    let mut message = open(query, Code::NoError, true);
    mark_truncated(&mut message);
    close(message, query)
}

/// An answer to what is no query; nothing if it gets none.
pub(super) fn bad(bad: Bad) -> Option<Vec<u8>> {
    let Bad::Answered { id, flags, code } = bad else { return None };
    let kept = flags & (flag::OPCODE | flag::RECURSION_DESIRED);
    let mut message = header(id, flag::RESPONSE | kept | code as u16, 0, 0);
    message[4..6].fill(0);
    Some(message)
}

fn open(query: &Query<'_>, code: Code, recursion: bool) -> Vec<u8> {
    let kept = query.flags & (flag::RECURSION_DESIRED | flag::CHECKING_DISABLED);
    let recursion = if recursion { flag::RECURSION_AVAILABLE } else { 0 };
    let flags = flag::RESPONSE | kept | recursion | code as u16;
    let mut message = header(query.id, flags, 0, u16::from(query.edns.is_some()));
    message.extend_from_slice(query.question.wire);
    message
}

fn close(mut message: Vec<u8>, query: &Query<'_>) -> Vec<u8> {
    if query.edns.is_some() {
        own_opt(&mut message, query.is_of_a_later_edns());
    }
    message
}

fn mark_truncated(message: &mut [u8]) {
    message[2] |= (flag::TRUNCATED >> 8) as u8;
}
