//! What a health check does: Docker's two ways, which run a program in the container, and two of ours, which knock at a port of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::HealthConfig;

/// One try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Runs a program, with arguments, in the container.
    Program(Vec<String>),
    /// Connects in the container's network.
    Tcp(Vec<SocketAddr>),
    /// Connects likewise, and asks for a page.
    Http(HttpProbe),
}

/// A page that a healthy container has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpProbe {
    /// Where it is served: the first that can be connected to.
    pub(crate) addresses: Vec<SocketAddr>,
    /// `Host`, with the port if that is not 80.
    pub(crate) host: String,
    /// Path and query, from `/` on.
    pub(crate) path: String,
}

impl Probe {
    /// What a check does; none if it does nothing, or nothing that is known: newer clients may send what this version does not
    /// know, and Docker ignores that too. `shell` is the container's own.
    ///
    /// # Errors
    /// What is wrong with the address of one of our own ways.
    pub(crate) fn of(check: &HealthConfig, shell: Option<&[String]>) -> Result<Option<Self>, String> {
        let Some((kind, words)) = check.test.split_first() else { return Ok(None) };
        Ok(Some(match kind.as_str() {
            "CMD" => Self::Program(words.to_vec()),
            "CMD-SHELL" => {
                let own = shell.filter(|shell| !shell.is_empty()).map(<[String]>::to_vec);
                let shell = own.unwrap_or_else(|| ["/bin/sh", "-c"].map(str::to_owned).into());
                Self::Program(shell.iter().chain(words).cloned().collect())
            }
            "HTTP" => Self::Http(http(only(kind, words)?)?),
            "TCP" => Self::Tcp(tcp(only(kind, words)?)?),
            _ => return Ok(None),
        }))
    }
}

fn only<'a>(kind: &str, words: &'a [String]) -> Result<&'a str, String> {
    match words {
        [one] => Ok(one),
        _ => Err(format!("a {kind} health check has one address, not {}", words.len())),
    }
}

/// `port` or `host:port`.
fn tcp(text: &str) -> Result<Vec<SocketAddr>, String> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    addresses(host, port)
        .map_err(|reason| format!("invalid address of a TCP health check {text:?}: {reason}"))
}

/// `http://host[:port][/path]` or `:port[/path]`.
fn http(text: &str) -> Result<HttpProbe, String> {
    let wrong = |reason: &str| format!("invalid address of an HTTP health check {text:?}: {reason}");
    let rest = match text.split_once("://") {
        Some(("http", rest)) => rest,
        Some(("https", _)) => return Err(wrong("https is not supported")),
        Some(_) => return Err(wrong("it does not begin with http://")),
        None if text.starts_with(':') => text,
        None => return Err(wrong("it is neither http://HOST[:PORT][/PATH] nor :PORT[/PATH]")),
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong("its path has characters that must be escaped"));
    }
    let (host, port) = match authority.rsplit_once(':') {
        // The last colon may be one inside of an address of IPv6.
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, "80"),
    };
    let addresses = addresses(host, port).map_err(|reason| wrong(&reason))?;
    let named = if host.is_empty() { "localhost" } else { host };
    let host = if port == "80" { named.to_owned() } else { format!("{named}:{port}") };
    let slash = if path.starts_with('/') { "" } else { "/" };
    Ok(HttpProbe { addresses, host, path: format!("{slash}{path}") })
}

/// A name would have to be resolved as the container does, by programs of its image.
fn addresses(host: &str, port: &str) -> Result<Vec<SocketAddr>, String> {
    let port = port.parse::<u16>().ok().filter(|port| *port != 0);
    let port = port.ok_or("the port is not a number from 1 to 65535")?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let hosts = match bare {
        "" | "localhost" => vec![IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)],
        other => {
            vec![other.parse().map_err(|_| "the host is neither an IP address nor localhost".to_owned())?]
        }
    };
    Ok(hosts.into_iter().map(|host| SocketAddr::new(host, port)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Result<Option<Probe>, String> {
        let test = words.iter().map(|w| (*w).to_owned()).collect();
        Probe::of(&HealthConfig { test, ..HealthConfig::default() }, None)
    }

    #[test]
    fn addresses_are_read() {
        let local = |port| {
            vec![SocketAddr::from(([127, 0, 0, 1], port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port))]
        };
        assert_eq!(of(&["TCP", "5432"]), Ok(Some(Probe::Tcp(local(5432)))));
        assert_eq!(of(&["TCP", "10.0.0.2:1"]), Ok(Some(Probe::Tcp(vec![([10, 0, 0, 2], 1).into()]))));
        for (text, addresses, host, path) in [
            (":8080/health?a=b", local(8080), "localhost:8080", "/health?a=b"),
            ("http://localhost", local(80), "localhost", "/"),
            ("http://10.0.0.2?x", vec![([10, 0, 0, 2], 80).into()], "10.0.0.2", "/?x"),
            ("http://[::1]:81/a", vec![(Ipv6Addr::LOCALHOST, 81).into()], "[::1]:81", "/a"),
            ("http://[::1]/", vec![(Ipv6Addr::LOCALHOST, 80).into()], "[::1]", "/"),
        ] {
            let probe = HttpProbe { addresses, host: host.into(), path: path.into() };
            assert_eq!(of(&["HTTP", text]), Ok(Some(Probe::Http(probe))), "{text}");
        }
    }

    #[test]
    fn wrong_addresses_are_told() {
        for (words, reason) in [
            (&["HTTP", "https://localhost/"][..], "https is not supported"),
            (&["HTTP", "ftp://x/"], "it does not begin with http://"),
            (&["HTTP", "8080/x"], "it is neither http://HOST[:PORT][/PATH] nor :PORT[/PATH]"),
            (&["HTTP", ":0/x"], "the port is not a number from 1 to 65535"),
            (&["HTTP", ":80/a b"], "its path has characters that must be escaped"),
            (&["HTTP", ":80/\r\nX: y"], "its path has characters that must be escaped"),
            (&["HTTP", "http://db:80/"], "the host is neither an IP address nor localhost"),
            (&["TCP", "x"], "the port is not a number from 1 to 65535"),
            (&["TCP", "70000"], "the port is not a number from 1 to 65535"),
            (&["TCP"], "a TCP health check has one address, not 0"),
            (&["HTTP", ":1", ":2"], "a HTTP health check has one address, not 2"),
        ] {
            let error = of(words).unwrap_err();
            assert!(error.ends_with(reason), "{words:?}: {error}");
        }
    }
}
