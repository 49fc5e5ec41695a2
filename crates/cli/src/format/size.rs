//! Sizes, as docker/go-units writes them.

/// Bytes in powers of 1000 with so many significant digits: `1.23MB`.
pub(crate) fn human(bytes: f64, digits: usize) -> String {
    scaled(bytes, 1000.0, digits, &["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"])
}

/// Bytes in powers of 1024 with four significant digits: `1.953GiB`.
pub(crate) fn binary(bytes: f64) -> String {
    scaled(bytes, 1024.0, 4, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"])
}

fn scaled(bytes: f64, base: f64, digits: usize, units: &[&str]) -> String {
    let (mut value, mut unit) = (bytes, 0);
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    format!("{}{}", skiff_go::number::general(value, digits), units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_significant_digits() {
        assert_eq!(human(0.0, 3), "0B");
        assert_eq!(human(1_980_000.0, 3), "1.98MB");
        assert_eq!(human(999_999.0, 3), "1e+03kB");
        assert_eq!(human(13_300.0, 3), "13.3kB");
        assert_eq!(binary(2_097_000_000.0), "1.953GiB");
    }
}
