//! What can go wrong with a registry, in the words that Docker's users know where Docker has words for it.

use std::{fmt, io};

use http::StatusCode;
use serde::Deserialize;
use skiff_types::ErrorKind;

/// The result of asking a registry.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A registry that could not be asked, said no, or said something that it should not.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No answer came.
    #[error("{method} \"{url}\": {source}")]
    Request {
        /// As Go writes it: `Get`.
        method: &'static str,
        /// Of what.
        url: String,
        /// Why not.
        source: RequestError,
    },
    /// The registry answered with its own errors.
    #[error("{errors}")]
    Registry {
        /// HTTP status.
        status: StatusCode,
        /// What it said.
        errors: RegistryErrors,
    },
    /// The registry answered with a status alone.
    #[error("received unexpected HTTP status: {}", status_text(*.0))]
    Status(StatusCode),
    /// Signing in was refused.
    #[error("login attempt to {url} failed with status: {}", status_text(*.status))]
    Login {
        /// At which address.
        url: String,
        /// With which status.
        status: StatusCode,
    },
    /// The registry wants to know who asks, and nobody said.
    #[error("no basic auth credentials")]
    NoCredentials,
    /// The token server did not give a token.
    #[error("failed to authorize: {0}")]
    Token(String),
    /// What the registry says does not fit together, or is more than it may be.
    #[error("{0}")]
    Untrue(String),
    /// Its data has another digest than it should.
    #[error("{what} verification failed for digest {expected}")]
    Digest {
        /// Of what.
        what: &'static str,
        /// What it should have.
        expected: String,
    },
    /// The settings of this registry cannot be used.
    #[error("{0}")]
    Settings(String),
    /// What should be sent could not be read.
    #[error(transparent)]
    Body(io::Error),
}

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The host's name means nothing, or nobody could be asked for it.
    #[error("dial tcp: lookup {host} on {server}: {why}")]
    Lookup {
        /// The name.
        host: String,
        /// The first name server of this machine, with its port.
        server: String,
        /// Why there is no address.
        why: String,
    },
    /// No connection.
    #[error("dial tcp {address}: connect: {}", go_words(.cause))]
    Dial {
        /// To where.
        address: String,
        /// Why.
        cause: io::Error,
    },
    /// It took too long.
    #[error("net/http: request canceled ({0})")]
    Timeout(&'static str),
    /// The other end is not who it should be, or does not speak TLS.
    #[error("{0}")]
    Tls(String),
    /// The proxy refused.
    #[error("proxyconnect tcp: {0}")]
    Proxy(String),
    /// The connection broke.
    #[error("{0}")]
    Broken(String),
    /// Nobody said who asks.
    #[error("no basic auth credentials")]
    NoCredentials,
    /// The token server refused.
    #[error("{text}")]
    Token {
        /// Its words.
        text: String,
        /// It does not know us by these credentials.
        unauthorized: bool,
    },
    /// Too many redirects, or one that is not followed.
    #[error("{0}")]
    Redirect(String),
}

impl RequestError {
    /// Whether the same request may go well a moment later.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Timeout(_) | Self::Broken(_))
    }

    /// Whether nobody is there: wrong addresses are so for ever, but a registry that is started anew for a while.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Lookup { .. } | Self::Dial { .. })
    }
}

/// The errors in a registry's answer (distribution-spec, "Error Codes").
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct RegistryErrors {
    /// In its order.
    #[serde(default)]
    pub errors: Vec<RegistryError>,
}

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RegistryError {
    /// `MANIFEST_UNKNOWN`.
    pub code: String,
    /// For people.
    pub message: String,
}

impl fmt::Display for RegistryErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errors.as_slice() {
            [] => f.write_str("<nil>"),
            [one] => write!(f, "{one}"),
            many => {
                f.write_str("errors:\n")?;
                many.iter().try_for_each(|one| writeln!(f, "{one}"))
            }
        }
    }
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.to_lowercase().replace('_', " ");
        let message = if self.message.is_empty() { &code } else { &self.message };
        write!(f, "{code}: {message}")
    }
}

impl Error {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Registry { status, errors } => {
                match errors.errors.first().map_or("", |e| e.code.as_str()) {
                    "UNAUTHORIZED" => ErrorKind::Unauthorized,
                    "DENIED" => ErrorKind::Forbidden,
                    "MANIFEST_UNKNOWN" | "NAME_UNKNOWN" | "BLOB_UNKNOWN" => ErrorKind::NotFound,
                    "TOOMANYREQUESTS" | "UNAVAILABLE" => ErrorKind::Unavailable,
                    "UNSUPPORTED" => ErrorKind::NotImplemented,
                    _ if *status == StatusCode::NOT_FOUND => ErrorKind::NotFound,
                    _ => ErrorKind::Internal,
                }
            }
            Self::Status(StatusCode::NOT_FOUND) => ErrorKind::NotFound,
            Self::Status(StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => {
                ErrorKind::Unavailable
            }
            Self::Request { source: RequestError::Token { unauthorized: true, .. }, .. } => {
                ErrorKind::Unauthorized
            }
            Self::Request { .. }
            | Self::Status(_)
            | Self::Login { .. }
            | Self::NoCredentials
            | Self::Token(_)
            | Self::Untrue(_)
            | Self::Digest { .. }
            | Self::Settings(_)
            | Self::Body(_) => ErrorKind::Internal,
        }
    }

    /// The code of the registry's first error; empty if it gave none.
    pub fn code(&self) -> &str {
        match self {
            Self::Registry { errors, .. } => errors.errors.first().map_or("", |e| e.code.as_str()),
            _ => "",
        }
    }

    /// Whether the registry answered that this may not be, or cannot.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Registry { status, .. } | Self::Status(status) => status.is_client_error(),
            Self::Request { source, .. } => {
                matches!(source, RequestError::Token { .. } | RequestError::NoCredentials)
            }
            _ => false,
        }
    }

    /// Whether nobody is there, which may pass too where somebody was before.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Request { source, .. } if source.is_absence())
    }

    /// Whether the same may go well a moment later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Request { source, .. } => source.is_passing(),
            Self::Registry { status, .. } | Self::Status(status) => {
                status.is_server_error() && *status != StatusCode::NOT_IMPLEMENTED
                    || *status == StatusCode::TOO_MANY_REQUESTS
            }
            _ => false,
        }
    }
}

/// `404 Not Found`.
pub(crate) fn status_text(status: StatusCode) -> String {
    format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default()).trim_end().to_owned()
}

/// An error of the system as Go words it.
pub(crate) fn go_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset by peer".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network is unreachable".to_owned(),
        io::ErrorKind::TimedOut => "connection timed out".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registrys_errors_are_told_as_docker_tells_them() {
        let errors: RegistryErrors = serde_json::from_str(
            r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}"#,
        )
        .unwrap();
        assert_eq!(errors.to_string(), "manifest unknown: manifest unknown");
        let error = Error::Registry { status: StatusCode::NOT_FOUND, errors };
        assert_eq!((error.kind(), error.code()), (ErrorKind::NotFound, "MANIFEST_UNKNOWN"));
        assert_eq!(
            Error::Status(StatusCode::BAD_GATEWAY).to_string(),
            "received unexpected HTTP status: 502 Bad Gateway"
        );
    }
}
