//! Addresses: a scheme, a host and a port.

/// Where a registry or its token server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) secure: bool,
    /// With the port, if it was given.
    pub(crate) host: String,
}

impl Address {
    /// `https://host[:port]`, with nothing behind it but a slash.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let (address, path) = Self::split(url)?;
        (path == "/").then_some(address)
    }

    /// An address and the path on it.
    pub(crate) fn split(url: &str) -> Option<(Self, String)> {
        let (secure, rest) = match url.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, url.strip_prefix("http://")?),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b".:-[]_".contains(&byte);
        if host.is_empty() || !host.bytes().all(good) {
            return None;
        }
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Some((Self { secure, host: host.to_ascii_lowercase() }, path))
    }

    /// Where a location leads from here.
    pub(crate) fn join(&self, location: &str) -> Option<(Self, String)> {
        if location.starts_with("//") {
            let scheme = if self.secure { "https:" } else { "http:" };
            return Self::split(&format!("{scheme}{location}"));
        }
        if location.starts_with('/') {
            return Some((self.clone(), location.to_owned()));
        }
        Self::split(location)
    }

    /// Host and port, to connect to.
    pub(crate) fn endpoint(&self) -> String {
        let bare = self.host.rsplit_once(':').is_none_or(|(_, port)| port.ends_with(']'));
        match (bare, self.secure) {
            (true, true) => format!("{}:443", self.host),
            (true, false) => format!("{}:80", self.host),
            (false, _) => self.host.clone(),
        }
    }

    /// The host without its port: what a certificate must name.
    pub(crate) fn name(&self) -> &str {
        let host = match self.host.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => host,
            _ => &self.host,
        };
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_hosts_and_ports() {
        for (url, endpoint, name) in [
            ("https://registry-1.docker.io", "registry-1.docker.io:443", "registry-1.docker.io"),
            ("http://localhost:5000/", "localhost:5000", "localhost"),
            ("https://[::1]", "[::1]:443", "::1"),
            ("https://[::1]:5000", "[::1]:5000", "::1"),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!((address.endpoint().as_str(), address.name()), (endpoint, name), "{url}");
        }
        for bad in ["", "ftp://x", "https://", "https://user@host", "https://a/b", "https://a b"] {
            assert_eq!(Address::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn locations_lead_somewhere() {
        let here = Address::parse("https://a").unwrap();
        assert_eq!(here.join("/x?y").unwrap(), (here.clone(), "/x?y".to_owned()));
        assert_eq!(here.join("https://b:1/x").unwrap().0.host, "b:1");
        assert_eq!(here.join("//c/x").unwrap().0, Address { secure: true, host: "c".into() });
        assert_eq!(here.join("x"), None);
    }
}
