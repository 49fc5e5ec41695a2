//! Lines become events: several of them one if a pattern says where an event begins, and the parts of a long line always. Events
//! become requests of the size that the service takes.
//!
//! Source: PutLogEvents of the CloudWatch Logs API reference.

use regex_lite::Regex;
use serde::Serialize;

use crate::{OptionError, remote::Line};

/// What a request may hold: so many events,
const EVENTS: usize = 10_000;
/// and so many bytes, each event counted with [`OVERHEAD`],
const BYTES: usize = 1 << 20;
/// from so many milliseconds.
const SPAN: i64 = 24 * 60 * 60 * 1000;
const OVERHEAD: usize = 26;
/// The longest text of an event.
const LONGEST: usize = (256 << 10) - OVERHEAD;

/// An event as the service takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Event {
    /// Milliseconds since 1970.
    pub(super) timestamp: i64,
    pub(super) message: String,
    /// How many lines it has of the log; 0 for what is only the rest of an event that was too long.
    #[serde(skip)]
    pub(super) lines: u64,
}

/// Puts lines together.
pub(super) struct Grouping {
    /// An event begins with a line of this kind; with every line if there is none.
    pattern: Option<Regex>,
}

impl Grouping {
    pub(super) fn new(pattern: Option<Regex>) -> Self {
        Self { pattern }
    }

    /// How many of the lines are events that are complete: what follows may belong to the lines behind them.
    pub(super) fn complete(&self, lines: &[Line]) -> usize {
        let mut size = 0;
        let mut begin = 0;
        for (at, line) in lines.iter().enumerate() {
            if at > begin && self.begins(&lines[at - 1], line) || size > LONGEST {
                (begin, size) = (at, 0);
            }
            size += line.text.len() + 1;
        }
        // Without a pattern a whole line is complete.
        let last = lines.last().is_none_or(|line| line.part.is_none_or(|part| part.last));
        if self.pattern.is_none() && last || size > LONGEST { lines.len() } else { begin }
    }

    /// Whether a line begins an event, or belongs to the one that the line before it is in.
    fn begins(&self, before: &Line, line: &Line) -> bool {
        if line.part.is_some_and(|part| part.ordinal > 1) {
            return false;
        }
        match &self.pattern {
            None => before.part.is_none_or(|part| part.last),
            Some(pattern) => pattern.is_match(&line.text()),
        }
    }

    /// The events that lines make; what has no text is none.
    pub(super) fn events(&self, lines: &[Line]) -> Vec<Event> {
        let mut out = Vec::new();
        let mut begin = 0;
        for end in 1..=lines.len() {
            if end == lines.len() || self.begins(&lines[end - 1], &lines[end]) {
                push(&lines[begin..end], self.pattern.is_some(), &mut out);
                begin = end;
            }
        }
        // The service wants them in the order of time. Those of one time stay as they are.
        out.sort_by_key(|event| event.timestamp);
        out
    }
}

/// An event of these lines, in pieces if it is too long.
fn push(lines: &[Line], newlines: bool, out: &mut Vec<Event>) {
    let Some(first) = lines.first() else { return };
    let mut text = String::new();
    for line in lines {
        text.push_str(&line.text());
        if newlines && line.part.is_none_or(|part| part.last) {
            text.push('\n');
        }
    }
    let timestamp = first.time.seconds * 1000 + i64::from(first.time.nanoseconds / 1_000_000);
    let mut count = lines.len() as u64;
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(rest.floor_char_boundary(LONGEST));
        out.push(Event { timestamp, message: piece.to_owned(), lines: std::mem::take(&mut count) });
        rest = behind;
    }
}

/// Events in portions that one request takes.
pub(super) fn requests(events: &[Event]) -> impl Iterator<Item = &[Event]> {
    let mut rest = events;
    std::iter::from_fn(move || {
        let first = rest.first()?;
        let mut bytes = 0;
        let fits = |event: &&Event| {
            bytes += event.message.len() + OVERHEAD;
            bytes <= BYTES && event.timestamp - first.timestamp < SPAN
        };
        let count = rest.iter().take(EVENTS).take_while(fits).count();
        let (now, later) = rest.split_at(count);
        rest = later;
        Some(now)
    })
}

/// The pattern that a format of times (`%Y-%m-%d`, as strftime(3) has them) amounts to. Letters that it does not know stand for themselves.
pub(super) fn pattern_of_times(format: &str) -> String {
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push_str(&regex_lite::escape(c.encode_utf8(&mut [0; 4])));
            continue;
        }
        let Some(letter) = chars.next() else {
            out.push('%');
            break;
        };
        out.push_str(match letter {
            'a' => "(?:Sun|Mon|Tue|Wed|Thu|Fri|Sat)",
            'A' => "(?:Sun|Mon|Tues|Wednes|Thurs|Fri|Satur)day",
            'b' => "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)",
            'B' => {
                "(?:January|February|March|April|May|June|July|August|September|October|November|December)"
            }
            'd' => "(?:0[1-9]|[12][0-9]|3[01])",
            'f' => "[0-9]{6}",
            'H' => "(?:[01][0-9]|2[0-3])",
            'I' => "(?:0[1-9]|1[0-2])",
            'j' => "(?:[0-2][0-9]{2}|3[0-5][0-9]|36[0-6])",
            'L' => r"\.[0-9]{3}",
            'm' => "(?:0[1-9]|1[0-2])",
            'M' => "[0-5][0-9]",
            'p' => "[AP]M",
            'S' => "(?:[0-5][0-9]|60)",
            'w' => "[0-6]",
            'y' => "[0-9]{2}",
            'Y' => "[0-9]{4}",
            'z' => "[+-][0-9]{4}",
            'Z' => "[A-Z]{2,5}",
            '%' => "%",
            other => {
                out.push('%');
                out.push_str(&regex_lite::escape(other.encode_utf8(&mut [0; 4])));
                continue;
            }
        });
    }
    out
}

/// A pattern that was given.
///
/// # Errors
/// It is none; in Docker's words.
pub(super) fn pattern(option: &'static str, text: &str) -> Result<Regex, OptionError> {
    Regex::new(text).map_err(|e| {
        let reason = crate::facts::go_words(&e, text);
        // As Docker says it, which formats a key that it has not.
        OptionError::value(option, format!("awslogs could not parse multiline pattern key <nil>: {reason}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::{Part, testing::line};

    fn grouping(pattern: Option<&str>) -> Grouping {
        Grouping::new(pattern.map(|p| Regex::new(p).unwrap()))
    }

    fn texts(events: &[Event]) -> Vec<&str> {
        events.iter().map(|event| event.message.as_str()).collect()
    }

    fn part(number: u64, text: &str, ordinal: u64, last: bool) -> Line {
        Line { part: Some(Part { first: 1, ordinal, last }), ..line(number, text) }
    }

    #[test]
    fn a_line_is_an_event_and_its_parts_are_one() {
        let lines = [part(1, "a", 1, false), part(2, "b", 2, true), line(3, ""), line(4, "c")];
        let whole = grouping(None);
        assert_eq!(whole.complete(&lines), 4);
        assert_eq!(whole.complete(&lines[..1]), 0);
        assert_eq!(texts(&whole.events(&lines)), ["ab", "c"]);
        assert_eq!(whole.events(&lines).iter().map(|e| e.lines).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn a_pattern_says_where_an_event_begins() {
        let lines = ["stray", "ERR one", "  at x", "  at y", "ERR two", "  at z"];
        let lines: Vec<_> = (1..).zip(lines).map(|(n, text)| line(n, text)).collect();
        let by_pattern = grouping(Some("^ERR"));
        // The last event may go on.
        assert_eq!(by_pattern.complete(&lines), 4);
        assert_eq!(texts(&by_pattern.events(&lines[..4])), ["stray\n", "ERR one\n  at x\n  at y\n"]);
        assert_eq!(by_pattern.complete(&lines[..1]), 0);
        // One that never ends is cut where the service would.
        let endless: Vec<_> = (1..=300).map(|n| line(n, &"x".repeat(1000))).collect();
        assert!(by_pattern.complete(&endless) > 260);
    }

    #[test]
    fn requests_are_of_the_size_that_the_service_takes() {
        let event = |timestamp, len| Event { timestamp, message: "x".repeat(len), lines: 1 };
        let sizes = |events: &[Event]| requests(events).map(<[Event]>::len).collect::<Vec<_>>();
        assert_eq!(sizes(&vec![event(0, 1); 25_000]), [10_000, 10_000, 5_000]);
        assert_eq!(sizes(&vec![event(0, (256 << 10) - 26); 9]), [4, 4, 1]);
        assert_eq!(sizes(&[event(0, 1), event(SPAN - 1, 1), event(SPAN, 1)]), [2, 1]);
        let long = grouping(None).events(&[line(1, &"ü".repeat(200_000))]);
        assert!(long.len() == 2 && long.iter().all(|e| e.message.len() <= LONGEST));
        assert_eq!(long.iter().map(|e| e.lines).sum::<u64>(), 1);
    }

    #[test]
    fn formats_of_times_become_patterns() {
        let matches = |format: &str, text| Regex::new(&pattern_of_times(format)).unwrap().is_match(text);
        assert!(matches("[%b %d, %Y %H:%M:%S]", "[May 01, 2017 19:00:01] A message"));
        assert!(matches("%Y-%m-%dT%H:%M:%S%L%z", "2026-11-27T10:00:00.123+0100"));
        assert!(!matches("[%b %d, %Y %H:%M:%S]", "A message at May 01, 2017 19:00:01"));
        assert!(!matches("%Y-%m-%d", "2026-13-01"));
        assert!(matches("100%", "100%") && matches("%Q", "%Q"));
        let error = pattern("awslogs-multiline-pattern", "(").unwrap_err().to_string();
        assert_eq!(
            error,
            "awslogs could not parse multiline pattern key <nil>: error parsing regexp: missing closing ): `(`"
        );
    }
}
