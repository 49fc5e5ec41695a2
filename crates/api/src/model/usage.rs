//! What everything takes on disk, and what a prune freed.

use serde::{Deserialize, Serialize};

use super::{ContainerSummary, DiskBudget, ImageSummary, StringList, Volume};

/// The answer to `GET /system/df`. What was not asked for is `null`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DiskUsage {
    /// Bytes of all layers, each counted once.
    pub layers_size: i64,
    pub images: Option<Vec<ImageSummary>>,
    pub containers: Option<Vec<ContainerSummary>>,
    pub volumes: Option<Vec<Volume>>,
    pub build_cache: Option<Vec<BuildCache>>,
    /// Skiff's own; only if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_budget: Option<DiskBudget>,
}

/// A record of the build cache.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct BuildCache {
    #[serde(rename = "ID")]
    pub id: String,
    pub r#type: String,
    pub description: String,
    pub in_use: bool,
    pub shared: bool,
    pub size: i64,
    pub created_at: String,
    pub last_used_at: Option<String>,
    pub usage_count: i64,
}

/// The answer to `POST /build/prune`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PruneBuild {
    pub caches_deleted: Option<Vec<String>>,
    pub space_reclaimed: u64,
}

/// The answer to `POST /containers/prune`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PruneContainers {
    pub containers_deleted: StringList,
    pub space_reclaimed: u64,
}
