//! Sizes as people write and read them (docker/go-units).

/// A string that is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid size: '{0}'")]
pub struct ParseSizeError(pub String);

/// Bytes from `512`, `1.5g`, `64 MiB`, `10kb`: a decimal number and an optional unit (`b k m g t p`, each a power of
/// 1024, with `b` or `ib` behind it, in either case).
///
/// # Errors
/// What is not of this form, is negative or does not fit `i64`.
pub fn parse_size(s: &str) -> Result<i64, ParseSizeError> {
    let bad = || ParseSizeError(s.to_owned());
    let end = s.rfind(|c: char| c.is_ascii_digit() || c == '.').ok_or_else(bad)? + 1;
    let (number, unit) = s.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let number: f64 = number.parse().map_err(|_| bad())?;
    let power = match unit.as_str() {
        "" | "b" => 0,
        u => match (u.chars().next(), u.get(1..)) {
            (Some(prefix), Some("" | "b" | "ib")) => 1 + "kmgtp".find(prefix).ok_or_else(bad)? as i32,
            _ => return Err(bad()),
        },
    };
    let bytes = number * 1024f64.powi(power);
    if !(0.0..9.3e18).contains(&bytes) {
        return Err(bad());
    }
    Ok(bytes as i64)
}

fn human(size: f64, base: f64, digits: usize, units: &[&str]) -> String {
    let (mut size, mut i) = (size, 0);
    while size >= base && i + 1 < units.len() {
        size /= base;
        i += 1;
    }
    format!("{}{}", significant(size, digits), units[i])
}

/// As C's `%.{digits}g`.
fn significant(value: f64, digits: usize) -> String {
    let whole = if value < 1.0 { 1 } else { value.log10().floor() as usize + 1 };
    let text = format!("{value:.*}", digits.saturating_sub(whole));
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// Bytes in powers of 1000, four significant digits: `1.23MB`, as `docker images` shows them with three.
pub fn human_size(bytes: u64, digits: usize) -> String {
    human(bytes as f64, 1000.0, digits, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// Bytes in powers of 1024, four significant digits: `1.953GiB`.
pub fn human_size_binary(bytes: u64) -> String {
    human(bytes as f64, 1024.0, 4, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_docker_reads_them() {
        for (text, bytes) in [
            ("0", 0),
            ("32", 32),
            ("32b", 32),
            ("32k", 32 << 10),
            ("32KB", 32 << 10),
            ("32 MiB", 32 << 20),
            ("1.5g", 3 << 29),
            ("2T", 2 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "-1", "k", "32kk", "1 2", "32x", "99999p", "1é", "1µb"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_print_as_docker_prints_them() {
        assert_eq!(human_size(0, 3), "0B");
        assert_eq!(human_size(1_234_567, 3), "1.23MB");
        assert_eq!(human_size(999, 4), "999B");
        assert_eq!(human_size(13_300, 3), "13.3kB");
        assert_eq!(human_size_binary(2 << 30), "2GiB");
        assert_eq!(human_size_binary(2_097_000_000), "1.953GiB");
    }
}
