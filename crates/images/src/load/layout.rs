//! What an archive says its images are: `manifest.json` (docker-archive), `index.json` (OCI image-layout), or `repositories`
//! with a `json` per layer (before Docker 1.10).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    rc::Rc,
};

use serde::{Deserialize, de::DeserializeOwned};
use skiff_types::Digest;

use super::{
    described::{Described, Images, MOST_LAYERS},
    scan::{Description, Scan},
};
use crate::{ABOUT, Error, Platform, Reference, Result, load::scan::clean};

/// A layer of the archive, and what is said about its file.
#[derive(Clone)]
pub(super) struct LayerRef {
    pub(super) path: Vec<u8>,
    digest: Option<Digest>,
    size: Option<u64>,
}

impl LayerRef {
    /// Whether the file is what it should be.
    pub(super) fn check(&self, found: &Digest, len: u64) -> Result<()> {
        let what = || format!("layer {}", self.path.escape_ascii());
        if let Some(expected) = self.digest.filter(|d| d != found) {
            return Err(Error::Digest { what: what(), expected, found: *found });
        }
        match self.size {
            Some(size) if size != len => {
                Err(Error::Archive(format!("{} has {len} bytes, expected {size}", what())))
            }
            _ => Ok(()),
        }
    }
}

/// The archive's images, in its order.
pub(super) fn describe(scan: &Scan, platform: Option<&Platform>) -> Result<Vec<Described>> {
    let mut images = Images::new(scan);
    if let Ok(manifest) = scan.file(&scan.follow(b"manifest.json")) {
        docker(scan, manifest, &mut images)?;
    } else if let Some(index) = scan.files.get(&b"index.json"[..]) {
        let seen = HashMap::new();
        let mut oci = Oci { scan, platform, images: &mut images, seen, listed: 0, foreign: None };
        oci.index(index, 0)?;
        if let (Some(foreign), true) = (oci.foreign, images.list.is_empty()) {
            return Err(foreign);
        }
    } else if let Some(repositories) = scan.files.get(&b"repositories"[..]) {
        legacy(scan, repositories, &mut images)?;
    } else {
        return Err(Error::Archive("no manifest.json, index.json or repositories in the archive".to_owned()));
    }
    let mut images = images.list;
    let Some(platform) = platform else { return Ok(images) };
    images.retain(|image| image.config.platform.is(platform));
    match images.is_empty() {
        true => Err(Error::Platform(format!("image does not provide the specified platform ({platform})"))),
        false => Ok(images),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ManifestItem {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
    #[serde(default)]
    parent: Option<String>,
    #[serde(default)]
    layer_sources: Option<BTreeMap<String, Descriptor>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    digest: String,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

impl Descriptor {
    pub(super) fn is_index(&self) -> bool {
        ["image.index.v1+json", "manifest.list.v2+json"].iter().any(|kind| self.media_type.ends_with(kind))
    }

    /// The manifest that this is about, if it is about one.
    pub(super) fn about(&self) -> Option<&str> {
        self.annotations.as_ref()?.get(ABOUT).map(String::as_str)
    }
}

fn docker(scan: &Scan, manifest: &[u8], images: &mut Images<'_>) -> Result<()> {
    let items: Option<Vec<ManifestItem>> = json("manifest.json", manifest)?;
    let items = items.ok_or_else(|| {
        Error::Archive("invalid manifest, manifest cannot be null (but can be [])".to_owned())
    })?;
    for item in &items {
        let image = docker_item(scan, item, images)?;
        images.push(image)?;
    }
    Ok(())
}

fn docker_item(scan: &Scan, item: &ManifestItem, images: &mut Images<'_>) -> Result<Described> {
    let config = images.config(&scan.follow(item.config.as_bytes()))?;
    let mut layers = Vec::new();
    for (i, path) in item.layers.iter().flatten().enumerate() {
        let path = scan.follow(path.as_bytes());
        let promised = super::scan::blob_digest(&path);
        // A source may describe the layer in another compression than the archive's.
        let diff_id = config.diff_ids.get(i).map(Digest::to_string);
        let source = item.layer_sources.as_ref().and_then(|s| s.get(&diff_id?));
        let size = source
            .filter(|s| Some(&s.digest) == promised.map(|p| p.to_string()).as_ref())
            .and_then(|s| s.size);
        layers.push(LayerRef { path, digest: promised, size });
    }
    let names = item.repo_tags.iter().flatten().map(|tag| {
        let reference: Reference = tag.parse()?;
        match reference.tag() {
            Some(_) => Ok(reference),
            None => Err(Error::Archive(format!("invalid tag {tag:?}"))),
        }
    });
    Ok(Described {
        names: names.collect::<Result<_>>()?,
        parent: item.parent.as_ref().and_then(|p| p.parse().ok()),
        config,
        layers,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    #[serde(default)]
    pub(super) manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub(super) config: Descriptor,
    #[serde(default)]
    pub(super) layers: Vec<Descriptor>,
}

/// An index may lead to other indexes; deeper than this it is no image's.
const MAX_DEPTH: u32 = 4;

/// The most images that all indexes together may list.
const MOST_LISTED: usize = 1 << 20;

/// The way through an OCI layout.
struct Oci<'a, 'b> {
    scan: &'a Scan<'a>,
    platform: Option<&'a Platform>,
    images: &'b mut Images<'a>,
    /// For each index or manifest that has been read where its images are in the list: it may be listed under several
    /// names, and indexes that list each other would multiply without end.
    seen: HashMap<Digest, Rc<[usize]>>,
    /// How many images the entries of all indexes have led to.
    listed: usize,
    /// That there is an image of another system, which an index for several may have.
    foreign: Option<Error>,
}

impl Oci<'_, '_> {
    /// Reads an index; gives back where its images are in the list.
    fn index(&mut self, bytes: &[u8], depth: u32) -> Result<Vec<usize>> {
        let index: Index = json("index.json", bytes)?;
        let mut found = BTreeSet::new();
        // What is said about an image looks like one.
        for entry in index.manifests.iter().filter(|entry| entry.about().is_none()) {
            let digest = digest_of(entry)?;
            let images = match self.seen.get(&digest) {
                Some(images) => Rc::clone(images),
                None => {
                    // An index of several platforms need not come with all of them.
                    let Some((_, bytes)) = blob(self.scan, entry)? else { continue };
                    let images: Rc<[usize]> = self.entry(entry, bytes, depth)?.into();
                    self.seen.insert(digest, Rc::clone(&images));
                    images
                }
            };
            self.name(&images, names(entry)?);
            self.listed += 1 + images.len();
            if self.listed > MOST_LISTED {
                return Err(Error::Archive("too many images in the archive".to_owned()));
            }
            found.extend(images.iter());
        }
        Ok(found.into_iter().collect())
    }

    fn entry(&mut self, entry: &Descriptor, bytes: &[u8], depth: u32) -> Result<Vec<usize>> {
        if entry.is_index() && depth < MAX_DEPTH {
            return self.index(bytes, depth + 1);
        }
        let Some(image) = self.manifest(bytes)? else { return Ok(Vec::new()) };
        if let Some(foreign) = image.config.foreign() {
            self.foreign = Some(foreign);
            return Ok(Vec::new());
        }
        self.images.push(image)?;
        Ok(vec![self.images.list.len() - 1])
    }

    /// A name belongs to this machine's image among several.
    fn name(&mut self, candidates: &[usize], names: Vec<Reference>) {
        let here = Platform::processor();
        let wanted = self.platform.unwrap_or(&here);
        let list = &mut self.images.list;
        let suits = |at: &&usize| list[**at].config.platform.rank(wanted).map_or((1, 0), |rank| (0, rank));
        let at = candidates.iter().min_by_key(suits);
        if let Some(at) = at {
            list[*at].names.extend(names);
        }
    }

    /// The image of a manifest; nothing for an artifact.
    fn manifest(&mut self, bytes: &[u8]) -> Result<Option<Described>> {
        let manifest: Manifest = json("manifest", bytes)?;
        let is_config = ["image.config.v1+json", "container.image.v1+json"]
            .iter()
            .any(|t| manifest.config.media_type.ends_with(t));
        if !is_config {
            return Ok(None);
        }
        let missing = || Error::Archive(format!("blob {} is missing", manifest.config.digest));
        let (digest, _) = blob(self.scan, &manifest.config)?.ok_or_else(missing)?;
        let config = self.images.config(&blob_path(&digest))?;
        if config.diff_ids.is_empty() && !manifest.layers.is_empty() {
            return Ok(None);
        }
        let layer = |layer: &Descriptor| {
            let digest = digest_of(layer)?;
            Ok(LayerRef { path: blob_path(&digest), digest: Some(digest), size: layer.size })
        };
        let layers = manifest.layers.iter().map(layer).collect::<Result<_>>()?;
        Ok(Some(Described { config, layers, names: Vec::new(), parent: None }))
    }
}

/// The names that tools write into an index: containerd's and Docker's whole one, or a tag or name alone.
fn names(entry: &Descriptor) -> Result<Vec<Reference>> {
    let Some(annotations) = &entry.annotations else { return Ok(Vec::new()) };
    if let Some(name) = annotations.get("io.containerd.image.name") {
        return Ok(vec![name.parse::<Reference>()?.decisive()]);
    }
    match annotations.get("org.opencontainers.image.ref.name") {
        // A bare tag names no repository.
        Some(name) if name.contains(['/', ':']) => Ok(vec![name.parse::<Reference>()?.decisive()]),
        _ => Ok(Vec::new()),
    }
}

/// A description among the blobs with its digest, checked; nothing if it is not there.
pub(super) fn blob<'a>(scan: &'a Scan, descriptor: &Descriptor) -> Result<Option<(Digest, &'a [u8])>> {
    let expected = digest_of(descriptor)?;
    let Some(bytes) = scan.files.get(&blob_path(&expected)) else { return Ok(None) };
    let found = bytes.digest();
    if found != expected {
        return Err(Error::Digest { what: "blob".to_owned(), expected, found });
    }
    match descriptor.size {
        Some(size) if size != bytes.len() as u64 => {
            Err(Error::Archive(format!("blob {expected} has {} bytes, expected {size}", bytes.len())))
        }
        _ => Ok(Some((expected, bytes))),
    }
}

pub(super) fn digest_of(descriptor: &Descriptor) -> Result<Digest> {
    descriptor.digest.parse().map_err(|e| Error::Archive(format!("digest {:?}: {e}", descriptor.digest)))
}

/// Where a blob is in the archive.
pub(super) fn blob_path(digest: &Digest) -> Vec<u8> {
    format!("blobs/sha256/{}", digest.hex()).into_bytes()
}

/// Images of before Docker 1.10: a directory per layer with `layer.tar` and `json`, and no configuration that an id could
/// be the digest of. It is made from the topmost layer's description.
fn legacy(scan: &Scan, repositories: &[u8], images: &mut Images<'_>) -> Result<()> {
    let repositories: BTreeMap<String, BTreeMap<String, String>> = json("repositories", repositories)?;
    let mut tops: BTreeMap<String, Vec<Reference>> = BTreeMap::new();
    for (repository, tags) in repositories {
        for (tag, top) in tags {
            tops.entry(top).or_default().push(format!("{repository}:{tag}").parse()?);
        }
    }
    for (top, names) in tops {
        images.push(Described { names, ..legacy_image(scan, &top)? })?;
    }
    Ok(())
}

fn legacy_image(scan: &Scan, top: &str) -> Result<Described> {
    let mut layers = Vec::new();
    let mut diff_ids = Vec::new();
    let mut history = Vec::new();
    let mut next = Some(top.to_owned());
    let mut description: Option<serde_json::Map<String, serde_json::Value>> = None;
    while let Some(id) = next {
        let path = scan.follow(format!("{id}/json").as_bytes());
        let layer: serde_json::Map<String, serde_json::Value> = json("json", scan.file(&path)?)?;
        let path = scan.follow(format!("{id}/layer.tar").as_bytes());
        diff_ids.push(scan.diff_id(&path).ok_or_else(|| missing(&path))?);
        layers.push(LayerRef { path, digest: None, size: None });
        history.push(serde_json::json!({ "created": layer.get("created") }));
        next = layer.get("parent").and_then(|p| p.as_str()).filter(|p| !p.is_empty()).map(str::to_owned);
        if layers.len() > MOST_LAYERS {
            return Err(Error::Archive("max depth exceeded".to_owned()));
        }
        description.get_or_insert(layer);
    }
    layers.reverse();
    diff_ids.reverse();
    history.reverse();
    let mut config = description.unwrap_or_default();
    for key in ["id", "parent", "Size", "parent_id", "layer_id", "throwaway"] {
        config.remove(key);
    }
    config.insert("history".to_owned(), history.into());
    config.insert("rootfs".to_owned(), serde_json::json!({ "type": "layers", "diff_ids": diff_ids }));
    let config = Images::made_config(&crate::gojson::to_vec(&config))?;
    Ok(Described { config, layers, names: Vec::new(), parent: None })
}

pub(super) fn missing(path: &[u8]) -> Error {
    Error::Archive(format!("open {}: no such file or directory", path.escape_ascii()))
}

fn json<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| Error::Archive(format!("{what}: {e}")))
}

impl Scan<'_> {
    /// The description at a path.
    pub(super) fn file(&self, path: &[u8]) -> Result<&Description> {
        self.files.get(path).ok_or_else(|| missing(path))
    }

    /// The path that a path of the archive leads to.
    fn follow(&self, path: &[u8]) -> Vec<u8> {
        let mut path = clean(path);
        // Links to links are rare, and links in a circle lead nowhere.
        for _ in 0..8 {
            match self.links.get(&path) {
                Some(target) => path = target.clone(),
                None => break,
            }
        }
        path
    }
}
