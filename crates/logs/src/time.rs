//! Times of entries: read from RFC 3339 text without a calendar library, since there are millions of them.

/// A moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

impl Time {
    /// Reads `2006-01-02T15:04:05.999999999Z`; the fraction may be absent or shorter, the zone may be `±hh:mm`.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let digits = |range: std::ops::Range<usize>| {
            text.get(range)?
                .iter()
                .try_fold(0i64, |n, d| d.is_ascii_digit().then(|| n * 10 + i64::from(d - b'0')))
        };
        let (date, clock) = (text.get(..10)?, text.get(10..19)?);
        if (date[4], date[7], clock[0], clock[3], clock[6]) != (b'-', b'-', b'T', b':', b':') {
            return None;
        }
        let day = day_number(digits(0..4)?, digits(5..7)?, digits(8..10)?)?;
        let mut seconds = day * 86_400 + digits(11..13)? * 3600 + digits(14..16)? * 60 + digits(17..19)?;
        let mut rest = &text[19..];
        let mut nanoseconds = 0;
        if let Some(fraction) = rest.strip_prefix(b".") {
            let len = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
            if len == 0 || len > 9 {
                return None;
            }
            let value = fraction[..len].iter().fold(0u32, |n, d| n * 10 + u32::from(d - b'0'));
            nanoseconds = value * 10u32.pow(9 - len as u32);
            rest = &fraction[len..];
        }
        seconds -= match rest {
            b"Z" => 0,
            [sign @ (b'+' | b'-'), a, b, b':', c, d] => {
                let two = |a: &u8, b: &u8| -> Option<i64> {
                    (a.is_ascii_digit() && b.is_ascii_digit())
                        .then(|| i64::from(a - b'0') * 10 + i64::from(b - b'0'))
                };
                let offset = two(a, b)? * 3600 + two(c, d)? * 60;
                if *sign == b'+' { offset } else { -offset }
            }
            _ => return None,
        };
        Some(Self { seconds, nanoseconds })
    }
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar, counted in years that begin in March, so that the
/// leap day is the last of its year.
fn day_number(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// Appends a time with all nine digits of its fraction, as Docker shows it; text that is no time stays as it is.
pub(crate) fn push_fixed(text: &[u8], out: &mut Vec<u8>) {
    let Some((zone, digits)) = text.get(19..).and_then(|rest| {
        let digits = rest.strip_prefix(b".").unwrap_or(b"");
        let len = digits.iter().take_while(|b| b.is_ascii_digit()).count();
        let (digits, zone) =
            if rest.first() == Some(&b'.') { digits.split_at(len) } else { (&b""[..], rest) };
        (digits.len() <= 9).then_some((zone, digits))
    }) else {
        out.extend_from_slice(text);
        return;
    };
    out.extend_from_slice(&text[..19]);
    out.push(b'.');
    out.extend_from_slice(digits);
    out.extend_from_slice(&b"000000000"[digits.len()..]);
    out.extend_from_slice(zone);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<(i64, u32)> {
        Time::parse(text.as_bytes()).map(|t| (t.seconds, t.nanoseconds))
    }

    #[test]
    fn times_are_read_as_go_writes_them() {
        assert_eq!(parse("1970-01-01T00:00:00Z"), Some((0, 0)));
        assert_eq!(parse("2000-02-29T00:00:00.12Z"), Some((951_782_400, 120_000_000)));
        assert_eq!(parse("2100-03-01T00:00:00.0000001Z"), Some((4_107_542_400, 100)));
        assert_eq!(parse("2026-11-20T21:03:29.123456789Z"), Some((1_795_208_609, 123_456_789)));
        assert_eq!(parse("2026-11-20T23:03:29+02:00"), Some((1_795_208_609, 0)));
        assert_eq!(parse("1969-12-31T23:59:59.5Z"), Some((-1, 500_000_000)));
        for bad in [
            "",
            "2026-11-20",
            "2026-11-20T21:03:29",
            "2026-13-20T21:03:29Z",
            "2026-11-20T21:03:29.Z",
            "2026-11-20 21:03:29Z",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn shown_times_have_nine_digits() {
        for (text, shown) in [
            ("2026-11-20T21:03:29Z", "2026-11-20T21:03:29.000000000Z"),
            ("2026-11-20T21:03:29.5Z", "2026-11-20T21:03:29.500000000Z"),
            ("2026-11-20T21:03:29.123456789Z", "2026-11-20T21:03:29.123456789Z"),
            ("2026-11-20T21:03:29.1+02:00", "2026-11-20T21:03:29.100000000+02:00"),
            ("soon", "soon"),
        ] {
            let mut out = Vec::new();
            push_fixed(text.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), shown);
        }
    }
}
