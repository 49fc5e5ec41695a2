//! Time as the records hold it: whole seconds since 1970.

/// Now.
pub(crate) fn now() -> u64 {
    exactly().0
}

/// Now, and the nanoseconds beyond.
pub(crate) fn exactly() -> (u64, u32) {
    let now = jiff::Timestamp::now();
    (now.as_second().try_into().unwrap_or_default(), now.subsec_nanosecond().try_into().unwrap_or_default())
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
