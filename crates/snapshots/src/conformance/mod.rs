//! What every driver has to do, whatever is below it: run [`all`] over a driver's name. The suite needs root and panics at the
//! first thing that is wrong.

mod archive;
mod damage;
mod layers;
mod listing;
mod odd;
mod snapshots;

use std::{os::fd::AsRawFd, path::PathBuf, sync::Arc};

pub use archive::Archive;
pub use listing::{Listing, listing};

use crate::{ChainId, Snapshotter};

/// A case of the suite: its name and what it does with a new store.
pub type Case = (&'static str, fn(&Store));

/// Every case of the suite.
pub const CASES: &[Case] = &[
    ("an archive comes back bit for bit", layers::archives_come_back),
    ("a view shows what the archive says", layers::views_show_archives),
    ("whiteouts hide what is below", layers::whiteouts_hide),
    ("the order of whiteouts within a layer does not matter", layers::whiteouts_within_a_layer),
    ("hard links reach into layers below", layers::links_across_layers),
    ("the header of a hard link counts", layers::headers_of_links),
    ("copies from layers below ask for room", layers::copies_ask_for_room),
    ("undescribed directories look as below", layers::implied_directories),
    ("links do not lead out of the layer", layers::links_stay_inside),
    ("what is refused leaves nothing", layers::refusals_leave_nothing),
    ("layers go in order", layers::layers_go_in_order),
    ("a store that is opened again has what it had", layers::stores_reopen),
    ("stacks may be deep", layers::deep_stacks),
    ("the last padding may be missing", odd::last_padding),
    ("paths may be as long as the kernel allows", odd::deep_paths),
    ("a lost layer keeps nobody from the rest", odd::lost_layers),
    ("damage is found and mended", damage::damage_is_found_and_mended),
    ("snapshots keep what is written", snapshots::writes_stay),
    ("changes are told", snapshots::changes_are_told),
    ("a diff applied to the parent gives the snapshot", snapshots::diffs_reproduce),
    ("snapshots have keys", snapshots::keys),
    ("a snapshot needs no layer", snapshots::scratch),
    ("what was flushed outlives a lost link", snapshots::flushed_before_a_cut),
];

/// Runs every case over a driver, each in a store of its own.
pub fn all(driver: &'static str) {
    for (_, case) in CASES {
        case(&Store::new(driver));
    }
}

/// A store in a temporary directory.
pub struct Store {
    driver: &'static str,
    root: tempfile::TempDir,
}

impl Store {
    /// A new, empty store.
    pub fn new(driver: &'static str) -> Self {
        Self { driver, root: tempfile::tempdir().expect("a temporary directory") }
    }

    /// Opens it; the one opened before must have been dropped.
    pub fn open(&self) -> Arc<dyn Snapshotter> {
        crate::open(self.root.path(), Some(self.driver)).expect("the store opens")
    }

    /// A layer's directory.
    fn layer(&self, chain: &ChainId) -> PathBuf {
        self.root.path().join(self.driver).join("layers").join(chain.hex())
    }

    /// Every path of the store, once garbage has been collected.
    fn paths(&self, store: &Arc<dyn Snapshotter>) -> Vec<PathBuf> {
        store.collect_garbage().expect("garbage is collected");
        let mut paths = Vec::new();
        let mut dirs = vec![self.root.path().to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in fs_err::read_dir(dir).expect("the store can be read") {
                let entry = entry.expect("the store can be read");
                if entry.file_type().expect("a type").is_dir() {
                    dirs.push(entry.path());
                }
                paths.push(entry.path());
            }
        }
        paths.sort();
        paths
    }
}

/// A path to the root of a detached mount.
pub fn mount_path(mount: &impl AsRawFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()))
}
