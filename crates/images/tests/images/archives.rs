//! Stores and archives for the tests.

use std::{path::PathBuf, sync::Arc};

use sha2::{Digest as _, Sha256};
use skiff_images::{ImageStore, LoadEvent, Loaded, Result};
use skiff_snapshots::conformance::Archive;

/// An image store with its snapshotter in a temporary directory.
pub(crate) struct Dir {
    root: tempfile::TempDir,
}

impl Dir {
    pub(crate) fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    /// With the best driver for this kernel, or the one it was opened with first.
    pub(crate) fn open(&self) -> ImageStore {
        self.open_with(None)
    }

    pub(crate) fn open_with(&self, driver: Option<&str>) -> ImageStore {
        let snapshots = skiff_snapshots::open(&self.root.path().join("snapshots"), driver).unwrap();
        ImageStore::open(&self.root.path().join("images"), Arc::clone(&snapshots)).unwrap()
    }

    /// Every path below, once the garbage has gone.
    pub(crate) fn paths(&self, store: &ImageStore) -> Vec<PathBuf> {
        store.snapshotter().collect_garbage().unwrap();
        let mut paths = Vec::new();
        let mut dirs = vec![self.root.path().to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in fs_err::read_dir(dir).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    dirs.push(entry.path());
                }
                paths.push(entry.path());
            }
        }
        // It holds what the tests look at through the store.
        paths.retain(|p| !p.ends_with("images.json"));
        paths.sort();
        paths
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

pub(crate) fn load(store: &ImageStore, archive: &[u8]) -> Result<Vec<Loaded>> {
    store.load(&mut &archive[..], None, &mut |_: LoadEvent| ())
}

/// A layer with one file.
pub(crate) fn layer(name: &str) -> Vec<u8> {
    Archive::new().dir("etc").file(&format!("etc/{name}"), name).finish()
}

/// The configuration of an image with these layers.
pub(crate) fn config(layers: &[Vec<u8>], comment: &str) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|l| format!("sha256:{}", hex(l))).collect();
    let history: Vec<_> = layers.iter().map(|l| serde_json::json!({ "created_by": hex(l) })).collect();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "comment": comment, "config": { "Cmd": ["sh"] },
        "created": "2024-05-06T07:08:09.12Z", "history": history,
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    serde_json::to_vec(&config).unwrap()
}

/// An image for an archive.
pub(crate) struct Image {
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) config: Vec<u8>,
    pub(crate) tags: Vec<&'static str>,
    pub(crate) parent: Option<String>,
}

pub(crate) fn image(layers: &[Vec<u8>], tags: &[&'static str]) -> Image {
    Image { layers: layers.to_vec(), config: config(layers, ""), tags: tags.to_vec(), parent: None }
}

impl Image {
    pub(crate) fn id(&self) -> String {
        format!("sha256:{}", hex(&self.config))
    }
}

/// A docker-archive whose files a test may change: (path, contents), the manifest last.
pub(crate) fn docker_files(images: &[Image]) -> Vec<(String, Vec<u8>)> {
    let mut files = std::collections::BTreeMap::new();
    let mut items = Vec::new();
    for image in images {
        let mut paths = Vec::new();
        for layer in &image.layers {
            let path = format!("blobs/sha256/{}", hex(layer));
            files.insert(path.clone(), layer.clone());
            paths.push(path);
        }
        let path = format!("blobs/sha256/{}", hex(&image.config));
        files.insert(path.clone(), image.config.clone());
        let mut item = serde_json::json!({ "Config": path, "RepoTags": image.tags, "Layers": paths });
        if let Some(parent) = &image.parent {
            item["Parent"] = parent.clone().into();
        }
        items.push(item);
    }
    let manifest = serde_json::to_vec(&items).unwrap();
    files.into_iter().chain([("manifest.json".to_owned(), manifest)]).collect()
}

/// The archive with these files.
pub(crate) fn pack(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    use skiff_snapshots::tar::Entry;
    let mut archive = Archive::new();
    for (path, contents) in files {
        let entry =
            Entry { path: path.clone().into(), mode: 0o644, size: contents.len() as u64, ..Entry::default() };
        archive = archive.entry(&entry, contents);
    }
    archive.finish()
}

pub(crate) fn docker_archive(images: &[Image]) -> Vec<u8> {
    pack(&docker_files(images))
}

/// The files of an archive.
pub(crate) fn unpack(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut reader = skiff_snapshots::tar::Reader::new(archive);
    let mut files = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let mut contents = Vec::new();
        reader.copy_contents(&mut contents).unwrap();
        files.push((String::from_utf8(entry.path).unwrap(), contents));
    }
    files
}
