//! Archives made to harm: descriptions that multiply, and whatever a fuzzer makes of good ones.

use serde_json::{Value, json};
use skiff_images::RemoveOptions;

use crate::archives::{Dir, config, docker_files, hex, image, layer, load, pack};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

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

/// An index with these images and entries, as the only entry of an archive's own.
fn indexed(entries: &[Value], padding: usize) -> Vec<(String, Vec<u8>)> {
    let mut index = json!({ "schemaVersion": 2, "manifests": entries }).to_string().into_bytes();
    index.resize(index.len() + padding, b' ');
    let entry = descriptor(INDEX, &index);
    let top = json!({ "schemaVersion": 2, "manifests": [entry] }).to_string().into_bytes();
    vec![blob(&index), ("index.json".to_owned(), top)]
}

/// Read and hashed one by one these would be four million documents of a megabyte.
#[test]
fn a_document_is_read_once_however_often_it_is_listed() {
    let dir = Dir::new();
    let store = dir.open();
    let config = config(&[], "");
    let manifest = json!({ "config": descriptor(CONFIG, &config), "layers": [] });
    let mut manifest = manifest.to_string().into_bytes();
    manifest.resize(1 << 20, b' ');
    let entry = descriptor(OCI, &manifest);
    let index = json!({ "schemaVersion": 2, "manifests": vec![entry; 2000] }).to_string().into_bytes();
    let top = json!({ "schemaVersion": 2, "manifests": vec![descriptor(INDEX, &index); 2000] });
    let files =
        [blob(&config), blob(&manifest), blob(&index), ("index.json".to_owned(), top.to_string().into())];
    let loaded = load(&store, &pack(&files)).unwrap();
    assert_eq!(loaded.len(), 1);
    assert_eq!(store.published(&loaded[0].id).len(), 1);
}

/// A configuration that many manifests name is hashed once.
#[test]
fn a_large_configuration_may_be_named_by_many_manifests() {
    let dir = Dir::new();
    let store = dir.open();
    let mut config = config(&[], "");
    config.resize(4 << 20, b' ');
    let mut files = vec![blob(&config)];
    let mut entries = Vec::new();
    for number in 0..2000 {
        let manifest = json!({ "number": number, "config": descriptor(CONFIG, &config), "layers": [] });
        let manifest = manifest.to_string().into_bytes();
        entries.push(descriptor(OCI, &manifest));
        files.push(blob(&manifest));
    }
    files.extend(indexed(&entries, 0));
    assert_eq!(load(&store, &pack(&files)).unwrap().len(), 2000);
}

/// The most memory that this process has had at once, in bytes.
fn most_memory() -> usize {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim_end_matches("kB").trim().parse::<usize>().unwrap() << 10
}

/// Each image is published by an index of four megabytes: two hundred copies would be eight hundred.
#[test]
fn images_of_one_index_share_its_bytes() {
    let dir = Dir::new();
    let store = dir.open();
    let (mut files, mut entries) = (Vec::new(), Vec::new());
    for number in 0..200 {
        let config = config(&[], &number.to_string());
        let manifest =
            json!({ "config": descriptor(CONFIG, &config), "layers": [] }).to_string().into_bytes();
        entries.push(descriptor(OCI, &manifest));
        files.extend([blob(&config), blob(&manifest)]);
    }
    files.extend(indexed(&entries, 3 << 20));
    let archive = pack(&files);
    fs_err::write("/proc/self/clear_refs", "5").unwrap();
    let before = most_memory();
    let loaded = load(&store, &archive).unwrap();
    let more = most_memory() - before;
    assert!(more < 200 << 20, "{more} bytes");
    assert_eq!(loaded.len(), 200);
    for image in loaded {
        assert_eq!(store.published(&image.id).len(), 1);
    }
}

/// More than a pull would keep of attestations is left out, and a name that is long is no media type.
#[test]
fn what_is_kept_with_an_image_is_bounded() {
    let dir = Dir::new();
    let store = dir.open();
    let config = config(&[], "");
    let manifest = json!({ "config": descriptor(CONFIG, &config), "layers": [] }).to_string().into_bytes();
    let mut files = vec![blob(&config), blob(&manifest)];
    let mut entries = vec![descriptor(OCI, &manifest)];
    let large: Vec<Vec<u8>> = (0..9).map(|number| vec![b'0' + number; 4 << 20]).collect();
    for parts in [&large[..], &large[..2]] {
        let layers: Vec<Value> = parts.iter().map(|part| descriptor("a/b", part)).collect();
        let attestation = json!({ "config": descriptor(CONFIG, &config), "layers": layers });
        let attestation = attestation.to_string().into_bytes();
        let mut entry = descriptor(OCI, &attestation);
        entry["annotations"] = json!({ "vnd.docker.reference.digest": entries[0]["digest"] });
        entries.push(entry);
        files.push(blob(&attestation));
    }
    files.extend(large.iter().map(|part| blob(part)));
    files.extend(indexed(&entries, 0));
    let id = load(&store, &pack(&files)).unwrap()[0].id;
    let published = store.published(&id).remove(0);
    assert_eq!((published.attestations.len(), published.blobs.len()), (1, 3));
    store.check_published(&published).unwrap();
    let top = String::from_utf8(files.pop().unwrap().1).unwrap();
    let top = top.replace(INDEX, &format!("{}{INDEX}", "x".repeat(300)));
    files.push(("index.json".to_owned(), top.into_bytes()));
    let other = Dir::new();
    let other = other.open();
    let id = load(&other, &pack(&files)).unwrap()[0].id;
    assert_eq!(other.published(&id), []);
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
