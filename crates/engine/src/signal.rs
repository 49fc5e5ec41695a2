//! Signals by name and number, as Docker reads them.

use crate::{Error, Result};

pub(crate) const KILL: i32 = 9;
pub(crate) const TERM: i32 = 15;

/// x86-64 and aarch64 number them alike (signal(7)).
const NAMES: [(&str, i32); 36] = [
    ("ABRT", 6),
    ("ALRM", 14),
    ("BUS", 7),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("FPE", 8),
    ("HUP", 1),
    ("ILL", 4),
    ("INT", 2),
    ("IO", 29),
    ("IOT", 6),
    ("KILL", 9),
    ("PIPE", 13),
    ("POLL", 29),
    ("PROF", 27),
    ("PWR", 30),
    ("QUIT", 3),
    ("SEGV", 11),
    ("STKFLT", 16),
    ("STOP", 19),
    ("SYS", 31),
    ("TERM", 15),
    ("TRAP", 5),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("USR1", 10),
    ("USR2", 12),
    ("VTALRM", 26),
    ("WINCH", 28),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("RTMIN", RTMIN),
    ("RTMAX", RTMAX),
];

/// The C library keeps 32 and 33 for itself.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// The number of a signal given by number, or by name in any case, with or without `SIG`.
///
/// # Errors
/// There is no such signal.
pub(crate) fn parse(signal: &str) -> Result<i32> {
    let invalid = || Error::Invalid(format!("invalid signal: {signal}"));
    if let Ok(number) = signal.parse::<i32>() {
        return if number == 0 { Err(invalid()) } else { Ok(number) };
    }
    let upper = signal.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = NAMES.iter().find(|(n, _)| *n == name) {
        return Ok(*number);
    }
    let offset = |from: &str| name.strip_prefix(from).and_then(|n| n.parse::<i32>().ok());
    offset("RTMIN+")
        .map(|n| RTMIN + n)
        .or_else(|| offset("RTMAX-").map(|n| RTMAX - n))
        .filter(|n| (RTMIN..=RTMAX).contains(n))
        .ok_or_else(invalid)
}

/// As [`parse`], refusing numbers that no signal has.
///
/// # Errors
/// There is no such signal.
pub(crate) fn parse_deliverable(signal: &str) -> Result<i32> {
    if signal.parse::<i32>().is_err() && signal.parse::<i64>().is_ok() {
        return Err(Error::Invalid(format!("the linux daemon does not support signal {signal}")));
    }
    match parse(signal)? {
        number if NAMES.iter().any(|(_, n)| *n == number) || (RTMIN..=RTMAX).contains(&number) => Ok(number),
        number => Err(Error::Invalid(format!("the linux daemon does not support signal {number}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_offsets() {
        for (text, number) in
            [("KILL", 9), ("sigterm", 15), ("9", 9), ("RTMIN+3", 37), ("SIGRTMAX-1", 63), ("rtmin", 34)]
        {
            assert_eq!(parse_deliverable(text).unwrap(), number, "{text}");
        }
        for (text, message) in [
            ("FOO", "invalid signal: FOO"),
            ("0", "invalid signal: 0"),
            ("", "invalid signal: "),
            ("RTMIN+31", "invalid signal: RTMIN+31"),
            ("99", "the linux daemon does not support signal 99"),
        ] {
            assert_eq!(parse_deliverable(text).unwrap_err().to_string(), message);
        }
    }
}
