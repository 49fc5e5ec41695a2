//! One log entry as Docker's `json-file` driver encodes it:
//! `{"log":"text\n","stream":"stdout","attrs":{…},"time":"2006-01-02T15:04:05.999999999Z"}` and a newline. A log that is sent on
//! has `"number":17,` before the time: each line has the number that follows the last one's, written or not.

use std::{collections::BTreeMap, io::Write};

use super::{super::protocol::UnixTime, Message, lines, time};
use crate::monitor::stream::Stream;

/// The longest encoding of a message without attributes: every byte escaped, and the fixed parts.
pub(super) const LONGEST: usize = lines::LONGEST * 6 + 128;

const TIME: &[u8] = b"\"time\":\"";

/// Encodes entries.
pub(super) struct Encoder {
    stamp: time::Stamp,
    /// From the end of the text to the number or the time, for either stream.
    middle: [Vec<u8>; 2],
    /// The next line's.
    number: Option<u64>,
}

impl Encoder {
    pub(super) fn new(attrs: &BTreeMap<String, String>, first_number: Option<u64>) -> Self {
        let middle = |stream: &str| {
            let mut out = format!("\",\"stream\":\"{stream}\",").into_bytes();
            if !attrs.is_empty() {
                out.extend_from_slice(b"\"attrs\":{");
                for (i, (key, value)) in attrs.iter().enumerate() {
                    out.extend_from_slice(if i == 0 { b"\"" } else { b",\"" });
                    escape(key.as_bytes(), &mut out);
                    out.extend_from_slice(b"\":\"");
                    escape(value.as_bytes(), &mut out);
                    out.push(b'"');
                }
                out.extend_from_slice(b"},");
            }
            out.extend_from_slice(if first_number.is_some() { b"\"number\":" } else { TIME });
            out
        };
        Self { stamp: time::Stamp::new(), middle: [middle("stdout"), middle("stderr")], number: first_number }
    }

    /// The longest that one entry can become.
    pub(super) fn longest(&self) -> usize {
        LONGEST + self.middle[0].len()
    }

    /// Appends one entry.
    pub(super) fn entry(&mut self, message: Message<'_>, stream: Stream, at: UnixTime, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"log\":\"");
        escape(message.text, out);
        if message.ends {
            out.extend_from_slice(b"\\n");
        }
        out.extend_from_slice(&self.middle[usize::from(stream == Stream::Stderr)]);
        if let Some(number) = &mut self.number {
            // A vector takes all that is written to it.
            let _ = write!(out, "{number},");
            out.extend_from_slice(TIME);
            *number += 1;
        }
        out.extend_from_slice(self.stamp.format(at));
        out.extend_from_slice(b"\"}\n");
    }
}

/// Bytes that cannot stand in a string as they are: what JSON forbids, what Go's encoder escapes for HTML's sake, and
/// everything that is not ASCII.
const SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = byte < 0x20 || byte >= 0x80 || matches!(byte as u8, b'"' | b'\\' | b'<' | b'>' | b'&');
        byte += 1;
    }
    table
};

fn escape(mut text: &[u8], out: &mut Vec<u8>) {
    loop {
        let plain = text.iter().position(|&byte| SPECIAL[usize::from(byte)]).unwrap_or(text.len());
        out.extend_from_slice(&text[..plain]);
        text = &text[plain..];
        let Some(&first) = text.first() else { return };
        if first < 0x80 {
            escape_ascii(first, out);
            text = &text[1..];
        } else {
            let end = text.iter().position(u8::is_ascii).unwrap_or(text.len());
            escape_unicode(&text[..end], out);
            text = &text[end..];
        }
    }
}

fn escape_ascii(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        byte => {
            let digit = |d: u8| b"0123456789abcdef"[usize::from(d)];
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

/// Each byte that is not part of a well-formed sequence becomes U+FFFD, as in Go (Rust would put one for the whole
/// malformed sequence); the line separators of JavaScript are escaped.
fn escape_unicode(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(at) = rest.find(['\u{2028}', '\u{2029}']) {
            out.extend_from_slice(&rest.as_bytes()[..at]);
            out.extend_from_slice(if rest[at..].starts_with('\u{2028}') { b"\\u2028" } else { b"\\u2029" });
            rest = &rest[at + 3..];
        }
        out.extend_from_slice(rest.as_bytes());
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

#[cfg(test)]
mod tests;
