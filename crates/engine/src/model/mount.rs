//! Mounts of a container: asked for, and as they are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use skiff_types::ImageId;

/// What sort of thing is mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    /// A directory or file of the host.
    #[default]
    Bind,
    /// A volume by name, or an anonymous one.
    Volume,
    /// Memory.
    Tmpfs,
    /// The contents of an image.
    Image,
    /// A named pipe of Windows: refused.
    Npipe,
    /// A cluster volume: refused.
    Cluster,
}

/// A mount as `--mount` asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountSpec {
    /// The kind, as given; validated by `create`.
    pub kind: String,
    /// Host path or volume name.
    pub source: String,
    /// Path in the container.
    pub target: String,
    /// Cannot be written.
    pub read_only: bool,
    /// Only shown.
    pub consistency: String,
    /// Of a bind mount.
    pub bind: Option<BindOptions>,
    /// Of a volume.
    pub volume: Option<VolumeOptions>,
    /// Of a tmpfs.
    pub tmpfs: Option<TmpfsOptions>,
    /// Of an image mount: the path inside the image.
    pub image_subpath: Option<String>,
}

/// Options of a bind mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BindOptions {
    /// `rprivate`, …
    pub propagation: String,
    /// Without the mounts below the source.
    pub non_recursive: bool,
    /// Make the source if it is missing.
    pub create_mountpoint: bool,
    /// Read-only for the topmost mount only.
    pub read_only_non_recursive: bool,
    /// Fail if the mounts below cannot be made read-only.
    pub read_only_force_recursive: bool,
}

/// Options of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeOptions {
    /// Do not copy the image's files into an empty volume.
    pub no_copy: bool,
    /// Labels of a volume made by this.
    pub labels: BTreeMap<String, String>,
    /// Path inside the volume.
    pub subpath: String,
    /// Name of the driver; empty means `local`.
    pub driver: String,
    /// Its options.
    pub driver_options: BTreeMap<String, String>,
}

/// Options of a tmpfs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TmpfsOptions {
    /// 0 means half of the memory.
    pub size_bytes: i64,
    /// Permission bits; 0 means 1777.
    pub mode: u32,
    /// Each a flag, or a key and a value.
    pub options: Vec<Vec<String>>,
}

/// A mount of a container as `inspect` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountPoint {
    /// The kind.
    pub kind: MountKind,
    /// The volume's name.
    pub name: String,
    /// Path on the host.
    pub source: String,
    /// Path in the container.
    pub destination: String,
    /// The volume's driver; empty in a request that names none.
    pub driver: String,
    /// Options as given (`ro`, `z`, …).
    pub mode: String,
    /// Can be written.
    pub rw: bool,
    /// Mount propagation.
    pub propagation: String,
    /// An anonymous volume, removed with the container.
    pub anonymous: bool,
    /// Do not copy the image's files into the empty volume.
    pub no_copy: bool,
    /// The image of an image mount.
    pub image: Option<ImageId>,
    /// The request this came from, if it was one of `HostConfig::mounts`.
    pub spec: Option<MountSpec>,
}
