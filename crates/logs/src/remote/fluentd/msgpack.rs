//! As much of MessagePack as the forward protocol takes.

/// The head of an array.
pub(super) fn array(len: usize, out: &mut Vec<u8>) {
    head(len, 0x90, 16, None, 0xdc, out);
}

/// The head of a map.
pub(super) fn map(len: usize, out: &mut Vec<u8>) {
    head(len, 0x80, 16, None, 0xde, out);
}

/// A string.
pub(super) fn text(bytes: &[u8], out: &mut Vec<u8>) {
    head(bytes.len(), 0xa0, 32, Some(0xd9), 0xda, out);
    out.extend_from_slice(bytes);
}

/// A number.
pub(super) fn unsigned(value: u32, out: &mut Vec<u8>) {
    out.push(0xce);
    out.extend_from_slice(&value.to_be_bytes());
}

/// Fluentd's extension type 0: seconds and nanoseconds.
pub(super) fn event_time(seconds: u32, nanoseconds: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xd7, 0]);
    out.extend_from_slice(&seconds.to_be_bytes());
    out.extend_from_slice(&nanoseconds.to_be_bytes());
}

/// A length below `few` is part of the first byte; longer ones have one byte (if `byte` is given), two or four.
fn head(len: usize, fixed: u8, few: usize, byte: Option<u8>, two: u8, out: &mut Vec<u8>) {
    match (u8::try_from(len), u16::try_from(len), byte) {
        (Ok(len), _, _) if usize::from(len) < few => out.push(fixed | len),
        (Ok(len), _, Some(byte)) => out.extend_from_slice(&[byte, len]),
        (_, Ok(len), _) => {
            out.push(two);
            out.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            out.push(two + 1);
            out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
}

/// The value of `ack` in an answer, a map of strings; none while its end is missing.
///
/// # Errors
/// It is something else.
pub(super) fn acknowledged(answer: &[u8]) -> Result<Option<&[u8]>, &'static str> {
    const NONSENSE: &str = "the answer is no acknowledgement";
    let Some((&first, mut rest)) = answer.split_first() else { return Ok(None) };
    if first & 0xf0 != 0x80 {
        return Err(NONSENSE);
    }
    for _ in 0..first & 0x0f {
        let (Some(key), rest_of_key) = string(rest).ok_or(NONSENSE)? else { return Ok(None) };
        let (Some(value), rest_of_value) = string(rest_of_key).ok_or(NONSENSE)? else { return Ok(None) };
        if key == b"ack" {
            return Ok(Some(value));
        }
        rest = rest_of_value;
    }
    Err(NONSENSE)
}

/// A string and what follows; no string while its end is missing. None if it is no string.
fn string(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (len, rest) = match bytes {
        [] => return Some((None, bytes)),
        [first, rest @ ..] if first & 0xe0 == 0xa0 => (usize::from(first & 0x1f), rest),
        [0xd9, len, rest @ ..] => (usize::from(*len), rest),
        [0xd9] => return Some((None, bytes)),
        _ => return None,
    };
    Some(match rest.split_at_checked(len) {
        Some((string, rest)) => (Some(string), rest),
        None => (None, bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_as_many_bytes_as_they_need() {
        for (len, head) in [
            (0, &[0xa0][..]),
            (31, &[0xbf]),
            (32, &[0xd9, 32]),
            (256, &[0xda, 1, 0]),
            (65536, &[0xdb, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            text(&vec![b'x'; len], &mut out);
            assert_eq!((&out[..head.len()], out.len()), (head, head.len() + len));
        }
        let mut out = Vec::new();
        array(15, &mut out);
        array(200, &mut out);
        map(2, &mut out);
        map(70_000, &mut out);
        assert_eq!(out, [0x9f, 0xdc, 0, 200, 0x82, 0xdf, 0, 1, 0x11, 0x70]);
    }

    #[test]
    fn an_acknowledgement_is_read_to_its_end_and_nonsense_is_refused() {
        let answer = b"\x81\xa3ack\xa4abcd";
        assert_eq!(acknowledged(answer), Ok(Some(&b"abcd"[..])));
        for end in 0..answer.len() {
            assert_eq!(acknowledged(&answer[..end]), Ok(None), "{end}");
        }
        assert_eq!(acknowledged(b"\x82\xa1a\xa1b\xa3ack\xd9\x02xy"), Ok(Some(&b"xy"[..])));
        for bad in [&b"HTTP/1.1 400"[..], b"\x80", b"\x81\xa1a\xa1b", b"\x81\x05"] {
            assert!(acknowledged(bad).is_err(), "{bad:?}");
        }
    }
}
