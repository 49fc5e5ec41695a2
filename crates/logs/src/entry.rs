//! One line of a `json-file` log.
//!
//! Lines come from an encoder whose output has one shape, so their parts are found from the end without reading the text; the
//! text itself is copied in runs between escapes. What has another shape goes through a real JSON parser.

use std::{borrow::Cow, collections::BTreeMap};

use memchr::memmem;
use serde::Deserialize;

/// A line, parsed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) text: Text<'a>,
    pub(crate) stderr: bool,
    pub(crate) attrs: Option<Cow<'a, str>>,
    /// Its place in a log whose lines are numbered.
    pub(crate) number: Option<u64>,
    /// RFC 3339.
    pub(crate) time: Cow<'a, [u8]>,
}

/// The text of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Text<'a> {
    /// The inside of a JSON string.
    Escaped(&'a [u8]),
    /// As it is.
    Plain(String),
}

#[derive(Deserialize)]
struct AnyShape {
    #[serde(default)]
    log: String,
    #[serde(default)]
    stream: String,
    #[serde(default)]
    attrs: Option<serde_json::Value>,
    #[serde(default)]
    number: Option<u64>,
    time: String,
}

impl<'a> Entry<'a> {
    /// Parses a line, without its newline.
    pub(crate) fn parse(line: &'a [u8]) -> Option<Self> {
        Self::usual_shape(line).or_else(|| Self::any_shape(line))
    }

    /// Parses a line of any shape, or one whose text [`Text::push`] could not undo.
    pub(crate) fn any_shape(line: &[u8]) -> Option<Self> {
        let any: AnyShape = serde_json::from_slice(line).ok()?;
        Some(Self {
            text: Text::Plain(any.log),
            stderr: any.stream == "stderr",
            attrs: any.attrs.map(|attrs| attrs.to_string().into()),
            number: any.number,
            time: any.time.into_bytes().into(),
        })
    }

    /// A quotation mark inside the text is always escaped, so the marks that the patterns below begin with cannot be
    /// inside it: what matches is what the encoder put around the text.
    fn usual_shape(line: &'a [u8]) -> Option<Self> {
        const OUT: &[u8] = b"\",\"stream\":\"stdout\",";
        const ERR: &[u8] = b"\",\"stream\":\"stderr\",";
        let inner = line.strip_prefix(b"{\"log\":\"")?.strip_suffix(b"\"}")?;
        let time_at = memchr::memrchr(b'"', inner)? + 1;
        let time = &inner[time_at..];
        let head = inner[..time_at].strip_suffix(b"\"time\":\"")?;
        let (head, number) = split_number(head);
        let of = |text, stderr, attrs| Self {
            text: Text::Escaped(text),
            stderr,
            attrs,
            number,
            time: time.into(),
        };
        if let Some(text) = head.strip_suffix(OUT) {
            return Some(of(text, false, None));
        }
        if let Some(text) = head.strip_suffix(ERR) {
            return Some(of(text, true, None));
        }
        let attrs = head.strip_suffix(b",")?;
        let at = memmem::rfind(attrs, b"\",\"stream\":\"std")?;
        let (text, rest) = attrs.split_at(at);
        let stderr = rest.starts_with(ERR);
        if !stderr && !rest.starts_with(OUT) {
            return None;
        }
        let attrs = rest[OUT.len()..].strip_prefix(b"\"attrs\":")?;
        let attrs = Some(std::str::from_utf8(attrs).ok()?.into());
        Some(of(text, stderr, attrs))
    }
}

/// Takes `"number":17,` from the end. (No text ends like that: a quotation mark in it is escaped.)
fn split_number(head: &[u8]) -> (&[u8], Option<u64>) {
    let split = || {
        let digits = head.strip_suffix(b",")?;
        let at = digits.iter().rposition(|b| !b.is_ascii_digit())? + 1;
        let before = digits[..at].strip_suffix(b"\"number\":")?;
        let number = std::str::from_utf8(&digits[at..]).ok()?.parse().ok()?;
        Some((before, Some(number)))
    };
    split().unwrap_or((head, None))
}

impl Text<'_> {
    /// Appends the text itself. Returns false, and leaves a part of it, at an escape that is malformed or half of a surrogate pair (which no encoder
    /// of ours writes).
    pub(crate) fn push(&self, out: &mut Vec<u8>) -> bool {
        let mut rest = match self {
            Self::Plain(text) => {
                out.extend_from_slice(text.as_bytes());
                return true;
            }
            Self::Escaped(text) => *text,
        };
        while let Some(at) = memchr::memchr(b'\\', rest) {
            out.extend_from_slice(&rest[..at]);
            let Some(used) = push_escape(&rest[at + 1..], out) else { return false };
            rest = &rest[at + 1 + used..];
        }
        out.extend_from_slice(rest);
        true
    }
}

/// Appends what an escape stands for; returns how many bytes it has behind the backslash.
fn push_escape(escape: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let byte = match escape.first()? {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'f' => 12,
        plain @ (b'"' | b'\\' | b'/') => *plain,
        b'u' => {
            let digits = std::str::from_utf8(escape.get(1..5)?).ok()?;
            let value = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
            out.extend_from_slice(value.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(5);
        }
        _ => return None,
    };
    out.push(byte);
    Some(1)
}

/// Appends attributes as Docker's `--details` shows them: `key=value` pairs in the order of their keys, both as in a URL's query.
pub(crate) fn push_details(attrs: Option<&str>, out: &mut Vec<u8>) {
    let attrs: BTreeMap<String, String> =
        attrs.and_then(|a| serde_json::from_str(a).ok()).unwrap_or_default();
    for (i, (key, value)) in attrs.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        push_query(key, out);
        out.push(b'=');
        push_query(value, out);
    }
}

/// Go's `url.QueryEscape`.
fn push_query(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte),
            b' ' => out.push(b'+'),
            byte => out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
}

#[cfg(test)]
mod tests;
