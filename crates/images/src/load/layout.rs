//! What an archive says its images are: `manifest.json` (docker-archive), `index.json` (OCI image-layout), or `repositories`
//! with a `json` per layer (before Docker 1.10).

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use skiff_types::{Digest, ImageId};

use super::{is_for, scan::Scan};
use crate::{Error, ImageConfig, Platform, Reference, Result, blobs::digest, load::scan::clean};

/// An image of the archive.
pub(super) struct Described {
    pub(super) id: ImageId,
    pub(super) config: ImageConfig,
    pub(super) config_bytes: Vec<u8>,
    pub(super) layers: Vec<LayerRef>,
    pub(super) names: Vec<Reference>,
    pub(super) parent: Option<Digest>,
}

/// A layer of the archive, and what is said about its file.
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
pub(super) fn describe(scan: &Scan<'_>, platform: Option<&Platform>) -> Result<Vec<Described>> {
    let images = if let Some(manifest) = scan.files.get(&b"manifest.json"[..]) {
        docker(scan, manifest)?
    } else if let Some(index) = scan.files.get(&b"index.json"[..]) {
        let mut images = Vec::new();
        oci_index(scan, index, platform, 0, &mut images)?;
        images
    } else if let Some(repositories) = scan.files.get(&b"repositories"[..]) {
        legacy(scan, repositories)?
    } else {
        return Err(Error::Archive("no manifest.json, index.json or repositories in the archive".to_owned()));
    };
    match platform {
        None => Ok(images),
        Some(platform) => {
            let fitting: Vec<_> = images.into_iter().filter(|i| is_for(&i.config, platform)).collect();
            if fitting.is_empty() {
                return Err(Error::Platform(format!(
                    "image does not provide the specified platform ({platform})"
                )));
            }
            Ok(fitting)
        }
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
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

fn docker(scan: &Scan<'_>, manifest: &[u8]) -> Result<Vec<Described>> {
    let items: Vec<ManifestItem> = json("manifest.json", manifest)?;
    items.iter().map(|item| docker_item(scan, item)).collect()
}

fn docker_item(scan: &Scan<'_>, item: &ManifestItem) -> Result<Described> {
    let config_path = scan.follow(item.config.as_bytes());
    let (config, config_bytes) = config(scan, &config_path)?;
    let mut layers = Vec::new();
    for (i, path) in item.layers.iter().flatten().enumerate() {
        let path = scan.follow(path.as_bytes());
        let promised = super::scan::blob_digest(&path);
        // A source may describe the layer in another compression than the archive's.
        let diff_id = config.rootfs.diff_ids.get(i).map(Digest::to_string);
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
        id: digest(&config_bytes).into(),
        names: names.collect::<Result<_>>()?,
        parent: item.parent.as_ref().and_then(|p| p.parse().ok()),
        config,
        config_bytes,
        layers,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    config: Descriptor,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

/// An index may lead to other indexes; deeper than this it is no image's.
const MAX_DEPTH: u32 = 4;

fn oci_index(
    scan: &Scan<'_>,
    bytes: &[u8],
    platform: Option<&Platform>,
    depth: u32,
    images: &mut Vec<Described>,
) -> Result<()> {
    let index: Index = json("index.json", bytes)?;
    for entry in &index.manifests {
        let found = images.len();
        // An index of several platforms need not come with all of them.
        let Some(bytes) = blob(scan, entry)? else { continue };
        let nested = entry.media_type.ends_with("image.index.v1+json")
            || entry.media_type.ends_with("manifest.list.v2+json");
        if nested && depth < MAX_DEPTH {
            oci_index(scan, bytes, platform, depth + 1, images)?;
        } else if let Some(image) = oci_manifest(scan, bytes)? {
            images.push(image);
        }
        for name in names(entry)? {
            // A name belongs to this machine's image among several.
            let here = Platform::host();
            let wanted = platform.unwrap_or(&here);
            let candidates = &mut images[found..];
            let at = candidates.iter().position(|i| is_for(&i.config, wanted)).unwrap_or(0);
            if let Some(image) = candidates.get_mut(at) {
                image.names.push(name);
            }
        }
    }
    Ok(())
}

/// The image of a manifest; nothing for an attestation or another artifact.
fn oci_manifest(scan: &Scan<'_>, bytes: &[u8]) -> Result<Option<Described>> {
    let manifest: Manifest = json("manifest", bytes)?;
    let is_config = ["image.config.v1+json", "container.image.v1+json"]
        .iter()
        .any(|t| manifest.config.media_type.ends_with(t));
    if !is_config {
        return Ok(None);
    }
    let config_bytes = blob(scan, &manifest.config)?
        .ok_or_else(|| Error::Archive(format!("blob {} is missing", manifest.config.digest)))?
        .to_vec();
    let config: ImageConfig = json(&manifest.config.digest, &config_bytes)?;
    if config.rootfs.diff_ids.is_empty() && !manifest.layers.is_empty() {
        return Ok(None);
    }
    let mut layers = Vec::new();
    for layer in &manifest.layers {
        let digest: Digest = digest_of(layer)?;
        layers.push(LayerRef { path: blob_path(&digest), digest: Some(digest), size: layer.size });
    }
    let id = digest(&config_bytes).into();
    Ok(Some(Described { id, config, config_bytes, layers, names: Vec::new(), parent: None }))
}

/// The names that tools write into an index: containerd's and Docker's whole one, or a tag or name alone.
fn names(entry: &Descriptor) -> Result<Vec<Reference>> {
    let Some(annotations) = &entry.annotations else { return Ok(Vec::new()) };
    if let Some(name) = annotations.get("io.containerd.image.name") {
        return Ok(vec![name.parse::<Reference>()?.or_latest()]);
    }
    match annotations.get("org.opencontainers.image.ref.name") {
        // A bare tag names no repository.
        Some(name) if name.contains(['/', ':']) => Ok(vec![name.parse::<Reference>()?.or_latest()]),
        _ => Ok(Vec::new()),
    }
}

/// A description among the blobs, checked; nothing if it is not there.
fn blob<'a>(scan: &'a Scan<'_>, descriptor: &Descriptor) -> Result<Option<&'a [u8]>> {
    let expected = digest_of(descriptor)?;
    let Some(bytes) = scan.files.get(&blob_path(&expected)) else { return Ok(None) };
    let found = digest(bytes);
    if found != expected {
        return Err(Error::Digest { what: "blob".to_owned(), expected, found });
    }
    match descriptor.size {
        Some(size) if size != bytes.len() as u64 => {
            Err(Error::Archive(format!("blob {expected} has {} bytes, expected {size}", bytes.len())))
        }
        _ => Ok(Some(bytes)),
    }
}

fn digest_of(descriptor: &Descriptor) -> Result<Digest> {
    descriptor.digest.parse().map_err(|e| Error::Archive(format!("digest {:?}: {e}", descriptor.digest)))
}

fn blob_path(digest: &Digest) -> Vec<u8> {
    format!("blobs/sha256/{}", digest.hex()).into_bytes()
}

/// Images of before Docker 1.10: a directory per layer with `layer.tar` and `json`, and no configuration that an id could
/// be the digest of. It is made from the topmost layer's description.
fn legacy(scan: &Scan<'_>, repositories: &[u8]) -> Result<Vec<Described>> {
    let repositories: BTreeMap<String, BTreeMap<String, String>> = json("repositories", repositories)?;
    let mut images: BTreeMap<String, Described> = BTreeMap::new();
    for (repository, tags) in repositories {
        for (tag, top) in tags {
            let name = format!("{repository}:{tag}").parse()?;
            match images.get_mut(&top) {
                Some(image) => image.names.push(name),
                None => drop(
                    images.insert(top.clone(), Described { names: vec![name], ..legacy_image(scan, &top)? }),
                ),
            }
        }
    }
    Ok(images.into_values().collect())
}

fn legacy_image(scan: &Scan<'_>, top: &str) -> Result<Described> {
    let mut layers = Vec::new();
    let mut diff_ids = Vec::new();
    let mut history = Vec::new();
    let mut next = Some(top.to_owned());
    let mut description: Option<serde_json::Map<String, serde_json::Value>> = None;
    while let Some(id) = next {
        let path = scan.follow(format!("{id}/json").as_bytes());
        let bytes = scan.files.get(&path).ok_or_else(|| missing(&path))?;
        let layer: serde_json::Map<String, serde_json::Value> = json("json", bytes)?;
        let path = scan.follow(format!("{id}/layer.tar").as_bytes());
        diff_ids.push(scan.diff_id(&path).ok_or_else(|| missing(&path))?);
        layers.push(LayerRef { path, digest: None, size: None });
        history.push(serde_json::json!({ "created": layer.get("created") }));
        next = layer.get("parent").and_then(|p| p.as_str()).filter(|p| !p.is_empty()).map(str::to_owned);
        if layers.len() > 1024 {
            return Err(Error::Archive("image has too many layers".to_owned()));
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
    let config_bytes = crate::gojson::to_vec(&config);
    let config = json("json", &config_bytes)?;
    let id = digest(&config_bytes).into();
    Ok(Described { id, config, config_bytes, layers, names: Vec::new(), parent: None })
}

fn config(scan: &Scan<'_>, path: &[u8]) -> Result<(ImageConfig, Vec<u8>)> {
    let bytes = scan.files.get(path).ok_or_else(|| missing(path))?;
    // A path that is a digest promises its contents.
    if let Some(expected) = super::scan::blob_digest(path).filter(|d| *d != digest(bytes)) {
        return Err(Error::Digest { what: "image configuration".to_owned(), expected, found: digest(bytes) });
    }
    Ok((json("image configuration", bytes)?, bytes.clone()))
}

fn missing(path: &[u8]) -> Error {
    Error::Archive(format!("{}: no such file", path.escape_ascii()))
}

fn json<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| Error::Archive(format!("{what}: {e}")))
}

impl Scan<'_> {
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
