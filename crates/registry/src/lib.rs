//! The registry: an OCI distribution server (specification 1.1, and docker's additions) on a directory of the local file
//! system.
//!
//! [`Registry`] is the service: it knows names, content and permissions, and no HTTP. `http` renders it. Content lies in
//! files by digest, or in a bucket (`docs/adr/0037`); what it means (repositories, tags, which repository may give which blob) is in memory and in one
//! transactional database (`docs/adr/0020`). Nothing is acknowledged before it is flushed; nothing that a manifest names
//! is ever collected.

mod accounts;
mod audit;
mod auth;
mod catalog;
mod clock;
mod config;
mod content;
mod digest;
mod error;
mod http;
mod manifest;
mod name;
mod places;
mod range;
mod remote;
mod server;
mod service;
mod store;

pub use auth::htpasswd;
pub use config::{AuthMode, Config, Flags, TlsFiles, configure, flags, load_tls, split_flags};
pub use content::{BucketSettings, Encryption};
pub use digest::{Algorithm, Digest};
pub use error::Error;
pub use manifest::MediaType;
pub use name::{Name, Reference, Tag};
pub use server::{Listen, Server};
pub use service::{ProxySettings, Registry, Settings};
