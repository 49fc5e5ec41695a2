//! Remove: untag and delete, and what stands in the way.

use skiff_types::ImageId;

use crate::Reference;

/// How `remove` removes.
#[derive(Clone, Copy, Debug, Default)]
pub struct RemoveOptions {
    /// Remove all names, and the image although a stopped container uses it.
    pub force: bool,
    /// Keep parents that have no name.
    pub no_prune: bool,
}

/// A container that uses an image.
#[derive(Clone, Debug)]
pub struct ImageUser {
    /// The container's id, shortened to twelve digits.
    pub container: String,
    /// It runs.
    pub running: bool,
    /// The image's name that the container was made with, as it was given.
    pub image_name: String,
}

/// What `remove` did, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A name is gone.
    Untagged(Reference),
    /// An image is gone.
    Image(ImageId),
    /// A layer is gone.
    Layer(skiff_snapshots::ChainId),
}
