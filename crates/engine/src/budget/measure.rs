//! What the budget counts, measured on the disk.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

use skiff_snapshots::{ChainId, tree_usage};
use skiff_types::{ContainerId, Digest};

use super::evict::Candidate;
use crate::{
    Result,
    containers::{Parts, blocking},
    model::Timestamp,
};

/// What each layer takes: walked once.
pub(super) type Layers = HashMap<ChainId, u64>;

/// What everything but layers took when it was measured, in bytes.
#[derive(Default)]
pub(super) struct Measured {
    /// Logs of containers, and the file systems of those that do not run.
    pub(super) containers: BTreeMap<ContainerId, u64>,
    /// Parts of blobs of downloads that have ended, and when the last byte came.
    pub(super) downloads: BTreeMap<Digest, (u64, Timestamp)>,
    /// Logs on their way elsewhere.
    spools: u64,
}

/// Measures everything. What vanishes meanwhile counts nothing.
pub(super) async fn all(parts: &Arc<Parts>, layers: &mut Layers) -> Result<Measured> {
    let parts = parts.clone();
    let mut known = std::mem::take(layers);
    let (measured, known) = blocking(move || {
        let mut measured = Measured::default();
        for container in parts.registry.all() {
            let mut bytes = space(&parts.dir(&container.id));
            if !container.status().is_running() {
                let snapshot = parts.snapshots.usage(&container.id.to_string());
                bytes += snapshot.map_or(0, |usage| usage.allocated);
            }
            measured.containers.insert(container.id, bytes);
        }
        for (blob, bytes, modified) in parts.images.left_partials().unwrap_or_default() {
            let at = Timestamp::try_from(modified).unwrap_or_default();
            measured.downloads.insert(blob, (bytes, at));
        }
        measured.spools = space(&parts.config.root.join("log-spool"));
        let chains = parts.snapshots.layers();
        known.retain(|chain, _| chains.contains(chain));
        (measured, known)
    })
    .await?;
    *layers = known;
    Ok(measured)
}

fn space(dir: &Path) -> u64 {
    tree_usage(dir).map_or(0, |usage| usage.allocated)
}

impl Measured {
    /// What is used at this moment: all this, the layers, and what operations under way have taken.
    pub(super) async fn used(&self, parts: &Arc<Parts>, layers: &mut Layers) -> Result<u64> {
        loop {
            let settled = parts.budget.count().settled;
            let mut known = std::mem::take(layers);
            let snapshots = parts.snapshots.clone();
            let (sum, known) = blocking(move || {
                let mut sum = 0;
                for chain in snapshots.layers() {
                    let walk = || snapshots.layer_usage(&chain).map_or(0, |usage| usage.allocated);
                    sum += *known.entry(chain).or_insert_with(walk);
                }
                (sum, known)
            })
            .await?;
            *layers = known;
            let containers: u64 = self.containers.values().sum();
            let downloads: u64 = self.downloads.values().map(|(bytes, _)| bytes).sum();
            let mut count = parts.budget.count();
            if count.settled == settled {
                count.measured = sum + containers + downloads + self.spools;
                return Ok(count.used());
            }
            // A layer may have come after the list was made.
        }
    }

    /// This is gone.
    pub(super) fn forget(&mut self, gone: &Candidate) {
        match gone {
            Candidate::Container { container, .. } => drop(self.containers.remove(&container.id)),
            Candidate::Download { blob, .. } => drop(self.downloads.remove(blob)),
            Candidate::Image { .. } => {}
        }
    }
}
