//! Words of Dockerfile instructions: quotes and backslashes as in a shell, variables not replaced, since nothing defines any.

use crate::{Error, Result};

/// The words of a line, quotes removed; a word that is only an undefined variable is empty and left out.
pub(super) fn words(line: &str) -> Vec<String> {
    split(line).iter().map(|w| unquoted(w)).filter(|w| !w.is_empty() && !w.starts_with('$')).collect()
}

/// `key=value …`, or in the old form one key and the rest of the line.
pub(super) fn key_values(name: &str, line: &str) -> Result<Vec<(String, String)>> {
    if line.is_empty() {
        return Err(Error::Change(format!("{name} requires at least one argument")));
    }
    let parts = split(line);
    let old_form = !parts[0].contains('=');
    if old_form {
        let Some((key, value)) = line.split_once(char::is_whitespace) else {
            return Err(Error::Change(format!("{name} must have two arguments")));
        };
        return Ok(vec![(unquoted(key), unquoted(value.trim_start()))]);
    }
    parts
        .iter()
        .map(|word| match word.split_once('=') {
            Some(("", _)) => Err(Error::Change(format!("{name} names can not be blank"))),
            Some((key, value)) => Ok((unquoted(key), unquoted(value))),
            None => Err(Error::Change(format!(
                "Syntax error - can't find = in {word:?}. Must be of the form: name=value"
            ))),
        })
        .collect()
}

/// At blanks outside quotes; quotes and backslashes stay.
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some('"') | None, '\\') => {
                word.push(c);
                word.extend(chars.next());
            }
            (None, c) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            (None, '"' | '\'') => {
                quote = Some(c);
                word.push(c);
            }
            (Some(open), c) => {
                if c == open {
                    quote = None;
                }
                word.push(c);
            }
            (None, c) => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Without quotes, and backslashes taken as in a shell.
pub(super) fn unquoted(word: &str) -> String {
    let mut out = String::new();
    let mut quote = None;
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, '\\') => out.extend(chars.next()),
            (Some('"'), '\\') => match chars.next() {
                Some(next @ ('"' | '\\' | '$')) => out.push(next),
                Some(next) => out.extend(['\\', next]),
                None => out.push('\\'),
            },
            (_, c) => out.push(c),
        }
    }
    out
}
