//! The domain model: what a container, an exec, an image and an event are to the engine.
//!
//! These are our own types, not the API's: the server converts between the two in one place. What is written to the
//! store (`ContainerRecord` and what it holds) is serialised as JSON; a field added later carries `#[serde(default)]`,
//! anything else is a migration of the store's schema version (`skiff_state::SCHEMA`).
//!
//! Where Docker's `inspect` tells "not given" from "empty", the field is an `Option`.

pub(crate) mod check;
mod config;
mod event;
mod exec;
mod filter;
mod health;
mod host;
mod image;
mod list;
mod metrics;
mod mount;
mod network;
mod prune;
mod record;
mod secret;
mod stats;
mod system;
pub(crate) mod volume;

pub use config::{ContainerConfig, HealthConfig};
pub use event::{Actor, Event, EventKind};
pub use exec::{ExecConfig, ExecRecord};
pub use filter::Filters;
pub use health::{Health, HealthResult, HealthStatus};
pub use host::{
    BlkioDevice, BlkioWeight, DeviceMapping, DeviceRequest, HostConfig, LogConfig, Resources, RestartPolicy,
    Ulimit,
};
pub use image::{
    DeletedImage, HistoryEntry, ImageConfig, ImageInspect, ImageSummary, ManifestKind, ManifestSummary,
    PublishedImage, RootFsLayers,
};
pub use list::{ContainerSummary, ContainerView, PortSummary, Sizes, Top, UpdateRequest};
pub use metrics::{ContainerMetrics, Metrics};
pub use mount::{BindOptions, MountKind, MountPoint, MountSpec, TmpfsOptions, VolumeOptions};
pub use network::{
    ConnectRequest, EndpointConfig, EndpointSettings, EndpointState, Explanation, IpamAddress, IpamConfig,
    Link, NetworkCreateRequest, NetworkInspect, NetworkIpam, NetworkMember, NetworkState, PortBinding,
    UserNetwork,
};
pub use prune::Pruned;
pub use record::{ContainerRecord, ContainerState, CreateRequest, Created, Status};
pub use secret::{Secret, SecretData, SecretSource};
pub use stats::{Interface, IoCount, Sample, Usage};
pub use system::{Component, DiskBudget, Info, RuntimeInfo, Version};
pub use volume::{PrunedVolumes, VolumeCreate, VolumeRecord, VolumeUsage, VolumeView};

/// A moment, to the nanosecond, in UTC.
pub type Timestamp = jiff::Timestamp;
