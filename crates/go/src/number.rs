//! Floating-point numbers, as Go's `%g` and `%v` write them.

/// `%.{digits}g`.
pub fn general(value: f64, digits: usize) -> String {
    if value == 0.0 || !value.is_finite() {
        return special(value);
    }
    let digits = digits.max(1);
    let scientific = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if exponent < -4 || exponent >= digits as i32 {
        return format!("{}e{}", trim(mantissa), signed(exponent));
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    trim(&format!("{value:.decimals$}")).to_owned()
}

/// `%v`: as many digits as it takes, an exponent from 1e21 on.
pub fn shortest(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return special(value);
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..21).contains(&exponent) { format!("{value}") } else { format!("{mantissa}e{}", signed(exponent)) }
}

fn special(value: f64) -> String {
    match value {
        v if v.is_nan() => "NaN".to_owned(),
        v if v == f64::INFINITY => "+Inf".to_owned(),
        v if v == f64::NEG_INFINITY => "-Inf".to_owned(),
        _ => "0".to_owned(),
    }
}

fn signed(exponent: i32) -> String {
    format!("{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

fn trim(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_print_as_in_go() {
        assert_eq!(general(1.98, 3), "1.98");
        assert_eq!(general(999.999, 3), "1e+03");
        assert_eq!(general(0.00001, 3), "1e-05");
        assert_eq!(shortest(1e21), "1e+21");
        assert_eq!(shortest(1.5), "1.5");
        assert_eq!(shortest(100_000.0), "100000");
    }
}
