//! What can go wrong between here and an engine.

use std::io;

/// A request that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine answered with an error.
    #[error("Error response from daemon: {message}")]
    Api {
        /// HTTP status.
        status: u16,
        /// The engine's words.
        message: String,
    },
    /// Nobody listens there.
    #[error("Cannot connect to the Docker daemon at {host}. Is the docker daemon running?")]
    Unreachable {
        /// Where.
        host: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The socket may not be opened by this user.
    #[error(
        "permission denied while trying to connect to the Docker daemon socket at {host}: connect: permission denied"
    )]
    Forbidden {
        /// Where.
        host: String,
    },
    /// No agreement on TLS: whose certificate is whose.
    #[error("error during connect: {host}: {source}")]
    Handshake {
        /// Where.
        host: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The connection failed while in use.
    #[error("error during connect: {operation}: {source}")]
    Connection {
        /// Method and path.
        operation: String,
        /// Why.
        #[source]
        source: hyper::Error,
    },
    /// A name or value that cannot stand in a request.
    #[error("invalid request: {0}")]
    Request(#[from] http::Error),
    /// The answer is not what the API says.
    #[error("error decoding the answer to {operation}: {source}")]
    Decode {
        /// Method and path.
        operation: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The answer does not say what is at the path that was asked for.
    #[error("unable to decode container path stat header")]
    PathStat,
    /// The engine did not hand the connection over.
    #[error("unable to upgrade to tcp, received {0}")]
    NotUpgraded(u16),
}

impl Error {
    /// The HTTP status of an engine's error.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Api { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the engine says that the thing does not exist.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// Whether no connection could be made at all.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}
