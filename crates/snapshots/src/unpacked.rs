//! Layers kept as unpacked directories, for the drivers `overlay2` and `vfs`.
//!
//! ```text
//! layers/<chain id>/diff     the layer's own files, whiteouts in overlayfs's form
//! layers/<chain id>/record   its archive without the files' contents
//! layers/<chain id>/shadow   contents that a later entry of the same archive replaced, by number
//! layers/<chain id>/meta     LayerRecord in JSON
//! ```

use std::{
    io::{self, Read},
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    ChainId, LayerTar, Result, StagedLayer,
    copies::Copies,
    dirs::StoreDirs,
    hashing::hashed,
    index::Index,
    inherit::inherit,
    layer_record::{LayerRecord, read_json, write_json},
    merge::Stack,
    record::{Recorder, Replay, Shadow},
    unpack::{Unpacked, unpack},
    upper::tree_usage,
};

/// The store of layers and the names of snapshots.
#[derive(Debug)]
pub(crate) struct UnpackedLayers {
    pub(crate) dirs: StoreDirs,
    pub(crate) index: Index,
}

/// What these layers' records have beside.
#[derive(Debug, Serialize, Deserialize)]
struct Shadows {
    shadows: Vec<Shadow>,
}

impl UnpackedLayers {
    /// Opens the store below `root`.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let dirs = StoreDirs::open(root)?;
        let index = LayerRecord::<Shadows>::index(&dirs)?;
        Ok(Self { dirs, index })
    }

    /// Unpacks an archive.
    pub(crate) fn stage(&self, tar: &mut (dyn Read + Send)) -> Result<StagedLayer> {
        let staging = self.dirs.staging()?;
        let diff = staging.path().join("diff");
        fs_err::create_dir(&diff)?;
        let record = fs_err::File::create(staging.path().join("record"))?;
        let (unpacked, hashed) = hashed(tar, &mut |_| Ok(()), |chunks| {
            unpack(Recorder::new(chunks, record)?, &diff, &staging.path().join("shadow"))
        })?;
        let size = match unpacked.shadows.is_empty() {
            true => unpacked.size,
            false => tree_usage(&diff)?.bytes,
        };
        write_json(&staging.path().join("unpacked"), &unpacked)?;
        Ok(StagedLayer::new(staging, hashed.digest, hashed.len, size))
    }

    /// Puts an unpacked layer on its parent.
    pub(crate) fn commit(&self, mut staged: StagedLayer, parent: Option<&ChainId>) -> Result<ChainId> {
        let chain = ChainId::new(parent, staged.diff_id());
        let below = self.stack(parent)?;
        if self.index.layer(&chain).is_ok() {
            return Ok(chain);
        }
        let dir = &staged.dir().path().to_owned();
        let unpacked: Unpacked = read_json(&dir.join("unpacked"))?;
        let copied = match unpacked.links.is_empty() {
            true => 0,
            false => LayerRecord::<Shadows>::copied(&self.dirs, &self.index.stack(parent)?)?,
        };
        let mut copies = Copies::new(&mut staged, copied);
        inherit(&dir.join("diff"), &unpacked, &below, &mut copies)?;
        let copied = copies.here();
        let size = match unpacked.links.is_empty() {
            true => staged.size(),
            false => tree_usage(&dir.join("diff"))?.bytes,
        };
        let more = Shadows { shadows: unpacked.shadows };
        let record = LayerRecord::new(&staged, parent, size, copied, more);
        record.write(dir)?;
        fs_err::remove_file(dir.join("unpacked"))?;
        let opened = fs_err::File::open(dir)?;
        rustix::fs::syncfs(opened.file().as_fd()).map_err(io::Error::from)?;
        self.index.add_layer(record.layer(chain), || self.dirs.publish(staged.into_dir(), &chain))?;
        Ok(chain)
    }

    /// A layer's archive.
    pub(crate) fn tar(&self, chain: &ChainId) -> Result<LayerTar> {
        let len = self.index.layer(chain)?.tar_size;
        let dir = self.dirs.layer(chain);
        let shadows = LayerRecord::<Shadows>::read(&dir)?.more.shadows;
        let replay = Replay::open(&dir.join("record"), &dir.join("diff"), &dir.join("shadow"), shadows)?;
        Ok(LayerTar::Stream { reader: Box::new(replay), len })
    }

    /// Removes a layer.
    pub(crate) fn remove(&self, chain: &ChainId) -> Result<()> {
        self.index.remove_layer(chain, || self.dirs.discard(&self.dirs.layer(chain)))
    }

    /// The directories of a layer and those below it, topmost first.
    pub(crate) fn diffs(&self, chain: Option<&ChainId>) -> Result<Vec<PathBuf>> {
        let stack = self.index.stack(chain)?;
        Ok(stack.iter().map(|c| self.dirs.layer(c).join("diff")).collect())
    }

    /// The merged tree of a layer and those below it.
    pub(crate) fn stack(&self, chain: Option<&ChainId>) -> Result<Stack> {
        self.diffs(chain).map(Stack::new)
    }
}
