//! Keys for Amazon's services and for what is like them, found where Amazon's own tools find them: the environment, a token of a
//! web identity, the user's files, the container, the machine. Those that expire are fetched again before they do.
//!
//! HTTP is the caller's: who has keys here says how services are asked ([`Ask`]), so that certificates, proxies and connections are
//! the same as for whatever the keys are for. Every wait for a service has an end.
//!
//! Source: "Standardized credential providers" of the AWS SDKs and Tools Reference Guide.

mod credentials;
mod profile;
mod sources;

use std::{fmt, sync::Arc};

pub use self::credentials::Credentials;

/// Reads a variable of the environment; empty ones are as good as none.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The environment of this process.
pub fn environment() -> Environment {
    Arc::new(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

/// Who signs. The secret is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// The id of the access key.
    pub id: String,
    /// Its secret.
    pub secret: String,
    /// The session of temporary ones, which is sent along.
    pub token: Option<String>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:***", self.id)
    }
}

/// Why there are no keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no keys from {place}: {reason}")]
pub struct NoKeys {
    /// Where they should have come from: an address, a file, a variable.
    pub place: String,
    /// What is wrong there.
    pub reason: String,
}

/// A request to a service that gives keys.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `GET`, `PUT` or `POST`.
    pub method: &'static str,
    /// Where the service is: scheme, host and port.
    pub service: &'a str,
    /// The path there, and the query.
    pub path: &'a str,
    /// Names in lower case.
    pub headers: &'a [(&'static str, &'a str)],
    /// What is sent.
    pub body: &'a str,
}

/// What a service answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// What it says; as much of it as matters.
    pub body: String,
}

/// Asks services over HTTP.
pub trait Ask: Send + Sync {
    /// Sends one request, once. May be dropped at any time; the caller bounds the time it takes.
    ///
    /// # Errors
    /// Why there is no answer, for people, without what was sent.
    fn ask(&self, request: Request<'_>) -> impl Future<Output = Result<Answer, String>> + Send;
}
