//! Entries as the API sends them.

use crate::{
    Framing, Query, Time,
    entry::{self, Entry},
    time,
};

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rendered {
    /// It was appended, or is not wanted.
    Done,
    /// It is later than anything wanted, and so is all that follows.
    TooLate,
}

/// Appends one line of a log, if `query` wants it and its time is after `after`.
pub(crate) fn line(line: &[u8], query: &Query, after: Option<Time>, out: &mut Vec<u8>) -> Rendered {
    let Some(entry) = Entry::parse(line) else { return Rendered::Done };
    match push(&entry, query, after, out) {
        Some(rendered) => rendered,
        None => {
            Entry::any_shape(line).and_then(|entry| push(&entry, query, after, out)).unwrap_or(Rendered::Done)
        }
    }
}

/// Appends an entry; none, and nothing is appended, if its text is not understood.
fn push(entry: &Entry<'_>, query: &Query, after: Option<Time>, out: &mut Vec<u8>) -> Option<Rendered> {
    if query.since.is_some() || query.until.is_some() || after.is_some() {
        let Some(time) = Time::parse(&entry.time) else { return Some(Rendered::Done) };
        if query.until.is_some_and(|until| time > until) {
            return Some(Rendered::TooLate);
        }
        if query.since.is_some_and(|since| time < since) || after.is_some_and(|after| time <= after) {
            return Some(Rendered::Done);
        }
    }
    if !(if entry.stderr { query.stderr } else { query.stdout }) {
        return Some(Rendered::Done);
    }
    let start = out.len();
    if query.framing == Framing::Multiplexed {
        out.extend_from_slice(&[if entry.stderr { 2 } else { 1 }, 0, 0, 0, 0, 0, 0, 0]);
    }
    let content = out.len();
    if query.timestamps {
        time::push_fixed(&entry.time, out);
        out.push(b' ');
    }
    if query.details {
        entry::push_details(entry.attrs.as_deref(), out);
        out.push(b' ');
    }
    if !entry.text.push(out) {
        out.truncate(start);
        return None;
    }
    if query.framing == Framing::Multiplexed {
        let len = ((out.len() - content) as u32).to_be_bytes();
        out[start + 4..content].copy_from_slice(&len);
    }
    Some(Rendered::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] =
        br#"{"log":"two\n","stream":"stderr","attrs":{"b":"1 2","a":"x"},"time":"2026-11-20T21:00:28.5Z"}"#;

    fn rendered(query: &Query, after: Option<Time>) -> (String, Rendered) {
        let mut out = Vec::new();
        let done = line(LINE, query, after, &mut out);
        (String::from_utf8(out).unwrap(), done)
    }

    #[test]
    fn prefixes_come_in_the_order_of_docker() {
        let raw = Query { framing: Framing::Raw, ..Query::default() };
        assert_eq!(rendered(&raw, None).0, "two\n");
        let all = Query { timestamps: true, details: true, ..raw.clone() };
        assert_eq!(rendered(&all, None).0, "2026-11-20T21:00:28.500000000Z a=x,b=1+2 two\n");
        assert_eq!(rendered(&Query::default(), None).0, "\x02\0\0\0\0\0\0\x04two\n");
        assert_eq!(rendered(&Query { stderr: false, ..raw }, None).0, "");
    }

    #[test]
    fn surrogate_pairs_are_understood() {
        let mut out = Vec::new();
        let pair = br#"{"log":"a\ud83d\ude00","stream":"stdout","time":"2026-11-20T21:00:28.5Z"}"#;
        assert_eq!(line(pair, &Query::default(), None, &mut out), Rendered::Done);
        assert_eq!(out, "\x01\0\0\0\0\0\0\x05a😀".as_bytes());
    }

    #[test]
    fn times_are_limits_that_belong_to_the_range() {
        let at = Time::parse(b"2026-11-20T21:00:28.5Z").unwrap();
        let later = Time { nanoseconds: at.nanoseconds + 1, ..at };
        let earlier = Time { nanoseconds: at.nanoseconds - 1, ..at };
        let raw = Query { framing: Framing::Raw, ..Query::default() };
        let with = |since, until| rendered(&Query { since, until, ..raw.clone() }, None);
        assert_eq!(with(Some(at), Some(at)).0, "two\n");
        assert_eq!(with(Some(later), None), (String::new(), Rendered::Done));
        assert_eq!(with(None, Some(earlier)), (String::new(), Rendered::TooLate));
        assert_eq!(rendered(&raw, Some(earlier)).0, "two\n");
        assert_eq!(rendered(&raw, Some(at)).0, "");
    }
}
