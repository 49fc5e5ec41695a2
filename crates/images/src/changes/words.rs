//! Lines and words of Dockerfile instructions.

use super::expand::expand;
use crate::{Error, Result};

/// The instructions of a Dockerfile, each on one line: comments and empty lines left out, and what a backslash at the end joins
/// joined.
pub(super) fn instructions(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        let trimmed = line.trim_start();
        if trimmed.starts_with('#') || trimmed.is_empty() {
            continue;
        }
        let mut whole = open.take();
        let line = if whole.is_some() { line } else { trimmed };
        let before = line.trim_end_matches([' ', '\t']).strip_suffix('\\').filter(|l| !l.ends_with('\\'));
        whole.get_or_insert_default().push_str(before.unwrap_or(line));
        match before {
            Some(_) => open = whole,
            None => out.extend(whole),
        }
    }
    out.extend(open);
    out.iter().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// The words of a line.
pub(super) fn words(line: &str, env: &[String]) -> Result<Vec<String>> {
    line.split_whitespace().map(|word| expand(word, env)).collect()
}

/// `key=value …`, or in the old form one key and the rest of the line.
pub(super) fn key_values(name: &str, line: &str, env: &[String]) -> Result<Vec<(String, String)>> {
    if line.is_empty() {
        return Err(Error::Change(format!("{name} requires at least one argument")));
    }
    let parts = split(line);
    let old_form = !parts[0].contains('=');
    if old_form {
        let Some((key, value)) = line.split_once(char::is_whitespace) else {
            return Err(Error::Change(format!("{name} must have two arguments")));
        };
        return Ok(vec![(expand(key, env)?, expand(value.trim_start(), env)?)]);
    }
    parts
        .iter()
        .map(|word| match word.split_once('=') {
            Some(("", _)) => Err(Error::Change(format!("{name} names can not be blank"))),
            Some((key, value)) => Ok((expand(key, env)?, expand(value, env)?)),
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
