//! The image store: which images there are, what they are called, and where their parts lie.
//!
//! In a directory by the storage driver's name:
//!
//! ```text
//! images.json             every image and name, replaced as a whole by rename: the commit point of every change
//! blobs/sha256/<digest>   configurations, and what images were published as, in OCI image-layout form
//! ingest/                 what is being written
//! partial/<digest>        compressed layers of pulls that have not ended, as far as they came
//! layers.json             which blobs of which registries hold which layer: a cache
//! ```
//!
//! Layers live in the snapshotter. A blob or layer that `images.json` does not lead to is garbage, and goes when the store
//! is opened. What an operation has acknowledged survives a power cut.
//!
//! All methods block.

use std::{
    collections::{HashMap, HashSet},
    io::Read,
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use jiff::Timestamp;
use skiff_snapshots::{ChainId, Error as SnapshotError, Snapshotter, StagedLayer};
use skiff_types::{Digest, ImageId};

use crate::{
    Error, Publication, Published, Reference, Result,
    blobs::Blobs,
    config::ImageConfig,
    image::{HistoryEntry, Image},
    known::Known,
    partial::Partials,
    pins::Pins,
    records::{ImageRecord, RecordFile, Records},
    room::{Charged, Claim, Room},
};

/// The images of an engine.
pub struct ImageStore {
    pub(crate) snapshots: Arc<dyn Snapshotter>,
    pub(crate) blobs: Blobs,
    pub(crate) records: RecordFile,
    pub(crate) pins: Pins,
    pub(crate) blob_pins: Pins<Digest>,
    pub(crate) partials: Partials,
    pub(crate) known: Known,
    /// Configurations, parsed once.
    configs: Mutex<HashMap<ImageId, Arc<ImageConfig>>>,
    room: OnceLock<Arc<dyn Room>>,
}

impl ImageStore {
    /// Opens the store below `root`, made if it is missing, and clears away what no image needs. Each storage driver has
    /// its own images, as it has its own layers.
    pub fn open(root: &Path, snapshots: Arc<dyn Snapshotter>) -> Result<Self> {
        let root = &root.join(snapshots.name());
        fs_err::create_dir_all(root)?;
        let store = Self {
            snapshots,
            blobs: Blobs::open(root)?,
            records: RecordFile::open(root)?,
            pins: Pins::default(),
            blob_pins: Pins::default(),
            partials: Partials::open(root)?,
            known: Known::open(root),
            configs: Mutex::default(),
            room: OnceLock::new(),
        };
        store.collect_garbage()?;
        Ok(store)
    }

    /// The store of the images' layers.
    pub fn snapshotter(&self) -> &Arc<dyn Snapshotter> {
        &self.snapshots
    }

    /// From now on `room` is asked before the store grows. To be called once.
    pub fn limit(&self, room: Arc<dyn Room>) {
        // A second one would be a mistake of the caller; the first stays.
        let _ = self.room.set(room);
    }

    /// Sees to it that there is room for so much more, as far as anybody can tell.
    ///
    /// # Errors
    /// There is none.
    pub fn make_room(&self, bytes: u64) -> Result<()> {
        Ok(self.claim().grow(bytes)?)
    }

    pub(crate) fn claim(&self) -> Claim {
        Claim::new(self.room.get().cloned())
    }

    /// Has the snapshotter stage a layer, within the room that there is.
    pub(crate) fn stage(&self, tar: &mut (dyn Read + Send)) -> Result<StagedLayer> {
        let mut charged = Charged::new(tar, self.claim());
        let mut staged = self.snapshots.stage(&mut charged)?;
        staged.accompany(charged.into_claim().companion());
        Ok(staged)
    }

    /// When the image came into the store.
    pub fn stored_at(&self, id: &ImageId) -> Option<Timestamp> {
        self.blobs.written_at(&id.digest()).ok()
    }

    /// The id of the image that is called `name`: a reference, an id, or the beginning of one, with or without `sha256:`.
    pub fn resolve(&self, name: &str) -> Result<ImageId> {
        resolve(&self.records.read(), name)
    }

    /// An image by name or id.
    pub fn get(&self, name: &str) -> Result<Image> {
        self.resolve(name).and_then(|id| self.by_id(&id))
    }

    /// An image by id.
    pub fn by_id(&self, id: &ImageId) -> Result<Image> {
        let records = self.records.read();
        let record = records.image(id).ok_or_else(|| Error::NotFound(id.digest().to_string()))?;
        self.image(&records, id, record)
    }

    /// The ids of all images.
    pub fn ids(&self) -> Vec<ImageId> {
        self.records.read().images.keys().copied().map(ImageId::from).collect()
    }

    /// All images, the newest first, with those that are only parents of others. One whose configuration is damaged is left
    /// out.
    pub fn list(&self) -> Result<Vec<Image>> {
        let records = self.records.read();
        let mut images = Vec::new();
        for (digest, record) in &records.images {
            match self.image(&records, &(*digest).into(), record) {
                // It was removed just now, or nobody can tell what it is: the others are none the worse for it.
                Err(Error::NotFound(_) | Error::Damaged { .. }) => {}
                image => images.push(image?),
            }
        }
        images.sort_by_key(|i| std::cmp::Reverse(i.config.created));
        Ok(images)
    }

    /// Whether other images were made from this one.
    pub fn has_children(&self, id: &ImageId) -> bool {
        self.records.read().has_children(id)
    }

    /// The steps an image was made in, the newest first.
    pub fn history(&self, name: &str) -> Result<Vec<HistoryEntry>> {
        let image = self.get(name)?;
        let chains = ChainId::all(&image.config.rootfs.diff_ids);
        let mut sizes = chains.iter().map(|c| self.snapshots.layer(c).map(|l| l.size));
        let mut entries = Vec::new();
        for step in &image.config.history {
            let size = if step.empty_layer { 0 } else { sizes.next().transpose()?.unwrap_or(0) };
            entries.push(HistoryEntry {
                id: None,
                created: step.created,
                created_by: step.created_by.clone(),
                tags: Vec::new(),
                size,
                comment: step.comment.clone(),
            });
        }
        entries.reverse();
        let mut next = Some(image);
        for entry in &mut entries {
            let Some(image) = next else { break };
            entry.id = Some(image.id);
            next = image.parent.and_then(|p| self.by_id(&p).ok());
            entry.tags = image.tags;
        }
        Ok(entries)
    }

    /// Gives the image `source` the name `target`, taking it from whichever image had it.
    ///
    /// # Errors
    /// [`Error::TagWithDigest`], [`Error::TagIsAlgorithm`], and those of [`resolve`](Self::resolve).
    pub fn tag(&self, source: &str, target: &Reference) -> Result<ImageId> {
        if target.digest().is_some() {
            return Err(Error::TagWithDigest);
        }
        if target.familiar_name() == "sha256" {
            return Err(Error::TagIsAlgorithm);
        }
        self.records.update(|records| {
            let id = resolve(records, source)?;
            records.name(target.clone().or_latest(), &id, Timestamp::now());
            Ok(id)
        })
    }

    /// Gives an image names that registries know it by, and notes what it is published as there, if that is known. Answers
    /// which of the names are new or were another image's.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn name(
        &self,
        id: &ImageId,
        names: &[Reference],
        publication: Option<Publication>,
    ) -> Result<Vec<Reference>> {
        let (changed, forgotten) = self.records.update(|records| {
            records.image(id).ok_or_else(|| Error::NotFound(id.digest().to_string()))?;
            Ok(records.call(id, names, publication.as_ref()))
        })?;
        self.drop_blobs(&forgotten)?;
        Ok(changed)
    }

    /// All names of an image, sorted as text.
    pub fn names(&self, id: &ImageId) -> Vec<Reference> {
        self.records.read().names_of(id).cloned().collect()
    }

    /// All names with a tag of the repository that a name is of, sorted.
    pub fn tags_of(&self, name: &Reference) -> Vec<Reference> {
        let records = self.records.read();
        let same = |other: &&Reference| {
            other.tag().is_some() && other.domain() == name.domain() && other.path() == name.path()
        };
        records.names.keys().filter(same).cloned().collect()
    }

    /// An image's configuration as it is stored.
    ///
    /// # Errors
    /// [`Error::NotFound`]; it cannot be read, or is not what it was.
    pub fn config_bytes(&self, id: &ImageId) -> Result<Vec<u8>> {
        self.records.read().image(id).ok_or_else(|| Error::NotFound(id.digest().to_string()))?;
        self.kept_bytes(&id.digest())
    }

    /// Puts an image's configuration in the place of one that is damaged.
    ///
    /// # Errors
    /// [`Error::Digest`] if it is another one; those of the disk.
    pub fn mend_config(&self, id: &ImageId, bytes: &[u8]) -> Result<()> {
        let (expected, found) = (id.digest(), Digest::of(bytes));
        if found != expected {
            return Err(Error::Digest { what: "image config".to_owned(), expected, found });
        }
        self.blobs.put(bytes)
    }

    /// An image's parsed configuration.
    ///
    /// # Errors
    /// [`Error::Damaged`]. One that merely looks like a configuration would lead to other layers.
    pub(crate) fn config(&self, id: &ImageId) -> Result<Arc<ImageConfig>> {
        let known = self.lock_configs().get(id).cloned();
        if let Some(config) = known {
            return Ok(config);
        }
        let parse = |bytes: Vec<u8>| ImageConfig::parse(&bytes).map_err(|e| e.to_string());
        let config = self.kept_bytes(&id.digest()).map_err(|e| e.to_string()).and_then(parse);
        let config =
            config.map_err(|reason| Error::Damaged { path: format!("blobs/sha256/{id}"), reason })?;
        Ok(self.lock_configs().entry(*id).or_insert(Arc::new(config)).clone())
    }

    pub(crate) fn forget_config(&self, id: &ImageId) {
        self.lock_configs().remove(id);
    }

    fn lock_configs(&self) -> std::sync::MutexGuard<'_, HashMap<ImageId, Arc<ImageConfig>>> {
        // A cache: whatever is in it is right.
        self.configs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// [`Error::NotFound`] if the image has been removed since `records` was read.
    fn image(&self, records: &Records, id: &ImageId, record: &ImageRecord) -> Result<Image> {
        self.read_image(records, id, record).map_err(|e| match self.records.read().image(id) {
            Some(_) => e,
            None => Error::NotFound(id.digest().to_string()),
        })
    }

    fn read_image(&self, records: &Records, id: &ImageId, record: &ImageRecord) -> Result<Image> {
        let config = self.config(id)?;
        let chains = ChainId::all(&config.rootfs.diff_ids);
        // A layer that has been lost counts for nothing, and shows when the image is used.
        let size = chains.iter().filter_map(|c| self.snapshots.layer(c).ok()).map(|l| l.size).sum();
        let (digests, tags) = records.names_of(id).cloned().partition(|name| name.digest().is_some());
        Ok(Image {
            id: *id,
            tags,
            digests,
            parent: record.parent.map(ImageId::from),
            last_tagged: record.last_tagged,
            chain: chains.last().copied(),
            size,
            config,
        })
    }

    /// Removes blobs and layers that no image needs. While there is an image that nobody knows the layers of, any may be its.
    fn collect_garbage(&self) -> Result<()> {
        let records = self.records.read();
        let (mut chains, mut all_known) = (HashSet::new(), true);
        for digest in records.images.keys() {
            match self.config(&(*digest).into()) {
                Ok(config) => chains.extend(ChainId::all(&config.rootfs.diff_ids)),
                Err(error) => {
                    all_known = false;
                    let names: Vec<_> =
                        records.names_of(&(*digest).into()).map(Reference::familiar).collect();
                    tracing::error!(image = %digest, names = names.join(" "), "cannot be used: {error}");
                }
            }
        }
        let published = records.images.values().flat_map(|record| &record.published);
        let kept = published.flat_map(Published::kept).chain(records.images.keys().copied());
        self.blobs.keep_only(&kept.collect())?;
        if !all_known {
            return Ok(());
        }
        let mut garbage: Vec<ChainId> = self.snapshots.layers();
        garbage.retain(|chain| !chains.contains(chain));
        // Children go before their parents; a container may keep a stack of its own.
        while !garbage.is_empty() {
            let count = garbage.len();
            let mut kept = Vec::new();
            for chain in garbage {
                match self.snapshots.remove_layer(&chain) {
                    Err(SnapshotError::LayerInUse { .. }) => kept.push(chain),
                    removed => removed?,
                }
            }
            if kept.len() == count {
                break;
            }
            garbage = kept;
        }
        Ok(())
    }
}

/// What [`ImageStore::resolve`] does, as Docker does it: an id first, then a name, then the beginning of an id.
pub(crate) fn resolve(records: &Records, name: &str) -> Result<ImageId> {
    let whole = if name.len() == 64 { format!("sha256:{name}") } else { name.to_owned() };
    if let Ok(digest) = whole.parse::<Digest>() {
        return match records.images.contains_key(&digest) {
            true => Ok(digest.into()),
            false => Err(Error::NotFound(whole)),
        };
    }
    let reference = name.parse::<Reference>()?.or_latest();
    if let Some(digest) = records.names.get(&reference.clone().decisive()) {
        return Ok((*digest).into());
    }
    let prefix = name.strip_prefix("sha256:").unwrap_or(name);
    let mut matching = records.images.keys().filter(|d| d.hex().starts_with(prefix));
    match (matching.next(), matching.next()) {
        (Some(digest), None) => Ok((*digest).into()),
        _ => Err(Error::NotFound(reference.familiar())),
    }
}
