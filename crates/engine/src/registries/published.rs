//! Pushing an image as it was published: its manifest byte for byte, the attestations about it, and the index that has both.
//!
//! This is possible where the registry has every layer in the encoding that the manifest says. Digests and signatures of the
//! image then stay what they were.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use skiff_distribution::{Descriptor, Document as Parsed, Index, Manifest, Repository, media};
use skiff_images::{Document, Image, ImageStore, Published};
use skiff_types::Digest;

use super::words;
use crate::{Error, Result};

/// An image as it was published.
pub(super) struct Original {
    pub(super) published: Published,
    /// Its layers, lowest first.
    pub(super) layers: Vec<Descriptor>,
    /// Its manifest.
    bytes: Bytes,
    images: Arc<ImageStore>,
}

/// What a tag leads to after a push.
pub(super) struct Tagged {
    pub(super) published: Published,
    pub(super) bytes: Bytes,
}

impl Original {
    /// What an image was published as: in this repository if it was there, elsewhere with attestations if it has some.
    pub(super) fn of(images: &Arc<ImageStore>, image: &Image, repository: &str) -> Option<Self> {
        let here = |p: &Published| {
            image.digests.iter().any(|n| n.digest() == Some(&p.target.digest) && n.name() == repository)
        };
        let all = images.published(&image.id);
        let best = all.into_iter().max_by_key(|p| (here(p), !p.attestations.is_empty()))?;
        // What is damaged cannot be sent; the image itself can.
        let (_, Parsed::Manifest(manifest), bytes) = parsed(images, &best.manifest).ok()? else {
            return None;
        };
        let Manifest { config, layers } = *manifest;
        let fits = config.digest == image.id.digest() && layers.len() == image.config.rootfs.diff_ids.len();
        fits.then(|| Self { published: best, layers, bytes, images: Arc::clone(images) })
    }

    /// Puts the image's manifest under a tag, or the index if the registry can have one: the whole if it has all that this
    /// refers to, else one of this image and its attestations. `alone` leaves both away. Answers what the tag leads to.
    ///
    /// # Errors
    /// Those of asking and of the store.
    pub(super) async fn send(&self, repository: &Repository<'_>, tag: &str, alone: bool) -> Result<Tagged> {
        let Published { target, manifest, attestations, .. } = &self.published;
        let own = self.bytes.clone();
        if alone || !self.published.is_index() {
            return self.tag(repository, tag, manifest.clone(), own).await;
        }
        let (kind, index, bytes) = self.document(target)?;
        if repository.resolve(&target.digest.to_string()).await.map_err(words::push)?.is_some() {
            return self.tag(repository, tag, target.clone(), bytes).await;
        }
        for attestation in attestations {
            self.attestation(repository, attestation).await?;
        }
        put(repository, &manifest.digest.to_string(), &manifest.media_type, own.clone()).await?;
        let Parsed::Index(index) = index else { return Err(not_kept(target)) };
        if self.has_all(repository, &index).await? {
            return self.tag(repository, tag, target.clone(), bytes).await;
        }
        if attestations.is_empty() {
            return self.tag(repository, tag, manifest.clone(), own).await;
        }
        let reduced = self.reduced(&bytes)?;
        let document =
            Document { media_type: kind, digest: Digest::of(&reduced), size: reduced.len() as u64 };
        self.tag(repository, tag, document, reduced).await
    }

    async fn tag(
        &self,
        repository: &Repository<'_>,
        tag: &str,
        target: Document,
        bytes: Bytes,
    ) -> Result<Tagged> {
        put(repository, tag, &target.media_type, bytes.clone()).await?;
        let mut published = Published { target, ..self.published.clone() };
        if !published.is_index() {
            published.attestations.clear();
            published.blobs.clear();
        }
        Ok(Tagged { published, bytes })
    }

    async fn attestation(&self, repository: &Repository<'_>, attestation: &Document) -> Result<()> {
        let (kind, parsed, bytes) = self.document(attestation)?;
        let Parsed::Manifest(manifest) = parsed else { return Err(not_kept(attestation)) };
        for blob in [&manifest.config].into_iter().chain(&manifest.layers) {
            let bytes = self.images.kept_bytes(&blob.digest)?;
            repository.put_small(blob, bytes.into()).await.map_err(words::push)?;
        }
        put(repository, &attestation.digest.to_string(), &kind, bytes).await
    }

    /// Whether the registry has everything that the index refers to.
    async fn has_all(&self, repository: &Repository<'_>, index: &Index) -> Result<bool> {
        if index.unsupported > 0 {
            return Ok(false);
        }
        for entry in index.manifests.iter().filter(|entry| !self.is_sent(&entry.digest)) {
            if repository.resolve(&entry.digest.to_string()).await.map_err(words::push)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether this is the image's manifest or an attestation.
    fn is_sent(&self, digest: &Digest) -> bool {
        let Published { manifest, attestations, .. } = &self.published;
        manifest.digest == *digest || attestations.iter().any(|a| a.digest == *digest)
    }

    /// The index with only those entries that are sent, each as it was.
    fn reduced(&self, index: &[u8]) -> Result<Bytes> {
        let mut index: Value = serde_json::from_slice(index).map_err(|e| Error::Internal(e.to_string()))?;
        if let Some(entries) = index["manifests"].as_array_mut() {
            let sent = |entry: &Value| {
                let digest = entry["digest"].as_str().and_then(|d| d.parse().ok());
                digest.is_some_and(|digest| self.is_sent(&digest))
            };
            entries.retain(sent);
        }
        Ok(index.to_string().into())
    }

    fn document(&self, document: &Document) -> Result<(String, Parsed, Bytes)> {
        parsed(&self.images, document)
    }
}

/// A document of the store: its media type, what it says, and its bytes.
fn parsed(images: &ImageStore, document: &Document) -> Result<(String, Parsed, Bytes)> {
    let bytes = images.kept_bytes(&document.digest)?;
    let (kind, parsed) = media::parse(&document.media_type, &bytes).map_err(Error::from)?;
    Ok((kind, parsed, bytes.into()))
}

async fn put(repository: &Repository<'_>, reference: &str, kind: &str, bytes: Bytes) -> Result<()> {
    repository.put_manifest(reference, kind, bytes).await.map_err(words::push)
}

fn not_kept(document: &Document) -> Error {
    Error::Internal(format!("{} is not what was kept with the image", document.digest))
}
