//! Which blobs of which registries hold a layer: what was pulled or pushed once need not be compressed and sent again.
//!
//! A cache in `layers.json`: it may be lost, and what it says is asked of the registry before anybody relies on it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use skiff_types::Digest;

use crate::ImageStore;

/// The most that is remembered of one layer, the latest first.
const MOST: usize = 32;

/// A layer's blob in a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownBlob {
    /// Its media type, as manifests have it; empty if nobody wrote it down: gzip.
    #[serde(default)]
    pub media_type: String,
    /// Of its bytes, compressed if they are.
    pub digest: Digest,
    /// How many.
    pub size: u64,
    /// Registry and path: `docker.io/library/busybox`.
    pub repository: String,
}

#[derive(Debug)]
pub(crate) struct Known {
    path: PathBuf,
    layers: Mutex<BTreeMap<Digest, Vec<KnownBlob>>>,
}

impl Known {
    pub(crate) fn open(root: &Path) -> Self {
        let path = root.join("layers.json");
        let layers = fs_err::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { path, layers: Mutex::new(layers.unwrap_or_default()) }
    }
}

impl ImageStore {
    /// Blobs that hold the layer of this diff id, the latest first.
    pub fn known_blobs(&self, diff_id: &Digest) -> Vec<KnownBlob> {
        let layers = self.known.layers.lock().unwrap_or_else(PoisonError::into_inner);
        layers.get(diff_id).cloned().unwrap_or_default()
    }

    /// Remembers blobs by the diff ids of their layers, and forgets those of layers that are gone.
    pub fn learn_blobs(&self, blobs: impl IntoIterator<Item = (Digest, KnownBlob)>) {
        let mut layers = self.known.layers.lock().unwrap_or_else(PoisonError::into_inner);
        let before = layers.clone();
        for (diff_id, blob) in blobs {
            let known = layers.entry(diff_id).or_default();
            known.retain(|k| *k != blob);
            known.insert(0, blob);
            known.truncate(MOST);
        }
        if *layers == before {
            return;
        }
        let there: std::collections::HashSet<Digest> = self
            .snapshots
            .layers()
            .iter()
            .filter_map(|c| self.snapshots.layer(c).ok())
            .map(|l| l.diff_id)
            .collect();
        layers.retain(|diff_id, _| there.contains(diff_id));
        let temporary = self.known.path.with_extension("new");
        let written = serde_json::to_vec(&*layers)
            .map_err(std::io::Error::from)
            .and_then(|bytes| fs_err::write(&temporary, bytes))
            .and_then(|()| fs_err::rename(&temporary, &self.known.path));
        // A cache that cannot be written costs time, not images.
        drop(written);
    }
}
