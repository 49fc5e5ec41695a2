//! Volumes.

use serde::{Deserialize, Serialize};

use super::{StringList, StringMap, empty};

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
}

/// The answer to `GET /volumes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct VolumeList {
    pub volumes: Vec<Volume>,
    pub warnings: StringList,
}
