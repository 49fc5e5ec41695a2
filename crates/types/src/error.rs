//! The kinds of failure that the boundary (HTTP status, exit code) tells apart.

use serde::{Deserialize, Serialize};

/// What sort of failure an error is. Every error enum of the workspace has a `kind()` that answers one of these;
/// `server` maps each to an HTTP status in one exhaustive `match`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErrorKind {
    /// The request itself is wrong; sending it again will not help (400).
    InvalidArgument,
    /// Credentials are missing or wrong (401).
    Unauthorized,
    /// The caller may not do this (403).
    Forbidden,
    /// The object does not exist (404).
    NotFound,
    /// The object's state does not allow this now (409).
    Conflict,
    /// The object is already in the asked-for state (304).
    NotModified,
    /// Skiff or this kernel cannot do this (501).
    NotImplemented,
    /// Something that is needed is not there at the moment; trying again may help (503).
    Unavailable,
    /// The disk is full or a quota is used up (500).
    OutOfSpace,
    /// The caller went away before the answer was ready (499).
    Cancelled,
    /// A fault of Skiff, the host or the kernel (500).
    Internal,
}
