//! Query strings, read as Go's `net/url` and Docker's form helpers read them.

use crate::failure::{Failure, Outcome};

/// The parameters of a request, in order; a name may come more than once.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: &str) -> Outcome<Self> {
        let mut pairs = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            if pair.contains(';') {
                return Err(Failure::invalid("invalid semicolon separator in query"));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((unescape(name, true)?, unescape(value, true)?));
        }
        Ok(Self(pairs))
    }

    /// The first value, or the empty string.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.find(name).unwrap_or_default()
    }

    /// The first value, unless it is empty.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        self.find(name).filter(|value| !value.is_empty())
    }

    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(n, _)| n == name).map(|(_, value)| value.clone()).collect()
    }

    fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Anything but a few words for "no" is true.
    pub(crate) fn flag(&self, name: &str) -> bool {
        !matches!(self.get(name).trim().to_lowercase().as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// As [`Query::flag`], with an answer for a name that is not there at all.
    pub(crate) fn flag_or(&self, name: &str, default: bool) -> bool {
        if self.find(name).is_some() { self.flag(name) } else { default }
    }

    /// A number, as Go's `strconv.Atoi` reads it; none if it is not given.
    pub(crate) fn number(&self, name: &str) -> Outcome<Option<i64>> {
        match self.given(name) {
            None => Ok(None),
            Some(text) => match text.parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(Failure::internal(format!("strconv.Atoi: parsing {text:?}: {}", fault(text)))),
            },
        }
    }

    /// Rows or columns of a terminal.
    pub(crate) fn terminal_size(&self, name: &str, what: &str) -> Outcome<u16> {
        let text = self.get(name);
        let bad = |fault: &str| Failure::invalid(format!("invalid resize {what} {text:?}: {fault}"));
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
            return Err(bad("invalid syntax"));
        }
        match text.parse::<u32>() {
            // The kernel's window size has 16 bits; Docker cuts the number down likewise.
            Ok(number) => Ok(number as u16),
            Err(_) => Err(bad("value out of range")),
        }
    }
}

/// Why Go could not read a number.
fn fault(text: &str) -> &'static str {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    match !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()) {
        true => "value out of range",
        false => "invalid syntax",
    }
}

/// Undoes `%41`, and `+` for a space in queries.
pub(crate) fn unescape(text: &str, plus: bool) -> Outcome<String> {
    if !text.contains(['%', '+']) {
        return Ok(text.to_owned());
    }
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|c| (*c as char).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => match (digit(at + 1), digit(at + 2)) {
                (Some(high), Some(low)) => {
                    out.push((high * 16 + low) as u8);
                    at += 2;
                }
                _ => {
                    let bad = String::from_utf8_lossy(&bytes[at..bytes.len().min(at + 3)]);
                    return Err(Failure::invalid(format!("invalid URL escape {bad:?}")));
                }
            },
            b'+' if plus => out.push(b' '),
            other => out.push(other),
        }
        at += 1;
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_unescaped_and_may_repeat() {
        let query = Query::parse("a=1&b=x+y%2f&a=2&c&=&d=").unwrap();
        assert_eq!(query.get("a"), "1");
        assert_eq!(query.all("a"), ["1", "2"]);
        assert_eq!(query.get("b"), "x y/");
        assert_eq!((query.given("c"), query.given("d"), query.given("e")), (None, None, None));
    }

    #[test]
    fn words_for_no_are_false() {
        let query = Query::parse("a=0&b=False&c=no&d=none&e=&f=1&g=yes&h=true").unwrap();
        for name in ["a", "b", "c", "d", "e", "missing"] {
            assert!(!query.flag(name), "{name}");
        }
        for name in ["f", "g", "h"] {
            assert!(query.flag(name), "{name}");
        }
    }

    /// Recorded from Docker 28.5.2.
    #[test]
    fn bad_parameters_are_refused_in_dockers_words() {
        let message = |result: Outcome<Query>| result.unwrap_err().message;
        assert_eq!(message(Query::parse("all=%zz")), r#"invalid URL escape "%zz""#);
        assert_eq!(message(Query::parse("a=1;b=2")), "invalid semicolon separator in query");
        let query = Query::parse("t=x&h=&n=-4&big=99999999999&y=4x&ok=24").unwrap();
        assert_eq!(query.number("t").unwrap_err().message, r#"strconv.Atoi: parsing "x": invalid syntax"#);
        let size = |name| query.terminal_size(name, "width").map_err(|e| e.message);
        assert_eq!(size("h"), Err(r#"invalid resize width "": invalid syntax"#.to_owned()));
        assert_eq!(size("n"), Err(r#"invalid resize width "-4": value out of range"#.to_owned()));
        assert_eq!(size("big"), Err(r#"invalid resize width "99999999999": value out of range"#.to_owned()));
        assert_eq!(size("y"), Err(r#"invalid resize width "4x": invalid syntax"#.to_owned()));
        assert_eq!(size("ok"), Ok(24));
    }
}
