//! Domain names as they lie in messages (RFC 1035, 3.1 and 4.1.4): labels, each behind its length, up to an empty one.

/// The longest name there is, with all lengths and the final zero.
const LONGEST: usize = 255;
/// The longest label.
const LONGEST_LABEL: usize = 63;

/// A name written out in full, the final zero included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// Reads the name at an offset. Pointers are refused: the first name of a message has nothing to point to.
    pub(super) fn read(message: &'a [u8], at: usize) -> Option<Self> {
        let mut end = at;
        loop {
            let length = usize::from(*message.get(end)?);
            end += 1 + length;
            if length > LONGEST_LABEL || end - at > LONGEST {
                return None;
            }
            if length == 0 {
                return message.get(at..end).map(Self);
            }
        }
    }

    /// The bytes.
    pub(super) fn wire(self) -> &'a [u8] {
        self.0
    }

    /// The labels, without the root's.
    pub(super) fn labels(self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (&length, behind) = rest.split_first()?;
            let (label, behind) = behind.split_at_checked(usize::from(length)).filter(|_| length > 0)?;
            rest = behind;
            Some(label)
        })
    }

    /// The name as people write it, in lower case and without the final dot. None if a label has a dot in it or is no
    /// text: such a name is nobody's here.
    pub(super) fn text(self) -> Option<String> {
        let mut text = String::with_capacity(self.0.len());
        for label in self.labels() {
            if label.contains(&b'.') {
                return None;
            }
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(std::str::from_utf8(label).ok()?);
        }
        text.make_ascii_lowercase();
        Some(text)
    }

    /// Whether both are the same name; the case of letters does not count.
    pub(super) fn is(self, other: Name<'_>) -> bool {
        // No length is a letter.
        self.0.eq_ignore_ascii_case(other.0)
    }
}

/// The offset behind the name at an offset, of which a pointer may be the end. Nothing is followed.
pub(super) fn skip(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match usize::from(*message.get(at)?) {
            0 => return Some(at + 1),
            length @ 1..=LONGEST_LABEL => at += 1 + length,
            0xc0.. => return Some(at + 2),
            _ => return None,
        }
    }
}

/// Writes a text as a name. None if it is none.
pub(super) fn encode(text: &str) -> Option<Vec<u8>> {
    let mut wire = Vec::with_capacity(text.len() + 2);
    for label in text.split('.') {
        if label.is_empty() || label.len() > LONGEST_LABEL {
            return None;
        }
        wire.push(label.len() as u8);
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    (wire.len() <= LONGEST).then_some(wire)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_in_lower_case() {
        let wire = encode("Web.My-Net").unwrap();
        let name = Name::read(&wire, 0).unwrap();
        assert_eq!((name.wire().len(), name.text().as_deref()), (12, Some("web.my-net")));
        assert!(name.is(Name::read(&encode("wEB.mY-nET").unwrap(), 0).unwrap()));
        assert!(!name.is(Name::read(&encode("web.my-nets").unwrap(), 0).unwrap()));
        assert_eq!(Name::read(&[0], 0).unwrap().text().as_deref(), Some(""));
    }

    #[test]
    fn names_that_are_none() {
        let long = "a".repeat(64);
        for bad in ["", ".", "a..b", "a.", &long, &["abcdefg."; 32].concat()] {
            assert_eq!(encode(bad), None, "{bad}");
        }
        // Cut short, without an end, a pointer, an unknown sort of label, too long.
        let endless = [1, b'a'].repeat(128);
        for bad in [&b""[..], b"\x03ab", b"\x01a", b"\xc0\x00", b"\x01a\xc0\x00", b"\x40\x00", &endless] {
            assert!(Name::read(bad, 0).is_none(), "{bad:?}");
        }
        assert_eq!(Name::read(b"\x03a.b\x00", 0).unwrap().text(), None);
        assert_eq!(Name::read(b"\x02\xff\xfe\x00", 0).unwrap().text(), None);
    }

    #[test]
    fn names_are_skipped_without_following_pointers() {
        assert_eq!(skip(b"\x01a\x00", 0), Some(3));
        assert_eq!(skip(b"\x01a\xc0\x00", 0), Some(4));
        assert_eq!(skip(b"\x01", 0), None);
        assert_eq!(skip(b"\x80\x00", 0), None);
    }
}
