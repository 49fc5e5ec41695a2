//! Byte ranges: `Range` of a request (RFC 9110, section 14) and `Content-Range` of an uploaded chunk.

/// Bytes of a blob, `from` to `to` exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl Span {
    pub(crate) fn len(self) -> u64 {
        self.to - self.from
    }
}

/// What a `Range` header asks of `size` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Not a single range of bytes: the header is passed over, as RFC 9110 allows.
    All,
    /// One range that lies inside.
    Part(Span),
    /// Nothing of it lies inside.
    Outside,
}

/// Reads a `Range` header.
pub(crate) fn wanted(header: &str, size: u64) -> Wanted {
    let Some((first, last)) = header.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-'))
    else {
        return Wanted::All;
    };
    match (number(first), number(last)) {
        (Some(from), _) if last.is_empty() => inside(from, size, size),
        (Some(from), Some(last)) if last >= from => inside(from, last.saturating_add(1), size),
        (None, Some(length)) if first.is_empty() && length > 0 && size > 0 => {
            Wanted::Part(Span { from: size.saturating_sub(length), to: size })
        }
        (None, Some(_)) if first.is_empty() => Wanted::Outside,
        _ => Wanted::All,
    }
}

fn inside(from: u64, to: u64, size: u64) -> Wanted {
    if from >= size { Wanted::Outside } else { Wanted::Part(Span { from, to: to.min(size) }) }
}

/// Reads the `Content-Range` of a chunk: `<first>-<last>`, both inclusive, as the distribution specification writes it;
/// `bytes <first>-<last>/<size>` is understood as well.
pub(crate) fn chunk(header: &str) -> Option<Span> {
    let range = header.strip_prefix("bytes ").unwrap_or(header);
    let range = range.split_once('/').map_or(range, |(range, _)| range);
    let (first, last) = range.split_once('-')?;
    let (from, last) = (number(first)?, number(last)?);
    (last >= from).then_some(Span { from, to: last.checked_add(1)? })
}

/// Digits only: no sign, no blank.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) { None } else { text.parse().ok() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_first_last_or_a_tail() {
        let part = |from, to| Wanted::Part(Span { from, to });
        for (header, found) in [
            ("bytes=0-4", part(0, 5)),
            ("bytes=5-", part(5, 10)),
            ("bytes=9-9", part(9, 10)),
            ("bytes=8-99", part(8, 10)),
            ("bytes=-3", part(7, 10)),
            ("bytes=-30", part(0, 10)),
            ("bytes=10-", Wanted::Outside),
            ("bytes=-0", Wanted::Outside),
            ("bytes=5-2", Wanted::All),
            ("bytes=0-1,3-4", Wanted::All),
            ("lines=1-2", Wanted::All),
            ("bytes=+1-2", Wanted::All),
        ] {
            assert_eq!(wanted(header, 10), found, "{header}");
        }
        assert_eq!(wanted("bytes=0-", 0), Wanted::Outside);
    }

    #[test]
    fn chunks_say_first_and_last() {
        assert_eq!(chunk("0-4"), Some(Span { from: 0, to: 5 }));
        assert_eq!(chunk("bytes 5-9/*"), Some(Span { from: 5, to: 10 }));
        for bad in ["", "5", "5-2", "a-b", "-1", "0-18446744073709551615"] {
            assert_eq!(chunk(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_part_always_lies_inside(header in "bytes=[0-9]{0,21}-[0-9]{0,21}|\\PC{0,30}", size: u64) {
            if let Wanted::Part(span) = wanted(&header, size) {
                prop_assert!(span.from < span.to && span.to <= size);
            }
            if let Some(span) = chunk(&header) {
                prop_assert!(span.from < span.to);
            }
        }
    }
}
