//! Commit: an image from another one and what a container changed.

use std::io::Read;

use jiff::Timestamp;
use serde::Serialize;
use skiff_snapshots::ChainId;
use skiff_types::{Digest, ImageId};

use crate::{ContainerConfig, History, ImageStore, Reference, Result, RootFs, gojson, hold::Hold};

/// How `commit` makes an image.
#[derive(Clone, Debug)]
pub struct CommitOptions {
    /// The image that the container was made of.
    pub parent: ImageId,
    /// The name it gets.
    pub reference: Option<Reference>,
    /// The new image's configuration.
    pub config: ContainerConfig,
    /// The container's id.
    pub container: String,
    /// The container's own configuration.
    pub container_config: ContainerConfig,
    /// Who made it.
    pub author: String,
    /// What is said about it.
    pub comment: String,
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
    author: &'a str,
    config: &'a ContainerConfig,
    container: &'a str,
    container_config: &'a ContainerConfig,
    created: Timestamp,
    docker_version: &'a str,
    history: Vec<History>,
    os: &'a str,
    #[serde(rename = "os.features", skip_serializing_if = "<[_]>::is_empty")]
    os_features: &'a [String],
    #[serde(rename = "os.version", skip_serializing_if = "str::is_empty")]
    os_version: &'a str,
    rootfs: RootFs,
    #[serde(skip_serializing_if = "str::is_empty")]
    variant: &'a str,
}

/// The digest of an archive of nothing: the image then has its parent's layers, and a step without one.
const NOTHING: &str = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

impl ImageStore {
    /// Makes an image of `parent` and a layer on top of it: `changes`, an uncompressed tar.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound) for the parent, and those of the snapshotter.
    pub fn commit(&self, changes: &mut (dyn Read + Send), options: &CommitOptions) -> Result<ImageId> {
        let mut hold = Hold::new(self);
        let parent = self.by_id(&options.parent)?;
        let mut diff_ids = parent.config.rootfs.diff_ids.clone();
        for chain in ChainId::all(&diff_ids) {
            hold.pin(chain);
        }
        let staged = self.stage(changes)?;
        let diff_id = *staged.diff_id();
        let empty = diff_id == NOTHING.parse::<Digest>().expect("a digest");
        if !empty {
            let chain = ChainId::new(parent.chain.as_ref(), &diff_id);
            hold.pin(chain);
            if self.snapshots.layer(&chain).is_err() {
                self.snapshots.commit(staged, parent.chain.as_ref())?;
                hold.has_made(chain);
            }
            diff_ids.push(diff_id);
        }
        let created = options.created.unwrap_or_else(Timestamp::now);
        let mut history = parent.config.history.clone();
        history.push(History {
            created: Some(created),
            created_by: options.container_config.cmd.iter().flatten().cloned().collect::<Vec<_>>().join(" "),
            author: options.author.clone(),
            comment: options.comment.clone(),
            empty_layer: empty,
        });
        let bytes = gojson::to_vec(&NewConfig {
            architecture: &parent.config.architecture,
            author: &options.author,
            config: &options.config,
            container: &options.container,
            container_config: &options.container_config,
            created,
            docker_version: &options.engine_version,
            history,
            os: &parent.config.os,
            os_features: &parent.config.os_features,
            os_version: &parent.config.os_version,
            rootfs: RootFs { diff_ids, ..RootFs::default() },
            variant: &parent.config.variant,
        });
        self.adopt(&bytes, options.reference.as_ref(), Some(&options.parent)).inspect(|_| hold.keep())
    }
}
