//! JSON as Go's `encoding/json` writes it: what is hashed into an image id has to be the same bytes.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Serializer, ser::Formatter};

/// The value's bytes.
pub(crate) fn to_vec<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    value
        .serialize(&mut Serializer::with_formatter(&mut out, Go))
        .expect("a value whose maps have string keys, written to memory");
    out
}

/// Go escapes what could end a script element in HTML, and what JavaScript takes for the end of a line.
struct Go;

impl Formatter for Go {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let c = rest[at..].chars().next().unwrap_or_default();
            write!(writer, "{}\\u{:04x}", &rest[..at], u32::from(c))?;
            rest = &rest[at + c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn strings_are_escaped_as_go_does() {
        let text = "a<b>&\u{2028}\"\n\t\u{1}é";
        assert_eq!(super::to_vec(&text), "\"a\\u003cb\\u003e\\u0026\\u2028\\\"\\n\\t\\u0001é\"".as_bytes());
    }
}
