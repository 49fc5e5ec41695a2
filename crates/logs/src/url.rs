//! Addresses as Go's `net/url` reads them, and its words for those that it cannot read.

use skiff_go::quote;

/// `scheme://host:port/path?query#fragment`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Url {
    /// In lower case; empty if there is none.
    pub(crate) scheme: String,
    /// Host and port as they stand there.
    pub(crate) authority: String,
    pub(crate) path: String,
    /// Whether a query or a fragment follows.
    pub(crate) has_more: bool,
}

impl Url {
    /// Reads an address.
    ///
    /// # Errors
    /// In Go's words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let fail = |reason: String| Err(format!("parse {}: {reason}", quote(text)));
        if let Some(escape) = bad_escape(text) {
            return fail(format!("invalid URL escape {}", quote(escape)));
        }
        if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
            return fail("net/url: invalid control character in URL".to_owned());
        }
        let end = text.find(['?', '#']);
        let (body, has_more) = (&text[..end.unwrap_or(text.len())], end.is_some());
        let (scheme, rest) = match split_scheme(body) {
            Some(("", _)) => return fail("missing protocol scheme".to_owned()),
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
            None => (String::new(), body),
        };
        let Some(rest) = rest.strip_prefix("//") else {
            if scheme.is_empty() && rest.split('/').next().is_some_and(|first| first.contains(':')) {
                return fail("first path segment in URL cannot contain colon".to_owned());
            }
            // What is behind a scheme without slashes is no path.
            let path = if scheme.is_empty() || rest.starts_with('/') { rest } else { "" };
            return Ok(Self { scheme, authority: String::new(), path: path.to_owned(), has_more });
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        if authority.starts_with('[') && !authority.contains(']') {
            return fail("missing ']' in host".to_owned());
        }
        if let Some(c) = authority.chars().find(|c| matches!(c, ' ' | '"' | '<' | '>' | '\\' | '^' | '`')) {
            return fail(format!("invalid character {} in host name", quote(&c.to_string())));
        }
        let port = authority.rfind(':').filter(|at| *at > authority.rfind(']').unwrap_or(0) || *at == 0);
        let port = port.map_or("", |at| &authority[at..]);
        if port.bytes().skip(1).any(|b| !b.is_ascii_digit()) {
            return fail(format!("invalid port {} after host", quote(port)));
        }
        Ok(Self { scheme, authority: authority.to_owned(), path: path.to_owned(), has_more })
    }

    /// The host, without brackets.
    pub(crate) fn host(&self) -> &str {
        let host = match split_port(&self.authority) {
            Ok((host, _)) => host,
            Err(_) => &self.authority,
        };
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port, if one is given.
    pub(crate) fn port(&self) -> Option<&str> {
        split_port(&self.authority).ok().map(|(_, port)| port).filter(|port| !port.is_empty())
    }

    /// The port of a URL of HTTP: the one that is given, or the scheme's.
    ///
    /// # Errors
    /// The one that is given, if it is none.
    pub(crate) fn http_port(&self) -> Result<u16, &str> {
        match self.port() {
            None if self.scheme == "https" => Ok(443),
            None => Ok(80),
            Some(port) => port.parse().map_err(|_| port),
        }
    }
}

/// Go's `net.SplitHostPort`.
///
/// # Errors
/// In Go's words.
pub(crate) fn split_port(address: &str) -> Result<(&str, &str), String> {
    let fail = |reason: &str| Err(format!("address {address}: {reason}"));
    if let Some(rest) = address.strip_prefix('[') {
        return match rest.split_once(']') {
            None => fail("missing ']' in address"),
            Some((host, end)) => match end.strip_prefix(':') {
                Some(port) => Ok((host, port)),
                None => fail("missing port in address"),
            },
        };
    }
    match address.split_once(':') {
        None => fail("missing port in address"),
        Some((_, port)) if port.contains(':') => fail("too many colons in address"),
        Some(both) => Ok(both),
    }
}

/// What is before the first colon, if it can be a scheme.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let at = text.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '-' | '.'))?;
    let starts_well = at == 0 || text.starts_with(|c: char| c.is_ascii_alphabetic());
    (text[at..].starts_with(':') && starts_well).then(|| (&text[..at], &text[at + 1..]))
}

fn bad_escape(text: &str) -> Option<&str> {
    let hex = |b: Option<&u8>| b.is_some_and(u8::is_ascii_hexdigit);
    let bytes = text.as_bytes();
    let at =
        memchr::memchr_iter(b'%', bytes).find(|at| !(hex(bytes.get(at + 1)) && hex(bytes.get(at + 2))))?;
    let end = (at..=(at + 3).min(text.len())).rev().find(|end| text.is_char_boundary(*end))?;
    text.get(at..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let url = Url::parse("tcp+tls://[::1]:6514/x?y").unwrap();
        assert_eq!((url.scheme.as_str(), url.host(), url.port()), ("tcp+tls", "::1", Some("6514")));
        assert_eq!((url.path.as_str(), url.has_more), ("/x", true));
        let url = Url::parse("unix:///run/log").unwrap();
        assert_eq!(
            (url.scheme.as_str(), url.authority.as_str(), url.path.as_str()),
            ("unix", "", "/run/log")
        );
        let url = Url::parse("tcp://:24224").unwrap();
        assert_eq!((url.host(), url.port()), ("", Some("24224")));
        let url = Url::parse("localhost:514").unwrap();
        assert_eq!((url.scheme.as_str(), url.host()), ("localhost", ""));
        assert_eq!(Url::parse("x").unwrap().scheme, "");
    }

    #[test]
    fn what_go_cannot_read_is_told_in_its_words() {
        // Recorded from Docker 28.5.2.
        for (text, reason) in [
            ("udp://127.0.0.1:x", r#"invalid port ":x" after host"#),
            ("tcp://[::1", "missing ']' in host"),
            ("%zz", r#"invalid URL escape "%zz""#),
            ("127.0.0.1:514", "first path segment in URL cannot contain colon"),
        ] {
            assert_eq!(Url::parse(text), Err(format!("parse {text:?}: {reason}")), "{text}");
        }
        assert_eq!(split_port("a:1:2"), Err("address a:1:2: too many colons in address".into()));
        assert_eq!(split_port("a"), Err("address a: missing port in address".into()));
    }
}
