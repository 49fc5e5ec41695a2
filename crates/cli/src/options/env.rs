//! Environments and labels: `KEY=value` on the command line and in files.

use serde_json::{Map, Value};

/// Checks `--env`: `NAME=value`, or `NAME`, which takes the value it has here.
pub(crate) fn check(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some(("", _)) => Err(format!("invalid environment variable: {text}")),
        None if text.is_empty() => Err("invalid environment variable: ".to_owned()),
        Some(_) => Ok(text.to_owned()),
        None => Ok(here(text).map_or_else(|| text.to_owned(), |value| format!("{text}={value}"))),
    }
}

fn here(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// The lines of `files`, then `given`. A line without `=` takes its value from here if `inherit`, and is left out
/// otherwise.
pub(crate) fn read(files: &[String], given: Vec<String>, inherit: bool) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for file in files {
        let invalid = |why: String| format!("invalid env file ({file}): {why}");
        let content = fs_err::read(file).map_err(|e| match e.kind() {
            // Opened well, read badly.
            std::io::ErrorKind::IsADirectory => invalid(go_open_error(file, &e)),
            _ => go_open_error(file, &e),
        })?;
        lines(&content, inherit, &mut all).map_err(invalid)?;
    }
    all.extend(given);
    Ok(all)
}

/// An error of opening a file, as Go words it.
pub(crate) fn go_open_error(path: &str, error: &std::io::Error) -> String {
    let why = match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => return format!("read {path}: is a directory"),
        _ => error.to_string(),
    };
    format!("open {path}: {why}")
}

fn lines(content: &[u8], inherit: bool, into: &mut Vec<String>) -> Result<(), String> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    for (number, line) in content.split(|c| *c == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Ok(line) = std::str::from_utf8(line) else {
            let bytes: Vec<String> = line.iter().map(u8::to_string).collect();
            return Err(format!("invalid utf8 bytes at line {}: [{}]", number + 1, bytes.join(" ")));
        };
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = line.split('=').next().unwrap_or_default();
        if key.is_empty() {
            return Err(format!("no variable name on line '{line}'"));
        }
        if key.contains([' ', '\t']) {
            return Err(format!("variable '{key}' contains whitespaces"));
        }
        if line.contains('=') {
            into.push(line.to_owned());
        } else if inherit && let Some(value) = here(line) {
            into.push(format!("{line}={value}"));
        }
    }
    Ok(())
}

/// `KEY=value` pairs as an object; a later one wins.
pub(crate) fn to_map(pairs: &[String]) -> Map<String, Value> {
    pairs
        .iter()
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key.to_owned(), Value::from(value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_env_file_is_read_line_by_line() {
        let mut all = Vec::new();
        lines(b"\xef\xbb\xbfA=1\n# no\n\n  B= two \r\nSKIFF_TEST_SURELY_UNSET\n", true, &mut all).unwrap();
        assert_eq!(all, ["A=1", "B= two "]);
        assert_eq!(lines(b"=x", true, &mut all), Err("no variable name on line '=x'".into()));
        assert_eq!(lines(b"a b=x", true, &mut all), Err("variable 'a b' contains whitespaces".into()));
        assert_eq!(lines(b"a\n\xff", false, &mut all), Err("invalid utf8 bytes at line 2: [255]".into()));
    }

    #[test]
    fn an_env_option_needs_a_name() {
        assert_eq!(check("A=b=c"), Ok("A=b=c".into()));
        assert_eq!(check("SKIFF_TEST_SURELY_UNSET"), Ok("SKIFF_TEST_SURELY_UNSET".into()));
        assert_eq!(check("=x"), Err("invalid environment variable: =x".into()));
    }
}
