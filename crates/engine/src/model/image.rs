//! Images as the engine shows them.

use std::collections::BTreeMap;

use skiff_distribution::{Descriptor, Platform};
use skiff_types::ImageId;

use super::{ContainerConfig, Timestamp};

/// The container configuration an image brings along.
pub type ImageConfig = ContainerConfig;

/// One line of the image list.
#[derive(Clone, Debug)]
pub struct ImageSummary {
    /// Id.
    pub id: ImageId,
    /// Id of the parent, or empty.
    pub parent_id: String,
    /// `name:tag`.
    pub repo_tags: Vec<String>,
    /// `name@sha256:…`.
    pub repo_digests: Vec<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Bytes.
    pub size: i64,
    /// Bytes shared with others; -1 if not asked for.
    pub shared_size: i64,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Containers made of it; -1 if not asked for.
    pub containers: i64,
    /// What it was published as; none if not asked for, or never published.
    pub published: Option<PublishedImage>,
}

/// What an image was published as.
#[derive(Clone, Debug)]
pub struct PublishedImage {
    /// The index or manifest that a name leads to.
    pub descriptor: Descriptor,
    /// The manifests of the index, or the one there is.
    pub manifests: Vec<ManifestSummary>,
}

/// A manifest of an image's index.
#[derive(Clone, Debug)]
pub struct ManifestSummary {
    /// The manifest.
    pub descriptor: Descriptor,
    /// Whether it and what it refers to is here.
    pub available: bool,
    /// Bytes of it and what it refers to that are here as they came.
    pub content: u64,
    /// What it is.
    pub kind: ManifestKind,
}

/// What a manifest is.
#[derive(Clone, Debug)]
pub enum ManifestKind {
    /// An image.
    Image {
        /// Whom it is for.
        platform: Platform,
        /// Ids of containers made of it.
        containers: Vec<String>,
        /// Bytes of its layers here.
        unpacked: u64,
    },
    /// What BuildKit says of an image.
    Attestation {
        /// The digest of that image's manifest.
        of: String,
    },
    /// Something else.
    Unknown,
}

/// An image as `inspect` shows it.
#[derive(Clone, Debug)]
pub struct ImageInspect {
    /// Id.
    pub id: ImageId,
    /// `name:tag`.
    pub repo_tags: Vec<String>,
    /// `name@sha256:…`.
    pub repo_digests: Vec<String>,
    /// Id of the parent, or empty.
    pub parent: String,
    /// What was said when it was made.
    pub comment: String,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// The version of the engine that made it.
    pub docker_version: String,
    /// Who made it.
    pub author: String,
    /// Configuration.
    pub config: ImageConfig,
    /// The container that it was made of; empty if it was not.
    pub container: String,
    /// That container's configuration.
    pub container_config: Option<ContainerConfig>,
    /// Processor.
    pub architecture: String,
    /// Its variant.
    pub variant: String,
    /// Operating system.
    pub os: String,
    /// Version of it.
    pub os_version: String,
    /// Bytes.
    pub size: i64,
    /// The snapshot driver.
    pub driver: String,
    /// Facts the driver shows.
    pub driver_data: BTreeMap<String, String>,
    /// Layers.
    pub root_fs: RootFsLayers,
    /// When it was last given a name.
    pub last_tagged: Option<Timestamp>,
    /// What it was published as; none if not asked for, or never published.
    pub published: Option<PublishedImage>,
}

/// The layers of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RootFsLayers {
    /// Diff ids, lowest first.
    pub layers: Vec<String>,
}

/// One step in an image's making, latest first.
#[derive(Clone, Debug)]
pub struct HistoryEntry {
    /// Image id, or `<missing>`.
    pub id: String,
    /// When.
    pub created: Option<Timestamp>,
    /// By which command.
    pub created_by: String,
    /// Names, on the latest step.
    pub tags: Vec<String>,
    /// Bytes.
    pub size: i64,
    /// What was said.
    pub comment: String,
}

/// What `remove` did: a name taken away, or an image deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeletedImage {
    /// A name is gone.
    Untagged(String),
    /// An image or layer is gone.
    Deleted(String),
}
