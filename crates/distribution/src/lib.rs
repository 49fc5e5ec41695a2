//! The client of registries: OCI distribution-spec 1.1, Docker's registry API v2, its token authentication, and the search of
//! its index.
//!
//! [`Registries`] knows the settings. A registry is [found](Registries::candidates) by the name that references give it, and
//! [opened](Registries::open) for one operation; a [`Session`] then reads and writes its [repositories](Repository).
//! Everything is bounded: time, bytes, redirects, attempts. Whatever has a digest is verified against it, here or, for large
//! blobs, by who reads them. Credentials go to the registry they are for and its token server, and nowhere else.
//!
//! Nothing here knows images of the store; all of it is asynchronous and stops when it is dropped.

mod auth;
mod blob;
mod certificates;
mod config;
mod connect;
mod credentials;
mod direct;
mod endpoint;
mod error;
mod exchange;
mod handover;
mod hosts_toml;
mod login;
pub mod media;
mod outgoing;
mod proxy;
mod repository;
mod search;
mod session;
mod upload;
mod url;

pub use blob::BlobReader;
pub use config::{Config, Limits, Proxies};
pub use credentials::{Credentials, Secret};
pub use direct::Direct;
pub use error::{Error, RegistryError, RegistryErrors, RequestError, Result};
pub use exchange::Answer;
pub use media::{Descriptor, Document, Fetched, Index, Manifest, Platform};
pub use repository::Repository;
pub use search::Found;
pub use session::{Candidate, Purpose, Registries, Session};
pub use upload::{Mounted, Upload};
