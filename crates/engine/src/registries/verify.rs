//! Proving an image against the digests that it is made of, and fetching again what is damaged.
//!
//! An image's id is the digest of its configuration, which has its layers' diff ids, which are the digests of their archives.
//! So nothing has to be believed but the id. Layers are looked at from the lowest up, and mended before those above them are
//! looked at, because an index may have been made with the help of a layer below.

use std::sync::Arc;

use bytes::Bytes;
use skiff_distribution::{Credentials, Descriptor, Purpose, media};
use skiff_images::{Damage, Image, ImageStore, KnownBlob, Reference};
use skiff_snapshots::{ChainId, Error as SnapshotError, LayerTar};
use skiff_types::{Digest, ImageId};

use super::{
    Registries,
    layers::{Stage, Staged},
    parse,
    progress::{ProgressSender, Tell, short},
    words,
};
use crate::{Error, Result, containers::blocking};

/// The largest configuration, in bytes: what a pull takes.
const MOST_CONFIGURATION: u64 = 4 << 20;

/// What is to be proved.
#[derive(Clone, Debug, Default)]
pub struct VerifyRequest {
    /// The image's name or id.
    pub image: String,
    /// Fetch again what is damaged.
    pub mend: bool,
    /// Who asks the registry of the image's name.
    pub credentials: Credentials,
}

impl Registries {
    /// Reads everything of an image and compares it with its digests. What is found is told through `progress`.
    ///
    /// # Errors
    /// No such image; something is damaged, and could not be mended if that was asked for.
    pub async fn verify(&self, request: VerifyRequest, progress: &ProgressSender) -> Result<()> {
        let name = &request.image;
        let id = self.images.resolve(name)?;
        let _held = self.last_use.hold(&id);
        let mut damaged = 0;
        if let Some(error) = self.damaged_configuration(&id).await? {
            let shown = short(&id.digest());
            progress.status(&shown, format!("Damaged: the configuration: {error}"));
            if request.mend && self.mend_configuration(&request, &id, progress).await? {
                progress.layer(&shown, "Mended");
            } else {
                damaged += 1;
            }
        }
        let image = match self.images.by_id(&id) {
            // Nobody knows which layers it has.
            Err(_) if damaged > 0 => return Err(damaged_parts(name, damaged)),
            image => image?,
        };
        damaged += self.damaged_publications(&image, request.mend, progress).await?;
        let mut seen = Vec::new();
        let diff_ids = &image.config.rootfs.diff_ids;
        let chains = ChainId::all(diff_ids);
        for (number, (diff_id, chain)) in diff_ids.iter().zip(&chains).enumerate() {
            let id = short(diff_id);
            progress.layer(&id, "Verifying");
            let Some(found) = self.damage(chain).await? else {
                progress.layer(&id, "Verified");
                continue;
            };
            progress.status(&id, format!("Damaged: {}", found.words));
            let place = (chain, number.checked_sub(1).map(|below| &chains[below]));
            if request.mend && self.mend(&request, diff_id, place, found.archive, progress).await? {
                progress.layer(&id, "Mended");
            } else {
                damaged += 1;
            }
            seen.push(*diff_id);
        }
        let layers = diff_ids.len();
        match (damaged, seen.len()) {
            (0, 0) => {
                progress.status("", format!("Status: {name} is what its digests say, layers: {layers}"))
            }
            (0, mended) => {
                progress.status("", format!("Status: {name} is whole again, layers mended: {mended}"))
            }
            (damaged, _) => return Err(damaged_parts(name, damaged)),
        }
        Ok(())
    }

    async fn damaged_configuration(&self, id: &ImageId) -> Result<Option<skiff_images::Error>> {
        let (images, id) = (Arc::clone(&self.images), *id);
        blocking(move || images.config_bytes(&id).err()).await
    }

    /// Fetches a configuration from where the image was pulled from or pushed to. Whether that could be done.
    async fn mend_configuration(
        &self,
        request: &VerifyRequest,
        id: &ImageId,
        progress: &ProgressSender,
    ) -> Result<bool> {
        let mut why = "no registry is known that has it".to_owned();
        // Who has the image by a digest.
        for from in self.images.names(id).into_iter().filter(|name| name.digest().is_some()) {
            let credentials = credentials_for(request, &from);
            progress.status(&short(&id.digest()), format!("Fetching from {}", from.familiar_name()));
            let bytes = match self.fetch_configuration(&from, id, &credentials).await {
                Ok(bytes) => bytes,
                Err(error) => {
                    why = error.to_string();
                    continue;
                }
            };
            let (images, id) = (Arc::clone(&self.images), *id);
            blocking(move || images.mend_config(&id, &bytes)).await??;
            return Ok(true);
        }
        progress.status(&short(&id.digest()), format!("Cannot be mended: {why}"));
        Ok(false)
    }

    async fn fetch_configuration(
        &self,
        from: &Reference,
        id: &ImageId,
        credentials: &Credentials,
    ) -> Result<Bytes> {
        let blob = Descriptor::new(media::OCI_CONFIG, id.digest(), MOST_CONFIGURATION);
        let mut last = Error::Internal(format!("no endpoints found for {}", from.domain()));
        for candidate in self.client.candidates(from.domain(), Purpose::Pull).await? {
            let fetched = async {
                let session = self.client.open(&candidate, credentials).await?;
                session.repository(from.path()).small_blob(&blob).await
            };
            match fetched.await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }

    /// How many damaged ones there are of what the image was published as. They are mended by being forgotten: the next pull
    /// brings them again.
    async fn damaged_publications(
        &self,
        image: &Image,
        mend: bool,
        progress: &ProgressSender,
    ) -> Result<usize> {
        let (images, id, progress) = (Arc::clone(&self.images), image.id, progress.clone());
        blocking(move || {
            let mut damaged = 0;
            for published in images.published(&id) {
                let target = published.target.digest;
                let Err(error) = images.check_published(&published) else { continue };
                let short = short(&target);
                progress.status(&short, format!("Damaged: what it was published as: {error}"));
                if mend {
                    images.forget_published(&id, &target)?;
                    progress.layer(&short, "Forgotten, the next pull brings it again");
                } else {
                    damaged += 1;
                }
            }
            Ok(damaged)
        })
        .await?
    }

    async fn damage(&self, chain: &ChainId) -> Result<Option<Found>> {
        let (snapshots, chain) = (Arc::clone(self.images.snapshotter()), *chain);
        blocking(move || match snapshots.verify(&chain) {
            Ok(damage) if damage.is_empty() => None,
            Ok(damage) => {
                let archive = damage.iter().any(|d| !matches!(d, Damage::Derived(_)));
                let words: Vec<String> = damage.iter().map(Damage::to_string).collect();
                Some(Found { archive, words: words.join("; ") })
            }
            Err(error) => Some(Found { archive: true, words: error.to_string() }),
        })
        .await
    }

    /// Puts a good layer in the place of a damaged or lost one, which has a name and what it stands on. Whether that could be
    /// done.
    async fn mend(
        &self,
        request: &VerifyRequest,
        diff_id: &Digest,
        (chain, below): (&ChainId, Option<&ChainId>),
        archive: bool,
        progress: &ProgressSender,
    ) -> Result<bool> {
        let staged = match archive {
            true => self.fetch_again(request, diff_id, progress).await,
            // The archive is good: what was made from it is made again.
            false => self.stage_again(chain).await.map(Some),
        };
        let mended = match staged {
            Ok(None) => {
                progress
                    .status(&short(diff_id), "Cannot be mended: no registry is known that has it".to_owned());
                return Ok(false);
            }
            Ok(Some(staged)) => {
                let snapshots = Arc::clone(self.images.snapshotter());
                let (chain, below) = (*chain, below.copied());
                let put = move || match snapshots.layer(&chain) {
                    Err(SnapshotError::LayerNotFound(_)) => {
                        snapshots.commit(staged, below.as_ref()).map(drop)
                    }
                    _ => snapshots.mend(&chain, staged),
                };
                blocking(put).await?.map_err(Error::from)
            }
            Err(error) => Err(error),
        };
        match mended {
            Ok(()) => Ok(true),
            Err(error) => {
                progress.status(&short(diff_id), format!("Cannot be mended: {error}"));
                Ok(false)
            }
        }
    }

    async fn stage_again(&self, chain: &ChainId) -> Result<Staged> {
        let (snapshots, chain) = (Arc::clone(self.images.snapshotter()), *chain);
        blocking(move || match snapshots.layer_tar(&chain)? {
            LayerTar::File { file, .. } => snapshots.stage_file(file),
            mut stream @ LayerTar::Stream { .. } => snapshots.stage(&mut stream),
        })
        .await?
        .map_err(Error::from)
    }

    /// Fetches a layer from one of the registries that are known to have it; none if there is none.
    async fn fetch_again(
        &self,
        request: &VerifyRequest,
        diff_id: &Digest,
        progress: &ProgressSender,
    ) -> Result<Option<Staged>> {
        let mut last = Ok(None);
        for known in self.images.known_blobs(diff_id) {
            let Ok(from) = parse(&known.repository) else { continue };
            let credentials = credentials_for(request, &from);
            progress.status(&short(diff_id), format!("Fetching from {}", from.familiar_name()));
            match self.fetch(&from, &known, &credentials).await {
                Ok(staged) if staged.diff_id() == diff_id => return Ok(Some(staged)),
                Ok(staged) => {
                    let why = format!("{} has {} instead", from.familiar_name(), staged.diff_id());
                    last = Err(Error::Internal(why));
                }
                Err(error) => last = Err(error),
            }
        }
        last
    }

    async fn fetch(&self, from: &Reference, known: &KnownBlob, credentials: &Credentials) -> Result<Staged> {
        let blob = Descriptor::new(&known.media_type, known.digest, known.size);
        let mut last = Error::Internal(format!("no endpoints found for {}", from.domain()));
        for candidate in self.client.candidates(from.domain(), Purpose::Pull).await? {
            let session = match self.client.open(&candidate, credentials).await {
                Ok(session) => Arc::new(session),
                Err(error) => {
                    last = error.into();
                    continue;
                }
            };
            let download = self.downloads.begin(&session, from.path(), &blob);
            let ended = {
                let mut stage = download.stage();
                let ended = stage.wait_for(|s| matches!(s, Stage::Complete(_) | Stage::Failed(_))).await;
                ended.map(|stage| stage.clone()).ok()
            };
            match ended {
                Some(Stage::Complete(_)) => {
                    forget(&self.images, &blob.digest).await?;
                    if let Some(staged) = download.committing(|staged| staged) {
                        return Ok(staged);
                    }
                }
                Some(Stage::Failed(error)) => last = words::copied(&error),
                _ => {}
            }
        }
        Err(last)
    }
}

async fn forget(images: &Arc<ImageStore>, blob: &Digest) -> Result<()> {
    let (images, blob) = (Arc::clone(images), *blob);
    blocking(move || images.forget_partial(&blob)).await
}

/// A password is for the registry that it was given for.
fn credentials_for(request: &VerifyRequest, registry: &Reference) -> Credentials {
    match parse(&request.image) {
        Ok(name) if name.domain() == registry.domain() => request.credentials.clone(),
        _ => Credentials::default(),
    }
}

fn damaged_parts(name: &str, damaged: usize) -> Error {
    Error::Internal(format!("damaged parts of image {name}: {damaged}"))
}

/// What was found out about a layer.
struct Found {
    /// It has to be fetched.
    archive: bool,
    words: String,
}
