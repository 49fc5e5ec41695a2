//! Load: images from an archive that `docker save`, or a tool that writes OCI layouts, has made.
//!
//! The archive is read once, front to back. Layers are staged as they pass by, whatever they will turn out to belong to:
//! what describes them may come last. Then the images are put together and committed, all of them or none.

mod layout;
mod scan;

use std::{collections::HashMap, io::Read};

use jiff::Timestamp;
use skiff_snapshots::{ChainId, StagedLayer};
use skiff_types::{Digest, ImageId};

use self::{
    layout::{Described, LayerRef},
    scan::ScannedLayer,
};
use crate::{
    Error, ImageConfig, ImageStore, Platform, Reference, Result,
    decompress::{Compression, decompressed, peek},
    pins::PinSet,
};

/// What `load` tells while it works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadEvent {
    /// A layer that the store does not have is being read.
    Layer {
        /// The layer's diff id or digest, shortened to twelve digits.
        id: String,
        /// Bytes read so far.
        current: u64,
        /// Bytes altogether.
        total: u64,
    },
}

/// An image that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The image.
    pub id: ImageId,
    /// The names it got, in the archive's order.
    pub references: Vec<Reference>,
    /// Names of these that were another image's, and which image that was.
    pub renamed: Vec<(Reference, ImageId)>,
}

/// Where `load` tells what it does.
pub type Progress<'a> = &'a mut (dyn FnMut(LoadEvent) + Send);

impl ImageStore {
    /// Loads the images of an archive: docker-archive or OCI layout, compressed or not. All of them or none.
    ///
    /// # Errors
    /// [`Error::Archive`] and [`Error::Digest`] for what is no such archive or not what it says it is; those of the
    /// snapshotter. The store is then as it was.
    pub fn load(
        &self,
        archive: &mut (dyn Read + Send),
        platform: Option<&Platform>,
        progress: Progress<'_>,
    ) -> Result<Vec<Loaded>> {
        let (head, mut archive) = peek(archive)?;
        let scan = decompressed(&mut archive, Compression::detect(&head), |plain| {
            scan::scan(self, plain, progress)
        })??;
        let described = layout::describe(&scan, platform)?;
        let mut loading = Loading {
            store: self,
            layers: scan.layers,
            committed: Vec::new(),
            by_path: HashMap::new(),
            _scan_pins: scan.pins,
            pins: self.pins.begin(),
        };
        for image in &described {
            loading.layers_of(image)?;
        }
        let loaded = loading.record(&described)?;
        loading.committed.clear();
        Ok(loaded)
    }
}

/// Images on their way into the store; what was committed is removed again unless they arrive.
struct Loading<'a> {
    store: &'a ImageStore,
    layers: HashMap<Vec<u8>, ScannedLayer>,
    /// Layers that were not there before, in order.
    committed: Vec<ChainId>,
    /// Where layers that have been used once are now.
    by_path: HashMap<Vec<u8>, ChainId>,
    _scan_pins: PinSet<'a>,
    pins: PinSet<'a>,
}

impl Loading<'_> {
    /// Sees to it that the snapshotter has every layer of an image.
    fn layers_of(&mut self, image: &Described) -> Result<()> {
        let diff_ids = &image.config.rootfs.diff_ids;
        if diff_ids.len() != image.layers.len() {
            return Err(Error::Archive(format!(
                "invalid manifest, layers length mismatch: expected {}, got {}",
                image.layers.len(),
                diff_ids.len()
            )));
        }
        let mut parent = None;
        for (layer, diff_id) in image.layers.iter().zip(diff_ids) {
            let chain = ChainId::new(parent.as_ref(), diff_id);
            self.pins.pin(chain);
            if self.store.snapshots.layer(&chain).is_err() {
                let staged = self.staged(layer, diff_id)?;
                if staged.diff_id() != diff_id {
                    return Err(Error::Digest {
                        what: format!("layer {}", layer.path.escape_ascii()),
                        expected: *diff_id,
                        found: *staged.diff_id(),
                    });
                }
                self.store.snapshots.commit(staged, parent.as_ref())?;
                self.committed.push(chain);
            }
            self.by_path.insert(layer.path.clone(), chain);
            parent = Some(chain);
        }
        Ok(())
    }

    /// The layer as the archive has it, or once more from the store if the archive's is used already.
    fn staged(&mut self, layer: &LayerRef, diff_id: &Digest) -> Result<StagedLayer> {
        let snapshots = &self.store.snapshots;
        let again = |chain: &ChainId| Ok(snapshots.stage(&mut snapshots.layer_tar(chain)?)?);
        match self.layers.remove(&layer.path) {
            Some(ScannedLayer::Staged { staged, digest, len }) => {
                layer.check(&digest, len)?;
                Ok(staged)
            }
            Some(ScannedLayer::Present(chain)) => again(&chain),
            None => match self.by_path.get(&layer.path) {
                Some(chain) => again(chain),
                None => match snapshots.layers().into_iter().find(|c| has_diff_id(self.store, c, diff_id)) {
                    Some(chain) => again(&chain),
                    None => Err(Error::Archive(format!("{}: no such file", layer.path.escape_ascii()))),
                },
            },
        }
    }

    /// Makes the images part of the store.
    fn record(&self, described: &[Described]) -> Result<Vec<Loaded>> {
        let parents = parents(described)?;
        let now = Timestamp::now();
        self.store.records.update(|records| {
            let mut loaded = Vec::new();
            for image in described {
                // Within the update: a removal of the same image does not take the blob away again.
                self.store.blobs.put(&image.config_bytes)?;
                records.images.entry(image.id.digest()).or_default();
                let mut renamed = Vec::new();
                for name in &image.names {
                    if let Some(old) = records.name(name.clone(), &image.id, now) {
                        renamed.push((name.clone(), old));
                    }
                }
                loaded.push(Loaded { id: image.id, references: image.names.clone(), renamed });
            }
            for (image, parent) in parents {
                if let Some(record) = records.images.get_mut(&image.digest()) {
                    record.parent = Some(parent.digest());
                }
            }
            Ok(loaded)
        })
    }
}

/// Each image's parent, where that is in the archive as well.
fn parents(described: &[Described]) -> Result<Vec<(ImageId, ImageId)>> {
    let mut parents = Vec::new();
    for image in described {
        let Some(parent) = described.iter().find(|p| Some(p.id.digest()) == image.parent) else { continue };
        if !is_parent(&parent.config, &image.config) {
            let (child, parent) = (image.id.digest(), parent.id.digest());
            return Err(Error::Archive(format!("image {parent} is not a valid parent for {child}")));
        }
        parents.push((image.id, parent.id));
    }
    Ok(parents)
}

/// A child has its parent's history and one step more; images need not have a history.
fn is_parent(parent: &ImageConfig, child: &ImageConfig) -> bool {
    let (old, new) = (&parent.history, &child.history);
    (old.is_empty() && new.is_empty()) || (new.len() == old.len() + 1 && new.starts_with(old))
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        for chain in self.committed.iter().rev() {
            // Of use to another operation, or removed at the next start.
            let _ = self.store.snapshots.remove_layer(chain);
        }
    }
}

fn has_diff_id(store: &ImageStore, chain: &ChainId, diff_id: &Digest) -> bool {
    store.snapshots.layer(chain).is_ok_and(|l| l.diff_id == *diff_id)
}

/// A layer of the store with this diff id, whatever is below it.
fn find_diff_id(store: &ImageStore, diff_id: &Digest) -> Option<ChainId> {
    store.snapshots.layers().into_iter().find(|chain| has_diff_id(store, chain, diff_id))
}

/// Whether an image with this configuration is for the platform.
fn is_for(config: &ImageConfig, platform: &Platform) -> bool {
    config.os == platform.os
        && config.architecture == platform.architecture
        && (platform.variant.is_empty() || config.variant == platform.variant)
}
