//! Push: an image under one of its names, or all names of a repository.
//!
//! A layer is not sent if the registry has it, is mounted if another repository of the same registry has it, and is compressed
//! while it is sent otherwise. A registry of this machine may have the layer's own file instead (ADR 33). What a registry has by then is remembered.
//!
//! Where that makes of every layer the blob that it was published as, the image is pushed as it was published (ADR 40).

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::try_join_all;
use skiff_distribution::{
    Credentials, Descriptor, Error as RegistryError, Mounted, Purpose, Repository, Session, Upload, media,
};
use skiff_images::{Document, Image, KnownBlob, Platform, Reference};
use skiff_snapshots::{ChainId, Layer, LayerTar};
use skiff_types::{Digest, Hasher};
use tokio::sync::mpsc;

use super::{
    Registries,
    encoding::{self, Encoding},
    not_reserved, parse,
    progress::{ProgressSender, Tell, short},
    published::{Original, Tagged},
    relay::Source,
    words,
};
use crate::{Error, Result, containers::blocking, images::not_for};

/// How often a layer's progress is worth a line.
const EVERY: Duration = Duration::from_millis(100);
/// Pieces between compression and the network.
const PIECES: usize = 8;
/// How often an upload is tried that breaks off.
const ATTEMPTS: u32 = 5;
/// How many blobs a registry is asked for before a layer is compressed for it.
const MOST_GUESSES: usize = 4;

/// What is to be pushed.
#[derive(Clone, Debug, Default)]
pub struct PushRequest {
    /// The image's name; it may have a tag.
    pub image: String,
    /// Another tag. If there is none at all, all tags of the name are pushed.
    pub tag: String,
    /// The platform that the image must be for; empty for any.
    pub platform: String,
    /// How layers that the registry does not have are encoded; the engine's setting counts if nothing is said.
    pub encoding: Option<Encoding>,
    /// Push the image as it was published or not at all: what is no longer here comes from the registry that it was pulled from.
    pub preserve_digests: bool,
    /// Who asks.
    pub credentials: Credentials,
    /// Who asks the registries that layers come from, by their names as references have them.
    pub sources: HashMap<String, Credentials>,
}

impl Registries {
    /// Pushes an image. What is done is told through `progress`.
    ///
    /// # Errors
    /// A wrong name, no such image, a registry that refuses or cannot be reached; digests that cannot be preserved.
    pub async fn push(&self, request: PushRequest, progress: &ProgressSender) -> Result<()> {
        let mut reference = parse(&request.image)?;
        if !request.tag.is_empty() {
            reference = reference.without_tag().with_tag(&request.tag).map_err(skiff_images::Error::from)?;
        }
        self.check_platform(&reference, &request.platform)?;
        progress.status("", format!("The push refers to repository [{}]", reference.name()));
        not_reserved(&reference)?;
        if reference.digest().is_some() {
            return Err(Error::Invalid("cannot push a digest reference".to_owned()));
        }
        if request.preserve_digests && request.encoding.is_some() {
            return Err(Error::Invalid(
                "conflicting options: a chosen compression does not preserve digests".to_owned(),
            ));
        }
        let images = self.named(&reference)?;
        let _held: Vec<_> = images.iter().map(|(_, image)| self.last_use.hold(&image.id)).collect();
        let _layers: Vec<_> = images.iter().map(|(_, image)| self.images.hold_layers(image)).collect();
        let candidates = self.client.candidates(reference.domain(), Purpose::Push).await?;
        let mut last = Error::Internal(format!("no endpoints found for {}", reference.domain()));
        for candidate in candidates {
            let session = match self.client.open(&candidate, &request.credentials).await {
                Ok(session) => session,
                Err(error) => {
                    last = error.into();
                    continue;
                }
            };
            let encoding = request.encoding.or(self.encoding).filter(|_| !request.preserve_digests);
            let push = Push {
                service: self,
                request: &request,
                session: &session,
                reference: &reference,
                encoding,
                progress,
            };
            for (name, image) in &images {
                push.image(name, image).await?;
                self.tell("push", name);
            }
            return Ok(());
        }
        Err(last)
    }

    fn check_platform(&self, reference: &Reference, wanted: &str) -> Result<()> {
        if wanted.is_empty() {
            return Ok(());
        }
        let wanted: Platform = wanted.parse()?;
        let image = self.images.get(&reference.to_string())?;
        match Platform::of(&image.config).fits(&wanted) {
            true => Ok(()),
            false => Err(not_for(&reference.familiar(), &image, &wanted)),
        }
    }

    /// The images of a name: one with a tag, all of a repository without.
    fn named(&self, reference: &Reference) -> Result<Vec<(Reference, Image)>> {
        let of_repository = self.images.tags_of(reference);
        if of_repository.is_empty() {
            let name = reference.familiar_name();
            return Err(Error::NotFound(format!("An image does not exist locally with the tag: {name}")));
        }
        let chosen: Vec<Reference> = match reference.tag() {
            None => of_repository,
            Some(_) if of_repository.contains(reference) => vec![reference.clone()],
            Some(_) => return Err(Error::NotFound(format!("tag does not exist: {}", reference.familiar()))),
        };
        chosen.into_iter().map(|name| Ok((name.clone(), self.images.get(&name.to_string())?))).collect()
    }
}

/// A push to one registry.
struct Push<'a> {
    service: &'a Registries,
    request: &'a PushRequest,
    session: &'a Session,
    reference: &'a Reference,
    /// The encoding that somebody chose.
    encoding: Option<Encoding>,
    progress: &'a ProgressSender,
}

/// Where the bytes of a layer come from.
enum Origin {
    /// The store.
    Layer(Layer),
    /// Another registry, as they are.
    Registry(Source),
}

/// A layer as the registry has it now.
#[derive(Clone)]
struct Pushed {
    diff_id: Digest,
    blob: Descriptor,
}

impl Push<'_> {
    async fn image(&self, name: &Reference, image: &Image) -> Result<()> {
        let diff_ids = image.config.rootfs.diff_ids.clone();
        let chains = ChainId::all(&diff_ids);
        for diff_id in diff_ids.iter().rev() {
            self.progress.layer(&short(diff_id), "Preparing");
        }
        let original = self.original(image).await?;
        let published = original.iter().flat_map(|o| &o.layers).map(Some).chain(std::iter::repeat(None));
        // An image may have a layer several times.
        let unique: BTreeMap<Digest, (ChainId, Option<&Descriptor>)> =
            diff_ids.iter().copied().zip(chains.into_iter().zip(published)).collect();
        let layers = unique.iter().map(|(diff_id, (chain, as_published))| {
            // Who chose another encoding does not want it as it was.
            let wanted =
                |blob: &&Descriptor| self.encoding.is_none_or(|e| e == Encoding::of(&blob.media_type));
            self.layer(image, *diff_id, *chain, as_published.filter(wanted))
        });
        let pushed = try_join_all(layers).await?;
        let blobs: BTreeMap<Digest, Descriptor> =
            pushed.iter().map(|p| (p.diff_id, p.blob.clone())).collect();
        let config = self.service.images.config_bytes(&image.id)?;
        let config_blob = Descriptor::new(media::DOCKER_CONFIG, image.id.digest(), config.len() as u64);
        let repository = self.repository();
        repository.put_small(&config_blob, config.into()).await.map_err(words::push)?;
        let layers: Vec<Descriptor> = diff_ids.iter().filter_map(|d| blobs.get(d).cloned()).collect();
        let tag = name.tag().unwrap_or("latest");
        let same = |o: &Original| o.layers.iter().map(|l| l.digest).eq(layers.iter().map(|l| l.digest));
        let (digest, size) = match &original {
            Some(original) if same(original) => {
                let alone = !self.request.platform.is_empty();
                let tagged = original.send(&repository, tag, alone).await?;
                let Document { digest, size, .. } = tagged.published.target;
                self.remember(image, digest, &pushed, Some(tagged)).await?;
                (digest, size)
            }
            _ if self.request.preserve_digests => return Err(not_preserved(image)),
            _ => {
                self.tell_what_stays(original.as_ref());
                let (kind, manifest) = encoding::manifest(&config_blob, &layers);
                let (digest, size) = (Digest::of(&manifest), manifest.len() as u64);
                repository.put_manifest(tag, kind, manifest.into()).await.map_err(words::push)?;
                self.remember(image, digest, &pushed, None).await?;
                (digest, size)
            }
        };
        self.progress.status("", format!("{tag}: digest: {digest} size: {size}"));
        self.progress.pushed(tag, &digest.to_string(), size);
        Ok(())
    }

    /// What the image was published as, if that is known.
    async fn original(&self, image: &Image) -> Result<Option<Original>> {
        let (images, image) = (Arc::clone(&self.service.images), image.clone());
        let (repository, must) = (self.reference.name(), self.request.preserve_digests);
        blocking(move || match Original::of(&images, &image, &repository) {
            None if must => Err(not_preserved(&image)),
            original => Ok(original),
        })
        .await?
    }

    /// Attestations speak of a manifest: they are not sent with another one.
    fn tell_what_stays(&self, original: Option<&Original>) {
        if original.is_some_and(|o| !o.published.attestations.is_empty() && self.request.platform.is_empty())
        {
            let words = "Attestations are not pushed: they are about layers compressed in another way (--preserve-digests pushes those)";
            self.progress.status("", words.to_owned());
        }
    }

    fn repository(&self) -> Repository<'_> {
        self.session.repository(self.reference.path())
    }

    /// Which blobs the registry has, by which digest it knows the image, and what that is.
    async fn remember(
        &self,
        image: &Image,
        digest: Digest,
        pushed: &[Pushed],
        tagged: Option<Tagged>,
    ) -> Result<()> {
        let repository = self.reference.name();
        let known = pushed.iter().map(|p| {
            let Descriptor { media_type, digest, size, .. } = p.blob.clone();
            (p.diff_id, KnownBlob { media_type, digest, size, repository: repository.clone() })
        });
        let known: Vec<_> = known.collect();
        let (images, id, name) =
            (Arc::clone(&self.service.images), image.id, self.reference.at_digest(digest));
        blocking(move || {
            images.learn_blobs(known);
            // It may have been removed meanwhile, with all that was kept of it.
            let publication = tagged.and_then(|t| images.keep(t.published, &[t.bytes]).ok());
            match images.name(&id, &[name], publication) {
                Err(skiff_images::Error::NotFound(_)) => Ok(()),
                named => named.map(drop).map_err(Error::from),
            }
        })
        .await?
    }

    /// Sees to it that the registry has a layer, as it was `published` if that can be.
    async fn layer(
        &self,
        image: &Image,
        diff_id: Digest,
        chain: ChainId,
        published: Option<&Descriptor>,
    ) -> Result<Pushed> {
        let (id, slots) = (short(&diff_id), &self.service.uploads);
        let _slot = match slots.try_acquire() {
            Ok(slot) => slot,
            Err(_) => {
                self.progress.layer(&id, "Waiting");
                slots
                    .acquire()
                    .await
                    .map_err(|_| Error::Internal("internal failure: no more uploads".to_owned()))?
            }
        };
        let pushed = |blob| Ok(Pushed { diff_id, blob });
        let repository = self.repository();
        let mut known = self.service.images.known_blobs(&diff_id);
        // What is there in another encoding is there all the same: nothing is compressed again.
        known.sort_by_key(|k| self.encoding.is_some_and(|e| e != Encoding::of(&k.media_type)));
        if let Some(published) = published {
            let same: Vec<KnownBlob> = known
                .extract_if(.., |k| k.digest == published.digest)
                .chain(self.supposed(image, published))
                .collect();
            if let Some(blob) = self.there(&repository, &same, &id).await? {
                return pushed(blob);
            }
            if self.request.preserve_digests && !published.urls.is_empty() {
                // Registries are not given what its maker gives out; they have it by its address.
                self.progress.layer(&id, "Skipped foreign layer");
                return pushed(published.clone());
            }
            if self.request.preserve_digests && published.digest != diff_id {
                let source = self.service.source(self.request, published, &same).await?;
                return pushed(self.send(&repository, &Origin::Registry(source), &id).await?);
            }
        }
        if !self.request.preserve_digests
            && let Some(blob) = self.there(&repository, &known, &id).await?
        {
            return pushed(blob);
        }
        let layer = self.service.images.snapshotter().layer(&chain)?;
        pushed(self.send(&repository, &Origin::Layer(layer), &id).await?)
    }

    /// Where a blob should be of which nobody remembers anything: where it is to go, and where the image came from.
    fn supposed(&self, image: &Image, blob: &Descriptor) -> impl Iterator<Item = KnownBlob> {
        let names = [self.reference.name()].into_iter().chain(image.digests.iter().map(Reference::name));
        names.map(|repository| KnownBlob {
            media_type: blob.media_type.clone(),
            digest: blob.digest,
            size: blob.size,
            repository,
        })
    }

    /// The first of these blobs of a layer that the registry has in this repository, or in another one to mount it from.
    async fn there(
        &self,
        repository: &Repository<'_>,
        known: &[KnownBlob],
        id: &str,
    ) -> Result<Option<Descriptor>> {
        let own = self.reference.name();
        let here = |k: &&KnownBlob| k.repository == own;
        let guesses = known.iter().filter(here).chain(known.iter().filter(|k| !here(k)));
        let mut asked: Vec<Digest> = Vec::new();
        for guess in guesses {
            if asked.len() == MOST_GUESSES || asked.contains(&guess.digest) {
                continue;
            }
            asked.push(guess.digest);
            if let Some(size) = repository.blob_size(&guess.digest).await.map_err(words::push)? {
                let size = if size == 0 { guess.size } else { size };
                self.progress.layer(id, "Layer already exists");
                return Ok(Some(Encoding::of(&guess.media_type).blob(guess.digest, size)));
            }
        }
        let registry = format!("{}/", self.reference.domain());
        let elsewhere = known.iter().filter(|k| !here(k) && k.repository.starts_with(&registry));
        for guess in elsewhere.take(MOST_GUESSES) {
            let from = &guess.repository[registry.len()..];
            match repository.mount(&guess.digest, from).await {
                Ok(Mounted::Yes) => {
                    self.progress.layer(id, format!("Mounted from {from}"));
                    return Ok(Some(Encoding::of(&guess.media_type).blob(guess.digest, guess.size)));
                }
                Ok(Mounted::No(upload)) => upload.cancel().await,
                // Who may not read there sends it.
                Err(error) if error.is_refusal() => {}
                Err(error) => return Err(words::push(error)),
            }
        }
        Ok(None)
    }

    /// Sends a layer. What breaks off goes on where it stopped.
    async fn send(&self, repository: &Repository<'_>, origin: &Origin, id: &str) -> Result<Descriptor> {
        let mut upload = repository.upload().await.map_err(words::push)?;
        if let Origin::Layer(layer) = origin
            && let Some(blob) = self.hand_over(&upload, layer).await?
        {
            self.progress.layer(id, "Pushed");
            return Ok(blob);
        }
        let mut offset = 0;
        for attempt in 1.. {
            let (sender, pieces) = mpsc::channel(PIECES);
            let reading = match origin {
                Origin::Layer(layer) => self.compress(layer.clone(), id.to_owned(), offset, sender),
                Origin::Registry(source) => {
                    source.clone().read(offset, sender, self.teller(id, source.size()))
                }
            };
            let sent = upload.send(pieces).await;
            let read = reading.await.map_err(|e| Error::Internal(format!("internal failure: {e}")))?;
            match (sent, read) {
                (Ok(()), Ok(blob)) => {
                    upload.finish(&blob.digest).await.map_err(words::push)?;
                    self.progress.layer(id, "Pushed");
                    return Ok(blob);
                }
                (Ok(()), Err(error)) => return Err(error.into()),
                (Err(RegistryError::Body(error)), _) => return Err(error.into()),
                (Err(error), _) if attempt == ATTEMPTS || !error.is_passing() => {
                    return Err(words::push(error));
                }
                (Err(_), _) => {}
            }
            tokio::time::sleep(EVERY * 2u32.pow(attempt)).await;
            // A registry that has forgotten it gets it from the beginning.
            match upload.offset().await {
                Ok(there) => offset = there,
                Err(_) => {
                    upload = repository.upload().await.map_err(words::push)?;
                    offset = 0;
                }
            }
        }
        Err(Error::Internal("unreachable: attempts end".to_owned()))
    }

    /// Tells now and then how many bytes of a layer have been sent.
    fn teller(&self, id: &str, total: u64) -> impl FnMut(u64) + Send + use<> {
        let (progress, id) = (self.progress.clone(), id.to_owned());
        let mut told: Option<Instant> = None;
        move |sent| {
            if sent == total || told.is_none_or(|at| at.elapsed() >= EVERY) {
                told = Some(Instant::now());
                progress.bytes(&id, "Pushing", sent, total);
            }
        }
    }

    /// Gives a registry of this machine the layer's own file, if there is one and it takes files.
    async fn hand_over(&self, upload: &Upload<'_>, layer: &Layer) -> Result<Option<Descriptor>> {
        if !upload.takes_files() || self.encoding.is_some_and(|e| e != Encoding::Plain) {
            return Ok(None);
        }
        let LayerTar::File { file, len } = self.service.images.snapshotter().layer_tar(&layer.chain)? else {
            return Ok(None);
        };
        let given = upload.hand_over(file, &layer.diff_id).await;
        Ok(given.then(|| Encoding::Plain.blob(layer.diff_id, len)))
    }

    /// Compresses a layer on a thread of its own; the first `skip` bytes of the result are only hashed.
    fn compress(
        &self,
        layer: Layer,
        id: String,
        skip: u64,
        pieces: mpsc::Sender<io::Result<Bytes>>,
    ) -> tokio::task::JoinHandle<io::Result<Descriptor>> {
        let images = Arc::clone(&self.service.images);
        let tell = self.teller(&id, layer.tar_size);
        let encoding = self.encoding.unwrap_or(match self.request.preserve_digests {
            // Only what was published as the tar that it is here comes this way.
            true => Encoding::Plain,
            false => Encoding::Gzip,
        });
        tokio::task::spawn_blocking(move || {
            let tar = images.snapshotter().layer_tar(&layer.chain).map_err(io::Error::other)?;
            let mut input = Counted { input: tar, read: 0, tell };
            let (mut hash, mut size) = (Hasher::default(), 0);
            let result = encoding.encode(&mut input, &mut |piece| {
                hash.update(&piece);
                let known = skip.saturating_sub(size).min(piece.len() as u64) as usize;
                size += piece.len() as u64;
                match piece.slice(known..) {
                    rest if rest.is_empty() => Ok(()),
                    rest => pieces.blocking_send(Ok(rest)).map_err(|_| io::ErrorKind::BrokenPipe.into()),
                }
            });
            if let Err(error) = result {
                let copy = io::Error::new(error.kind(), error.to_string());
                let _ = pieces.blocking_send(Err(error));
                return Err(copy);
            }
            let digest = hash.finish();
            Ok(encoding.blob(digest, size))
        })
    }
}

/// Counts what is read, and tells it.
struct Counted<R, F> {
    input: R,
    read: u64,
    tell: F,
}

impl<R: io::Read, F: FnMut(u64)> io::Read for Counted<R, F> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buf)?;
        self.read += n as u64;
        (self.tell)(self.read);
        Ok(n)
    }
}

fn not_preserved(image: &Image) -> Error {
    Error::Conflict(format!(
        "the digests of image {} cannot be preserved: it was not pulled from a registry, or what is left of that is damaged",
        image.id.digest()
    ))
}
