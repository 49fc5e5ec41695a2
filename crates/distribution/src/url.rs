//! Addresses on registries, as far as they are needed: scheme, host, port, path with query.

use std::{fmt, str::FromStr};

/// How a host is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scheme {
    /// In the clear.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

/// Whom a connection is to. Credentials never leave the origin they are for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    /// How.
    pub(crate) scheme: Scheme,
    /// Name or address; an IPv6 address without brackets.
    pub(crate) host: String,
    /// Port.
    pub(crate) port: u16,
}

impl Origin {
    /// `host:port`, with brackets where they are needed.
    pub(crate) fn address(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// As the `Host` header and addresses show it: the port only where it is not the scheme's own.
    pub(crate) fn authority(&self) -> String {
        match (self.port == self.scheme.port(), self.host.contains(':')) {
            (false, _) => self.address(),
            (true, true) => format!("[{}]", self.host),
            (true, false) => self.host.clone(),
        }
    }
}

/// An absolute address without user and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// Whom it is at.
    pub(crate) origin: Origin,
    /// Path and query; begins with a slash.
    pub(crate) path: String,
}

/// A text that is no address of a registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address of the form http[s]://host[:port][/path]")]
pub(crate) struct ParseUrlError(String);

impl FromStr for Url {
    type Err = ParseUrlError;

    fn from_str(text: &str) -> Result<Self, ParseUrlError> {
        let bad = || ParseUrlError(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(bad()),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let origin = origin(scheme, authority).ok_or_else(bad)?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        if path.bytes().any(|c| !c.is_ascii_graphic()) {
            return Err(bad());
        }
        Ok(Self { origin, path })
    }
}

/// `host[:port]` as an origin; none for what is neither, or names a user.
pub(crate) fn origin(scheme: Scheme, authority: &str) -> Option<Origin> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let good = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_' | b':');
    if host.is_empty() || !host.bytes().all(good) {
        return None;
    }
    let port = match port {
        None | Some("") => scheme.port(),
        Some(port) => port.parse().ok().filter(|p| *p != 0)?,
    };
    Some(Origin { scheme, host: host.to_ascii_lowercase(), port })
}

impl Url {
    /// What a `Location` header at this address means.
    pub(crate) fn join(&self, location: &str) -> Result<Self, ParseUrlError> {
        if location.contains("://") && !location.starts_with('/') {
            return location.parse();
        }
        if let Some(rest) = location.strip_prefix("//") {
            return format!("{}://{rest}", self.origin.scheme).parse();
        }
        let path = match location.starts_with('/') {
            true => location.to_owned(),
            false => {
                let base = self.path.split('?').next().unwrap_or_default();
                let directory = base.rfind('/').map_or("/", |at| &base[..=at]);
                format!("{directory}{location}")
            }
        };
        format!("{}://{}{path}", self.origin.scheme, self.origin.authority()).parse()
    }

    /// Where a server at this address sends us on to.
    ///
    /// # Errors
    /// Why nobody goes there: it is no address, or leads out of TLS.
    pub(crate) fn follow(&self, location: &str) -> Result<Self, String> {
        let url = self.join(location).map_err(|e| e.to_string())?;
        match (self.origin.scheme, url.origin.scheme) {
            (Scheme::Https, Scheme::Http) => Err(format!("redirected from TLS to {url}, which has none")),
            _ => Ok(url),
        }
    }

    /// With one more query parameter.
    pub(crate) fn with_query(mut self, name: &str, value: &str) -> Self {
        self.path.push(if self.path.contains('?') { '&' } else { '?' });
        self.path.push_str(name);
        self.path.push('=');
        self.path.push_str(&escape(value));
        self
    }
}

/// A value as a query carries it (RFC 3986, section 2.3).
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte as char),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.origin.scheme, self.origin.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_taken_apart_and_put_together() {
        for text in ["http://a:5000/v2/", "https://a/v2/?x=1", "https://[::1]:5000/", "http://127.0.0.1/x"] {
            assert_eq!(url(text).to_string(), text);
        }
        assert_eq!(url("HTTPS://Reg.Example:443/").to_string(), "https://reg.example/");
        assert_eq!(url("https://a").path, "/");
        for bad in
            ["a", "ftp://a/", "http://", "http://a:0/", "http://user:pw@a/", "http://a/b c", "http://[x]/"]
        {
            assert!(bad.parse::<Url>().is_err(), "{bad}");
        }
    }

    #[test]
    fn nobody_is_led_out_of_tls() {
        let led = |from: &str, to: &str| url(from).follow(to).map(|url| url.to_string());
        assert_eq!(
            led("https://a/x", "http://a/y").unwrap_err(),
            "redirected from TLS to http://a/y, which has none"
        );
        assert!(led("https://a/x", "ftp://a/y").unwrap_err().contains("is no address"));
        assert_eq!(led("https://a/x", "https://b/y").unwrap(), "https://b/y");
        assert_eq!(led("http://a/x", "https://a/y").unwrap(), "https://a/y");
        assert_eq!(led("http://a/x", "y").unwrap(), "http://a/y");
    }

    #[test]
    fn locations_are_relative_to_where_they_were_found() {
        let base = url("https://a:5000/v2/x/blobs/uploads/?q=1");
        for (location, whole) in [
            ("/v2/y?z=1", "https://a:5000/v2/y?z=1"),
            ("//b/c", "https://b/c"),
            ("http://c/d", "http://c/d"),
            ("id?s=/x", "https://a:5000/v2/x/blobs/uploads/id?s=/x"),
            ("?s=2", "https://a:5000/v2/x/blobs/uploads/?s=2"),
            ("/v2/y?next=https://b", "https://a:5000/v2/y?next=https://b"),
        ] {
            assert_eq!(base.join(location).unwrap().to_string(), whole, "{location}");
        }
        assert_eq!(
            url("http://a/x?y=1").with_query("d", "sha256:1").to_string(),
            "http://a/x?y=1&d=sha256%3A1"
        );
    }

    proptest! {
        /// Whatever a registry sends as a location, where it leads is a whole address that means itself, and only one that
        /// names a host leads to another.
        #[test]
        fn a_location_is_an_address_or_refused(location in r"(https?://)?(/{0,2})[a-zA-Z0-9@:.\[\]?#%&= -]{0,30}") {
            let base = url("https://a:5000/v2/x/?q=1");
            if let Ok(joined) = base.join(&location) {
                prop_assert_eq!(joined.to_string().parse(), Ok(joined.clone()));
                prop_assert!(joined.origin == base.origin || location.contains("//"), "{joined}");
            }
        }
    }
}
