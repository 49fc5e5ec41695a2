//! Containers as `list`, `inspect` and `top` show them.

use std::collections::BTreeMap;

use super::{ContainerRecord, EndpointSettings, MountPoint, Resources, RestartPolicy, Status, Timestamp};

/// One line of `list`.
#[derive(Clone, Debug)]
pub struct ContainerSummary {
    /// Id in full.
    pub id: String,
    /// Names, each with a leading slash.
    pub names: Vec<String>,
    /// The image as named at creation; its id if the name means another image by now.
    pub image: String,
    /// `sha256:…`.
    pub image_id: String,
    /// Program and arguments.
    pub command: String,
    /// When it was made.
    pub created: Timestamp,
    /// Ports.
    pub ports: Vec<PortSummary>,
    /// Sizes, if asked for.
    pub sizes: Option<Sizes>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// State.
    pub state: Status,
    /// `Up 3 seconds`, `Exited (0) 2 hours ago`.
    pub status: String,
    /// The network mode.
    pub network_mode: String,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Networks with their names.
    pub networks: Vec<(String, EndpointSettings)>,
    /// Mounts.
    pub mounts: Vec<MountPoint>,
    /// Digest of the image's manifest, if it has one: `(media type, digest, size)`.
    pub image_manifest: Option<(String, String, u64)>,
}

/// A port in a summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSummary {
    /// Host address; empty if not published.
    pub ip: String,
    /// In the container.
    pub private_port: u16,
    /// On the host; 0 if not published.
    pub public_port: u16,
    /// `tcp`, `udp`, `sctp`.
    pub protocol: String,
}

/// What a container takes on disk, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Its own changes.
    pub rw: i64,
    /// Changes and image together.
    pub root_fs: i64,
}

/// A container as `inspect` shows it: the record and what is not remembered but known.
#[derive(Clone, Debug)]
pub struct ContainerView {
    /// The record.
    pub record: ContainerRecord,
    /// `/etc/resolv.conf` of the container on the host; empty before the first start.
    pub resolv_conf_path: String,
    /// `/etc/hostname` likewise.
    pub hostname_path: String,
    /// `/etc/hosts` likewise.
    pub hosts_path: String,
    /// The log file, or empty.
    pub log_path: String,
    /// Ids of execs that run.
    pub exec_ids: Vec<String>,
    /// Facts about the file system that the snapshot driver shows.
    pub graph_driver_data: BTreeMap<String, String>,
    /// Sizes, if asked for.
    pub sizes: Option<Sizes>,
    /// Image manifest: `(media type, digest, size)`.
    pub image_manifest: Option<(String, String, u64)>,
}

/// The processes of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top {
    /// Column heads.
    pub titles: Vec<String>,
    /// One row per process.
    pub processes: Vec<Vec<String>>,
}

/// What `update` changes: what is zero, empty or none stays.
#[derive(Clone, Debug, Default)]
pub struct UpdateRequest {
    /// Limits.
    pub resources: Resources,
    /// Restart policy, if it is to change.
    pub restart_policy: Option<RestartPolicy>,
}
