//! What images of an archive were published as: OCI layouts may have the index that an image is of, with attestations about it.
//!
//! What an archive lists any number of times is looked at once, and what is found is said in digests: the bytes stay where
//! the scan has them.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
};

use skiff_types::{Digest, ImageId};

use super::{
    described::Described,
    layout::{self, Descriptor, Index, LayerRef, Manifest, digest_of},
    scan::{Scan, ScannedLayer},
};
use crate::{Document, Published};

/// The most images of an archive of which it is kept what they were published as.
const MOST_IMAGES: usize = 1000;

/// The most attestations of an image that are kept, and the most bytes of all of them, as with a pull.
const MOST: usize = 16;
const MOST_BYTES: u64 = 32 << 20;

/// The most blobs of all attestations.
const MOST_BLOBS: usize = 100_000;

/// The longest media type (RFC 6838, section 4.2): it is kept with each image.
const LONGEST_TYPE: usize = 255;

/// Of these images, those that an index of the archive has with the very layers that were loaded. What does not fit together
/// is not an error here: an image is whole without it.
pub(super) fn published(scan: &Scan, images: &[Described]) -> Vec<(ImageId, Published)> {
    let Some(top) = scan.files.get(&b"index.json"[..]) else { return Vec::new() };
    let Ok(top) = serde_json::from_slice::<Index>(top) else { return Vec::new() };
    let mut by_id = HashMap::new();
    for image in images {
        by_id.entry(image.config.id).or_insert(image);
    }
    let mut search = Search {
        scan,
        images: by_id,
        manifests: HashMap::new(),
        attestations: HashMap::new(),
        blobs: 0,
        known: HashSet::new(),
        found: Vec::new(),
    };
    let mut seen = HashSet::new();
    for entry in top.manifests.iter().filter(|entry| entry.is_index()) {
        let Some((target, bytes)) = document(scan, entry) else { continue };
        if seen.insert(target.digest)
            && let Ok(index) = serde_json::from_slice::<Index>(bytes)
        {
            search.index(&target, &index);
        }
    }
    search.found
}

struct Search<'a> {
    scan: &'a Scan<'a>,
    images: HashMap<ImageId, &'a Described>,
    /// The images that manifests are of, and the attestations: what has been looked at, whatever came of it.
    manifests: HashMap<Digest, Option<ImageId>>,
    attestations: HashMap<Digest, Option<Rc<Attestation>>>,
    /// Blobs of attestations so far.
    blobs: usize,
    known: HashSet<ImageId>,
    found: Vec<(ImageId, Published)>,
}

/// What an attestation is made of.
struct Attestation {
    blobs: Vec<Digest>,
    /// The bytes of its manifest and blobs.
    size: u64,
}

impl Search<'_> {
    fn index(&mut self, target: &Document, index: &Index) {
        let mut about: HashMap<&str, Vec<&Descriptor>> = HashMap::new();
        for entry in &index.manifests {
            if let Some(subject) = entry.about() {
                about.entry(subject).or_default().push(entry);
            }
        }
        for entry in &index.manifests {
            let Some((manifest, own)) = document(self.scan, entry) else { continue };
            let (scan, images) = (self.scan, &self.images);
            let id = *self.manifests.entry(manifest.digest).or_insert_with(|| image(scan, own, images));
            let Some(id) = id else { continue };
            if self.found.len() == MOST_IMAGES || !self.known.insert(id) {
                continue;
            }
            let own = manifest.digest.to_string();
            let mut published =
                Published { target: target.clone(), manifest, attestations: Vec::new(), blobs: Vec::new() };
            let mut room = MOST_BYTES;
            for entry in about.get(&own[..]).into_iter().flatten().take(MOST) {
                self.attestation(entry, &mut published, &mut room);
            }
            self.found.push((id, published));
        }
    }

    /// Adds an attestation if all of it is there, and there is room for it.
    fn attestation(&mut self, entry: &Descriptor, published: &mut Published, room: &mut u64) {
        let Some((manifest, bytes)) = document(self.scan, entry) else { return };
        let scan = self.scan;
        let attestation =
            self.attestations.entry(manifest.digest).or_insert_with(|| attestation(scan, bytes).map(Rc::new));
        let Some(attestation) = attestation.clone() else { return };
        let blobs = self.blobs + attestation.blobs.len();
        let (Some(left), ..=MOST_BLOBS) = (room.checked_sub(attestation.size), blobs) else { return };
        (*room, self.blobs) = (left, blobs);
        published.attestations.push(manifest);
        published.blobs.extend(&attestation.blobs);
    }
}

/// The image that a manifest describes: each file that it names has come, and is the layer that the image has there.
fn image(scan: &Scan, manifest: &[u8], images: &HashMap<ImageId, &Described>) -> Option<ImageId> {
    let Manifest { config, layers } = serde_json::from_slice(manifest).ok()?;
    let id = ImageId::from(digest_of(&config).ok()?);
    let image = images.get(&id)?;
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

/// The attestation that a manifest describes, if all of it is there.
fn attestation(scan: &Scan, manifest: &[u8]) -> Option<Attestation> {
    let Manifest { config, layers } = serde_json::from_slice(manifest).ok()?;
    let mut attestation = Attestation { blobs: Vec::new(), size: manifest.len() as u64 };
    for part in [&config].into_iter().chain(&layers) {
        let (part, _) = document(scan, part)?;
        attestation.size += part.size;
        attestation.blobs.push(part.digest);
    }
    Some(attestation)
}

/// A file of the archive that is what its descriptor says.
fn document<'a>(scan: &'a Scan, entry: &Descriptor) -> Option<(Document, &'a [u8])> {
    if entry.media_type.len() > LONGEST_TYPE {
        return None;
    }
    let (digest, bytes) = layout::blob(scan, entry).ok()??;
    let media_type = entry.media_type.clone();
    Some((Document { media_type, digest, size: bytes.len() as u64 }, bytes))
}
