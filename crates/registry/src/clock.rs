//! Time as the records hold it: whole seconds since 1970.

/// Now.
pub(crate) fn now() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default()
}

/// A time in RFC 3339.
pub(crate) fn rfc3339(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX).to_string()
}

/// A day and a minute, for people.
pub(crate) fn short(seconds: u64) -> String {
    rfc3339(seconds).chars().take(16).map(|c| if c == 'T' { ' ' } else { c }).collect()
}
