//! Volumes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{StringList, StringMap, empty, empty_map};

/// A volume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Volume {
    #[serde(skip_serializing_if = "empty")]
    pub created_at: String,
    pub driver: String,
    pub labels: StringMap,
    pub mountpoint: String,
    pub name: String,
    pub options: StringMap,
    pub scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<BTreeMap<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_data: Option<VolumeUsage>,
}

/// What a volume takes, as `GET /system/df` tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct VolumeUsage {
    pub ref_count: i64,
    pub size: i64,
    /// Skiff's own: seconds since 1970; only with a disk budget.
    #[serde(skip_serializing_if = "empty")]
    pub last_used: i64,
}

/// The body of `POST /volumes/create`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase", rename = "volume.CreateOptions")]
pub struct VolumeCreateRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_volume_spec: Option<Value>,
    #[serde(skip_serializing_if = "empty")]
    pub driver: String,
    #[serde(skip_serializing_if = "empty_map")]
    pub driver_opts: StringMap,
    #[serde(skip_serializing_if = "empty_map")]
    pub labels: StringMap,
    #[serde(skip_serializing_if = "empty")]
    pub name: String,
}

/// The answer to `POST /volumes/prune`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PruneVolumes {
    pub volumes_deleted: StringList,
    pub space_reclaimed: u64,
}

/// The answer to `GET /volumes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct VolumeList {
    pub volumes: Vec<Volume>,
    pub warnings: StringList,
}
