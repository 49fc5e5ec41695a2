//! Sizes, with the errors of docker/go-units.

/// Bytes from `512`, `64m`, `1.5 GiB`: powers of 1024.
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let last = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ').ok_or_else(invalid)?;
    let (number, suffix) = match text.as_bytes()[last] {
        b' ' => (&text[..last], &text[last + 1..]),
        _ => text.split_at(last + 1),
    };
    let value: f64 = number.parse().map_err(|_| {
        format!("strconv.ParseFloat: parsing {}: invalid syntax", crate::grammar::quote(number))
    })?;
    if value < 0.0 {
        return Err(invalid());
    }
    let lower = suffix.to_ascii_lowercase();
    let mut letters = lower.chars();
    let power = match (letters.next(), letters.as_str()) {
        (None | Some('b'), "") => 0,
        (Some(unit), "" | "b" | "ib") if "kmgtp".contains(unit) => 1 + "kmgtp".find(unit).unwrap_or_default(),
        _ => return Err(format!("invalid suffix: '{suffix}'")),
    };
    Ok((value * 1024f64.powi(power as i32)) as i64)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes_and_their_errors_are_docker_s() {
        assert_eq!(parse("64m"), Ok(64 << 20));
        assert_eq!(parse("1.5 GiB"), Ok(3 << 29));
        assert_eq!(parse("7b"), Ok(7));
        assert_eq!(parse("x"), Err("invalid size: 'x'".into()));
        assert_eq!(parse("-5"), Err("invalid size: '-5'".into()));
        assert_eq!(parse("5xg"), Err("invalid suffix: 'xg'".into()));
        assert_eq!(parse("1.5.5g"), Err("strconv.ParseFloat: parsing \"1.5.5\": invalid syntax".into()));
    }
}
