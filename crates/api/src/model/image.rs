//! Images.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Config, DistributionPlatform, DriverData, HealthConfig, NameSet, StringList, StringMap, empty,
    empty_list, empty_map,
};

/// A line of `GET /images/json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageSummary {
    pub containers: i64,
    /// Seconds since 1970.
    pub created: i64,
    pub id: String,
    pub labels: StringMap,
    pub parent_id: String,
    pub repo_digests: StringList,
    pub repo_tags: Vec<String>,
    pub shared_size: i64,
    pub size: i64,
    /// Only before version 1.44.
    #[serde(skip_serializing_if = "empty")]
    pub virtual_size: i64,
    /// Skiff's own: seconds since 1970; only in `GET /system/df`, with a disk budget.
    #[serde(skip_serializing_if = "empty")]
    pub last_used: i64,
    /// With `manifests`, from version 1.47 on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<ImageManifest>,
    /// With `manifests`, from version 1.48 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descriptor: Option<Value>,
}

/// A manifest of the index that an image was published in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageManifest {
    #[serde(rename = "ID")]
    pub id: String,
    pub descriptor: Value,
    pub available: bool,
    pub size: ManifestSize,
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_data: Option<ManifestImage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attestation_data: Option<ManifestAttestation>,
}

/// Bytes of a manifest and what it refers to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ManifestSize {
    pub total: i64,
    pub content: i64,
}

/// A manifest that is an image's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ManifestImage {
    pub platform: DistributionPlatform,
    pub size: UnpackedSize,
    pub containers: Vec<String>,
}

/// Bytes of an image's layers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct UnpackedSize {
    pub unpacked: i64,
}

/// A manifest that is an attestation's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ManifestAttestation {
    pub r#for: String,
}

/// The answer to `GET /images/{name}/json`. Its configuration changed with the versions; the newest has the type `C`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageInspect<C = ImageConfig> {
    pub id: String,
    pub repo_tags: Vec<String>,
    pub repo_digests: Vec<String>,
    pub parent: String,
    pub comment: String,
    #[serde(skip_serializing_if = "empty")]
    pub created: String,
    /// Only before version 1.45.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Only before version 1.45.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_config: Option<Config>,
    pub docker_version: String,
    pub author: String,
    pub architecture: String,
    #[serde(skip_serializing_if = "empty")]
    pub variant: String,
    pub os: String,
    #[serde(skip_serializing_if = "empty")]
    pub os_version: String,
    pub size: i64,
    /// Only before version 1.44.
    #[serde(skip_serializing_if = "empty")]
    pub virtual_size: i64,
    pub graph_driver: DriverData,
    #[serde(rename = "RootFS")]
    pub root_fs: RootFs,
    pub metadata: ImageMetadata,
    pub config: Option<C>,
    /// With `manifests`, from version 1.48 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descriptor: Option<Value>,
    /// With `manifests`, from version 1.48 on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<ImageManifest>,
}

/// The defaults that an image gives its containers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageConfig {
    pub user: String,
    #[serde(skip_serializing_if = "empty_map")]
    pub exposed_ports: Option<NameSet>,
    pub env: StringList,
    pub entrypoint: StringList,
    pub cmd: StringList,
    pub volumes: Option<NameSet>,
    pub working_dir: String,
    pub labels: StringMap,
    #[serde(skip_serializing_if = "empty")]
    pub stop_signal: String,
    #[serde(skip_serializing_if = "empty")]
    pub args_escaped: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthConfig>,
    pub on_build: StringList,
    #[serde(skip_serializing_if = "empty_list")]
    pub shell: StringList,
}

/// The layers of an image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RootFs {
    #[serde(skip_serializing_if = "empty")]
    pub r#type: String,
    #[serde(skip_serializing_if = "empty_list")]
    pub layers: StringList,
}

/// What the engine remembers about an image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageMetadata {
    pub last_tag_time: String,
}

/// A line of `GET /images/{name}/history`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct HistoryItem {
    pub comment: String,
    /// Seconds since 1970.
    pub created: i64,
    pub created_by: String,
    pub id: String,
    pub size: i64,
    pub tags: StringList,
}

/// A line of the answer to `DELETE /images/{name}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageDelete {
    #[serde(skip_serializing_if = "empty")]
    pub deleted: String,
    #[serde(skip_serializing_if = "empty")]
    pub untagged: String,
}

/// The answer to `POST /images/prune`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PruneImages {
    pub images_deleted: Option<Vec<ImageDelete>>,
    pub space_reclaimed: u64,
}

/// What an image is for, as `load` and `save` are told it (OCI image-spec).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename = "Platform")]
pub struct ImagePlatform {
    pub os: String,
    pub architecture: String,
    pub variant: String,
}
