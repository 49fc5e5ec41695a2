//! Times on the wire: RFC 3339 in answers, seconds with an optional fraction in queries.

use jiff::{SignedDuration, Timestamp};

use crate::failure::{Failure, Outcome};

/// Go's zero time, which stands for "never".
pub(crate) const NEVER: &str = "0001-01-01T00:00:00Z";

/// RFC 3339 with as many digits as it takes.
pub(crate) fn render(time: Option<Timestamp>) -> String {
    time.map_or_else(|| NEVER.to_owned(), |time| time.to_string())
}

/// `1136073600.000000001`; none if there is nothing, or nothing after 1970.
pub(crate) fn parse(text: &str) -> Outcome<Option<Timestamp>> {
    if text.is_empty() {
        return Ok(None);
    }
    let number = |digits: &str| {
        let fault = |_| Failure::internal(format!("strconv.ParseInt: parsing {digits:?}: invalid syntax"));
        digits.parse::<i64>().map_err(fault)
    };
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let seconds = number(seconds)?;
    let nanoseconds = match fraction.len() {
        0..=9 => number(fraction)? * 10_i64.pow(9 - fraction.len() as u32),
        len => number(&fraction[..18.min(len)])? / 10_i64.pow((18.min(len) - 9) as u32),
    };
    let time = Timestamp::UNIX_EPOCH.checked_add(SignedDuration::from_secs(seconds));
    Ok(Some(
        time.and_then(|t| t.checked_add(SignedDuration::from_nanos(nanoseconds))).unwrap_or(Timestamp::MAX),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_nanosecond() {
        let read = |text: &str| parse(text).unwrap().map(|t| t.as_nanosecond());
        assert_eq!(read(""), None);
        assert_eq!(read("12"), Some(12_000_000_000));
        assert_eq!(read("12.000000001"), Some(12_000_000_001));
        assert_eq!(read("12.5"), Some(12_500_000_000));
        assert_eq!(read("12.1234567899"), Some(12_123_456_789));
        assert!(read("99999999999999").is_some());
        assert_eq!(parse("x").unwrap_err().message, r#"strconv.ParseInt: parsing "x": invalid syntax"#);
    }

    #[test]
    fn times_are_written_as_go_writes_them() {
        assert_eq!(render(None), "0001-01-01T00:00:00Z");
        assert_eq!(
            render(Some(Timestamp::new(1_795_208_255, 626_406_062).unwrap())),
            "2026-11-20T20:57:35.626406062Z"
        );
        assert_eq!(
            render(Some(Timestamp::new(1_795_208_255, 500_000_000).unwrap())),
            "2026-11-20T20:57:35.5Z"
        );
        assert_eq!(render(Some(Timestamp::new(1_795_208_255, 0).unwrap())), "2026-11-20T20:57:35Z");
    }
}
