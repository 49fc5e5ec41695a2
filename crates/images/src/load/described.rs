//! Images as an archive describes them. An archive may describe the same image, or name the same configuration, as often
//! as it likes: each configuration is read and kept once, and of what is in it only what loading needs.

use std::{collections::HashMap, rc::Rc};

use serde::{Deserialize, de::IgnoredAny};
use skiff_types::{Digest, Hasher, ImageId};

use super::{layout::LayerRef, scan::Scan};
use crate::{Error, ImageConfig, Platform, Reference, Result, config::History};

/// The most layers of an image, as in Docker.
pub(super) const MOST_LAYERS: usize = 125;

/// The most layers of all images of an archive: there is no image with more than [`MOST_LAYERS`].
const MOST_LAYERS_OF_ALL: usize = 100_000;

/// An image of the archive.
#[derive(Clone)]
pub(super) struct Described {
    pub(super) config: Rc<Config>,
    pub(super) layers: Vec<LayerRef>,
    pub(super) names: Vec<Reference>,
    pub(super) parent: Option<Digest>,
}

/// A configuration of the archive, as far as loading needs it.
pub(super) struct Config {
    pub(super) id: ImageId,
    /// As it came.
    pub(super) bytes: Vec<u8>,
    /// The digests of the layers' uncompressed tars, lowest first.
    pub(super) diff_ids: Vec<Digest>,
    pub(super) platform: Platform,
    history: Steps,
}

/// A history, by which a parent is told.
struct Steps {
    len: usize,
    /// The digest of all steps, and that of all but the last.
    all: Digest,
    earlier: Digest,
}

impl Config {
    /// Reads a configuration and checks what Docker checks.
    fn read(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct HasLayers {
            rootfs: Option<IgnoredAny>,
        }
        let invalid = |e: serde_json::Error| Error::Archive(format!("image configuration: {e}"));
        if serde_json::from_slice::<Option<HasLayers>>(bytes)
            .map_err(invalid)?
            .is_none_or(|c| c.rootfs.is_none())
        {
            return Err(Error::Archive("invalid image JSON, no RootFS key".to_owned()));
        }
        let config = ImageConfig::parse(bytes).map_err(invalid)?;
        if config.history.iter().filter(|step| !step.empty_layer).count() > config.rootfs.diff_ids.len() {
            return Err(Error::Archive("too many non-empty layers in History section".to_owned()));
        }
        if config.rootfs.diff_ids.len() > MOST_LAYERS {
            return Err(Error::Archive("max depth exceeded".to_owned()));
        }
        Ok(Self {
            id: Digest::of(bytes).into(),
            bytes: bytes.to_vec(),
            history: Steps::of(&config.history),
            platform: Platform::of(&config),
            diff_ids: config.rootfs.diff_ids,
        })
    }

    /// The error that this is an image of another system.
    pub(super) fn foreign(&self) -> Option<Error> {
        let os = self.platform.os.as_str();
        (!matches!(os, "" | "linux")).then(|| Error::Archive(format!("cannot load {os} image on linux")))
    }

    /// A child has its parent's history and one step more; images need not have a history.
    pub(super) fn is_child_of(&self, parent: &Self) -> bool {
        let (old, new) = (&parent.history, &self.history);
        (old.len == 0 && new.len == 0) || (new.len == old.len + 1 && new.earlier == old.all)
    }
}

impl Steps {
    fn of(history: &[History]) -> Self {
        let mut hash = Hasher::default();
        let mut earlier = hash.clone();
        for step in history {
            earlier = hash.clone();
            hash.update(crate::gojson::to_vec(step));
        }
        Self { len: history.len(), all: hash.finish(), earlier: earlier.finish() }
    }
}

/// The images described so far, and the configurations they share.
pub(super) struct Images<'a> {
    scan: &'a Scan<'a>,
    configs: HashMap<Vec<u8>, Rc<Config>>,
    layers: usize,
    pub(super) list: Vec<Described>,
}

impl<'a> Images<'a> {
    pub(super) fn new(scan: &'a Scan) -> Self {
        Self { scan, configs: HashMap::new(), layers: 0, list: Vec::new() }
    }

    /// The configuration at a path of the archive.
    pub(super) fn config(&mut self, path: &[u8]) -> Result<Rc<Config>> {
        if let Some(config) = self.configs.get(path) {
            return Ok(Rc::clone(config));
        }
        let bytes = self.scan.file(path)?;
        // A path that is a digest promises its contents.
        if let Some(expected) = super::scan::blob_digest(path).filter(|d| *d != bytes.digest()) {
            let what = "image configuration".to_owned();
            return Err(Error::Digest { what, expected, found: bytes.digest() });
        }
        let config = Rc::new(Config::read(bytes)?);
        self.configs.insert(path.to_vec(), Rc::clone(&config));
        Ok(config)
    }

    /// A configuration that the archive does not have as a file.
    pub(super) fn made_config(bytes: &[u8]) -> Result<Rc<Config>> {
        Config::read(bytes).map(Rc::new)
    }

    /// Adds an image.
    pub(super) fn push(&mut self, image: Described) -> Result<()> {
        if let Some(foreign) = image.config.foreign() {
            return Err(foreign);
        }
        let (found, expected) = (image.config.diff_ids.len(), image.layers.len());
        if found != expected {
            return Err(Error::Archive(format!(
                "invalid manifest, layers length mismatch: expected {expected}, got {found}"
            )));
        }
        self.layers += expected;
        if self.layers > MOST_LAYERS_OF_ALL {
            return Err(Error::Archive("too many images in the archive".to_owned()));
        }
        self.list.push(image);
        Ok(())
    }
}
