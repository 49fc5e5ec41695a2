//! Times: as options take them, and as tables show them.

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};

use crate::grammar::parse_duration;

/// `--since` and `--until` as the API takes them: seconds and nanoseconds since 1970. A duration means that long ago;
/// a date without a zone is in the local one.
///
/// # Errors
/// In Go's words.
pub(crate) fn to_timestamp(text: &str) -> Result<String, String> {
    if let Ok(nanos) = parse_duration(text) {
        let then = Timestamp::now() - SignedDuration::from_nanos(nanos);
        return Ok(with_nanos(then));
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(with_nanos(moment));
    }
    let local = |time: DateTime| time.to_zoned(TimeZone::system()).ok().map(|zoned| zoned.timestamp());
    let civil = text.parse::<DateTime>().ok().and_then(local);
    let date = || text.parse::<Date>().ok().and_then(|date| local(date.at(0, 0, 0, 0)));
    if let Some(moment) = civil.or_else(date) {
        return Ok(with_nanos(moment));
    }
    // Seconds since 1970, perhaps with a fraction: as they are.
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if seconds.parse::<i64>().is_ok() && fraction.parse::<u64>().is_ok() {
        return Ok(text.to_owned());
    }
    Err(format!("failed to parse value as time or duration: {}", crate::grammar::quote(text)))
}

fn with_nanos(moment: Timestamp) -> String {
    format!("{}.{:09}", moment.as_second(), moment.subsec_nanosecond())
}

/// How long: `3 minutes`, `About an hour`, `Less than a second`.
pub(crate) fn human(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds as f64 / 3600.0).round() as i64);
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".to_owned(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// How long since a moment, in seconds since 1970.
pub(crate) fn since(seconds: i64) -> String {
    human(Timestamp::now().as_second() - seconds)
}

/// `2026-11-20 21:00:00 +0000 UTC`, as Go prints a time of the local zone.
pub(crate) fn go_local(seconds: i64) -> String {
    match Timestamp::from_second(seconds) {
        Ok(moment) => {
            let local = moment.to_zoned(TimeZone::system());
            // A zone without an abbreviation is UTC to Go as well.
            let zone = local.strftime("%Z").to_string();
            local.strftime("%Y-%m-%d %H:%M:%S %z ").to_string() + &zone
        }
        Err(_) => String::new(),
    }
}

/// A time as Go prints it, out of RFC 3339: `2026-11-20 21:00:00.5 +0000 UTC`.
pub(crate) fn go_time(text: &str) -> String {
    let (Some((date, rest)), true) = (text.split_once('T'), text.len() >= 20) else { return text.to_owned() };
    match rest.strip_suffix('Z') {
        Some(time) => format!("{date} {time} +0000 UTC"),
        None => {
            let (time, offset) = rest.split_at(rest.len().saturating_sub(6));
            let offset = offset.replace(':', "");
            format!("{date} {time} {offset} {offset}")
        }
    }
}

/// RFC 3339 in the local zone.
pub(crate) fn rfc3339_local(seconds: i64) -> String {
    match Timestamp::from_second(seconds) {
        Ok(moment) => {
            let local = moment.to_zoned(TimeZone::system());
            let offset = match local.offset().is_zero() {
                true => "Z".to_owned(),
                false => local.strftime("%:z").to_string(),
            };
            local.strftime("%Y-%m-%dT%H:%M:%S").to_string() + &offset
        }
        Err(_) => String::new(),
    }
}

/// RFC 3339 with nine digits in the local zone, from nanoseconds since 1970.
pub(crate) fn rfc3339_nano_local(nanos: i64) -> String {
    match Timestamp::from_nanosecond(i128::from(nanos)) {
        Ok(moment) => {
            let local = moment.to_zoned(TimeZone::system());
            let offset = match local.offset().is_zero() {
                true => "Z".to_owned(),
                false => local.strftime("%:z").to_string(),
            };
            format!("{}.{:09}{offset}", local.strftime("%Y-%m-%dT%H:%M:%S"), moment.subsec_nanosecond())
        }
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_as_docker_tells_them() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (120, "2 minutes"),
            (3600, "About an hour"),
            (3600 * 30, "30 hours"),
            (86_400 * 3, "3 days"),
            (86_400 * 15, "2 weeks"),
            (86_400 * 90, "3 months"),
            (86_400 * 365 * 3, "3 years"),
        ] {
            assert_eq!(human(seconds), text);
        }
    }

    #[test]
    fn moments_become_seconds_and_nanoseconds() {
        assert_eq!(to_timestamp("2020-01-02T03:04:05.5Z"), Ok("1577934245.500000000".into()));
        assert_eq!(to_timestamp("1577934245"), Ok("1577934245".into()));
        assert_eq!(to_timestamp("1577934245.25"), Ok("1577934245.25".into()));
        assert!(to_timestamp("yesterday").is_err());
        assert!(to_timestamp("10m").is_ok_and(|t| t.len() == 20));
    }
}
