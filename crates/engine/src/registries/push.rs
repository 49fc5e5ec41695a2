//! Push: an image under one of its names, or all names of a repository.
//!
//! A layer is not sent if the registry has it, is mounted if another repository of the same registry has it, and is compressed
//! while it is sent otherwise. A registry of this machine may have the layer's own file instead (ADR 33). What a registry has by then is remembered.

use std::{
    collections::BTreeMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::try_join_all;
use skiff_distribution::{
    Credentials, Descriptor, Error as RegistryError, Mounted, Purpose, Repository, Session, Upload, media,
};
use skiff_images::{Image, KnownBlob, Platform, Reference};
use skiff_snapshots::{ChainId, Layer, LayerTar};
use skiff_types::{Digest, Hasher};
use tokio::sync::{Semaphore, mpsc};

use super::{
    Registries,
    encoding::{self, Encoding},
    not_reserved, parse,
    progress::{ProgressSender, Tell, short},
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
    /// Who asks.
    pub credentials: Credentials,
}

impl Registries {
    /// Pushes an image. What is done is told through `progress`.
    ///
    /// # Errors
    /// A wrong name, no such image, a registry that refuses or cannot be reached.
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
        let images = self.named(&reference)?;
        let _held: Vec<_> = images.iter().map(|(_, image)| self.last_use.hold(&image.id)).collect();
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
            let encoding = request.encoding.or(self.encoding);
            let push = Push { service: self, session: &session, reference: &reference, encoding, progress };
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
        let config = &image.config;
        let fits = config.os == wanted.os
            && config.architecture == wanted.architecture
            && (wanted.variant.is_empty() || config.variant == wanted.variant);
        match fits {
            true => Ok(()),
            false => Err(not_for(&reference.familiar(), &image, &wanted.to_string())),
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
    session: &'a Session,
    reference: &'a Reference,
    /// The encoding that somebody chose.
    encoding: Option<Encoding>,
    progress: &'a ProgressSender,
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
        // An image may have a layer several times.
        let unique: BTreeMap<Digest, ChainId> = diff_ids.iter().copied().zip(chains).collect();
        let slots = &self.service.uploads;
        let layers = unique.iter().map(|(diff_id, chain)| self.layer(*diff_id, *chain, slots));
        let pushed = try_join_all(layers).await?;
        let blobs: BTreeMap<Digest, Descriptor> =
            pushed.iter().map(|p| (p.diff_id, p.blob.clone())).collect();
        let config = self.service.images.config_bytes(&image.id)?;
        let config_blob = Descriptor::new(media::DOCKER_CONFIG, image.id.digest(), config.len() as u64);
        let repository = self.repository();
        repository.put_small(&config_blob, config.into()).await.map_err(words::push)?;
        let layers: Vec<Descriptor> = diff_ids.iter().filter_map(|d| blobs.get(d).cloned()).collect();
        let (kind, manifest) = encoding::manifest(&config_blob, &layers);
        let (digest, size) = (Digest::of(&manifest), manifest.len() as u64);
        let tag = name.tag().unwrap_or("latest");
        repository.put_manifest(tag, kind, manifest.into()).await.map_err(words::push)?;
        self.remember(image, digest, &pushed).await?;
        self.progress.status("", format!("{tag}: digest: {digest} size: {size}"));
        self.progress.pushed(tag, &digest.to_string(), size);
        Ok(())
    }

    fn repository(&self) -> Repository<'_> {
        self.session.repository(self.reference.path())
    }

    /// Which blobs the registry has, and by which digest it knows the image.
    async fn remember(&self, image: &Image, digest: Digest, pushed: &[Pushed]) -> Result<()> {
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
            // It may have been removed meanwhile.
            match images.name(&id, &[name]) {
                Err(skiff_images::Error::NotFound(_)) => Ok(()),
                named => named.map(drop).map_err(Error::from),
            }
        })
        .await?
    }

    /// Sees to it that the registry has a layer.
    async fn layer(&self, diff_id: Digest, chain: ChainId, slots: &Semaphore) -> Result<Pushed> {
        let id = short(&diff_id);
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
                self.progress.layer(&id, "Layer already exists");
                return pushed(Encoding::of(&guess.media_type).blob(guess.digest, size));
            }
        }
        let registry = format!("{}/", self.reference.domain());
        let elsewhere = known.iter().filter(|k| !here(k) && k.repository.starts_with(&registry));
        for guess in elsewhere.take(MOST_GUESSES) {
            let from = &guess.repository[registry.len()..];
            match repository.mount(&guess.digest, from).await {
                Ok(Mounted::Yes) => {
                    self.progress.layer(&id, format!("Mounted from {from}"));
                    return pushed(Encoding::of(&guess.media_type).blob(guess.digest, guess.size));
                }
                Ok(Mounted::No(upload)) => upload.cancel().await,
                // Who may not read there sends it.
                Err(error) if error.is_refusal() => {}
                Err(error) => return Err(words::push(error)),
            }
        }
        let layer = self.service.images.snapshotter().layer(&chain)?;
        let blob = self.send(&repository, &layer, &id).await?;
        self.progress.layer(&id, "Pushed");
        pushed(blob)
    }

    /// Compresses and sends a layer. What breaks off goes on where it stopped.
    async fn send(&self, repository: &Repository<'_>, layer: &Layer, id: &str) -> Result<Descriptor> {
        let mut upload = repository.upload().await.map_err(words::push)?;
        if let Some(blob) = self.hand_over(&upload, layer).await? {
            return Ok(blob);
        }
        let mut offset = 0;
        for attempt in 1.. {
            let (sender, pieces) = mpsc::channel(PIECES);
            let compressing = self.compress(layer.clone(), id.to_owned(), offset, sender);
            let sent = upload.send(pieces).await;
            let compressed =
                compressing.await.map_err(|e| Error::Internal(format!("internal failure: {e}")))?;
            match (sent, compressed) {
                (Ok(()), Ok(blob)) => {
                    upload.finish(&blob.digest).await.map_err(words::push)?;
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
        let (images, progress) = (Arc::clone(&self.service.images), self.progress.clone());
        let encoding = self.encoding.unwrap_or(Encoding::Gzip);
        tokio::task::spawn_blocking(move || {
            let tar = images.snapshotter().layer_tar(&layer.chain).map_err(io::Error::other)?;
            let total = layer.tar_size;
            let mut input = Counted {
                input: tar,
                read: 0,
                told: None,
                tell: |n| progress.bytes(&id, "Pushing", n, total),
            };
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

/// Counts what is read, and tells it now and then.
struct Counted<R, F> {
    input: R,
    read: u64,
    told: Option<Instant>,
    tell: F,
}

impl<R: io::Read, F: FnMut(u64)> io::Read for Counted<R, F> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buf)?;
        self.read += n as u64;
        if n == 0 || self.told.is_none_or(|at| at.elapsed() >= EVERY) {
            self.told = Some(Instant::now());
            (self.tell)(self.read);
        }
        Ok(n)
    }
}
