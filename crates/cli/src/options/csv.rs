//! One line of comma-separated fields, with the errors of Go's encoding/csv.

/// The fields of `text`; a field may stand in double quotes, which are doubled within.
pub(crate) fn fields(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() {
        return Err("EOF".to_owned());
    }
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let column = text.len() - rest.len() + 1;
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted, column)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                if let Some(at) = rest[..end].find('"') {
                    return Err(format!(
                        "parse error on line 1, column {}: bare \" in non-quoted-field",
                        column + at
                    ));
                }
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok(fields),
        }
    }
}

/// The rest of a field after its opening quote, and what follows its closing quote.
fn quoted_field(text: &str, column: usize) -> Result<(String, &str), String> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let Some(at) = rest.find('"') else {
            return Err(format!(
                "parse error on line 1, column {}: extraneous or missing \" in quoted-field",
                column + 1 + text.len()
            ));
        };
        field.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.as_bytes().first() {
            Some(b'"') => {
                field.push('"');
                rest = &rest[1..];
            }
            Some(b',') | None => return Ok((field, rest)),
            Some(_) => {
                return Err(format!(
                    "parse error on line 1, column {}: extraneous or missing \" in quoted-field",
                    column + text.len() - rest.len()
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fields;

    #[test]
    fn quotes_protect_commas() {
        assert_eq!(fields("a=1,b"), Ok(vec!["a=1".into(), "b".into()]));
        assert_eq!(fields("\"a=1,2\",\"b\"\"c\""), Ok(vec!["a=1,2".into(), "b\"c".into()]));
        assert_eq!(fields("a,"), Ok(vec!["a".into(), String::new()]));
        assert_eq!(fields(""), Err("EOF".into()));
        assert!(fields("a\"b").is_err_and(|e| e.contains("bare \"")));
        assert!(fields("\"a").is_err_and(|e| e.contains("extraneous or missing")));
    }
}
