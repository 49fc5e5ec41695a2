//! What an image was published as, as lists and `inspect` show it: the manifests of its index, which of them are here, and what
//! they are.

use skiff_distribution::{Descriptor, Document, media};
use skiff_images::{ABOUT, Image, ImageStore, Published};
use skiff_types::Digest;

use crate::{
    Result,
    model::{ManifestKind, ManifestSummary, PublishedImage},
    registries::platform_of,
    registry::Registry,
};

/// The annotation of an entry that is no image, and what it says of attestations.
const KIND: &str = "vnd.docker.reference.type";
const ATTESTATION: &str = "attestation-manifest";

/// What the image was last published as; none if it never was.
///
/// # Errors
/// What was kept of it cannot be read.
pub(super) fn published(
    store: &ImageStore,
    registry: &Registry,
    image: &Image,
) -> Result<Option<PublishedImage>> {
    let Some(published) = store.published(&image.id).pop() else { return Ok(None) };
    let target = &published.target;
    let descriptor = Descriptor::new(&target.media_type, target.digest, target.size);
    let entries = match parsed(store, &target.media_type, &target.digest)? {
        Document::Index(index) => index.manifests,
        Document::Manifest(_) => vec![descriptor.clone()],
    };
    let look = Look { store, registry, image, published: &published };
    let manifests = entries.into_iter().map(|entry| look.at(entry)).collect::<Result<_>>()?;
    Ok(Some(PublishedImage { descriptor, manifests }))
}

struct Look<'a> {
    store: &'a ImageStore,
    registry: &'a Registry,
    image: &'a Image,
    published: &'a Published,
}

impl Look<'_> {
    fn at(&self, descriptor: Descriptor) -> Result<ManifestSummary> {
        let own = descriptor.digest == self.published.manifest.digest;
        let about = descriptor.annotations.get(ABOUT);
        let attestation = descriptor.annotations.get(KIND).is_some_and(|kind| kind == ATTESTATION);
        let kept = self.published.attestations.iter().any(|a| a.digest == descriptor.digest);
        let content = match own || kept {
            true => self.content(&descriptor, own)?,
            false => 0,
        };
        let kind = match about {
            Some(about) if attestation => ManifestKind::Attestation { of: about.clone() },
            _ if own => ManifestKind::Image {
                platform: descriptor.platform.clone().unwrap_or_else(|| platform_of(&self.image.config)),
                containers: self.containers(),
                unpacked: self.image.size,
            },
            _ => match descriptor.platform.clone() {
                Some(platform) if about.is_none() => {
                    ManifestKind::Image { platform, containers: Vec::new(), unpacked: 0 }
                }
                _ => ManifestKind::Unknown,
            },
        };
        Ok(ManifestSummary { descriptor, available: own || kept, content, kind })
    }

    /// Bytes of a manifest that is here, and of what it refers to. Layers are here unpacked only.
    fn content(&self, descriptor: &Descriptor, own: bool) -> Result<u64> {
        let Document::Manifest(manifest) = parsed(self.store, &descriptor.media_type, &descriptor.digest)?
        else {
            return Ok(descriptor.size);
        };
        let layers = if own { &[][..] } else { &manifest.layers };
        let parts = [&manifest.config].into_iter().chain(layers);
        Ok(parts.fold(descriptor.size, |sum, part| sum.saturating_add(part.size)))
    }

    fn containers(&self) -> Vec<String> {
        let containers = self.registry.all();
        let records = containers.iter().map(|container| container.record());
        records.filter(|r| r.image == self.image.id).map(|r| r.id.to_string()).collect()
    }
}

fn parsed(store: &ImageStore, media_type: &str, digest: &Digest) -> Result<Document> {
    Ok(media::parse(media_type, &store.kept_bytes(digest)?)?.1)
}
