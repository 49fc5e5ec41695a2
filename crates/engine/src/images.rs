//! Images: the engine's view of the image store.

mod convert;
mod list;
mod manifests;
mod prune;

use std::{io::Read, sync::Arc};

use skiff_images::{
    ArchiveSink, Image, ImageStore, ImageUser, ImportOptions, LoadEvent, Platform, Reference, RemoveOptions,
    Removed,
};
use skiff_types::ImageId;
use tokio::sync::Notify;

pub(crate) use self::convert::{container_config, image_config};
use crate::{
    Error, Events, Result,
    containers::{Parts, Spares, blocking},
    last_use::LastUse,
    model::{Actor, DeletedImage, EventKind, Filters, HistoryEntry, ImageInspect, ImageSummary},
    prune::Turn,
    registry::Registry,
};

/// The service.
#[derive(Clone)]
pub struct Images {
    store: Arc<ImageStore>,
    registry: Arc<Registry>,
    events: Events,
    spares: Arc<Spares>,
    last_use: Arc<LastUse>,
    pruning: Arc<Turn>,
    garbage: Arc<Notify>,
}

/// Which images `list` shows.
#[derive(Clone, Debug, Default)]
pub struct ImageListOptions {
    /// Intermediate images too.
    pub all: bool,
    /// Filters.
    pub filters: Filters,
    /// Compute the shared size.
    pub shared_size: bool,
    /// Count containers.
    pub containers: bool,
    /// Say what they were published as.
    pub manifests: bool,
}

/// What `remove` may do.
#[derive(Clone, Debug, Default)]
pub struct RemoveImageOptions {
    /// Although a stopped container uses it or it has several names.
    pub force: bool,
    /// Keep untagged parents.
    pub no_prune: bool,
    /// The platform that the image must be for, or empty.
    pub only: String,
}

/// What `import` is told beside the tar.
#[derive(Clone, Debug, Default)]
pub struct ImportRequest {
    /// The new image's name; empty for none.
    pub repository: String,
    /// The new image's tag; empty for `latest`.
    pub tag: String,
    /// Comment.
    pub message: String,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
    /// `os/arch[/variant]`, or empty.
    pub platform: String,
    /// Where the tar came from, as the history shows it: `-` for the body.
    pub source: String,
}

/// What `load` tells as it happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadProgress {
    /// A whole line, in Docker's words.
    Line(String),
    /// How much of a layer has been read.
    Layer {
        /// Twelve digits of the layer's digest.
        id: String,
        /// Bytes read.
        current: u64,
        /// Bytes altogether.
        total: u64,
    },
}

/// Receives progress as it happens.
pub type ProgressSink = Box<dyn FnMut(LoadProgress) + Send>;

/// Writes an archive; call it on a thread that may block.
pub type ArchiveWriter = Box<dyn FnOnce(&mut dyn ArchiveSink) -> Result<()> + Send>;

impl Images {
    pub(crate) fn new(parts: &Parts) -> Self {
        Self {
            store: parts.images.clone(),
            registry: parts.registry.clone(),
            events: parts.events.clone(),
            spares: parts.spares.clone(),
            last_use: parts.last_use.clone(),
            pruning: Arc::default(),
            garbage: parts.garbage.clone(),
        }
    }

    /// Lists images, latest first.
    ///
    /// # Errors
    /// Unknown filters or values.
    pub async fn list(&self, options: ImageListOptions) -> Result<Vec<ImageSummary>> {
        let (store, registry) = (self.store.clone(), self.registry.clone());
        blocking(move || list::list(&store, &registry, &options)).await?
    }

    /// Everything about one image, with what it was published as if `manifests` are asked for. `only` is the platform it must
    /// be for, or empty.
    ///
    /// # Errors
    /// There is no such image, or not for this platform.
    pub async fn inspect(&self, image: &str, only: &str, manifests: bool) -> Result<ImageInspect> {
        let image = self.find(image, only)?;
        let published = match manifests {
            true => manifests::published(&self.store, &self.registry, &image)?,
            false => None,
        };
        Ok(convert::inspect(&image, self.store.snapshotter().name(), published))
    }

    /// The image, which must be for the platform `only` unless that is empty.
    fn find(&self, name: &str, only: &str) -> Result<Image> {
        let image = self.store.get(name)?;
        match platform(only)? {
            Some(wanted) if !Platform::of(&image.config).fits(&wanted) => Err(not_for(name, &image, &wanted)),
            _ => Ok(image),
        }
    }

    /// The steps of its making. `only` is the platform it must be for, or empty.
    ///
    /// # Errors
    /// There is no such image, or not for this platform.
    pub async fn history(&self, image: &str, only: &str) -> Result<Vec<HistoryEntry>> {
        self.find(image, only)?;
        Ok(self.store.history(image)?.into_iter().map(convert::history).collect())
    }

    /// Gives it another name. An empty tag means `latest`.
    ///
    /// # Errors
    /// There is no such image; the name is invalid.
    pub async fn tag(&self, image: &str, repository: &str, tag: &str) -> Result<()> {
        let target = reference(repository, tag)?;
        let shown = target.familiar();
        let (store, source) = (self.store.clone(), image.to_owned());
        let id = blocking(move || store.tag(&source, &target)).await??;
        self.tell("tag", &id.digest().to_string(), &shown);
        Ok(())
    }

    /// Takes a name away, and the image with its last one.
    ///
    /// # Errors
    /// There is no such image, or not for this platform; a container uses it.
    pub async fn remove(&self, image: &str, options: RemoveImageOptions) -> Result<Vec<DeletedImage>> {
        let (store, registry, name) = (self.store.clone(), self.registry.clone(), image.to_owned());
        let spares = self.spares.clone();
        let id = match options.only.as_str() {
            // What is damaged can be removed, too.
            "" => self.store.resolve(image)?,
            only => self.find(image, only)?.id,
        };
        let id = id.digest().to_string();
        let removed = blocking(move || {
            let options = RemoveOptions { force: options.force, no_prune: options.no_prune };
            let _none = spares.none();
            store.remove(&name, options, &|id| users(&registry, id))
        })
        .await??;
        if removed.iter().any(|step| matches!(step, Removed::Layer(_))) {
            self.garbage.notify_one();
        }
        let mut out = Vec::with_capacity(removed.len());
        for step in removed {
            out.push(match step {
                Removed::Untagged(reference) => {
                    // Docker gives the id as the name here.
                    self.tell("untag", &id, &id);
                    DeletedImage::Untagged(reference.familiar())
                }
                Removed::Image(image) => {
                    let image = image.digest().to_string();
                    self.tell("delete", &image, &image);
                    DeletedImage::Deleted(image)
                }
                Removed::Layer(chain) => DeletedImage::Deleted(chain.to_string()),
            });
        }
        Ok(out)
    }

    /// Makes an image of the tar of a root file system, compressed or not. Answers its id (`sha256:…`).
    ///
    /// # Errors
    /// The tar or the request is malformed.
    pub async fn import(&self, request: ImportRequest, mut tar: Box<dyn Read + Send>) -> Result<String> {
        let options = import_options(&request)?;
        let name = options.reference.as_ref().map(Reference::familiar);
        let store = self.store.clone();
        // Recorded: Docker answers 500 to an archive that it cannot read.
        let unreadable = |e| match e {
            skiff_images::Error::Snapshot(_) | skiff_images::Error::Io(_) => {
                Error::Internal(Error::from(e).to_string())
            }
            e => e.into(),
        };
        let id = blocking(move || store.import(&mut *tar, &options)).await?.map_err(unreadable)?;
        let id = id.digest().to_string();
        if let Some(name) = name {
            self.tell("tag", &id, &name);
        }
        self.tell("import", &id, &id);
        Ok(id)
    }

    /// Takes over the images of an archive (docker-archive or OCI layout), compressed or not. What is done is told through
    /// `progress`. `only` is the platform of images to take, or empty for all.
    ///
    /// # Errors
    /// The archive is malformed, or has nothing for the platform.
    pub async fn load(
        &self,
        mut tar: Box<dyn Read + Send>,
        only: &str,
        mut progress: ProgressSink,
    ) -> Result<()> {
        let (store, only) = (self.store.clone(), platform(only)?);
        let (loaded, mut progress) = blocking(move || {
            let mut tell = |LoadEvent::Layer { id, current, total }| {
                progress(LoadProgress::Layer { id, current, total });
            };
            let loaded = store.load(&mut *tar, only.as_ref(), &mut tell);
            (loaded, progress)
        })
        .await?;
        let mut progress = |line: String| progress(LoadProgress::Line(line));
        for image in loaded? {
            let id = image.id.digest().to_string();
            for (name, former) in &image.renamed {
                progress(format!(
                    "The image {} already exists, renaming the old one with ID {} to empty string\n",
                    name.familiar(),
                    former.digest()
                ));
            }
            for name in &image.references {
                progress(format!("Loaded image: {}\n", name.familiar()));
            }
            if image.references.is_empty() {
                progress(format!("Loaded image ID: {id}\n"));
            }
            self.tell("load", &id, &id);
        }
        Ok(())
    }

    /// Checks the names, then answers a writer of an archive of these images; call it on a thread that may block. `only` is
    /// the platform they must be for, or empty.
    ///
    /// # Errors
    /// There is no such image, or it is for another platform.
    pub async fn save(&self, images: Vec<String>, only: &str) -> Result<ArchiveWriter> {
        let only = platform(only)?;
        if let Some(only) = &only {
            self.store.check_platform(&images, only).map_err(|e| match e {
                // Recorded: Docker looks for something to export, and finds nothing.
                skiff_images::Error::Platform(_) => {
                    Error::Internal(format!("no suitable export target found for platform {only}"))
                }
                e => e.into(),
            })?;
        }
        let saved = self.store.saved_images(&images)?;
        let held: Vec<_> = saved.iter().map(|id| self.last_use.hold(id)).collect();
        let ids: Vec<String> = saved.iter().map(|id| id.digest().to_string()).collect();
        let (store, events) = (self.store.clone(), self.events.clone());
        Ok(Box::new(move |out: &mut dyn ArchiveSink| {
            let _held = held;
            store.save(&images, only.as_ref(), out)?;
            for id in &ids {
                publish(&events, "save", id, id);
            }
            Ok(())
        }))
    }

    fn tell(&self, action: &str, id: &str, name: &str) {
        publish(&self.events, action, id, name);
    }
}

fn publish(events: &Events, action: &str, id: &str, name: &str) {
    let attributes = [("name".to_owned(), name.to_owned())].into();
    events.publish(EventKind::Image, action, Actor { id: id.to_owned(), attributes });
}

/// An image is there, but for another platform.
pub(crate) fn not_for(name: &str, image: &Image, wanted: &Platform) -> Error {
    let have = Platform::of(&image.config);
    Error::NotFound(format!(
        "image with reference {name} was found but its platform ({have}) does not match the specified platform ({wanted})"
    ))
}

/// The containers that an image's removal would harm.
fn users(registry: &Registry, id: &ImageId) -> Vec<ImageUser> {
    registry
        .all()
        .iter()
        .filter_map(|container| {
            let record = container.record();
            let mounted = record.mounts.iter().any(|mount| mount.image == Some(*id));
            (record.image == *id || mounted).then(|| ImageUser {
                container: record.id.short(),
                running: record.state.status.is_running(),
            })
        })
        .collect()
}

/// The name that a new image is asked to have, if it is.
///
/// # Errors
/// It is no name, or has a digest.
pub(crate) fn new_name(repository: &str, tag: &str) -> Result<Option<Reference>> {
    if repository.is_empty() {
        return Ok(None);
    }
    let reference = reference(repository, tag)?;
    if reference.digest().is_some() {
        return Err(skiff_images::Error::ImportWithDigest.into());
    }
    if reference.familiar_name() == "sha256" {
        return Err(skiff_images::Error::TagIsAlgorithm.into());
    }
    Ok(Some(reference))
}

/// A name of an image, with a tag; an empty one means `latest`.
fn reference(repository: &str, tag: &str) -> Result<Reference> {
    let reference: Reference = repository.parse().map_err(skiff_images::Error::from)?;
    match tag {
        "" => Ok(reference.or_latest()),
        tag => Ok(reference.with_tag(tag).map_err(skiff_images::Error::from)?),
    }
}

fn import_options(request: &ImportRequest) -> Result<ImportOptions> {
    let reference = match request.repository.as_str() {
        "" => None,
        repository => Some(reference(repository, &request.tag)?),
    };
    Ok(ImportOptions {
        reference,
        changes: request.changes.clone(),
        message: request.message.clone(),
        platform: platform(&request.platform)?,
        created: None,
        engine_version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

fn platform(text: &str) -> Result<Option<Platform>> {
    if text.is_empty() { Ok(None) } else { Ok(Some(text.parse()?)) }
}
