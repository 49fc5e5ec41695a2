//! What the store holds: one table for each sort of fact. Keys are names joined by a blank, which no name contains.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use skiff_state::Table;

use crate::{digest::Digest, manifest::MediaType};

/// Repositories by name.
pub(crate) const REPOSITORIES: Table<RepositoryRecord> = Table::new("repositories");
/// Manifests by `name digest`.
pub(crate) const MANIFESTS: Table<ManifestRecord> = Table::new("manifests");
/// Tags by `name tag`.
pub(crate) const TAGS: Table<TagRecord> = Table::new("tags");
/// Which repository may give which blob, by `name digest`.
pub(crate) const LINKS: Table<LinkRecord> = Table::new("links");

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RepositoryRecord {
    /// Seconds since 1970.
    pub(crate) created: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ManifestRecord {
    pub(crate) media_type: MediaType,
    /// Bytes of the manifest itself.
    pub(crate) size: u64,
    /// Bytes of configuration and layers.
    #[serde(default)]
    pub(crate) content_size: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) blobs: Vec<Digest>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) manifests: Vec<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<Digest>,
    /// Kept for manifests that have a subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    /// Likewise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    /// Seconds since 1970.
    pub(crate) pushed: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TagRecord {
    pub(crate) digest: Digest,
    /// Seconds since 1970.
    pub(crate) pushed: u64,
    /// Nanoseconds beyond them: which of two tags is newer.
    #[serde(default)]
    pub(crate) nanos: u32,
    /// Who.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) by: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LinkRecord {
    /// Bytes of the blob.
    pub(crate) size: u64,
    /// Seconds since 1970.
    pub(crate) since: u64,
}

/// The key of something inside a repository.
pub(crate) fn key(name: &str, item: &impl std::fmt::Display) -> String {
    format!("{name} {item}")
}
