//! What a container is to know and nobody else.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A file in a container that is in memory only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Its name.
    pub id: String,
    /// Where its contents come from.
    pub source: SecretSource,
    /// Where the container finds it.
    pub target: String,
    /// Its owner there.
    pub uid: u32,
    /// Its group there.
    pub gid: u32,
    /// Its permissions.
    pub mode: u32,
}

/// Where the contents of a secret come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretSource {
    /// A file of the host, read whenever the container starts.
    File(String),
    /// The request to create the container.
    Given(SecretData),
}

/// Contents of a secret on their way from the request to memory. They are not written to any record, and not shown.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretData {
    /// They.
    #[serde(skip)]
    pub bytes: Vec<u8>,
}

impl fmt::Debug for SecretData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
