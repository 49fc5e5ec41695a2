//! Load: images from an archive.

use skiff_types::ImageId;

use crate::Reference;

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
