//! Which proxy stands between us and a host, if any.

use std::net::IpAddr;

use base64::{Engine, engine::general_purpose::STANDARD};
use ipnet::IpNet;

use crate::{
    config::Proxies,
    credentials::Secret,
    url::{Origin, Scheme, origin},
};

/// A proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) origin: Origin,
    /// The value of `Proxy-Authorization`.
    pub(crate) authorization: Option<Secret>,
}

/// The proxy for a host.
///
/// # Errors
/// One that is configured and cannot be used.
pub(crate) fn for_host(proxies: &Proxies, to: &Origin) -> Result<Option<Proxy>, String> {
    let chosen = match to.scheme {
        Scheme::Http => &proxies.http,
        Scheme::Https => &proxies.https,
    };
    match chosen.as_deref().filter(|p| !p.is_empty()) {
        Some(text) if !is_direct(&proxies.no_proxy, to) => parse(text).map(Some),
        _ => Ok(None),
    }
}

fn parse(text: &str) -> Result<Proxy, String> {
    let bad = || "the proxy must be of the form http://[user:password@]host:port".to_owned();
    let (scheme, rest) = match text.split_once("://") {
        Some(("http", rest)) => (Scheme::Http, rest),
        Some(("https", rest)) => (Scheme::Https, rest),
        Some(_) => return Err(bad()),
        None => (Scheme::Http, text),
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let origin = origin(scheme, host).ok_or_else(bad)?;
    let authorization = user.map(|user| {
        let user = unescape(user);
        Secret::new(format!("Basic {}", STANDARD.encode(user)))
    });
    Ok(Proxy { origin, authorization })
}

/// Undoes `%41`.
fn unescape(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = text.get(at + 1..at + 3).and_then(|d| u8::from_str_radix(d, 16).ok());
        match (bytes[at], code) {
            (b'%', Some(code)) => {
                out.push(code);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// Whether a host is reached without the proxy: loopback always is, and what the list names: hosts, domains with all below
/// them, addresses and ranges, each with a port or without, or `*`.
fn is_direct(list: &str, to: &Origin) -> bool {
    let address = to.host.parse::<IpAddr>().ok();
    if to.host == "localhost" || address.is_some_and(|a| a.is_loopback()) {
        return true;
    }
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let (Ok(range), Some(address)) = (entry.parse::<IpNet>(), address) {
            return range.contains(&address);
        }
        let (name, port) = match entry.rsplit_once(':') {
            Some((name, port)) if !name.contains(':') => (name, port.parse::<u16>().ok()),
            _ => (entry, None),
        };
        let name = name.trim_start_matches("*").to_ascii_lowercase();
        let below = |domain: &str| to.host.ends_with(&format!(".{domain}"));
        let matches = match name.strip_prefix('.') {
            Some(domain) => below(domain),
            None => to.host == name || below(&name),
        };
        matches && port.is_none_or(|p| p == to.port)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(text: &str) -> Origin {
        text.parse::<crate::url::Url>().unwrap().origin
    }

    #[test]
    fn proxies_are_chosen_as_go_chooses_them() {
        let proxies = Proxies {
            http: Some("p:3128".into()),
            https: Some("http://u%41:pw@q:3129/".into()),
            no_proxy: "example.com, .inner.net,10.0.0.0/8,one:8080".into(),
        };
        let host = |text: &str| for_host(&proxies, &to(text)).unwrap().map(|p| p.origin.address());
        assert_eq!(host("http://a/").as_deref(), Some("p:3128"));
        assert_eq!(host("https://a/").as_deref(), Some("q:3129"));
        for direct in [
            "https://example.com/",
            "http://x.example.com/",
            "http://a.inner.net/",
            "http://10.1.1.1/",
            "http://one:8080/",
            "http://127.0.0.1/",
            "http://localhost:5000/",
        ] {
            assert_eq!(host(direct), None, "{direct}");
        }
        for through in ["http://inner.net/", "http://one/", "http://notexample.com/"] {
            assert!(host(through).is_some(), "{through}");
        }
        let proxy = for_host(&proxies, &to("https://a/")).unwrap().unwrap();
        assert_eq!(proxy.authorization.unwrap().reveal(), "Basic dUE6cHc=");
        let socks = Proxies { http: Some("socks5://x:1".into()), ..Proxies::default() };
        assert!(for_host(&socks, &to("http://a/")).is_err());
    }
}
