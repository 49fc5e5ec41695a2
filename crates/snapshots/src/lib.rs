//! Snapshots of file systems: the [`Snapshotter`] trait, its drivers, and tar as layers use it.

mod chain;
mod changes;
mod compare;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod copies;
mod copy;
mod diff;
#[cfg(test)]
mod differential;
mod dirs;
mod erofs;
mod error;
mod hashing;
mod index;
mod inherit;
mod layer_record;
mod merge;
mod overlay;
mod overlay2;
mod path_text;
mod record;
mod skeleton;
mod snapshotter;
mod staging;
mod unpack;
mod unpacked;
mod upper;
mod verify;
mod vfs;
mod view;
mod whiteout;

use std::{path::Path, sync::Arc};

pub use chain::ChainId;
pub use error::{Error, Result};
pub use skiff_archive::{remove_tree, tar};
pub use snapshotter::{Change, ChangeKind, Layer, Lifetime, Snapshotter, Usage};
pub use staging::{Companion, LayerTar, StagedLayer};
pub use upper::tree_usage;
pub use verify::Damage;
pub use view::{View, ViewMount, detached, resolve};

/// Opens the store below `root` (made if it is missing), with the named driver or with the best one that works here.
///
/// Without a name, a store that exists already keeps the driver it was made with; otherwise `erofs`, `overlay2` and
/// `vfs` are tried in this order. What a killed process left half done is cleared away.
///
/// # Errors
/// [`Error::UnknownDriver`], [`Error::DriverUnusable`], [`Error::NoDriver`], or the store cannot be read.
pub fn open(root: &Path, driver: Option<&str>) -> Result<Arc<dyn Snapshotter>> {
    if let Some(name) = driver {
        let driver =
            DRIVERS.iter().find(|d| d.name == name).ok_or_else(|| Error::UnknownDriver(name.to_owned()))?;
        return (driver.open)(&root.join(driver.name));
    }
    if let Some(driver) = DRIVERS.iter().find(|d| root.join(d.name).join("layers").is_dir()) {
        return (driver.open)(&root.join(driver.name));
    }
    for driver in DRIVERS {
        let dir = root.join(driver.name);
        match (driver.open)(&dir) {
            Err(Error::DriverUnusable { .. }) => fs_err::remove_dir_all(&dir)?,
            opened => return opened,
        }
    }
    Err(Error::NoDriver)
}

/// A driver and how its store is opened.
struct Driver {
    name: &'static str,
    open: fn(&Path) -> Result<Arc<dyn Snapshotter>>,
}

/// All drivers, the best first.
const DRIVERS: &[Driver] = &[
    Driver { name: erofs::NAME, open: |root| Ok(Arc::new(erofs::Erofs::open(root)?)) },
    Driver { name: overlay2::NAME, open: |root| Ok(Arc::new(overlay2::Overlay2::open(root)?)) },
    Driver { name: vfs::NAME, open: |root| Ok(Arc::new(vfs::Vfs::open(root)?)) },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlay2_conforms() {
        conformance::all("overlay2");
    }

    #[test]
    fn erofs_conforms() {
        conformance::all("erofs");
    }

    #[test]
    fn vfs_conforms() {
        conformance::all("vfs");
    }

    #[test]
    fn an_unknown_driver_is_refused_in_dockers_words() {
        let dir = tempfile::tempdir().unwrap();
        let Err(error) = open(dir.path(), Some("aufs")) else { panic!("opened") };
        assert_eq!(error.to_string(), "driver not supported: aufs");
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_store_keeps_the_driver_it_was_made_with() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path(), Some("vfs")).unwrap());
        assert_eq!(open(dir.path(), None).unwrap().name(), "vfs");
    }
}
