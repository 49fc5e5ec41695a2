//! The driver `overlay2`: unpacked layers, mounted with overlayfs. For kernels that cannot mount EROFS from files.

use std::{
    io::Read,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use crate::{
    ChainId, Change, Error, Layer, LayerTar, Lifetime, Result, Snapshotter, StagedLayer, Usage,
    changes::upper_changes, diff::upper_tar, merge::Stack, overlay, skeleton, unpacked::UnpackedLayers,
    upper,
};

/// The driver's name.
pub(crate) const NAME: &str = "overlay2";

/// Layers as directories, snapshots as overlay mounts of them.
#[derive(Debug)]
pub(crate) struct Overlay2 {
    layers: UnpackedLayers,
    /// The lowest layer of every snapshot.
    skeleton: PathBuf,
    /// An empty directory: an overlay needs two below if nothing is writable.
    empty: PathBuf,
}

impl Overlay2 {
    /// Opens the store below `root` and tries a mount in it.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let layers = UnpackedLayers::open(root)?;
        upper::load(&layers.dirs, &layers.index)?;
        let empty = root.join("empty");
        fs_err::create_dir_all(&empty)?;
        let driver = Self { layers, skeleton: skeleton::open(root)?, empty };
        driver.probe()?;
        Ok(driver)
    }

    /// Mounts an overlay with an upper directory here.
    fn probe(&self) -> Result<()> {
        let staging = self.layers.dirs.staging()?;
        upper::make_upper(staging.path(), None)?;
        let writable = upper::writable(staging.path(), Lifetime::Durable);
        match overlay::mount(&[&self.empty], Some(&writable)) {
            Ok(_) => Ok(()),
            Err(e) => Err(Error::DriverUnusable { driver: NAME, reason: e.to_string() }),
        }
    }

    /// The lower directories of a snapshot's mount, topmost first.
    fn lowers(&self, key: &str) -> Result<Vec<PathBuf>> {
        let mut lowers = self.layers.diffs(self.layers.index.snapshot(key)?.as_ref())?;
        lowers.push(self.skeleton.clone());
        Ok(lowers)
    }

    /// The snapshot's upper and work directories.
    fn upper(&self, key: &str) -> Result<(PathBuf, PathBuf)> {
        self.layers.index.snapshot(key)?;
        Ok(upper::paths(&self.layers.dirs.snapshot(key)))
    }
}

impl Snapshotter for Overlay2 {
    fn name(&self) -> &'static str {
        NAME
    }

    fn status(&self) -> Vec<(String, String)> {
        let userxattr = overlay::in_user_namespace();
        vec![
            ("Supports d_type".to_owned(), "true".to_owned()),
            ("Using metacopy".to_owned(), "false".to_owned()),
            ("Native Overlay Diff".to_owned(), "true".to_owned()),
            ("userxattr".to_owned(), userxattr.to_string()),
        ]
    }

    fn stage(&self, tar: &mut (dyn Read + Send)) -> Result<StagedLayer> {
        self.layers.stage(tar)
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
        let below = layers.diffs(parent)?;
        upper::prepare(&layers.dirs, &layers.index, key, parent, limit, |dir| {
            upper::make_upper(dir, below.first().map(PathBuf::as_path))
        })
    }

    fn can_limit(&self) -> bool {
        self.layers.dirs.can_limit()
    }

    fn mount(&self, key: &str, lifetime: Lifetime) -> Result<OwnedFd> {
        let lowers = self.lowers(key)?;
        overlay::mount(&lowers, Some(&upper::writable(&self.layers.dirs.snapshot(key), lifetime)))
    }

    fn view(&self, chain: &ChainId) -> Result<OwnedFd> {
        let mut lowers = self.layers.diffs(Some(chain))?;
        // One directory alone is no overlay.
        lowers.push(self.empty.clone());
        overlay::mount(&lowers, None)
    }

    fn snapshots(&self) -> Vec<String> {
        self.layers.index.snapshots()
    }

    fn diff(&self, key: &str) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(upper_tar(&self.upper(key)?.0)?))
    }

    fn changes(&self, key: &str) -> Result<Vec<Change>> {
        upper_changes(&self.upper(key)?.0, &Stack::new(self.lowers(key)?))
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
