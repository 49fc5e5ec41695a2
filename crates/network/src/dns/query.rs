//! What a container's program asks: one question (RFC 1035, 4.1), perhaps with an OPT record (RFC 6891). Whatever else lies
//! in the message is left behind, so that only what was understood is ever sent on.

use super::name::{self, Name};

/// The length of a message's header.
pub(super) const HEADER: usize = 12;
/// What a client takes over UDP that does not say so.
pub(super) const PLAIN_UDP: usize = 512;
/// What is sent over UDP at most: larger datagrams would be fragmented on their way to the container.
const LARGEST_UDP: usize = 4096;
/// More records than a query has.
const MOST_RECORDS: u32 = 16;
/// Longer options than a query has.
const LONGEST_OPTIONS: usize = 512;

/// Record types and classes.
pub(super) mod kind {
    pub(in crate::dns) const A: u16 = 1;
    pub(in crate::dns) const SOA: u16 = 6;
    pub(in crate::dns) const PTR: u16 = 12;
    pub(in crate::dns) const AAAA: u16 = 28;
    pub(in crate::dns) const OPT: u16 = 41;
    pub(in crate::dns) const ANY: u16 = 255;
    /// The class of the Internet.
    pub(in crate::dns) const INTERNET: u16 = 1;
}

/// Bits of a header's flags.
pub(super) mod flag {
    pub(in crate::dns) const RESPONSE: u16 = 0x8000;
    pub(in crate::dns) const OPCODE: u16 = 0x7800;
    pub(in crate::dns) const TRUNCATED: u16 = 0x0200;
    pub(in crate::dns) const RECURSION_DESIRED: u16 = 0x0100;
    pub(in crate::dns) const RECURSION_AVAILABLE: u16 = 0x0080;
    pub(in crate::dns) const AUTHENTIC: u16 = 0x0020;
    pub(in crate::dns) const CHECKING_DISABLED: u16 = 0x0010;
    pub(in crate::dns) const CODE: u16 = 0x000f;
}

/// How a response ends (RCODE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NotImplemented = 4,
    Refused = 5,
}

/// A query that was understood.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a> {
    /// By which the client knows the answer.
    pub(super) id: u16,
    /// The header's flags.
    pub(super) flags: u16,
    /// The question.
    pub(super) question: Question<'a>,
    /// The client speaks EDNS.
    pub(super) edns: Option<Edns<'a>>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) name: Name<'a>,
    pub(super) kind: u16,
    pub(super) class: u16,
    /// As it lies in the message.
    pub(super) wire: &'a [u8],
}

/// What an OPT record says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edns<'a> {
    /// The longest datagram that the client takes.
    size: u16,
    version: u8,
    flags: u16,
    options: &'a [u8],
}

/// A message that is no query to answer from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// Not a query at all: an answer to it could go round in circles.
    Ignored,
    /// The header says whom to answer.
    Answered { id: u16, flags: u16, code: Code },
}

impl<'a> Query<'a> {
    pub(super) fn read(message: &'a [u8]) -> Result<Self, Bad> {
        let (Some(id), Some(flags)) = (u16_at(message, 0), u16_at(message, 2)) else {
            return Err(Bad::Ignored);
        };
        if message.len() < HEADER || flags & flag::RESPONSE != 0 {
            return Err(Bad::Ignored);
        }
        if flags & flag::OPCODE != 0 {
            return Err(Bad::Answered { id, flags, code: Code::NotImplemented });
        }
        let parts = Question::read(message).and_then(|(question, end)| Some((question, edns(message, end)?)));
        let (question, edns) = parts.ok_or(Bad::Answered { id, flags, code: Code::FormatError })?;
        Ok(Self { id, flags, question, edns })
    }

    /// The longest answer the client takes over UDP.
    pub(super) fn udp_limit(&self) -> usize {
        self.edns.map_or(PLAIN_UDP, |edns| usize::from(edns.size).clamp(PLAIN_UDP, LARGEST_UDP))
    }

    /// The client speaks a later EDNS than there is.
    pub(super) fn is_of_a_later_edns(&self) -> bool {
        self.edns.is_some_and(|edns| edns.version != 0)
    }

    /// The query may only be answered by who has seen its options, which say more than what is asked for.
    pub(super) fn has_options(&self) -> bool {
        self.edns.is_some_and(|edns| !edns.options.is_empty())
    }

    /// What the answer depends on beside the question.
    pub(super) fn wishes(&self) -> u16 {
        const DNSSEC: u16 = 0x8000;
        const EDNS: u16 = 0x4000;
        let header = self.flags & (flag::RECURSION_DESIRED | flag::AUTHENTIC | flag::CHECKING_DISABLED);
        header | self.edns.map_or(0, |edns| EDNS | edns.flags & DNSSEC)
    }

    /// The query as it is sent on, under another id.
    pub(super) fn onward(&self, id: u16) -> Vec<u8> {
        let flags = self.flags & (flag::RECURSION_DESIRED | flag::AUTHENTIC | flag::CHECKING_DISABLED);
        let mut message = header(id, flags, 0, u16::from(self.edns.is_some()));
        message.extend_from_slice(self.question.wire);
        if let Some(edns) = &self.edns {
            // What comes over UDP is passed on over UDP.
            let size = self.udp_limit() as u16;
            opt(&mut message, &Edns { size, version: 0, ..*edns });
        }
        message
    }
}

impl<'a> Question<'a> {
    /// The only question of a message and where it ends; nothing if there are more or none.
    pub(super) fn read(message: &'a [u8]) -> Option<(Self, usize)> {
        if u16_at(message, 4)? != 1 {
            return None;
        }
        let name = Name::read(message, HEADER)?;
        let at = HEADER + name.wire().len();
        let wire = message.get(HEADER..at + 4)?;
        Some((Self { name, kind: u16_at(message, at)?, class: u16_at(message, at + 2)?, wire }, at + 4))
    }

    /// Whether both ask the same.
    pub(super) fn is(&self, other: &Question<'_>) -> bool {
        self.kind == other.kind && self.class == other.class && self.name.is(other.name)
    }
}

/// The OPT record among the records from an offset on, if there is one; nothing if they are malformed.
fn edns(message: &[u8], mut at: usize) -> Option<Option<Edns<'_>>> {
    let records: u32 = [6, 8, 10].iter().map(|&count| u32::from(u16_at(message, count).unwrap_or(0))).sum();
    if records > MOST_RECORDS {
        return None;
    }
    let mut found = None;
    for _ in 0..records {
        let name_end = name::skip(message, at)?;
        let is_root = name_end == at + 1;
        let length = usize::from(u16_at(message, name_end + 8)?);
        let data = message.get(name_end + 10..name_end + 10 + length)?;
        if u16_at(message, name_end)? == kind::OPT {
            if !is_root || found.is_some() || length > LONGEST_OPTIONS {
                return None;
            }
            found = Some(Edns {
                size: u16_at(message, name_end + 2)?,
                version: *message.get(name_end + 5)?,
                flags: u16_at(message, name_end + 6)?,
                options: data,
            });
        }
        at = name_end + 10 + length;
    }
    Some(found)
}

/// A header with one question.
pub(super) fn header(id: u16, flags: u16, answers: u16, additional: u16) -> Vec<u8> {
    let mut message = Vec::with_capacity(PLAIN_UDP);
    for word in [id, flags, 1, answers, 0, additional] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    message
}

fn opt(message: &mut Vec<u8>, edns: &Edns<'_>) {
    message.push(0);
    for word in [kind::OPT, edns.size, u16::from(edns.version), edns.flags, edns.options.len() as u16] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    message.extend_from_slice(edns.options);
}

/// The OPT record of an answer of ours: what we take, and that the client's version is not ours if it is a later one.
pub(super) fn own_opt(message: &mut Vec<u8>, bad_version: bool) {
    const EXTENDED_BAD_VERSION: [u8; 4] = [1, 0, 0, 0];
    message.push(0);
    message.extend_from_slice(&kind::OPT.to_be_bytes());
    message.extend_from_slice(&(LARGEST_UDP as u16).to_be_bytes());
    message.extend_from_slice(if bad_version { &EXTENDED_BAD_VERSION } else { &[0; 4] });
    message.extend_from_slice(&[0; 2]);
}

/// The length of [`own_opt`].
pub(super) const OWN_OPT: usize = 11;

/// A number in network order.
pub(super) fn u16_at(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?))
}
