//! The body of every answer that is not a success.

use serde::{Deserialize, Serialize};

/// `{"message": "…"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorBody {
    /// What went wrong, for people; the command line prints it after `Error response from daemon: `.
    pub message: String,
}
