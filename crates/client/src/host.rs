//! Where an engine listens: the forms of `-H`.

use std::{fmt, path::PathBuf};

/// An engine's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// `unix:///run/skiff/skiff.sock`.
    Unix(PathBuf),
    /// `tcp://host:port[/path]`.
    Tcp {
        /// `host:port`.
        authority: String,
        /// What stands before every path of the API; empty or `/prefix`.
        prefix: String,
    },
}

/// A host that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Not of any known form.
    #[error("invalid bind address format: {0}")]
    Format(String),
    /// A known form that this client does not speak.
    #[error("{0}: connections by {1} are not supported by this version of skiff")]
    Unsupported(String, &'static str),
}

impl Host {
    /// Reads `unix://…`, `tcp://…` or `host[:port]`. The port is `default_port` where none is given.
    ///
    /// # Errors
    /// Other forms: `ssh://`, `npipe://` and `fd://` are known but not spoken.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, HostError> {
        let bad = || HostError::Format(text.to_owned());
        let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
        match scheme {
            "unix" if rest.is_empty() => Ok(Self::Unix("/var/run/docker.sock".into())),
            "unix" if rest.contains("://") => Err(bad()),
            "unix" => Ok(Self::Unix(rest.into())),
            "tcp" | "http" | "https" => {
                let (authority, path) = match rest.find('/') {
                    Some(at) => rest.split_at(at),
                    None => (rest, ""),
                };
                let has_port = match authority.rfind(']') {
                    Some(bracket) => authority[bracket..].contains(':'),
                    None => authority.contains(':'),
                };
                let authority = match authority {
                    "" => format!("localhost:{default_port}"),
                    a if a.starts_with(':') => format!("localhost{a}"),
                    a if has_port => a.to_owned(),
                    a => format!("{a}:{default_port}"),
                };
                let port = authority.rsplit(':').next().unwrap_or_default();
                if port.parse::<u16>().is_err() {
                    return Err(bad());
                }
                Ok(Self::Tcp { authority, prefix: path.trim_end_matches('/').to_owned() })
            }
            "ssh" => Err(HostError::Unsupported(text.to_owned(), "ssh")),
            "npipe" => Err(HostError::Unsupported(text.to_owned(), "named pipe")),
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { authority, prefix } => write!(f, "tcp://{authority}{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_host() {
        let tcp = |authority: &str, prefix: &str| {
            Ok(Host::Tcp { authority: authority.to_owned(), prefix: prefix.to_owned() })
        };
        for (text, host) in [
            ("unix:///a/b.sock", Ok(Host::Unix("/a/b.sock".into()))),
            ("unix://", Ok(Host::Unix("/var/run/docker.sock".into()))),
            ("tcp://1.2.3.4:2375", tcp("1.2.3.4:2375", "")),
            ("tcp://", tcp("localhost:2375", "")),
            ("tcp://:77", tcp("localhost:77", "")),
            ("box", tcp("box:2375", "")),
            ("tcp://[::1]", tcp("[::1]:2375", "")),
            ("tcp://[::1]:5/x/", tcp("[::1]:5", "/x")),
            ("foo://x", Err(HostError::Format("foo://x".into()))),
            ("tcp://a:b", Err(HostError::Format("tcp://a:b".into()))),
            ("ssh://x", Err(HostError::Unsupported("ssh://x".into(), "ssh"))),
        ] {
            assert_eq!(Host::parse(text, 2375), host, "{text}");
        }
    }
}
