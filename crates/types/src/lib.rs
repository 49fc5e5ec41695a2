//! Ids, digests, error kinds and units: used by every crate, uses none of them.

mod digest;
mod error;
mod id;
mod units;

pub use digest::{Digest, Hasher, ParseDigestError};
pub use error::ErrorKind;
pub use id::{ContainerId, EndpointId, ExecId, ImageId, NetworkId, ParseIdError, hex};
pub use units::{ParseSizeError, human_size, human_size_binary, parse_size};
