//! An image as callers see it.

use std::sync::Arc;

use jiff::Timestamp;
use skiff_snapshots::ChainId;
use skiff_types::ImageId;

use crate::{ImageConfig, Reference};

/// An image of the store.
#[derive(Clone, Debug)]
pub struct Image {
    /// The digest of its configuration.
    pub id: ImageId,
    /// Its configuration.
    pub config: Arc<ImageConfig>,
    /// Its names, in the order of `docker inspect`: sorted by repository and tag.
    pub tags: Vec<Reference>,
    /// Its names by digest.
    pub digests: Vec<Reference>,
    /// The image it was made from, if that is in this store and it was made here.
    pub parent: Option<ImageId>,
    /// When it last got a name.
    pub last_tagged: Option<Timestamp>,
    /// Its topmost layer; nothing if it has no layers.
    pub chain: Option<ChainId>,
    /// The sum of its layers' sizes in bytes.
    pub size: u64,
}

impl Image {
    /// It has no name and no children.
    pub fn is_untagged(&self) -> bool {
        self.tags.is_empty() && self.digests.is_empty()
    }
}

/// A step in an image's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The image this step made, if it is in the store; `<missing>` otherwise.
    pub id: Option<ImageId>,
    /// When.
    pub created: Option<Timestamp>,
    /// The command.
    pub created_by: String,
    /// Names of that image.
    pub tags: Vec<Reference>,
    /// The size of the layer in bytes, 0 for a step without one.
    pub size: u64,
    /// What was said.
    pub comment: String,
}
