//! Volumes as they are remembered and shown.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// The label of volumes whose name nobody gave.
pub(crate) const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// What `create` is asked for.
#[derive(Clone, Debug, Default)]
pub struct VolumeCreate {
    /// Its name; empty makes one up, and an anonymous volume.
    pub name: String,
    /// Its driver; empty means `local`.
    pub driver: String,
    /// Options of the driver.
    pub options: Option<BTreeMap<String, String>>,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
}

/// Everything the engine remembers of a volume. Where Docker tells "not given" from "empty", so does this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRecord {
    /// Its name.
    pub name: String,
    /// Its driver.
    pub driver: String,
    /// When it was made.
    pub created: Timestamp,
    /// Options of the driver.
    #[serde(default)]
    pub options: Option<BTreeMap<String, String>>,
    /// Labels.
    #[serde(default)]
    pub labels: Option<BTreeMap<String, String>>,
}

impl VolumeRecord {
    /// Nobody gave it a name.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.labels.as_ref().is_some_and(|labels| labels.contains_key(ANONYMOUS))
    }
}

/// A volume as `inspect` shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct VolumeView {
    /// What is remembered.
    pub record: VolumeRecord,
    /// When it was made, as its driver says; empty if a plugin does not.
    pub created_at: String,
    /// Where it is on the host; empty if it is nowhere at the moment.
    pub mountpoint: String,
    /// `local` or `global`.
    pub scope: &'static str,
    /// What a plugin tells about it.
    pub status: BTreeMap<String, serde_json::Value>,
}

/// What a volume takes, and who has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VolumeUsage {
    /// The sum of its files' sizes.
    pub bytes: u64,
    /// How many containers have it, running or not.
    pub containers: usize,
}

/// What a prune did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrunedVolumes {
    /// Names.
    pub deleted: Vec<String>,
    /// Bytes.
    pub reclaimed: u64,
}
