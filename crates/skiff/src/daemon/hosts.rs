//! Where the daemon listens: `-H` in all its forms.

use std::path::PathBuf;

/// Docker's own socket.
pub(super) const DOCKER_SOCKET: &str = "/var/run/docker.sock";
const TCP_PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;

/// One place to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// A Unix socket.
    Unix(PathBuf),
    /// Host name or address, and port.
    Tcp(String, u16),
    /// Sockets that systemd has opened: all of them, or the one with this number or name.
    Inherited(Option<String>),
}

/// Reads one `-H`.
///
/// # Errors
/// What dockerd refuses, in its words.
pub(super) fn parse(text: &str, tls: bool) -> Result<Host, String> {
    let text = text.trim();
    let port = if tls { TLS_PORT } else { TCP_PORT };
    if text.is_empty() {
        return Ok(if tls { Host::Tcp("localhost".into(), port) } else { Host::Unix(DOCKER_SOCKET.into()) });
    }
    let (scheme, address) = text.split_once("://").unwrap_or(("tcp", text));
    let bad = |reason: &str| format!("invalid bind address ({text}): {reason}");
    match scheme {
        "unix" if address.contains("://") => Err(bad(&format!("invalid unix address: {address}"))),
        "unix" if address.is_empty() => Ok(Host::Unix(DOCKER_SOCKET.into())),
        "unix" => Ok(Host::Unix(address.into())),
        "fd" => Ok(Host::Inherited(Some(address).filter(|a| !a.is_empty() && *a != "*").map(str::to_owned))),
        "tcp" => tcp(address, port).map_err(|reason| bad(&reason)),
        other => Err(bad(&format!("unsupported proto '{other}'"))),
    }
}

fn tcp(address: &str, default_port: u16) -> Result<Host, String> {
    if address.contains('/') {
        return Err("should not contain a path element".to_owned());
    }
    let (host, port) = match address.rfind(':') {
        Some(at) if !address[at..].contains(']') => (&address[..at], Some(&address[at + 1..])),
        _ => (address, None),
    };
    let port = match port {
        None | Some("") => default_port,
        Some(text) if !text.bytes().all(|c| c.is_ascii_digit()) => {
            return Err(format!("parse \"tcp://{address}\": invalid port \":{text}\" after host"));
        }
        Some(text) => text.parse().ok().filter(|p| *p != 0).ok_or_else(|| format!("invalid port: {text}"))?,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok(Host::Tcp(if host.is_empty() { "localhost" } else { host }.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_host_is_understood() {
        let tcp = |host: &str, port| Ok(Host::Tcp(host.to_owned(), port));
        assert_eq!(parse("unix:///x/y.sock", false), Ok(Host::Unix("/x/y.sock".into())));
        assert_eq!(parse("unix://", false), Ok(Host::Unix(DOCKER_SOCKET.into())));
        assert_eq!(parse("tcp://1.2.3.4:5", false), tcp("1.2.3.4", 5));
        assert_eq!(parse("tcp://0.0.0.0", true), tcp("0.0.0.0", 2376));
        assert_eq!(parse("tcp://", false), tcp("localhost", 2375));
        assert_eq!(parse(":2375", false), tcp("localhost", 2375));
        assert_eq!(parse("1.2.3.4:5", false), tcp("1.2.3.4", 5));
        assert_eq!(parse("tcp://[::1]:7", false), tcp("::1", 7));
        assert_eq!(parse("tcp://[::1]", false), tcp("::1", 2375));
        assert_eq!(parse("fd://", false), Ok(Host::Inherited(None)));
        assert_eq!(parse("fd://*", false), Ok(Host::Inherited(None)));
        assert_eq!(parse("fd://3", false), Ok(Host::Inherited(Some("3".to_owned()))));
    }

    /// Recorded from dockerd 28.5.2.
    #[test]
    fn bad_hosts_are_refused_in_dockerds_words() {
        for (text, message) in [
            ("foo://x", "invalid bind address (foo://x): unsupported proto 'foo'"),
            (
                "tcp://x:y",
                "invalid bind address (tcp://x:y): parse \"tcp://x:y\": invalid port \":y\" after host",
            ),
            ("tcp://x:0", "invalid bind address (tcp://x:0): invalid port: 0"),
            ("tcp://x:1/y", "invalid bind address (tcp://x:1/y): should not contain a path element"),
        ] {
            assert_eq!(parse(text, false).unwrap_err(), message);
        }
    }
}
