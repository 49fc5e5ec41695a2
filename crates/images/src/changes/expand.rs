//! Words as Docker's builder takes them: quotes and backslashes as in a shell, and variables with a shell's modifiers.

use std::{iter::Peekable, str::Chars};

use crate::{Error, Result};

/// Why a word makes no sense, in Docker's words.
type Scanned<T> = Result<T, String>;

/// Replaces the variables of a word by what `env` (`name=value`) says, by nothing if it says nothing, and removes quotes.
///
/// # Errors
/// [`Error::Change`] in Docker's words.
pub(super) fn expand(word: &str, env: &[String]) -> Result<String> {
    let mut scanner = Scanner { rest: word.chars().peekable(), env };
    let expanded = scanner.until(None, Escapes::Taken);
    expanded.map_err(|why| Error::Change(format!("failed to process {word:?}: {why}")))
}

/// What becomes of a backslash outside quotes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    Taken,
    /// A pattern takes it.
    Kept,
}

struct Scanner<'a> {
    rest: Peekable<Chars<'a>>,
    env: &'a [String],
}

impl Scanner<'_> {
    /// Everything up to an end, which is taken too.
    fn until(&mut self, end: Option<char>, escapes: Escapes) -> Scanned<String> {
        let mut out = String::new();
        loop {
            match self.rest.next() {
                c if c == end => return Ok(out),
                None => return Err("syntax error: missing '}'".to_owned()),
                Some('\'') => out += &self.single_quoted()?,
                Some('"') => out += &self.double_quoted()?,
                Some('$') => out += &self.variable()?,
                Some('\\') => {
                    out.extend(Some('\\').filter(|_| escapes == Escapes::Kept));
                    out.extend(self.rest.next());
                }
                Some(c) => out.push(c),
            }
        }
    }

    fn single_quoted(&mut self) -> Scanned<String> {
        let mut out = String::new();
        loop {
            match self.rest.next() {
                Some('\'') => return Ok(out),
                Some(c) => out.push(c),
                None => return Err(unclosed("single")),
            }
        }
    }

    fn double_quoted(&mut self) -> Scanned<String> {
        let mut out = String::new();
        loop {
            match self.rest.next() {
                Some('"') => return Ok(out),
                Some('$') => out += &self.variable()?,
                Some('\\') => match self.rest.next_if(|c| matches!(c, '"' | '$' | '\\')) {
                    Some(c) => out.push(c),
                    None => out.push('\\'),
                },
                Some(c) => out.push(c),
                None => return Err(unclosed("double")),
            }
        }
    }

    /// What follows a dollar sign.
    fn variable(&mut self) -> Scanned<String> {
        if self.rest.next_if_eq(&'{').is_none() {
            let name = self.name();
            return Ok(if name.is_empty() { "$".to_owned() } else { self.value(&name).unwrap_or_default() });
        }
        match self.rest.peek() {
            None => return Err("syntax error: missing '}'".to_owned()),
            Some('{' | '}' | ':') => return Err("syntax error: bad substitution".to_owned()),
            Some(_) => {}
        }
        let name = self.name();
        let value = self.value(&name);
        let mut next = || self.rest.next().unwrap_or(char::REPLACEMENT_CHARACTER);
        let (colon, modifier) = match next() {
            ':' => (":", next()),
            modifier => ("", modifier),
        };
        // With a colon an empty value is as none.
        let set = value.clone().filter(|value| colon.is_empty() || !value.is_empty());
        let value = value.unwrap_or_default();
        match modifier {
            '}' if colon.is_empty() => Ok(value),
            '-' => Ok(self.until(Some('}'), Escapes::Taken).map(|word| set.unwrap_or(word))?),
            '+' => self.until(Some('}'), Escapes::Taken).map(|word| set.map_or_else(String::new, |_| word)),
            '?' => {
                let word = self.until(Some('}'), Escapes::Taken)?;
                set.ok_or_else(|| match (word.as_str(), self.value(&name)) {
                    ("", None) => format!("{name}: is not allowed to be unset"),
                    ("", Some(_)) => format!("{name}: is not allowed to be empty"),
                    (word, _) => format!("{name}: {word}"),
                })
            }
            '#' | '%' => {
                let longest = self.rest.next_if_eq(&modifier).is_some();
                let pattern = Pattern::new(&self.until(Some('}'), Escapes::Kept)?);
                Ok(match modifier {
                    '#' => pattern.without_prefix(&value, longest),
                    _ => pattern.without_suffix(&value, longest),
                })
            }
            '/' => {
                let all = self.rest.next_if_eq(&'/').is_some();
                let pattern = Pattern::new(&self.until(Some('/'), Escapes::Kept)?);
                let replacement = self.until(Some('}'), Escapes::Taken)?;
                Ok(pattern.replaced(&value, &replacement, all))
            }
            other => Err(format!("unsupported modifier ({colon}{other}) in substitution")),
        }
    }

    /// A name of letters, digits and underscores, a number, or one special character.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.rest.peek() {
            Some(c) if c.is_numeric() => {
                while let Some(c) = self.rest.next_if(|c| c.is_numeric()) {
                    name.push(c);
                }
            }
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => name.extend(self.rest.next()),
            _ => {
                while let Some(c) = self.rest.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    name.push(c);
                }
            }
        }
        name
    }

    fn value(&self, name: &str) -> Option<String> {
        let mut pairs = self.env.iter().filter_map(|entry| entry.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    }
}

fn unclosed(quote: &str) -> String {
    format!("unexpected end of statement while looking for matching {quote}-quote")
}

/// A shell's pattern, as far as Docker has it.
struct Pattern(Vec<Part>);

#[derive(Clone, Copy)]
enum Part {
    One(char),
    Any,
    Many,
}

impl Pattern {
    fn new(text: &str) -> Self {
        let mut chars = text.chars();
        let mut parts = Vec::new();
        while let Some(c) = chars.next() {
            parts.push(match c {
                '*' => Part::Many,
                '?' => Part::Any,
                '\\' => Part::One(chars.next().unwrap_or('\\')),
                c => Part::One(c),
            });
        }
        Self(parts)
    }

    /// How much of the text's beginning it matches, at most or at least.
    fn matched(&self, text: &[char], longest: bool) -> Option<usize> {
        // Whether the parts so far can end there.
        let mut ends = vec![false; text.len() + 1];
        ends[0] = true;
        for part in &self.0 {
            match part {
                Part::Many => {
                    let first = ends.iter().position(|end| *end).unwrap_or(ends.len());
                    ends[first..].fill(true);
                }
                Part::Any | Part::One(_) => {
                    for at in (0..text.len()).rev() {
                        let fits = !matches!(part, Part::One(c) if *c != text[at]);
                        ends[at + 1] = ends[at] && fits;
                    }
                    ends[0] = false;
                }
            }
        }
        if longest { ends.iter().rposition(|end| *end) } else { ends.iter().position(|end| *end) }
    }

    fn without_prefix(&self, text: &str, longest: bool) -> String {
        let text: Vec<char> = text.chars().collect();
        text[self.matched(&text, longest).unwrap_or(0)..].iter().collect()
    }

    fn without_suffix(&self, text: &str, longest: bool) -> String {
        let backwards = Self(self.0.iter().rev().copied().collect());
        let text: Vec<char> = text.chars().rev().collect();
        text[backwards.matched(&text, longest).unwrap_or(0)..].iter().rev().collect()
    }

    /// With the first match replaced, or all.
    fn replaced(&self, text: &str, replacement: &str, all: bool) -> String {
        let text: Vec<char> = text.chars().collect();
        let (mut out, mut at, mut done) = (String::new(), 0, false);
        while at < text.len() {
            match self.matched(&text[at..], true).filter(|len| *len > 0 && !done) {
                Some(len) => {
                    out += replacement;
                    at += len;
                    done = !all;
                }
                None => {
                    out.push(text[at]);
                    at += 1;
                }
            }
        }
        out
    }
}
