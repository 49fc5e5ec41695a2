//! Typed client of the Docker Engine API: unix sockets, TCP and TLS, version negotiation, hijacked streams.
//!
//! One [`Client`] talks to one engine. It opens connections as it needs them and keeps one idle connection for the
//! next request, so that a short-lived program opens few. Answers are decoded into whatever type the caller asks
//! for; a caller that must keep an answer's own order of keys asks for the bytes.

mod client;
mod connect;
mod containers;
mod error;
mod execs;
mod files;
mod hijack;
mod host;
mod images;
mod networks;
mod query;
mod request;
mod system;
mod tls;
mod volumes;

pub use client::{Client, Options};
pub use containers::{Attach, Created, ListContainers, Logs, WaitCondition, WaitResult};
pub use error::Error;
pub use execs::StartExec;
pub use hijack::{Hijacked, ReadHalf, WriteHalf};
pub use host::{Host, HostError};
pub use query::Query;
pub use request::{Body, JsonLines, Request, Response};
pub use system::{Ping, escape};
pub use tls::{Tls, TlsError, TlsFiles};
