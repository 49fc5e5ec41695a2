//! `--cpus`: an exact decimal or fraction, in billionths.

/// Billionths of a processor from `1.5`, `3/2` or `1e-1`.
pub(crate) fn nano(text: &str) -> Result<i64, String> {
    let bad = || format!("failed to parse {text} as a rational number");
    let (numerator, denominator) = fraction(text).ok_or_else(bad)?;
    let scaled = numerator.checked_mul(1_000_000_000).ok_or_else(bad)?;
    if scaled % denominator != 0 {
        return Err("value is too precise".to_owned());
    }
    i64::try_from(scaled / denominator).map_err(|_| bad())
}

fn fraction(text: &str) -> Option<(i128, i128)> {
    if let Some((a, b)) = text.split_once('/') {
        let (a, b): (i128, i128) = (a.parse().ok()?, b.parse().ok()?);
        return (b > 0).then_some((a, b));
    }
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if !decimals.chars().all(|c| c.is_ascii_digit()) || !mantissa.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let digits: i128 = format!("{whole}{decimals}").parse().ok()?;
    let power = exponent - decimals.len() as i32;
    let scale = 10i128.checked_pow(power.unsigned_abs())?;
    if power < 0 { Some((digits, scale)) } else { Some((digits.checked_mul(scale)?, 1)) }
}

#[cfg(test)]
mod tests {
    use super::nano;

    #[test]
    fn only_what_is_a_whole_number_of_billionths_is_taken() {
        for (text, billionths) in [
            ("1.5", 1_500_000_000),
            ("3/2", 1_500_000_000),
            ("1e-1", 100_000_000),
            (".5", 500_000_000),
            ("0", 0),
        ] {
            assert_eq!(nano(text), Ok(billionths), "{text}");
        }
        assert_eq!(nano("a"), Err("failed to parse a as a rational number".into()));
        assert_eq!(nano("1/0"), Err("failed to parse 1/0 as a rational number".into()));
        assert_eq!(nano("0.0000000001"), Err("value is too precise".into()));
    }
}
