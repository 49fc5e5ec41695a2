//! Save: images as an archive, laid out as Docker 28 does: a docker-archive that is an OCI image-layout as well, with the
//! descriptions of before Docker 1.10 beside it.

mod v1;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read, Write},
};

use jiff::Timestamp as Time;
use serde::Serialize;
use skiff_archive::ArchiveSink;
use skiff_snapshots::{
    ChainId, LayerTar,
    tar::{END, Entry, EntryKind, Timestamp, encode, padding},
};
use skiff_types::{Digest, ImageId};

use crate::{Error, Image, ImageStore, Platform, Reference, Result, gojson, hold::Hold};

/// A sink for any writer.
#[derive(Debug)]
pub struct Plain<W>(pub W);

impl<W: Write> Write for Plain<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W: Write> ArchiveSink for Plain<W> {}

/// `len` bytes in pieces that are large, but stay in the processor's cache.
fn copy(from: &mut impl Read, len: u64, to: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let mut buf = vec![0; len.min(256 << 10) as usize];
    let mut left = len;
    while left > 0 {
        let want = left.min(buf.len() as u64) as usize;
        from.read_exact(&mut buf[..want])?;
        to.write_all(&buf[..want])?;
        left -= want as u64;
    }
    Ok(())
}

impl ImageStore {
    /// Writes images as `docker save` does. A repository without a tag stands for all its tags; an image named by id gets no
    /// name. Nothing is written if a name does not resolve.
    ///
    /// # Errors
    /// Those of [`resolve`](Self::resolve) and of the sink.
    pub fn save(
        &self,
        names: &[String],
        platform: Option<&Platform>,
        out: &mut dyn ArchiveSink,
    ) -> Result<()> {
        let mut hold = Hold::new(self);
        let images = self.selection(names)?;
        for selected in &images {
            if let Some(platform) = platform {
                selected.check(platform)?;
            }
            for chain in ChainId::all(&selected.image.config.rootfs.diff_ids) {
                hold.pin(chain);
                self.snapshots.layer(&chain)?;
            }
        }
        Plan::new(self, &images)?.write(self, out)
    }

    /// Whether all images that these names stand for are for the platform.
    ///
    /// # Errors
    /// A name does not resolve, or its image is for another platform.
    pub fn check_platform(&self, names: &[String], platform: &Platform) -> Result<()> {
        self.selection(names)?.iter().try_for_each(|selected| selected.check(platform))
    }

    /// The images that [`save`](Self::save) would write for these names.
    ///
    /// # Errors
    /// A name does not resolve.
    pub fn saved_images(&self, names: &[String]) -> Result<Vec<ImageId>> {
        Ok(self.selection(names)?.iter().map(|s| s.image.id).collect())
    }

    /// The images that the names stand for, each with the names it is saved under, in the order they were first named.
    fn selection(&self, names: &[String]) -> Result<Vec<Selected>> {
        let mut images: Vec<Selected> = Vec::new();
        let mut select = |id: ImageId, reference: Option<Reference>| -> Result<()> {
            let at = match images.iter().position(|s| s.image.id == id) {
                Some(at) => at,
                None => {
                    images.push(Selected { image: self.by_id(&id)?, references: Vec::new() });
                    images.len() - 1
                }
            };
            images[at].references.extend(reference);
            Ok(())
        };
        let records = self.records.read();
        for name in names {
            let reference = match name.parse::<Reference>() {
                Ok(reference) => reference,
                // It may be a whole id.
                Err(_) if self.resolve(name).is_ok() => {
                    select(self.resolve(name)?, None)?;
                    continue;
                }
                Err(e) => return Err(e.into()),
            };
            if let Some(digest) = records.names.get(&reference) {
                select((*digest).into(), Some(reference).filter(|r| r.tag().is_some()))?;
            } else if reference.tag().is_none() && reference.digest().is_none() {
                let tags =
                    records.names.iter().filter(|(r, _)| r.tag().is_some() && r.name() == reference.name());
                let tags: Vec<_> = tags.collect();
                if tags.is_empty() {
                    let id = self.resolve(name).map_err(|_| Error::NotFound(name.clone()))?;
                    select(id, None)?;
                }
                for (tag, digest) in tags {
                    select((*digest).into(), Some(tag.clone()))?;
                }
            } else {
                let id = self.resolve(name).map_err(|_| Error::NoSuchReference)?;
                select(id, None)?;
            }
        }
        for selected in &mut images {
            selected.references.sort();
            selected.references.dedup();
        }
        Ok(images)
    }
}

/// An image and the names it is saved under.
struct Selected {
    image: Image,
    references: Vec<Reference>,
}

impl Selected {
    fn check(&self, platform: &Platform) -> Result<()> {
        match Platform::of(&self.image.config).is(platform) {
            true => Ok(()),
            false => {
                Err(Error::Platform(format!("image does not provide the specified platform ({platform})")))
            }
        }
    }
}

/// What the archive will hold, by path.
struct Plan {
    entries: BTreeMap<String, Part>,
}

struct Part {
    contents: Contents,
    mtime: i64,
}

enum Contents {
    Directory,
    Bytes(Vec<u8>),
    Layer(ChainId, u64),
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ManifestItem {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<Digest>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    layer_sources: BTreeMap<String, LayerSource>,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct LayerSource {
    media_type: &'static str,
    size: u64,
    digest: Digest,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: &'static str,
    digest: Digest,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<BTreeMap<&'static str, String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OciManifest {
    schema_version: u32,
    media_type: &'static str,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OciIndex {
    schema_version: u32,
    media_type: &'static str,
    manifests: Vec<Descriptor>,
}

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

impl Plan {
    fn new(store: &ImageStore, images: &[Selected]) -> Result<Self> {
        let mut plan = Self { entries: BTreeMap::new() };
        let mut docker = Vec::new();
        let mut oci = Vec::new();
        let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        let saved: BTreeSet<ImageId> = images.iter().map(|s| s.image.id).collect();
        for selected in images {
            let image = &selected.image;
            let (item, manifest) = plan.image(store, image)?;
            let last =
                item.layers.last().and_then(|path| path.rsplit('/').next()).unwrap_or_default().to_owned();
            let parent = image.parent.filter(|p| saved.contains(p)).map(|p| p.digest());
            let repo_tags = selected.references.iter().map(Reference::familiar).collect::<Vec<_>>();
            for reference in &selected.references {
                let tag = reference.tag().unwrap_or_default().to_owned();
                repositories.entry(reference.familiar_name()).or_default().insert(tag.clone(), last.clone());
                oci.push(Descriptor {
                    annotations: Some(BTreeMap::from([
                        ("io.containerd.image.name", reference.to_string()),
                        ("org.opencontainers.image.ref.name", tag),
                    ])),
                    ..manifest.descriptor()
                });
            }
            if selected.references.is_empty() {
                oci.push(manifest.descriptor());
            }
            docker.push(ManifestItem {
                repo_tags: Some(repo_tags).filter(|t| !t.is_empty()),
                parent,
                ..item
            });
        }
        let now = Time::now().as_second();
        let made = images.last().map_or(0, |s| seconds(&s.image));
        plan.add("blobs".to_owned(), Contents::Directory, made);
        plan.add("blobs/sha256".to_owned(), Contents::Directory, now);
        let index = OciIndex { schema_version: 2, media_type: INDEX, manifests: oci };
        plan.add("index.json".to_owned(), Contents::Bytes(gojson::to_vec(&index)), 0);
        plan.add("manifest.json".to_owned(), line(gojson::to_vec(&docker)), 0);
        plan.add("oci-layout".to_owned(), Contents::Bytes(br#"{"imageLayoutVersion": "1.0.0"}"#.to_vec()), 0);
        if !repositories.is_empty() {
            plan.add("repositories".to_owned(), line(gojson::to_vec(&repositories)), 0);
        }
        Ok(plan)
    }

    /// Adds an image's blobs; its item of `manifest.json` and its OCI manifest.
    fn image(&mut self, store: &ImageStore, image: &Image) -> Result<(ManifestItem, Blob)> {
        let mtime = seconds(image);
        let config = store.config_bytes(&image.id)?;
        let mut sources = BTreeMap::new();
        let mut layers = Vec::new();
        for (diff_id, chain) in
            image.config.rootfs.diff_ids.iter().zip(ChainId::all(&image.config.rootfs.diff_ids))
        {
            let size = store.snapshots.layer(&chain)?.tar_size;
            self.blob(diff_id, Contents::Layer(chain, size), mtime);
            sources.insert(diff_id.to_string(), LayerSource { media_type: LAYER, size, digest: *diff_id });
            layers.push(Descriptor { media_type: LAYER, digest: *diff_id, size, annotations: None });
        }
        for description in v1::descriptions(&image.config) {
            self.blob(&Digest::of(&description), Contents::Bytes(description), mtime);
        }
        let item = ManifestItem {
            config: blob_path(&image.id.digest()),
            repo_tags: None,
            layers: image.config.rootfs.diff_ids.iter().map(blob_path).collect(),
            parent: None,
            layer_sources: sources,
        };
        let config_size = config.len() as u64;
        self.blob(&image.id.digest(), Contents::Bytes(config), mtime);
        let manifest = gojson::to_vec(&OciManifest {
            schema_version: 2,
            media_type: MANIFEST,
            config: Descriptor {
                media_type: CONFIG,
                digest: image.id.digest(),
                size: config_size,
                annotations: None,
            },
            layers,
        });
        let blob = Blob { digest: Digest::of(&manifest), size: manifest.len() as u64 };
        self.blob(&blob.digest, Contents::Bytes(manifest), 0);
        Ok((item, blob))
    }

    fn blob(&mut self, digest: &Digest, contents: Contents, mtime: i64) {
        self.add(blob_path(digest), contents, mtime);
    }

    /// What is there already stays: images share layers.
    fn add(&mut self, path: String, contents: Contents, mtime: i64) {
        self.entries.entry(path).or_insert(Part { contents, mtime });
    }

    fn write(&self, store: &ImageStore, out: &mut dyn ArchiveSink) -> Result<()> {
        for (path, part) in &self.entries {
            let (kind, mode, size) = match &part.contents {
                Contents::Directory => (EntryKind::Directory, 0o755, 0),
                Contents::Bytes(bytes) => (EntryKind::File, 0o644, bytes.len() as u64),
                Contents::Layer(_, size) => (EntryKind::File, 0o644, *size),
            };
            let slash = if kind == EntryKind::Directory { "/" } else { "" };
            let mut header = Vec::new();
            let path = format!("{path}{slash}").into_bytes();
            let mtime = Timestamp { secs: part.mtime, nanos: 0 };
            encode(&Entry { path, kind, mode, mtime, size, ..Entry::default() }, &mut header);
            match &part.contents {
                Contents::Directory => out.write_all(&header)?,
                Contents::Bytes(bytes) => {
                    header.extend_from_slice(bytes);
                    header.resize(header.len() + padding(size), 0);
                    out.write_all(&header)?;
                }
                Contents::Layer(chain, size) => {
                    out.write_all(&header)?;
                    match store.snapshots.layer_tar(chain)? {
                        LayerTar::File { mut file, len } if len == *size => out.copy_file(&mut file, len)?,
                        mut tar => copy(&mut tar, *size, out)?,
                    }
                    out.write_all(&[0; 512][..padding(*size)])?;
                }
            }
        }
        out.write_all(&END)?;
        Ok(out.flush()?)
    }
}

/// A blob's place in a descriptor.
struct Blob {
    digest: Digest,
    size: u64,
}

impl Blob {
    fn descriptor(&self) -> Descriptor {
        Descriptor { media_type: MANIFEST, digest: self.digest, size: self.size, annotations: None }
    }
}

fn line(mut bytes: Vec<u8>) -> Contents {
    bytes.push(b'\n');
    Contents::Bytes(bytes)
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// When the image was made, in whole seconds as archives have it.
fn seconds(image: &Image) -> i64 {
    // An archive's times begin in 1970: Go's zero, of images without a time, is long before.
    image.config.created.map_or(0, |created| created.as_second().max(0))
}
