//! Import: an image from a bare root file system.

use std::io::Read;

use jiff::Timestamp;
use serde::Serialize;
use skiff_types::{Digest, ImageId};

use crate::{
    ContainerConfig, Error, History, ImageStore, Platform, Reference, Result, RootFs,
    changes::apply_changes,
    decompress::{Compression, decompressed, peek},
    gojson,
    hold::Hold,
};

/// How `import` makes an image.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// The name it gets.
    pub reference: Option<Reference>,
    /// Dockerfile instructions that change its configuration.
    pub changes: Vec<String>,
    /// The comment; `Imported from -` if it is empty.
    pub message: String,
    /// What it is for; this machine's platform if nothing is said.
    pub platform: Option<Platform>,
    /// When it was made; now if nothing is said.
    pub created: Option<Timestamp>,
    /// The engine's version, for the configuration.
    pub engine_version: String,
}

/// An image's configuration as Docker writes it: the keys sorted, whatever is empty left out.
#[derive(Serialize)]
struct NewConfig<'a> {
    architecture: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    comment: &'a str,
    config: &'a ContainerConfig,
    container_config: ContainerConfig,
    created: Timestamp,
    docker_version: &'a str,
    history: [History; 1],
    os: &'a str,
    rootfs: RootFs,
    #[serde(skip_serializing_if = "str::is_empty")]
    variant: &'a str,
}

impl ImageStore {
    /// Makes an image of one layer from a tar, compressed or not.
    ///
    /// # Errors
    /// [`Error::Change`] for a wrong instruction, [`Error::Platform`], and those of the snapshotter. Nothing is read before
    /// the options have been checked.
    pub fn import(&self, tar: &mut (dyn Read + Send), options: &ImportOptions) -> Result<ImageId> {
        let mut config = ContainerConfig::default();
        apply_changes(&mut config, &options.changes)?;
        if options.reference.as_ref().is_some_and(|r| r.digest().is_some()) {
            return Err(Error::ImportWithDigest);
        }
        let host = Platform::host();
        let platform = options.platform.as_ref().unwrap_or(&host);
        if platform.os != "linux" {
            return Err(Error::Platform("operating system is not supported".to_owned()));
        }
        let (head, mut tar) = peek(tar)?;
        let staged = decompressed(&mut tar, Compression::detect(&head), |plain| self.stage(plain))??;
        let mut hold = Hold::new(self);
        let diff_id = *staged.diff_id();
        let chain = skiff_snapshots::ChainId::new(None, &diff_id);
        hold.pin(chain);
        if self.snapshots.layer(&chain).is_err() {
            self.snapshots.commit(staged, None)?;
            hold.has_made(chain);
        }
        let created = options.created.unwrap_or_else(Timestamp::now);
        let comment = match options.message.as_str() {
            "" => "Imported from -",
            message => message,
        };
        let bytes = gojson::to_vec(&NewConfig {
            architecture: &platform.architecture,
            comment,
            config: &config,
            container_config: ContainerConfig::default(),
            created,
            docker_version: &options.engine_version,
            history: [History { created: Some(created), comment: comment.to_owned(), ..History::default() }],
            os: &platform.os,
            rootfs: RootFs { diff_ids: vec![diff_id], ..RootFs::default() },
            variant: &platform.variant,
        });
        self.adopt(&bytes, options.reference.as_ref(), None).inspect(|_| hold.keep())
    }

    /// Makes a configuration whose layers are all there an image of the store.
    pub(crate) fn adopt(
        &self,
        config: &[u8],
        name: Option<&Reference>,
        parent: Option<&ImageId>,
    ) -> Result<ImageId> {
        let id = ImageId::from(Digest::of(config));
        self.records.update(|records| {
            // Within the update: a removal of the same image does not take the blob away again.
            self.blobs.put(config)?;
            // Removed while its child was made: then nobody knows of it.
            let parent = parent.map(ImageId::digest).filter(|parent| records.images.contains_key(parent));
            let record = records.images.entry(id.digest()).or_default();
            record.parent = record.parent.or(parent);
            if let Some(name) = name {
                records.name(name.clone().or_latest(), &id, Timestamp::now());
            }
            Ok(id)
        })
    }
}
