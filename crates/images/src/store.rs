//! The image store: which images there are, what they are called, and where their parts lie.
//!
//! ```text
//! images.json             every image and name, replaced as a whole by rename: the commit point of every change
//! blobs/sha256/<digest>   configurations, in OCI image-layout form
//! ingest/                 what is being written
//! ```
//!
//! Layers live in the snapshotter. A blob or layer that `images.json` does not lead to is garbage, and goes when the store
//! is opened. What an operation has acknowledged survives a power cut.
//!
//! All methods block.

use std::{io::Read, path::Path, sync::Arc};

use skiff_snapshots::Snapshotter;
use skiff_types::ImageId;

use crate::{
    Error, Platform, Result,
    image::{HistoryEntry, Image},
    import::ImportOptions,
    load::{LoadEvent, Loaded},
    remove::{ImageUser, RemoveOptions, Removed},
    save::ArchiveSink,
};

/// The images of an engine.
pub struct ImageStore {
    snapshots: Arc<dyn Snapshotter>,
}

impl ImageStore {
    /// Opens the store below `root`, made if it is missing, and clears away what no image needs.
    pub fn open(root: &Path, snapshots: Arc<dyn Snapshotter>) -> Result<Self> {
        let _ = root;
        Ok(Self { snapshots })
    }

    /// The store of the images' layers.
    pub fn snapshotter(&self) -> &Arc<dyn Snapshotter> {
        &self.snapshots
    }

    /// The id of the image that is called `name`: a reference, an id, or the beginning of one, with or without `sha256:`.
    pub fn resolve(&self, name: &str) -> Result<ImageId> {
        Err(Error::NotFound(name.to_owned()))
    }

    /// An image by name or id.
    pub fn get(&self, name: &str) -> Result<Image> {
        self.resolve(name).and_then(|id| self.by_id(&id))
    }

    /// An image by id.
    pub fn by_id(&self, id: &ImageId) -> Result<Image> {
        Err(Error::NotFound(id.digest().to_string()))
    }

    /// All images, the newest first, with those that are only parents of others.
    pub fn list(&self) -> Vec<Image> {
        Vec::new()
    }

    /// The steps an image was made in, the newest first.
    pub fn history(&self, name: &str) -> Result<Vec<HistoryEntry>> {
        self.get(name).map(|_| Vec::new())
    }

    /// Gives the image `source` the name `target`, taking it from whichever image had it.
    pub fn tag(&self, source: &str, target: &str) -> Result<ImageId> {
        let _ = target;
        self.resolve(source)
    }

    /// Removes a name, and the image with its last name; `users` tells which containers use an image.
    pub fn remove(
        &self,
        name: &str,
        options: RemoveOptions,
        users: &dyn Fn(&ImageId) -> Vec<ImageUser>,
    ) -> Result<Vec<Removed>> {
        let _ = (options, users);
        Err(Error::NotFound(name.to_owned()))
    }

    /// Loads the images of an archive: docker-archive or OCI layout, compressed or not. All of them or none.
    pub fn load(
        &self,
        archive: &mut (dyn Read + Send),
        platform: Option<&Platform>,
        progress: &mut (dyn FnMut(LoadEvent) + Send),
    ) -> Result<Vec<Loaded>> {
        let _ = (archive, platform, progress);
        Err(Error::Archive("not yet".to_owned()))
    }

    /// Writes images as `docker save` does. Nothing is written if a name does not resolve.
    pub fn save(
        &self,
        names: &[String],
        platform: Option<&Platform>,
        out: &mut dyn ArchiveSink,
    ) -> Result<()> {
        let _ = (names, platform, out);
        Err(Error::Archive("not yet".to_owned()))
    }

    /// Makes an image of one layer from a tar, compressed or not.
    pub fn import(&self, tar: &mut (dyn Read + Send), options: &ImportOptions) -> Result<ImageId> {
        let _ = (tar, options);
        Err(Error::Archive("not yet".to_owned()))
    }
}
