//! Mounts as `--mount` describes them.

use serde::{Deserialize, Serialize};

use super::{StringMap, empty, empty_list, empty_map};

/// A mount that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase", rename = "mount.Mount")]
pub struct Mount {
    #[serde(skip_serializing_if = "empty")]
    pub r#type: String,
    #[serde(skip_serializing_if = "empty")]
    pub source: String,
    #[serde(skip_serializing_if = "empty")]
    pub target: String,
    #[serde(skip_serializing_if = "empty")]
    pub read_only: bool,
    #[serde(skip_serializing_if = "empty")]
    pub consistency: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind_options: Option<BindOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_options: Option<VolumeOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_options: Option<ImageOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmpfs_options: Option<TmpfsOptions>,
}

/// Options of `type=bind`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct BindOptions {
    #[serde(skip_serializing_if = "empty")]
    pub propagation: String,
    #[serde(skip_serializing_if = "empty")]
    pub non_recursive: bool,
    #[serde(skip_serializing_if = "empty")]
    pub create_mountpoint: bool,
    #[serde(skip_serializing_if = "empty")]
    pub read_only_non_recursive: bool,
    #[serde(skip_serializing_if = "empty")]
    pub read_only_force_recursive: bool,
}

/// Options of `type=volume`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct VolumeOptions {
    #[serde(skip_serializing_if = "empty")]
    pub no_copy: bool,
    #[serde(skip_serializing_if = "empty_map")]
    pub labels: StringMap,
    #[serde(skip_serializing_if = "empty")]
    pub subpath: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver_config: Option<MountDriver>,
}

/// Options of `type=image`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageOptions {
    #[serde(skip_serializing_if = "empty")]
    pub subpath: String,
}

/// The driver of a volume that is made for a mount.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct MountDriver {
    #[serde(skip_serializing_if = "empty")]
    pub name: String,
    #[serde(skip_serializing_if = "empty_map")]
    pub options: StringMap,
}

/// Options of `type=tmpfs`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct TmpfsOptions {
    #[serde(skip_serializing_if = "empty")]
    pub size_bytes: i64,
    #[serde(skip_serializing_if = "empty")]
    pub mode: u32,
    #[serde(skip_serializing_if = "empty_list")]
    pub options: Option<Vec<Vec<String>>>,
}
