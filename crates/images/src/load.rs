//! Load: images from an archive that `docker save`, or a tool that writes OCI layouts, has made.
//!
//! The archive is read once, front to back. Layers are staged as they pass by, whatever they will turn out to belong to:
//! what describes them may come last. Then the images are put together and committed, all of them or none.

mod described;
mod layout;
mod published;
mod scan;

use std::{
    collections::{HashMap, HashSet},
    io::Read,
    ops::Deref,
};

use jiff::Timestamp;
use skiff_snapshots::{ChainId, StagedLayer};
use skiff_types::{Digest, ImageId};

use self::{
    described::Described,
    layout::{LayerRef, blob_path},
    scan::{Description, ScannedLayer},
};
use crate::{
    Error, ImageStore, Platform, Published, Reference, Result,
    decompress::{Compression, decompressed, peek},
    hold::Hold,
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
        let published = published::published(&scan, &described);
        let mut loading =
            Loading { hold: scan.hold, layers: scan.layers, files: scan.files, by_path: HashMap::new() };
        for image in &described {
            loading.layers_of(image)?;
        }
        let loaded = loading.record(&described, published)?;
        loading.hold.keep();
        Ok(loaded)
    }
}

/// Images on their way into the store; what was committed is removed again unless they arrive.
struct Loading<'a> {
    hold: Hold<&'a ImageStore>,
    layers: HashMap<Vec<u8>, ScannedLayer>,
    /// Files that were not taken for layers.
    files: HashMap<Vec<u8>, Description>,
    /// Where layers that have been used once are now.
    by_path: HashMap<Vec<u8>, ChainId>,
}

impl Loading<'_> {
    /// Sees to it that the snapshotter has every layer of an image.
    fn layers_of(&mut self, image: &Described) -> Result<()> {
        let mut parent = None;
        for (number, (layer, diff_id)) in image.layers.iter().zip(&image.config.diff_ids).enumerate() {
            let chain = ChainId::new(parent.as_ref(), diff_id);
            self.hold.pin(chain);
            if self.hold.store().snapshots.layer(&chain).is_err() {
                let staged = self.staged(layer, diff_id)?;
                if staged.diff_id() != diff_id {
                    let found = staged.diff_id().to_string();
                    return Err(Error::Archive(format!(
                        "invalid diffID for layer {number}: expected {:?}, got {found:?}",
                        diff_id.to_string()
                    )));
                }
                self.hold.store().snapshots.commit(staged, parent.as_ref())?;
                self.hold.has_made(chain);
            }
            self.by_path.insert(layer.path.clone(), chain);
            parent = Some(chain);
        }
        Ok(())
    }

    /// The layer as the archive has it, or once more from the store if the archive's is used already.
    fn staged(&mut self, layer: &LayerRef, diff_id: &Digest) -> Result<StagedLayer> {
        let snapshots = &self.hold.store().snapshots;
        let again = |chain: &ChainId| self.hold.store().stage(&mut snapshots.layer_tar(chain)?);
        match self.layers.remove(&layer.path) {
            Some(ScannedLayer::Staged { staged, digest, len }) => {
                layer.check(&digest, len)?;
                Ok(staged)
            }
            Some(ScannedLayer::Present(chain)) => again(&chain),
            None => match (self.by_path.get(&layer.path), self.files.get(&layer.path)) {
                (Some(chain), _) => again(chain),
                // An empty one, or none: the reader says.
                (None, Some(file)) => self.hold.store().stage(&mut &file[..]),
                (None, None) => {
                    match snapshots.layers().into_iter().find(|c| has_diff_id(self.hold.store(), c, diff_id))
                    {
                        Some(chain) => again(&chain),
                        None => Err(layout::missing(&layer.path)),
                    }
                }
            },
        }
    }

    /// Makes the images part of the store.
    fn record(&self, described: &[Described], published: Vec<(ImageId, Published)>) -> Result<Vec<Loaded>> {
        let parents = parents(described)?;
        let now = Timestamp::now();
        let mut forgotten = Vec::new();
        let loaded = self.hold.store().records.update(|records| {
            let mut loaded = Vec::new();
            let mut kept = HashSet::new();
            for Described { config, names, .. } in described {
                // Within the update: a removal of the same image does not take the blob away again.
                if kept.insert(config.id) {
                    self.hold.store().blobs.put(&config.bytes)?;
                }
                records.images.entry(config.id.digest()).or_default();
                let mut renamed = Vec::new();
                for name in names {
                    if let Some(old) = records.name(name.clone(), &config.id, now) {
                        renamed.push((name.clone(), old));
                    }
                }
                loaded.push(Loaded { id: config.id, references: names.clone(), renamed });
            }
            for (image, parent) in parents {
                if let Some(record) = records.images.get_mut(&image.digest()) {
                    record.parent = Some(parent.digest());
                }
            }
            let kept: HashSet<Digest> = published.iter().flat_map(|(_, p)| p.kept()).collect();
            let kept = kept.iter().filter_map(|digest| self.files.get(&blob_path(digest)).map(Deref::deref));
            self.hold.store().blobs.put_all::<&[u8]>(&kept.collect::<Vec<_>>())?;
            for (id, published) in published {
                forgotten.extend(records.publish(&id, published));
            }
            Ok(loaded)
        })?;
        self.hold.store().drop_blobs(&forgotten)?;
        Ok(loaded)
    }
}

/// Each image's parent, where that is in the archive as well.
fn parents(described: &[Described]) -> Result<Vec<(ImageId, ImageId)>> {
    let by_id: HashMap<Digest, &Described> = described.iter().map(|i| (i.config.id.digest(), i)).collect();
    let mut parents = Vec::new();
    for image in described {
        let Some(parent) = image.parent.as_ref().and_then(|id| by_id.get(id)) else { continue };
        let (child, parent) = (&image.config, &parent.config);
        if !child.is_child_of(parent) {
            let (child, parent) = (child.id.digest(), parent.id.digest());
            return Err(Error::Archive(format!("image {parent} is not a valid parent for {child}")));
        }
        parents.push((child.id, parent.id));
    }
    Ok(parents)
}

fn has_diff_id(store: &ImageStore, chain: &ChainId, diff_id: &Digest) -> bool {
    store.snapshots.layer(chain).is_ok_and(|l| l.diff_id == *diff_id)
}

/// A layer of the store with this diff id, whatever is below it.
pub(crate) fn find_diff_id(store: &ImageStore, diff_id: &Digest) -> Option<ChainId> {
    store.snapshots.layers().into_iter().find(|chain| has_diff_id(store, chain, diff_id))
}
