//! What a name server answers: checked against the question, walked once, and passed on as it is.

use std::ops::Range;

use super::{
    name,
    query::{HEADER, Question, flag, kind, u16_at},
};

/// No lifetime reaches further than this, in seconds.
const LONGEST: u32 = 3600;
/// What is not there may be there soon: people start the thing and try again.
const LONGEST_NEGATIVE: u32 = 10;

const SERVER_FAILURE: u16 = 2;
const NAME_ERROR: u16 = 3;
const NOT_IMPLEMENTED: u16 = 4;
const REFUSED: u16 = 5;

/// What is known of a response whose bytes somebody else holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Response {
    code: u16,
    /// There is more, over TCP.
    pub(super) truncated: bool,
    /// Where the records' lifetimes lie, four bytes each.
    pub(super) lifetimes: Vec<u16>,
    /// How long it may be remembered, in seconds; zero if not at all.
    pub(super) lifetime: u32,
}

impl Response {
    /// Reads a message as the response to a question that was sent under an id. Nothing if it is not that, or malformed.
    ///
    /// No pointer is followed, so what it costs grows with the message's length and with nothing else.
    pub(super) fn read(message: &[u8], id: u16, question: &Question<'_>) -> Option<Self> {
        let flags = u16_at(message, 2)?;
        if u16_at(message, 0)? != id || flags & flag::RESPONSE == 0 || flags & flag::OPCODE != 0 {
            return None;
        }
        let code = flags & flag::CODE;
        let truncated = flags & flag::TRUNCATED != 0;
        if u16_at(message, 4)? == 0 && code != 0 {
            // Some servers do not repeat the question that they do not answer.
            return Some(Self { code, truncated, lifetimes: Vec::new(), lifetime: 0 });
        }
        let (asked, end) = Question::read(message)?;
        if !asked.is(question) {
            return None;
        }
        let mut this = Self { code, truncated, lifetimes: Vec::new(), lifetime: LONGEST };
        if truncated {
            // It may be cut anywhere.
            this.lifetime = 0;
            return Some(this);
        }
        this.walk(message, end)?;
        if !matches!(code, 0 | NAME_ERROR) {
            this.lifetime = 0;
        }
        Some(this)
    }

    /// Whether another server may know better.
    pub(super) fn is_failure(&self) -> bool {
        matches!(self.code, SERVER_FAILURE | NOT_IMPLEMENTED | REFUSED)
    }

    fn walk(&mut self, message: &[u8], mut at: usize) -> Option<()> {
        let count = |at| u16_at(message, at).map(u32::from);
        let (answers, authorities, more) = (count(6)?, count(8)?, count(10)?);
        let mut negative = None;
        for record in 0..answers + authorities + more {
            let fixed = name::skip(message, at)?;
            let data = fixed + 10..fixed + 10 + usize::from(u16_at(message, fixed + 8)?);
            message.get(data.clone())?;
            let kind = u16_at(message, fixed)?;
            if kind != kind::OPT {
                // A message has 64 KiB at most.
                self.lifetimes.push(u16::try_from(fixed + 4).ok()?);
                let lifetime = u32_at(message, fixed + 4)?;
                // The first bit must be zero (RFC 2181, 8).
                let lifetime = if lifetime > i32::MAX as u32 { 0 } else { lifetime };
                self.lifetime = self.lifetime.min(lifetime);
                if kind == kind::SOA && (answers..answers + authorities).contains(&record) {
                    negative = minimum(message, data.clone()).map(|minimum| minimum.min(lifetime));
                }
            }
            at = data.end;
        }
        if self.code == NAME_ERROR || answers == 0 {
            // RFC 2308: without a SOA record nothing says for how long there is nothing.
            self.lifetime = self.lifetime.min(negative.unwrap_or(0)).min(LONGEST_NEGATIVE);
        }
        Some(())
    }
}

/// The last field of a SOA record.
fn minimum(message: &[u8], data: Range<usize>) -> Option<u32> {
    let at = data.end.checked_sub(4).filter(|at| *at >= data.start)?;
    u32_at(message, at)
}

/// Takes seconds from every lifetime.
pub(super) fn age(message: &mut [u8], lifetimes: &[u16], seconds: u32) {
    for &at in lifetimes {
        let at = usize::from(at);
        if let (Some(lifetime), Some(bytes)) = (u32_at(message, at), message.get_mut(at..at + 4)) {
            bytes.copy_from_slice(&lifetime.saturating_sub(seconds).to_be_bytes());
        }
    }
}

/// Makes a response the answer to a client's own query: its id and its spelling of the name.
pub(super) fn address(message: &mut [u8], id: u16, question: &Question<'_>) {
    if let Some(bytes) = message.get_mut(..2) {
        bytes.copy_from_slice(&id.to_be_bytes());
    }
    let has_question = u16_at(message, 4) == Some(1);
    if let Some(bytes) = message.get_mut(HEADER..HEADER + question.wire.len()).filter(|_| has_question) {
        bytes.copy_from_slice(question.wire);
    }
}

fn u32_at(message: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(message.get(at..at + 4)?.try_into().ok()?))
}
