//! The wire of the Docker Engine API, for servers and clients: models, stream framing, filters, versions, error body.
//!
//! Nothing here decides anything. The models are ours and not bollard-stubs': those can neither say `null` (which
//! clients see) nor keep a value they do not know, so a server made of them would answer differently from Docker.

pub mod decode;
mod error;
pub mod filters;
pub mod model;
pub mod stream;
mod syntax;
mod version;

pub use error::ErrorBody;
pub use filters::Filters;
pub use version::{ApiVersion, ParseVersionError};
