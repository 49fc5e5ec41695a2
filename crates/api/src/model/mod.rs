//! The models of API version 1.51, with exactly the keys that Docker sends.
//!
//! A slice or map that Go may leave nil is an `Option` (`null` on the wire); what Go marks `omitempty` is left out when
//! it is empty. Enumerations are strings: a server must be able to name a value that it refuses. Reading goes through
//! [`crate::decode`]. The meaning of each field is in the API's specification.
#![allow(missing_docs, reason = "the API's specification documents the fields")]

mod config;
mod container;
mod events;
mod exec;
mod files;
mod host_config;
mod image;
mod inspect;
mod mount;
mod network;
mod progress;
mod registry;
mod stats;
mod system;
mod usage;
mod volume;

pub use config::{Config, CreateRequest, CreateResponse, HealthConfig};
pub use container::{
    ContainerSummary, NetworkSettingsSummary, Port, SummaryHostConfig, TopResponse, UpdateResponse,
    WaitExitError, WaitResponse,
};
pub use events::{Actor, EventMessage};
pub use exec::{ExecCreateRequest, ExecCreateResponse, ExecInspect, ExecProcessConfig, ExecStartRequest};
pub use files::{ChangeItem, CommitResponse, PathStat};
pub use host_config::{
    ContainerSecret, DeviceMapping, DeviceRequest, HostConfig, LogConfig, PortBinding, PortMap,
    RestartPolicy, ThrottleDevice, Ulimit, WeightDevice,
};
pub use image::{
    HistoryItem, ImageConfig, ImageDelete, ImageInspect, ImageManifest, ImageMetadata, ImagePlatform,
    ImageSummary, ManifestAttestation, ManifestImage, ManifestSize, PruneImages, RootFs, UnpackedSize,
};
pub use inspect::{
    ContainerInspect, ContainerState, DriverData, Health, HealthcheckResult, MountPoint, NetworkSettings,
};
pub use mount::{BindOptions, ImageOptions, Mount, MountDriver, TmpfsOptions, VolumeOptions};
pub use network::{
    Address, ConfigReference, EndpointIpamConfig, EndpointResource, EndpointSettings, Explanation,
    ExplanationStep, Ipam, IpamPool, NetworkConnectRequest, NetworkCreateRequest, NetworkCreateResponse,
    NetworkDisconnectRequest, NetworkInspect, NetworkingConfig, NetworksPruned,
};
pub use progress::{JsonError, JsonMessage, JsonProgress};
pub use registry::{
    AuthConfig, AuthResult, DistributionDescriptor, DistributionInspect, DistributionPlatform, SearchResult,
};
pub use stats::{
    BlkioEntry, BlkioStats, ContainerStats, CpuStats, CpuUsage, InterfaceStats, MemoryStats, PidsStats,
    ThrottlingData,
};
pub use system::{
    AddressPool, Commit, ComponentVersion, Containerd, ContainerdNamespaces, DeviceInfo, DiskBudget,
    FirewallInfo, IndexInfo, Info, Platform, PluginsInfo, RegistryConfig, Runtime, SwarmInfo, Version,
};
pub use usage::{BuildCache, DiskUsage, PruneBuild, PruneContainers};
pub use volume::{PruneVolumes, Volume, VolumeCreateRequest, VolumeList, VolumeUsage};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A map that is `null` when Go's is nil.
pub type StringMap = Option<BTreeMap<String, String>>;
/// A list that is `null` when Go's is nil.
pub type StringList = Option<Vec<String>>;
/// A set of names, as Go's `map[string]struct{}`.
pub type NameSet = BTreeMap<String, Empty>;

/// `{}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Empty {}

/// Go's `omitempty`.
fn empty<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// As [`empty`], for what is also left out when it is there without holding anything.
fn empty_map<K, T>(value: &Option<BTreeMap<K, T>>) -> bool {
    value.as_ref().is_none_or(BTreeMap::is_empty)
}

/// As [`empty_map`].
fn empty_list<T>(value: &Option<Vec<T>>) -> bool {
    value.as_ref().is_none_or(Vec::is_empty)
}
