//! JSON text, laid out anew without being read: its values stay exactly as they were sent.

/// Without white space between its parts.
pub(crate) fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    walk(json, |c, quoted| {
        if quoted || !c.is_ascii_whitespace() {
            out.push(c);
        }
    });
    out
}

/// Indented by `unit` a level, as Go's `json.Indent` does.
pub(crate) fn indent(json: &str, unit: &str) -> String {
    let compact = compact(json);
    let mut out = String::with_capacity(compact.len() * 2);
    let mut depth = 0usize;
    let mut opened = false;
    let newline = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n(unit, depth));
    };
    walk(&compact, |c, quoted| {
        let closes = !quoted && matches!(c, '}' | ']');
        if std::mem::take(&mut opened) && !closes {
            depth += 1;
            newline(&mut out, depth);
        } else if closes && !out.ends_with(['{', '[']) {
            depth -= 1;
            newline(&mut out, depth);
        }
        out.push(c);
        match c {
            _ if quoted => {}
            '{' | '[' => opened = true,
            ',' => newline(&mut out, depth),
            ':' => out.push(' '),
            _ => {}
        }
    });
    out
}

/// Every character, and whether it belongs to a string.
fn walk(json: &str, mut see: impl FnMut(char, bool)) {
    let (mut quoted, mut escaped) = (false, false);
    for c in json.chars() {
        match c {
            _ if escaped => {
                escaped = false;
                see(c, true);
            }
            '"' => {
                quoted = !quoted;
                see(c, true);
            }
            _ => {
                escaped = quoted && c == '\\';
                see(c, quoted);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_changes_and_values_do_not() {
        let text = r#"[ {"a": 1.0,"b":[],"c":{},"d":["x, y: [z]\"",null]} ]"#;
        assert_eq!(compact(text), r#"[{"a":1.0,"b":[],"c":{},"d":["x, y: [z]\"",null]}]"#);
        assert_eq!(
            indent(text, "    "),
            "[\n    {\n        \"a\": 1.0,\n        \"b\": [],\n        \"c\": {},\n        \"d\": [\n            \
             \"x, y: [z]\\\"\",\n            null\n        ]\n    }\n]"
        );
    }
}
