//! Containers in lists, and the small answers about them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{EndpointSettings, MountPoint, StringList, StringMap, empty, empty_map};

/// A line of `GET /containers/json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ContainerSummary {
    pub id: String,
    pub names: StringList,
    pub image: String,
    #[serde(rename = "ImageID")]
    pub image_id: String,
    pub command: String,
    /// Seconds since 1970.
    pub created: i64,
    pub ports: Vec<Port>,
    #[serde(skip_serializing_if = "empty")]
    pub size_rw: i64,
    #[serde(skip_serializing_if = "empty")]
    pub size_root_fs: i64,
    pub labels: StringMap,
    pub state: String,
    pub status: String,
    pub host_config: SummaryHostConfig,
    pub network_settings: Option<NetworkSettingsSummary>,
    pub mounts: Vec<MountPoint>,
}

/// What a list says of the host's side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct SummaryHostConfig {
    #[serde(skip_serializing_if = "empty")]
    pub network_mode: String,
    #[serde(skip_serializing_if = "empty_map")]
    pub annotations: StringMap,
}

/// What a list says of networks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NetworkSettingsSummary {
    /// Boxed: a map has room for eleven where most containers have one.
    pub networks: Option<BTreeMap<String, Box<EndpointSettings>>>,
}

/// A port, with where it is published if it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Port {
    #[serde(rename = "IP", skip_serializing_if = "empty")]
    pub ip: String,
    pub private_port: u16,
    #[serde(skip_serializing_if = "empty")]
    pub public_port: u16,
    pub r#type: String,
}

/// The answer to `GET /containers/{id}/top`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct TopResponse {
    pub processes: Option<Vec<Vec<String>>>,
    pub titles: StringList,
}

/// The answer to `POST /containers/{id}/update`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct UpdateResponse {
    pub warnings: StringList,
}

/// The answer to `POST /containers/{id}/wait`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct WaitResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<WaitExitError>,
    pub status_code: i64,
}

/// Why a wait failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct WaitExitError {
    #[serde(skip_serializing_if = "empty")]
    pub message: String,
}
