//! What an image was published as: the index or manifest that a registry has it by, its own manifest, and what was said about
//! it there (attestations). They are kept as they came, byte for byte, because digests and signatures speak of them, and go
//! with the image.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use skiff_types::{Digest, ImageId};

use crate::{Error, ImageStore, Result, pins::PinSet, records::Records};

/// The annotation by which an entry of an index says which manifest it is about.
pub const ABOUT: &str = "vnd.docker.reference.digest";

/// A document of a registry: a manifest or an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// What the registry called it.
    pub media_type: String,
    /// Of its bytes.
    pub digest: Digest,
    /// How many.
    pub size: u64,
}

/// An image as a registry has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// What a name leads to: an index, or the image's manifest.
    pub target: Document,
    /// The image's manifest.
    pub manifest: Document,
    /// Manifests of attestations about that manifest, which are in the index as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attestations: Vec<Document>,
    /// What those manifests refer to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<Digest>,
}

impl Published {
    /// Whether its name leads to an index.
    pub fn is_index(&self) -> bool {
        self.target.digest != self.manifest.digest
    }

    /// Everything that is kept of it.
    pub(crate) fn kept(&self) -> impl Iterator<Item = Digest> {
        let documents = [&self.target, &self.manifest].into_iter().chain(&self.attestations);
        documents.map(|document| document.digest).chain(self.blobs.iter().copied())
    }
}

/// What an image was published as, with all its bytes in the store, on its way into the records. Without it nothing is left.
pub struct Publication {
    store: Arc<ImageStore>,
    pub(crate) published: Published,
    pins: Option<PinSet<Digest>>,
}

impl Drop for Publication {
    fn drop(&mut self) {
        self.pins = None;
        let kept: Vec<Digest> = self.published.kept().collect();
        // What is left goes at the next start.
        let _ = self.store.drop_blobs(&kept);
    }
}

impl ImageStore {
    /// Keeps the documents and blobs of what an image was published as, until an image is recorded with it.
    ///
    /// # Errors
    /// [`Error::Archive`] if some of its bytes are missing.
    pub fn keep(self: &Arc<Self>, published: Published, bytes: &[Bytes]) -> Result<Publication> {
        let mut pins = self.blob_pins.begin();
        published.kept().for_each(|digest| pins.pin(digest));
        self.claim().grow(bytes.iter().map(|b| b.len() as u64).sum())?;
        let publication = Publication { store: Arc::clone(self), published, pins: Some(pins) };
        self.blobs.put_all(bytes)?;
        let missing = publication.published.kept().find(|digest| !self.blobs.has(digest));
        match missing {
            None => Ok(publication),
            Some(missing) => Err(Error::Archive(format!("blob {missing} is missing"))),
        }
    }

    /// What an image was published as, the latest last. It may be nothing.
    pub fn published(&self, id: &ImageId) -> Vec<Published> {
        self.records.read().image(id).map(|record| record.published.clone()).unwrap_or_default()
    }

    /// The bytes of a document or blob that is kept with an image.
    ///
    /// # Errors
    /// It cannot be read, or is not what it was.
    pub fn kept_bytes(&self, digest: &Digest) -> Result<Vec<u8>> {
        let bytes = self.blobs.get(digest)?;
        let found = Digest::of(&bytes);
        match found == *digest {
            true => Ok(bytes),
            false => Err(Error::Digest { what: "blob".to_owned(), expected: *digest, found }),
        }
    }

    /// Whether all that is kept of what an image was published as is what it was.
    ///
    /// # Errors
    /// The first blob that is not.
    pub fn check_published(&self, published: &Published) -> Result<()> {
        published.kept().try_for_each(|digest| self.kept_bytes(&digest).map(drop))
    }

    /// Forgets that an image was published as this.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn forget_published(&self, id: &ImageId, target: &Digest) -> Result<()> {
        let forgotten = self.records.update(|records| {
            let Some(record) = records.images.get_mut(&id.digest()) else { return Ok(Vec::new()) };
            let gone = record.published.extract_if(.., |p| p.target.digest == *target);
            Ok(gone.flat_map(|p| p.kept().collect::<Vec<_>>()).collect())
        })?;
        self.drop_blobs(&forgotten)
    }

    /// Removes of these blobs those that no image has.
    pub(crate) fn drop_blobs(&self, blobs: &[Digest]) -> Result<()> {
        if blobs.is_empty() {
            return Ok(());
        }
        self.records.while_unchanged(|records| {
            for digest in blobs.iter().filter(|digest| !records.needs_blob(digest)) {
                let removed = self.blob_pins.unless_pinned(digest, || self.blobs.remove(digest));
                match removed.transpose() {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
                    _ => {}
                }
            }
            Ok(())
        })
    }
}

impl Records {
    /// Whether an image's configuration, or what it was published as, is this blob.
    fn needs_blob(&self, digest: &Digest) -> bool {
        self.images.contains_key(digest)
            || self.images.values().flat_map(|r| &r.published).any(|p| p.kept().any(|d| d == *digest))
    }

    /// Notes what an image was published as. What no name leads to any more is forgotten: answers the blobs of that.
    pub(crate) fn publish(&mut self, id: &ImageId, published: Published) -> Vec<Digest> {
        let named: Vec<Digest> = self.names_of(id).filter_map(|name| name.digest().copied()).collect();
        let Some(record) = self.images.get_mut(&id.digest()) else { return Vec::new() };
        let mut forgotten = Vec::new();
        record.published.retain(|old| {
            let stays = old.target != published.target && named.contains(&old.target.digest);
            if !stays {
                forgotten.extend(old.kept());
            }
            stays
        });
        record.published.push(published);
        forgotten
    }
}
