//! The driver `erofs`: overlays over mounted archives.

use std::{
    fs::File,
    io::Read,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use super::{
    layers::{LayerMount, Layers},
    mount,
};
use crate::{
    ChainId, Change, Damage, Error, Layer, LayerTar, Lifetime, Result, Snapshotter, StagedLayer, Usage,
    changes::upper_changes, diff::upper_tar, merge::Stack, overlay, overlay::Writable, skeleton, upper,
};

/// The driver's name.
pub(crate) const NAME: &str = "erofs";

/// Layers as archives with an index, snapshots as overlay mounts of them.
#[derive(Debug)]
pub(crate) struct Erofs {
    layers: Layers,
    /// The lowest layer of every snapshot.
    skeleton: PathBuf,
    /// An empty directory: an overlay needs two below if nothing is writable.
    empty: PathBuf,
}

impl Erofs {
    /// Opens the store below `root` and tries a mount in it.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let layers = Layers::open(root)?;
        upper::load(&layers.dirs, &layers.index)?;
        let empty = root.join("empty");
        fs_err::create_dir_all(&empty)?;
        let driver = Self { layers, skeleton: skeleton::open(root)?, empty };
        driver.probe().map_err(|reason| Error::DriverUnusable { driver: NAME, reason })?;
        Ok(driver)
    }

    /// Mounts an overlay of an empty index here; if the layer has to be attached for that, layers are from now on.
    fn probe(&self) -> std::result::Result<(), String> {
        let staging = self.layers.dirs.staging().map_err(|e| e.to_string())?;
        upper::make_upper(staging.path(), None).map_err(|e| e.to_string())?;
        let over = |layer: OwnedFd| -> Result<OwnedFd> {
            let layer = self.layers.place(layer)?;
            let writable = upper::writable(staging.path(), Lifetime::Durable);
            self.mount_overlay(vec![layer.path()], Some(writable))
        };
        let layer = || mount::probe(staging.path());
        // Whatever kept the first from working: the second tells.
        let mounted = match over(layer()?) {
            Err(_) => {
                self.layers.attach_layers(self.empty.with_file_name("mounts")).map_err(|e| e.to_string())?;
                over(layer()?)
            }
            mounted => mounted,
        };
        mounted.map(drop).map_err(|e| e.to_string())
    }

    /// Mounts an overlay where its layers are.
    fn mount_overlay(&self, lowers: Vec<PathBuf>, writable: Option<Writable>) -> Result<OwnedFd> {
        let mount = move || overlay::mount(&lowers, writable.as_ref());
        match self.layers.namespace() {
            None => mount(),
            Some(namespace) => namespace.run(mount)?,
        }
    }

    /// The directories of a layer and those below it, topmost first, and one below them all. They are there as long as the
    /// mounts.
    fn lowers(&self, mounts: &[LayerMount], lowest: &Path) -> Vec<PathBuf> {
        mounts.iter().map(LayerMount::path).chain([lowest.to_owned()]).collect()
    }

    /// The snapshot's upper and work directories.
    fn upper(&self, key: &str) -> Result<(PathBuf, PathBuf)> {
        self.layers.index.snapshot(key)?;
        Ok(upper::paths(&self.layers.dirs.snapshot(key)))
    }
}

impl Snapshotter for Erofs {
    fn name(&self) -> &'static str {
        NAME
    }

    fn status(&self) -> Vec<(String, String)> {
        let place = match self.layers.namespace() {
            None => "nowhere (detached)",
            Some(_) => "a mount namespace of the daemon's own",
        };
        [("Layers", "archives, mounted in place"), ("Layers attached in", place)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    }

    fn stage(&self, tar: &mut (dyn Read + Send)) -> Result<StagedLayer> {
        self.layers.stage(tar)
    }

    fn stage_file(&self, file: File) -> Result<StagedLayer> {
        self.layers.stage_file(file)
    }

    fn commit(&self, staged: StagedLayer, parent: Option<&ChainId>) -> Result<ChainId> {
        self.layers.commit(staged, parent)
    }

    fn layer(&self, chain: &ChainId) -> Result<Layer> {
        self.layers.index.layer(chain)
    }

    fn layers(&self) -> Vec<ChainId> {
        self.layers.index.layers()
    }

    fn layer_tar(&self, chain: &ChainId) -> Result<LayerTar> {
        self.layers.tar(chain)
    }

    fn verify(&self, chain: &ChainId) -> Result<Vec<Damage>> {
        self.layers.verify(chain)
    }

    fn mend(&self, chain: &ChainId, staged: StagedLayer) -> Result<()> {
        self.layers.mend(chain, staged)
    }

    fn layer_usage(&self, chain: &ChainId) -> Result<Usage> {
        upper::layer_usage(&self.layers.dirs, &self.layers.index, chain)
    }

    fn remove_layer(&self, chain: &ChainId) -> Result<()> {
        self.layers.remove(chain)
    }

    fn prepare(
        &self,
        key: &str,
        parent: Option<&ChainId>,
        _lifetime: Lifetime,
        limit: Option<u64>,
    ) -> Result<()> {
        let layers = &self.layers;
        let below = layers.mounts(parent)?;
        upper::prepare(&layers.dirs, &layers.index, key, parent, limit, |dir| {
            upper::make_upper(dir, below.first().map(LayerMount::path).as_deref())
        })
    }

    fn can_limit(&self) -> bool {
        self.layers.dirs.can_limit()
    }

    fn mount(&self, key: &str, lifetime: Lifetime) -> Result<OwnedFd> {
        let mounts = self.layers.mounts(self.layers.index.snapshot(key)?.as_ref())?;
        let writable = upper::writable(&self.layers.dirs.snapshot(key), lifetime);
        self.mount_overlay(self.lowers(&mounts, &self.skeleton), Some(writable))
    }

    fn view(&self, chain: &ChainId) -> Result<OwnedFd> {
        let mounts = self.layers.mounts(Some(chain))?;
        self.mount_overlay(self.lowers(&mounts, &self.empty), None)
    }

    fn snapshots(&self) -> Vec<String> {
        self.layers.index.snapshots()
    }

    fn diff(&self, key: &str) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(upper_tar(&self.upper(key)?.0)?))
    }

    fn changes(&self, key: &str) -> Result<Vec<Change>> {
        let mounts = self.layers.mounts(self.layers.index.snapshot(key)?.as_ref())?;
        let below = Stack::new(self.lowers(&mounts, &self.skeleton));
        upper_changes(&self.upper(key)?.0, &below)
    }

    fn remove(&self, key: &str) -> Result<()> {
        upper::remove(&self.layers.dirs, &self.layers.index, key)
    }

    fn usage(&self, key: &str) -> Result<Usage> {
        upper::tree_usage(&self.upper(key)?.0)
    }

    fn collect_garbage(&self) -> Result<()> {
        self.layers.dirs.collect()
    }

    fn describe(&self, key: &str) -> Result<Vec<(&'static str, PathBuf)>> {
        let (upper, work) = self.upper(key)?;
        Ok(vec![("UpperDir", upper), ("WorkDir", work)])
    }
}
