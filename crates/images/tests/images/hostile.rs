//! Archives made to harm: descriptions that multiply, and whatever a fuzzer makes of good ones.

use serde_json::{Value, json};
use skiff_images::RemoveOptions;

use crate::archives::{Dir, docker_files, hex, image, layer, load, pack};

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": format!("sha256:{}", hex(bytes)), "size": bytes.len() })
}

fn blob(bytes: &[u8]) -> (String, Vec<u8>) {
    (format!("blobs/sha256/{}", hex(bytes)), bytes.to_vec())
}

/// An OCI layout; its index lists indexes, `width` times each, `depth` levels of them.
fn layout(width: usize, depth: usize) -> Vec<(String, Vec<u8>)> {
    let image = image(&[layer("a")], &[]);
    let manifest = json!({
        "schemaVersion": 2,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &image.config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &image.layers[0])],
    });
    let mut inner = manifest.to_string().into_bytes();
    let mut files = vec![blob(&image.config), blob(&image.layers[0]), blob(&inner)];
    let mut kind = "application/vnd.oci.image.manifest.v1+json";
    for level in 0..=depth {
        let entry = descriptor(kind, &inner);
        inner =
            json!({ "schemaVersion": 2, "level": level, "manifests": vec![entry; width] }).to_string().into();
        files.push(blob(&inner));
        kind = "application/vnd.oci.image.index.v1+json";
    }
    files.push(("index.json".to_owned(), inner));
    files
}

/// Read one by one these would be a hundred million images.
#[test]
fn indexes_that_list_each_other_do_not_multiply() {
    let dir = Dir::new();
    let store = dir.open();
    let loaded = load(&store, &pack(&layout(100, 3))).unwrap();
    assert_eq!(loaded.len(), 1);
}

#[test]
fn one_configuration_may_be_named_often() {
    let dir = Dir::new();
    let store = dir.open();
    let mut files = docker_files(&[image(&[layer("a")], &["x:1"])]);
    let (_, manifest) = files.last_mut().unwrap();
    let items: Vec<Value> = serde_json::from_slice(manifest).unwrap();
    *manifest = serde_json::to_vec(&vec![items[0].clone(); 2000]).unwrap();
    assert_eq!(load(&store, &pack(&files)).unwrap().len(), 2000);
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn too_many_files_are_refused() {
    let dir = Dir::new();
    let store = dir.open();
    let mut archive = skiff_snapshots::conformance::Archive::new();
    let long = "d/".repeat(1000);
    for i in 0..17_000 {
        archive = archive.file(&format!("{long}{i}"), "");
    }
    let error = load(&store, &archive.finish()).unwrap_err();
    assert_eq!(error.to_string(), "too many files in the archive");
}

/// Whatever the answer is, it is one, and a refusal leaves nothing.
#[test]
fn damaged_archives_load_or_leave_nothing() {
    let dir = Dir::new();
    let store = dir.open();
    let before = dir.paths(&store);
    let two = docker_files(&[image(&[layer("a")], &["x:1"]), image(&[layer("a"), layer("b")], &["y:1"])]);
    let seeds = [two, layout(2, 1)];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = move |end: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % end as u64) as usize
    };
    let (mut refused, mut loaded) = (0, 0);
    for round in 0..300 {
        let mut files = seeds[round % 2].clone();
        for _ in 0..1 + below(2) {
            let which = below(files.len());
            let (path, contents) = &mut files[which];
            let at = below(contents.len());
            match below(6) {
                0 => contents.truncate(at),
                1 => contents[at] = b"{}[]\",:0-n\\ "[below(12)],
                2 => contents.insert(at, b"{}[]\",:0-n\\ "[below(12)]),
                3 => *path = ["index.json", "manifest.json", "x", "../x"][below(4)].to_owned(),
                4 => drop(files.swap_remove(which)),
                _ => contents[at] ^= 1 << below(8),
            }
            if files.iter().any(|(_, contents)| contents.is_empty()) {
                break;
            }
        }
        match load(&store, &pack(&files)) {
            Err(_) => refused += 1,
            Ok(images) => {
                loaded += 1;
                for image in images.iter().rev() {
                    let options = RemoveOptions { force: true, ..RemoveOptions::default() };
                    // It may have gone with one that was made from it.
                    let _ = store.remove(&image.id.to_string(), options, &|_| Vec::new());
                }
            }
        }
        assert_eq!(dir.paths(&store), before, "round {round}");
    }
    assert!(refused > 0 && loaded > 0, "{refused} refused, {loaded} loaded");
}
