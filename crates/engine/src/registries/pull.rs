//! Pull: an image by tag or digest, or all of a repository.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::{try_join, try_join_all};
use skiff_distribution::{
    Credentials, Descriptor, Document, Error as RegistryError, Fetched, Index, Manifest, Purpose, Session,
    media,
};
use skiff_images::{Image, ImageStore, KnownBlob, Platform, Publication, Published, Receiving, Reference};
use skiff_snapshots::ChainId;
use skiff_types::{Digest, ErrorKind, ImageId};

use super::{
    Registries,
    attestations::Origin,
    layers::{Download, Stage},
    not_reserved, parse, platform,
    progress::{ProgressSender, Tell, short},
    words,
};
use crate::{Error, Result, containers::blocking};

/// The most layers of an image, as in Docker.
const MOST_LAYERS: usize = 125;

/// The most documents on the way to an image: indexes within each other, and its manifest.
const MOST_NESTED: usize = 8;

/// How often a layer's progress is worth a line.
const EVERY: Duration = Duration::from_millis(100);

/// What is to be pulled.
#[derive(Clone, Debug, Default)]
pub struct PullRequest {
    /// The image's name; it may have a tag or digest.
    pub image: String,
    /// Another tag, or a digest. If there is none at all, all tags are pulled.
    pub tag: String,
    /// `os/arch[/variant]`; empty for this host's.
    pub platform: String,
    /// Who asks.
    pub credentials: Credentials,
}

impl Registries {
    /// Pulls an image. What is done is told through `progress`.
    ///
    /// # Errors
    /// A wrong name or platform, no such image, a registry that refuses, lies or cannot be reached. The store is then as it
    /// was.
    pub async fn pull(&self, request: PullRequest, progress: &ProgressSender) -> Result<()> {
        let reference = reference(&request)?;
        not_reserved(&reference)?;
        let platform = match request.platform.as_str() {
            "" => None,
            text => Some(text.parse::<Platform>()?),
        };
        let pull = Pull { service: self, reference: &reference, platform: platform.as_ref(), progress };
        let candidates = self.client.candidates(reference.domain(), Purpose::Pull).await?;
        let mut last = Error::Internal(format!("no endpoints found for {}", reference.domain()));
        for candidate in candidates {
            let session = match self.client.open(&candidate, &request.credentials).await {
                Ok(session) => Arc::new(session),
                Err(error) => {
                    last = error.into();
                    continue;
                }
            };
            match pull.from(&session).await {
                // Whatever it was, the next one may know better.
                Err(error) if candidate.is_mirror() => last = error,
                Err(error) => return Err(error),
                Ok(()) => {
                    self.tell("pull", &reference);
                    return pull.warn_of_platform();
                }
            }
        }
        Err(last)
    }
}

/// The name with the other tag or digest. A digest of its own stays beside a tag.
fn reference(request: &PullRequest) -> Result<Reference> {
    let reference = parse(&request.image)?;
    match request.tag.as_str() {
        "" => Ok(reference),
        tag => match tag.parse::<Digest>() {
            Ok(digest) => Ok(reference.at_digest(digest)),
            Err(_) => Ok(reference.with_tag(tag).map_err(skiff_images::Error::from)?),
        },
    }
}

/// A pull from one registry.
struct Pull<'a> {
    service: &'a Registries,
    /// As it was asked for.
    reference: &'a Reference,
    platform: Option<&'a Platform>,
    progress: &'a ProgressSender,
}

impl Pull<'_> {
    async fn from(&self, session: &Arc<Session>) -> Result<()> {
        let mut newer = false;
        if self.reference.tag().is_some() || self.reference.digest().is_some() {
            newer = self.one(session, self.reference).await?;
        } else {
            let repository = session.repository(self.reference.path());
            let tags = repository.tags().await.map_err(|e| words::pull(e, self.reference))?;
            for tag in tags {
                // What a registry calls a tag and is none is not asked for.
                let Ok(tagged) = self.reference.clone().with_tag(&tag) else { continue };
                newer |= self.one(session, &tagged).await?;
            }
        }
        let found = if newer { "Downloaded newer image" } else { "Image is up to date" };
        self.progress.status("", format!("Status: {found} for {}", self.reference.familiar()));
        Ok(())
    }

    /// Pulls one tag or digest; whether that changed anything.
    async fn one(&self, session: &Arc<Session>, reference: &Reference) -> Result<bool> {
        let told = |e: RegistryError| words::pull(e, reference);
        let repository = session.repository(reference.path());
        let digest = reference.digest().map(Digest::to_string);
        let wanted = digest.as_deref().or(reference.tag()).unwrap_or_default();
        // A digest is the same everywhere; what a tag is, only who may say so is asked.
        if digest.is_none() && !session.resolves() {
            return Err(Error::Internal(format!(
                "the mirror does not resolve tags of {}",
                reference.domain()
            )));
        }
        // A tag is asked for without its manifest first: registries count that less.
        let resolved = match digest {
            Some(_) => None,
            None => repository.resolve(wanted).await.map_err(told)?,
        };
        let mut begun = false;
        if let Some(found) = &resolved
            && let Some(id) = self.have(reference, &found.digest)
        {
            self.begin(reference);
            begun = true;
            if let Some(changed) = self.finish(reference, &found.digest, id, None).await? {
                return Ok(changed);
            }
        }
        let fetched = match &resolved {
            Some(found) => repository.manifest(&found.digest.to_string()).await,
            None => repository.manifest(wanted).await,
        };
        let fetched = fetched.map_err(told)?;
        if !begun {
            self.begin(reference);
        }
        let origin = self.origin(session, reference, fetched).await?;
        let (top, manifest) = (origin.target(), origin.manifest.clone());
        let keep = async || {
            let left_out = |digest: &Digest, why| {
                self.progress.status(&short(digest), format!("Attestation left out: {why}"));
            };
            origin.clone().keep(&self.service.images, &repository, left_out).await
        };
        let known = self.service.images.by_id(&manifest.config.digest.into());
        if let Some(image) = known.ok().filter(|image| self.is_whole(image)) {
            let diff_ids = &image.config.rootfs.diff_ids;
            let proved = diff_ids.len() == manifest.layers.len()
                && self.proved(diff_ids, &manifest, &[]).iter().all(|proved| *proved);
            let publication = if proved { Some(keep().await?) } else { None };
            if let Some(changed) = self.finish(reference, &top, image.id, publication).await? {
                return Ok(changed);
            }
        }
        let ((receiving, loaded), publication) =
            try_join(self.image(session, reference, &manifest), keep()).await?;
        let names = self.names(reference, &top);
        let proved = self.proved(receiving.diff_ids(), &manifest, &loaded);
        let publication = Some(publication).filter(|_| proved.iter().all(|p| *p));
        let blobs: Vec<Descriptor> = manifest.layers;
        let learned = self.learned(reference, receiving.diff_ids(), &blobs, &proved);
        let images = Arc::clone(&self.service.images);
        let recorded = blocking(move || {
            let (id, changed) = receiving.record(&names, publication)?;
            blobs.iter().for_each(|blob| images.forget_partial(&blob.digest));
            images.learn_blobs(learned);
            Ok::<_, Error>((id, changed))
        });
        let (id, changed) = recorded.await??;
        self.service.last_use.image(&id);
        self.progress.status("", format!("Digest: {top}"));
        Ok(changed.iter().any(|name| reference.digest().is_some() || name.digest().is_none()))
    }

    fn begin(&self, reference: &Reference) {
        let id = match (reference.digest(), reference.tag()) {
            (None, Some(tag)) => tag.to_owned(),
            _ => reference.familiar(),
        };
        self.progress.status(&id, format!("Pulling from {}", reference.path()));
    }

    /// The image of a manifest or index, if it was pulled from there with all that belongs to it, and a pull would choose it.
    fn have(&self, reference: &Reference, digest: &Digest) -> Option<ImageId> {
        let image = self.service.images.get(&reference.at_digest(*digest).to_string()).ok()?;
        let published = self.service.images.published(&image.id);
        let published = published.iter().find(|p| p.target.digest == *digest)?;
        (self.is_choice(published) && self.is_whole(&image)).then_some(image.id)
    }

    /// Whether this is the platform's image of its index. What cannot be told is asked of the registry.
    fn is_choice(&self, published: &Published) -> bool {
        let Published { target, manifest, .. } = published;
        if !published.is_index() {
            return true;
        }
        let Ok(bytes) = self.service.images.kept_bytes(&target.digest) else { return false };
        let Ok((_, Document::Index(index))) = media::parse(&target.media_type, &bytes) else { return false };
        self.choose(&index).is_some_and(|chosen| chosen.digest == manifest.digest)
    }

    fn choose<'i>(&self, index: &'i Index) -> Option<&'i Descriptor> {
        platform::choose(&index.manifests, self.platform.unwrap_or(&Platform::processor()))
    }

    /// Whether its configuration is what it was, and none of its layers has been lost.
    fn is_whole(&self, image: &Image) -> bool {
        let there = |chain| self.service.images.snapshotter().layer(chain).is_ok();
        self.service.images.config_bytes(&image.id).is_ok()
            && ChainId::all(&image.config.rootfs.diff_ids).iter().all(there)
    }

    /// No layer had to be fetched; the tag may still be new. None if somebody has removed the image meanwhile: it is to be pulled
    /// after all.
    async fn finish(
        &self,
        reference: &Reference,
        digest: &Digest,
        id: ImageId,
        publication: Option<Publication>,
    ) -> Result<Option<bool>> {
        let (images, names) = (Arc::clone(&self.service.images), self.names(reference, digest));
        let changed = match blocking(move || images.name(&id, &names, publication)).await? {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            changed => changed?,
        };
        self.service.last_use.image(&id);
        self.progress.status("", format!("Digest: {digest}"));
        Ok(Some(changed.iter().any(|name| name.digest().is_none())))
    }

    /// What the image is called then.
    fn names(&self, reference: &Reference, digest: &Digest) -> Vec<Reference> {
        let mut names = vec![reference.at_digest(*digest)];
        if reference.digest().is_none() {
            names.push(reference.clone());
        }
        names
    }

    /// The image for the platform: its manifest, and what the registry has beside it.
    async fn origin(
        &self,
        session: &Arc<Session>,
        reference: &Reference,
        mut fetched: Fetched,
    ) -> Result<Origin> {
        let (top, top_bytes) = (fetched.descriptor.clone(), fetched.bytes.clone());
        let mut entries: Option<Vec<Descriptor>> = None;
        for _ in 0..MOST_NESTED {
            let index = match fetched.document {
                Document::Index(index) => index,
                Document::Manifest(manifest) => {
                    let alone = Origin::alone(&fetched.descriptor, fetched.bytes, *manifest);
                    return Ok(match entries {
                        Some(entries) => alone.within(&top, top_bytes, &entries),
                        None => alone,
                    });
                }
            };
            fetched = self.entry(session, reference, &index).await?;
            entries.get_or_insert(index.manifests);
        }
        Err(Error::Internal("unsupported manifest format: too many indexes within each other".into()))
    }

    /// What the index has for the platform: a manifest or another index.
    async fn entry(&self, session: &Arc<Session>, reference: &Reference, index: &Index) -> Result<Fetched> {
        let chosen = self.choose(index).ok_or_else(|| {
            let wanted = self.platform.cloned().unwrap_or_else(Platform::processor);
            Error::NotFound(format!("no matching manifest for {wanted} in the manifest list entries"))
        })?;
        let repository = session.repository(reference.path());
        let fetched =
            repository.manifest(&chosen.digest.to_string()).await.map_err(|e| words::pull(e, reference))?;
        if fetched.descriptor.size != chosen.size {
            return Err(Error::Internal(format!(
                "manifest {} has {} bytes, the index says {}",
                chosen.digest, fetched.descriptor.size, chosen.size
            )));
        }
        Ok(fetched)
    }

    /// Fetches configuration and layers. Answers which layers had to be loaded, too.
    async fn image(
        &self,
        session: &Arc<Session>,
        reference: &Reference,
        manifest: &Manifest,
    ) -> Result<(Receiving, Vec<usize>)> {
        check_types(manifest)?;
        if manifest.layers.len() > MOST_LAYERS {
            return Err(Error::Internal("max depth exceeded".to_owned()));
        }
        let repository = session.repository(reference.path());
        let config = repository.small_blob(&manifest.config).await.map_err(|e| words::pull(e, reference))?;
        let images = Arc::clone(&self.service.images);
        let mut receiving = blocking(move || images.receive(config.to_vec())).await??;
        self.check_config(&receiving, manifest)?;
        let mut missing = Vec::new();
        // One that was lost may be missing below others.
        for (number, blob) in manifest.layers.iter().enumerate() {
            let id = short(&blob.digest);
            if receiving.has(number) {
                self.progress.layer(&id, "Already exists");
            } else {
                self.progress.layer(&id, "Pulling fs layer");
                missing.push((number, id, blob));
            }
        }
        // What is certain to be too much is refused before any of it comes.
        let images = Arc::clone(&self.service.images);
        let size = missing.iter().fold(0_u64, |sum, (_, _, blob)| sum.saturating_add(blob.size));
        blocking(move || images.make_room(size)).await??;
        let downloads: Vec<Arc<Download>> = missing
            .iter()
            .map(|(_, _, blob)| self.service.downloads.begin(session, reference.path(), blob))
            .collect();
        let watched = missing.iter().zip(&downloads).map(|((_, id, blob), d)| self.watch(d, id, blob.size));
        let committed = async {
            for ((number, id, blob), download) in missing.iter().zip(&downloads) {
                let found = ended(download).await?;
                self.progress.bytes(id, "Extracting", blob.size, blob.size);
                let images = Arc::clone(&self.service.images);
                receiving =
                    commit(images, receiving, *number, blob.digest, Arc::clone(download), found).await?;
                self.progress.layer(id, "Pull complete");
            }
            Ok(receiving)
        };
        let (_, receiving) = try_join(try_join_all(watched), committed).await?;
        Ok((receiving, missing.iter().map(|(number, ..)| *number).collect()))
    }

    fn check_config(&self, receiving: &Receiving, manifest: &Manifest) -> Result<()> {
        let config = receiving.config();
        let os = if config.os.is_empty() { "linux" } else { &config.os };
        if os != "linux" {
            return Err(Error::Internal(format!(
                "cannot download image with operating system {os:?} when requesting \"linux\""
            )));
        }
        if receiving.diff_ids().is_empty() && !manifest.layers.is_empty() {
            return Err(Error::Internal("invalid rootfs in image configuration".to_owned()));
        }
        if receiving.diff_ids().len() != manifest.layers.len() {
            return Err(Error::Internal("layers from manifest don't match image configuration".to_owned()));
        }
        Ok(())
    }

    /// Tells how far a download is until it has ended.
    async fn watch(&self, download: &Download, id: &str, total: u64) -> Result<()> {
        let mut stage = download.stage();
        let mut told: Option<Instant> = None;
        let mut waiting = false;
        loop {
            let now = stage.borrow_and_update().clone();
            match now {
                Stage::Waiting if !waiting => {
                    self.progress.layer(id, "Waiting");
                    waiting = true;
                }
                Stage::Loading(loaded) if loaded > 0 && told.is_none_or(|at| at.elapsed() >= EVERY) => {
                    self.progress.bytes(id, "Downloading", loaded, total);
                    told = Some(Instant::now());
                }
                Stage::Pausing(seconds) => {
                    let plural = if seconds == 1 { "" } else { "s" };
                    self.progress.layer(id, format!("Retrying in {seconds} second{plural}"));
                }
                Stage::Waiting | Stage::Loading(_) => {}
                Stage::Complete(_) => {
                    if told.is_none() {
                        self.progress.bytes(id, "Downloading", total, total);
                    }
                    self.progress.layer(id, "Verifying Checksum");
                    self.progress.layer(id, "Download complete");
                    return Ok(());
                }
                Stage::Failed(error) => return Err(words::copied(&error)),
            }
            stage.changed().await.map_err(|_| gone())?;
        }
    }

    /// Of which layers it is certain that the manifest's blob is that layer: those that were loaded now, or ever. What was
    /// there already was not looked at, and a registry may say anything of it.
    fn proved(&self, diff_ids: &[Digest], manifest: &Manifest, loaded: &[usize]) -> Vec<bool> {
        let known = |(number, (diff_id, blob)): (usize, (&Digest, &Descriptor))| {
            loaded.contains(&number)
                || blob.digest == *diff_id
                || self.service.images.known_blobs(diff_id).iter().any(|known| known.digest == blob.digest)
        };
        diff_ids.iter().zip(&manifest.layers).enumerate().map(known).collect()
    }

    /// The blobs of layers that are in the store now and proved.
    fn learned(
        &self,
        reference: &Reference,
        diff_ids: &[Digest],
        blobs: &[Descriptor],
        proved: &[bool],
    ) -> Vec<(Digest, KnownBlob)> {
        let repository = reference.name();
        let known = |blob: &Descriptor| KnownBlob {
            media_type: blob.media_type.clone(),
            digest: blob.digest,
            size: blob.size,
            repository: repository.clone(),
        };
        let layers = diff_ids.iter().copied().zip(blobs.iter().map(known));
        layers.zip(proved).filter(|(_, proved)| **proved).map(|(layer, _)| layer).collect()
    }

    /// An image of another platform than was asked for is kept all the same.
    fn warn_of_platform(&self) -> Result<()> {
        let Some(wanted) = self.platform else { return Ok(()) };
        let Ok(image) = self.service.images.get(&self.reference.to_string()) else { return Ok(()) };
        let have = Platform::of(&image.config);
        if have.fits(wanted) {
            return Ok(());
        }
        self.progress.status(
            "",
            format!(
                "WARNING: image with reference {} was found but its platform ({have}) does not match the specified platform ({wanted})",
                self.reference.familiar()
            ),
        );
        Ok(())
    }
}

/// Waits until a download has ended; the layer's diff id.
async fn ended(download: &Download) -> Result<Digest> {
    let mut stage = download.stage();
    let last =
        stage.wait_for(|s| matches!(s, Stage::Complete(_) | Stage::Failed(_))).await.map_err(|_| gone())?;
    match &*last {
        Stage::Failed(error) => Err(words::copied(error)),
        Stage::Complete(diff_id) => Ok(*diff_id),
        _ => Err(gone()),
    }
}

fn gone() -> Error {
    Error::Internal("internal failure: a download has vanished".to_owned())
}

/// Puts a layer on those below it. It goes on even if nobody waits any more, and takes back what it did then.
async fn commit(
    images: Arc<ImageStore>,
    mut receiving: Receiving,
    number: usize,
    blob: Digest,
    download: Arc<Download>,
    found: Digest,
) -> Result<Receiving> {
    blocking(move || {
        // A blob that is not the layer it should be is of no use to the next pull.
        receiving
            .check(number, &found)
            .inspect_err(|_| images.forget_partial(&blob))
            .map_err(words::layer)?;
        // Of pulls that share the download one has the layer; the others wait for it and find it in the store.
        download.committing(|staged| receiving.commit(number, staged)).map_err(words::layer)?;
        Ok(receiving)
    })
    .await?
}

/// Whether the manifest is one of an image.
fn check_types(manifest: &Manifest) -> Result<()> {
    let unsupported = |media_type: &str| Err(Error::Internal(format!("unsupported media type {media_type}")));
    match manifest.config.media_type.as_str() {
        media::DOCKER_CONFIG | media::OCI_CONFIG | "" | "application/octet-stream" => {}
        other => return unsupported(other),
    }
    for layer in &manifest.layers {
        let kind = layer.media_type.as_str();
        let oci = [
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.oci.image.layer.nondistributable.v1.tar",
        ];
        let compressed =
            |base: &&str| kind.strip_prefix(*base).is_some_and(|rest| matches!(rest, "" | "+gzip" | "+zstd"));
        let docker = matches!(
            kind,
            media::DOCKER_LAYER
                | media::DOCKER_FOREIGN_LAYER
                | "application/vnd.docker.image.rootfs.diff.tar"
                | "application/vnd.docker.image.rootfs.diff.tar.zstd"
                | ""
        );
        if !docker && !oci.iter().any(compressed) {
            return unsupported(kind);
        }
    }
    Ok(())
}
