//! Time stamps as Go's `time.RFC3339Nano` writes them, formatted anew only once a second.

use super::super::protocol::UnixTime;

/// `2006-01-02T15:04:05.999999999Z` in UTC, trailing zeros of the fraction left out.
pub(super) struct Stamp {
    second: i64,
    text: [u8; LONGEST],
}

/// The length of the longest stamp.
pub(super) const LONGEST: usize = 30;
const FRACTION: usize = 19;

impl Stamp {
    pub(super) fn new() -> Self {
        Self { second: i64::MIN, text: *b"0000-00-00T00:00:00.000000000Z" }
    }

    /// The text for `at`.
    pub(super) fn format(&mut self, at: UnixTime) -> &[u8] {
        if at.seconds != self.second {
            self.second = at.seconds;
            self.format_second();
        }
        let mut fraction = at.nanoseconds;
        if fraction == 0 {
            self.text[FRACTION] = b'Z';
            return &self.text[..=FRACTION];
        }
        let mut digits = 9;
        while fraction.is_multiple_of(10) {
            fraction /= 10;
            digits -= 1;
        }
        self.text[FRACTION] = b'.';
        self.text[FRACTION + 1 + digits] = b'Z';
        decimal(&mut self.text[FRACTION + 1..][..digits], fraction);
        &self.text[..FRACTION + 2 + digits]
    }

    fn format_second(&mut self) {
        let (day, second) = (self.second.div_euclid(86_400), self.second.rem_euclid(86_400) as u32);
        let (year, month, day) = civil(day);
        for (range, value) in [
            (0..4, year),
            (5..7, month),
            (8..10, day),
            (11..13, second / 3600),
            (14..16, second / 60 % 60),
            (17..19, second % 60),
        ] {
            decimal(&mut self.text[range], value);
        }
    }
}

fn decimal(digits: &mut [u8], mut value: u32) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Year, month and day of a day since 1970-01-01, in the proleptic Gregorian calendar; years 0 to 9999.
///
/// Counts in years that begin in March, so that the leap day is the last of its year: eras of 400 years have 146,097
/// days, and the months from March on have 153 days in five.
fn civil(day: i64) -> (u32, u32, u32) {
    let day = (day + 719_468).clamp(0, 3_652_364);
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let january_or_february = month >= 10;
    let year = era * 400 + year + i64::from(january_or_february);
    let month = if january_or_february { month - 9 } else { month + 3 };
    (year as u32, month as u32, date as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seconds: i64, nanoseconds: u32) -> String {
        String::from_utf8(Stamp::new().format(UnixTime { seconds, nanoseconds }).to_vec()).unwrap()
    }

    #[test]
    fn stamps_are_those_of_go() {
        assert_eq!(text(0, 0), "1970-01-01T00:00:00Z");
        assert_eq!(text(951_782_399, 1), "2000-02-28T23:59:59.000000001Z");
        assert_eq!(text(951_782_400, 120_000_000), "2000-02-29T00:00:00.12Z");
        assert_eq!(text(4_107_542_399, 999_999_999), "2100-02-28T23:59:59.999999999Z");
        assert_eq!(text(4_107_542_400, 100), "2100-03-01T00:00:00.0000001Z");
        assert_eq!(text(1_795_208_609, 123_456_780), "2026-11-20T21:03:29.12345678Z");
        assert_eq!(text(-1, 5), "1969-12-31T23:59:59.000000005Z");
    }

    #[test]
    fn a_cached_second_does_not_show_through() {
        let mut stamp = Stamp::new();
        for (nanoseconds, end) in [(5, ".000000005Z"), (0, "Z"), (500_000_000, ".5Z"), (123, ".000000123Z")] {
            let got = stamp.format(UnixTime { seconds: 60, nanoseconds });
            assert_eq!(got, format!("1970-01-01T00:01:00{end}").as_bytes());
        }
        assert_eq!(stamp.format(UnixTime { seconds: 61, nanoseconds: 0 }), b"1970-01-01T00:01:01Z");
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let mut last = civil(-1);
        assert_eq!(last, (1969, 12, 31));
        for day in 0..146_097 {
            let now = civil(day);
            let leap =
                (last.0.is_multiple_of(4) && !last.0.is_multiple_of(100)) || last.0.is_multiple_of(400);
            let length = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            let expected = match last {
                (y, 12, 31) => (y + 1, 1, 1),
                (y, m, d) if d == length[m as usize - 1] => (y, m + 1, 1),
                (y, m, d) => (y, m, d + 1),
            };
            assert_eq!(now, expected);
            last = now;
        }
    }
}
