//! What images of an archive were published as: OCI layouts may have the index that an image is of, with attestations about it.

use skiff_types::{Digest, ImageId};

use super::{
    described::Described,
    layout::{self, Descriptor, Index, LayerRef, Manifest, digest_of},
    scan::{Scan, ScannedLayer},
};
use crate::{Document, Published};

/// The most attestations of an image.
const MOST: usize = 16;

/// An image with the bytes that are to be kept of it.
pub(super) type Found = (ImageId, Published, Vec<Vec<u8>>);

/// Of these images, those that an index of the archive has with the very layers that were loaded. What does not fit together
/// is not an error here: an image is whole without it.
pub(super) fn published(scan: &Scan, images: &[Described]) -> Vec<Found> {
    let Some(top) = scan.files.get(&b"index.json"[..]) else { return Vec::new() };
    let Ok(top) = serde_json::from_slice::<Index>(top) else { return Vec::new() };
    let mut found: Vec<Found> = Vec::new();
    for entry in top.manifests.iter().filter(|entry| entry.is_index()) {
        let Some((target, bytes)) = document(scan, entry) else { continue };
        let Ok(index) = serde_json::from_slice::<Index>(bytes) else { continue };
        for entry in &index.manifests {
            let Some((manifest, own)) = document(scan, entry) else { continue };
            let Some(id) = image(scan, own, images) else { continue };
            if found.iter().any(|(known, ..)| *known == id) {
                continue;
            }
            let mut kept = vec![bytes.to_vec(), own.to_vec()];
            let mut published =
                Published { target: target.clone(), manifest, attestations: Vec::new(), blobs: Vec::new() };
            let own = published.manifest.digest.to_string();
            let about = index.manifests.iter().filter(|entry| entry.about() == Some(own.as_str()));
            for entry in about.take(MOST) {
                attestation(scan, entry, &mut published, &mut kept);
            }
            found.push((id, published, kept));
        }
    }
    found
}

/// The image that a manifest describes: each file that it names has come, and is the layer that the image has there.
fn image(scan: &Scan, manifest: &[u8], images: &[Described]) -> Option<ImageId> {
    let Manifest { config, layers } = serde_json::from_slice(manifest).ok()?;
    let id = ImageId::from(digest_of(&config).ok()?);
    let image = images.iter().find(|image| image.config.id == id)?;
    let proved = |(blob, (layer, diff_id)): (&Digest, (&LayerRef, &Digest))| match scan
        .layers
        .get(&layer.path)
    {
        Some(ScannedLayer::Staged { staged, digest, .. }) => blob == digest && staged.diff_id() == diff_id,
        // Only by its diff id a file is taken for a layer without being read.
        _ => blob == diff_id,
    };
    let blobs: Vec<Digest> = layers.iter().map(|layer| digest_of(layer).ok()).collect::<Option<_>>()?;
    let own = image.layers.iter().zip(&image.config.diff_ids);
    (blobs.len() == image.layers.len() && blobs.iter().zip(own).all(proved)).then_some(id)
}

/// Adds an attestation if all of it is there.
fn attestation(scan: &Scan, entry: &Descriptor, published: &mut Published, kept: &mut Vec<Vec<u8>>) {
    let Some((manifest, bytes)) = document(scan, entry) else { return };
    let Ok(Manifest { config, layers }) = serde_json::from_slice(bytes) else { return };
    let parts: Option<Vec<_>> = [config].iter().chain(&layers).map(|part| document(scan, part)).collect();
    let Some(parts) = parts else { return };
    published.attestations.push(manifest);
    kept.push(bytes.to_vec());
    for (part, bytes) in parts {
        published.blobs.push(part.digest);
        kept.push(bytes.to_vec());
    }
}

/// A file of the archive that is what its descriptor says.
fn document<'a>(scan: &'a Scan, entry: &Descriptor) -> Option<(Document, &'a [u8])> {
    let (digest, bytes) = layout::blob(scan, entry).ok()??;
    let media_type = entry.media_type.clone();
    Some((Document { media_type, digest, size: bytes.len() as u64 }, bytes))
}
