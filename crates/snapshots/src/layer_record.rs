//! What every driver keeps beside a layer's files, as JSON in `layers/<chain id>/meta`.

use std::{
    io::{self, BufReader, BufWriter, Write},
    path::Path,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use skiff_types::Digest;

use crate::{ChainId, Error, Layer, Result, StagedLayer, dirs::StoreDirs, index::Index};

const FILE: &str = "meta";
const VERSION: u32 = 1;

/// The record of a layer, with what one driver needs beside.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LayerRecord<T> {
    /// The version of this form.
    version: u32,
    parent: Option<ChainId>,
    diff_id: Digest,
    tar_size: u64,
    size: u64,
    /// What it has copied from the layers below, in bytes.
    #[serde(default, skip_serializing_if = "is_zero")]
    copied: u64,
    /// The driver's own fields.
    #[serde(flatten)]
    pub(crate) more: T,
}

impl<T: Serialize + DeserializeOwned> LayerRecord<T> {
    /// The record of a staged layer that is put on `parent`; its files amount to `size` bytes, of which it has copied some from
    /// the layers below.
    pub(crate) fn new(
        staged: &StagedLayer,
        parent: Option<&ChainId>,
        size: u64,
        copied: u64,
        more: T,
    ) -> Self {
        let (diff_id, tar_size) = (*staged.diff_id(), staged.tar_size());
        Self { version: VERSION, parent: parent.copied(), diff_id, tar_size, size, copied, more }
    }

    /// What these layers have copied from those below them, in bytes.
    pub(crate) fn copied(dirs: &StoreDirs, layers: &[ChainId]) -> Result<u64> {
        let copied = layers.iter().map(|chain| Ok(Self::read(&dirs.layer(chain))?.copied));
        copied.sum()
    }

    /// Reads the record in a layer's directory.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        // A newer form need not look like this one: its version is asked first.
        let value: serde_json::Value = read_json(&path)?;
        match value["version"].as_u64() {
            Some(other) if other != u64::from(VERSION) => {
                Err(Error::TooNew(format!("{}: version {other}", path.display())))
            }
            _ => {
                serde_json::from_value(value).map_err(|e| Error::Damaged(format!("{}: {e}", path.display())))
            }
        }
    }

    /// Writes the record into a layer's directory.
    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        write_json(&dir.join(FILE), self)
    }

    /// The layer it describes.
    pub(crate) fn layer(&self, chain: ChainId) -> Layer {
        let Self { parent, diff_id, tar_size, size, .. } = *self;
        Layer { chain, parent, diff_id, tar_size, size }
    }

    /// All layers of a store. One whose record is lost or damaged is not there: it keeps nobody from using the others, and its
    /// place is taken when it comes again.
    pub(crate) fn index(dirs: &StoreDirs) -> Result<Index> {
        let index = Index::default();
        for chain in dirs.layer_names()? {
            match Self::read(&dirs.layer(&chain)) {
                Err(Error::Io(e)) if e.kind() == io::ErrorKind::NotFound => {}
                Err(Error::Damaged(_)) => {}
                record => index.insert_layer(record?.layer(chain)),
            }
        }
        Ok(index)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Writes a value as JSON, which need not have room in memory.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut file = BufWriter::new(fs_err::File::create(path)?);
    serde_json::to_writer(&mut file, value).map_err(io::Error::from)?;
    Ok(file.flush()?)
}

/// Reads a value that was written as JSON.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let file = BufReader::new(fs_err::File::open(path)?);
    serde_json::from_reader(file).map_err(|e| match e.is_io() {
        true => Error::Io(e.into()),
        false => Error::Damaged(format!("{}: {e}", path.display())),
    })
}
