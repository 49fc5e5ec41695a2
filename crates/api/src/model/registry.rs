//! Registries: who asks, what is there.

use serde::{Deserialize, Serialize};

use super::{StringList, empty};

/// Credentials, in `X-Registry-Auth` and `POST /auth`.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "lowercase")]
pub struct AuthConfig {
    #[serde(skip_serializing_if = "empty")]
    pub username: String,
    #[serde(skip_serializing_if = "empty")]
    pub password: String,
    /// User and password in base64; only in configuration files.
    #[serde(skip_serializing_if = "empty")]
    pub auth: String,
    #[serde(skip_serializing_if = "empty")]
    pub email: String,
    #[serde(rename = "serveraddress", skip_serializing_if = "empty")]
    pub server_address: String,
    #[serde(rename = "identitytoken", skip_serializing_if = "empty")]
    pub identity_token: String,
    #[serde(rename = "registrytoken", skip_serializing_if = "empty")]
    pub registry_token: String,
}

/// Secrets are not for logs.
impl std::fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AuthConfig({:?} at {:?})", self.username, self.server_address)
    }
}

/// The answer to `POST /auth`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct AuthResult {
    pub identity_token: String,
    pub status: String,
}

/// The answer to `GET /distribution/{name}/json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DistributionInspect {
    pub descriptor: DistributionDescriptor,
    pub platforms: Option<Vec<DistributionPlatform>>,
}

/// A manifest or index (OCI image-spec).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DistributionDescriptor {
    pub media_type: String,
    pub digest: String,
    pub size: i64,
}

/// Whom an image is for (OCI image-spec).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DistributionPlatform {
    pub architecture: String,
    pub os: String,
    #[serde(rename = "os.version", skip_serializing_if = "empty")]
    pub os_version: String,
    #[serde(rename = "os.features", skip_serializing_if = "Option::is_none")]
    pub os_features: StringList,
    #[serde(skip_serializing_if = "empty")]
    pub variant: String,
}

/// A line of `GET /images/search`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SearchResult {
    pub star_count: i64,
    pub is_official: bool,
    pub name: String,
    pub is_automated: bool,
    pub description: String,
}
