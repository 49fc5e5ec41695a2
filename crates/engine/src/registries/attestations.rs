//! What an image was published as, and what was said about it there: fetched beside the layers of a pull.
//!
//! BuildKit puts attestations (provenance, lists of what is inside) into the image's index, as manifests that name the image's
//! manifest in an annotation. They are kept as they came, and a push sends them on.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use skiff_distribution::{
    Descriptor, Document as Parsed, Error as RegistryError, Fetched, Manifest, Repository,
};
use skiff_images::{ABOUT, Document, ImageStore, Publication, Published};
use skiff_types::{Digest, ErrorKind};

use crate::{Result, containers::blocking};

/// The most attestations of an image that are kept, and the most bytes of all of them.
const MOST: usize = 16;
const MOST_BYTES: u64 = 32 << 20;
/// How many blobs of one are on their way: each has a connection of its own.
const AT_ONCE: usize = 4;

/// An image in a registry, as far as a pull has found it.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) manifest: Manifest,
    target: Document,
    own: Document,
    documents: Vec<Bytes>,
    /// Entries of the index that are about this image.
    attestations: Vec<Descriptor>,
}

impl Origin {
    /// An image that has no index.
    pub(super) fn alone(descriptor: &Descriptor, bytes: Bytes, manifest: Manifest) -> Self {
        let target = document(descriptor);
        Self { manifest, own: target.clone(), target, documents: vec![bytes], attestations: Vec::new() }
    }

    /// An image of an index with these entries.
    pub(super) fn within(self, index: &Descriptor, bytes: Bytes, entries: &[Descriptor]) -> Self {
        let about = self.own.digest.to_string();
        let attestations = entries.iter().filter(|e| e.annotations.get(ABOUT) == Some(&about));
        let attestations = attestations.cloned().collect();
        let mut documents = self.documents;
        documents.push(bytes);
        Self { target: document(index), documents, attestations, ..self }
    }

    /// The digest by which the registry knows it.
    pub(super) fn target(&self) -> Digest {
        self.target.digest
    }

    /// Fetches the attestations and keeps everything in the store. An attestation that cannot be had, or that is larger than
    /// what is kept of them, is left out, and `left_out` is told why: the image is whole without it.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn keep(
        self,
        images: &Arc<ImageStore>,
        repository: &Repository<'_>,
        left_out: impl Fn(&Digest, String),
    ) -> Result<Publication> {
        let mut published = Published {
            target: self.target,
            manifest: self.own,
            attestations: Vec::new(),
            blobs: Vec::new(),
        };
        let mut bytes = self.documents;
        let mut room = MOST_BYTES;
        for (number, entry) in self.attestations.iter().enumerate() {
            let fetched = match number {
                MOST.. => Err(format!("more than {MOST} for one image")),
                _ => attestation(repository, entry, room).await,
            };
            match fetched {
                Ok(attestation) => {
                    published.attestations.push(document(&attestation.manifest.descriptor));
                    published.blobs.extend(attestation.blobs.iter().map(Digest::of));
                    bytes.push(attestation.manifest.bytes);
                    bytes.extend(attestation.blobs);
                    room = MOST_BYTES.saturating_sub(bytes.iter().map(|b| b.len() as u64).sum());
                }
                Err(why) => left_out(&entry.digest, why),
            }
        }
        let images = Arc::clone(images);
        Ok(blocking(move || images.keep(published, &bytes)).await??)
    }
}

fn document(descriptor: &Descriptor) -> Document {
    let Descriptor { media_type, digest, size, .. } = descriptor.clone();
    Document { media_type, digest, size }
}

/// An attestation as it came.
struct Attestation {
    manifest: Fetched,
    blobs: Vec<Bytes>,
}

/// Fetches an attestation of at most so many bytes.
///
/// # Errors
/// Why it is left out.
async fn attestation(
    repository: &Repository<'_>,
    entry: &Descriptor,
    room: u64,
) -> Result<Attestation, String> {
    let told = |error: RegistryError| match error.kind() {
        ErrorKind::NotFound => "the registry does not have it".to_owned(),
        _ => error.to_string(),
    };
    let manifest = repository.manifest(&entry.digest.to_string()).await.map_err(told)?;
    let Parsed::Manifest(parsed) = &manifest.document else { return Err("it is an index".to_owned()) };
    let parts: Vec<&Descriptor> = [&parsed.config].into_iter().chain(&parsed.layers).collect();
    let size = parts.iter().fold(manifest.descriptor.size, |sum, part| sum.saturating_add(part.size));
    if size > room {
        return Err(format!("its {size} bytes are more than is kept of attestations"));
    }
    let blobs: Vec<_> = parts.into_iter().map(|part| repository.whole_blob(part)).collect();
    let blobs = stream::iter(blobs).buffered(AT_ONCE).try_collect().await.map_err(told)?;
    Ok(Attestation { manifest, blobs })
}
