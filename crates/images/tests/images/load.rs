//! Loading: layouts, compressions, and what must be refused.

use std::io::Write;

use skiff_images::{Error, ImageStore, Platform};
use skiff_snapshots::conformance::Archive;
use skiff_types::ErrorKind;

use crate::archives::{Dir, docker_archive, docker_files, hex, image, layer, load, pack, unpack};

fn names(store: &ImageStore) -> Vec<String> {
    let mut names: Vec<String> =
        store.list().unwrap().iter().flat_map(|i| &i.tags).map(|r| r.familiar()).collect();
    names.sort();
    names
}

#[test]
fn several_images_share_layers_and_keep_their_parents() {
    let dir = Dir::new();
    let store = dir.open();
    let base = image(&[layer("a")], &["base:1", "base:2"]);
    let mut child = image(&[layer("a"), layer("b")], &["child:1"]);
    child.parent = Some(base.id());
    let nameless = image(&[layer("a"), layer("a")], &[]);
    let ids = [base.id(), child.id(), nameless.id()];
    let loaded = load(&store, &docker_archive(&[base, child, nameless])).unwrap();
    assert_eq!(loaded.iter().map(|l| l.id.digest().to_string()).collect::<Vec<_>>(), ids);
    assert_eq!(names(&store), ["base:1", "base:2", "child:1"]);
    assert_eq!(store.get("child:1").unwrap().parent, Some(loaded[0].id));
    assert_eq!(store.get("base:1").unwrap().parent, None);
    assert_eq!(store.snapshotter().layers().len(), 3);
    let history = store.history("child:1").unwrap();
    assert_eq!(history.iter().map(|h| h.id).collect::<Vec<_>>(), [Some(loaded[1].id), Some(loaded[0].id)]);
    drop(store);
    let store = dir.open();
    assert_eq!(names(&store), ["base:1", "base:2", "child:1"]);
    assert_eq!(store.list().unwrap().len(), 3);
}

#[test]
fn what_is_saved_loads_elsewhere_with_the_same_ids() {
    let (here, there) = (Dir::new(), Dir::new());
    let store = here.open();
    let base = image(&[layer("a")], &["base:1"]);
    let mut child = image(&[layer("a"), layer("b")], &["child:1", "child:2"]);
    child.parent = Some(base.id());
    load(&store, &docker_archive(&[child, base])).unwrap();
    let mut saved = Vec::new();
    store.save(&["child".to_owned(), "base:1".to_owned()], None, &mut saved).unwrap();
    let other = there.open_with(Some("vfs"));
    load(&other, &saved).unwrap();
    assert_eq!(names(&other), ["base:1", "child:1", "child:2"]);
    for name in ["base:1", "child:2"] {
        let (a, b) = (store.get(name).unwrap(), other.get(name).unwrap());
        assert_eq!((a.id, a.parent, a.size, a.config), (b.id, b.parent, b.size, b.config));
    }
    // By id there are no names.
    let mut saved = Vec::new();
    store.save(&[store.get("base:1").unwrap().id.to_string()], None, &mut saved).unwrap();
    let paths: Vec<String> = unpack(&saved).into_iter().map(|(p, _)| p).collect();
    assert!(!paths.contains(&"repositories".to_owned()));
    assert_eq!(load(&Dir::new().open(), &saved).unwrap()[0].references, []);
}

#[test]
fn saving_refuses_unknown_names_in_dockers_words() {
    let dir = Dir::new();
    let store = dir.open();
    for (name, message) in [
        ("nosuch", "No such image: nosuch"),
        ("nosuch:tag", "reference does not exist"),
        ("A", "invalid reference format: repository name (library/A) must be lowercase"),
    ] {
        let mut out = Vec::new();
        assert_eq!(store.save(&[name.to_owned()], None, &mut out).unwrap_err().to_string(), message);
        assert!(out.is_empty());
    }
}

#[test]
fn archives_and_layers_may_be_compressed() {
    type Compress = fn(&[u8]) -> Vec<u8>;
    let gzip: Compress = |bytes| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let zstd: Compress = |bytes| zstd::encode_all(bytes, 3).unwrap();
    let plain: Compress = <[u8]>::to_vec;
    for (outer, inner) in [(gzip, plain), (zstd, plain), (plain, gzip), (gzip, gzip), (plain, zstd)] {
        let dir = Dir::new();
        let store = dir.open();
        let image = image(&[layer("a"), layer("b")], &["x:1"]);
        let id = image.id();
        let mut files = docker_files(&[image]);
        let manifest = String::from_utf8(files.last().unwrap().1.clone()).unwrap();
        let mut renamed = manifest.clone();
        for name in ["a", "b"] {
            let (old, new) = (hex(&layer(name)), hex(&inner(&layer(name))));
            renamed = renamed.replace(&format!("{old}\""), &format!("{new}\""));
            let file = files.iter_mut().find(|(p, _)| p.ends_with(&old)).unwrap();
            *file = (format!("blobs/sha256/{new}"), inner(&layer(name)));
        }
        files.last_mut().unwrap().1 = renamed.into_bytes();
        load(&store, &outer(&pack(&files))).unwrap();
        assert_eq!(store.get("x:1").unwrap().id.digest().to_string(), id);
    }
}

fn descriptor(kind: &str, bytes: &[u8]) -> serde_json::Value {
    let media_type = format!("application/vnd.oci.image.{kind}");
    serde_json::json!({ "mediaType": media_type, "digest": format!("sha256:{}", hex(bytes)), "size": bytes.len() })
}

#[test]
fn an_index_may_have_images_of_other_systems() {
    let dir = Dir::new();
    let store = dir.open();
    let archive = |systems: &[&str]| {
        let (mut files, mut entries) = (Vec::new(), Vec::new());
        for system in systems {
            let image = image(&[layer(system)], &[]);
            let config = String::from_utf8(image.config.clone()).unwrap();
            assert!(config.contains(r#""os":"linux""#), "{config}");
            let config = config.replace(r#""os":"linux""#, &format!(r#""os":"{system}""#)).into_bytes();
            let manifest = serde_json::json!({
                "schemaVersion": 2, "config": descriptor("config.v1+json", &config),
                "layers": [descriptor("layer.v1.tar", &image.layers[0])],
            });
            let manifest = serde_json::to_vec(&manifest).unwrap();
            let mut entry = descriptor("manifest.v1+json", &manifest);
            let name = format!("docker.io/library/{system}:1");
            entry["annotations"] = serde_json::json!({ "io.containerd.image.name": name });
            entries.push(entry);
            for blob in [image.layers[0].clone(), config, manifest] {
                files.push((format!("blobs/sha256/{}", hex(&blob)), blob));
            }
        }
        let index = serde_json::json!({ "schemaVersion": 2, "manifests": entries });
        files.push(("index.json".to_owned(), serde_json::to_vec(&index).unwrap()));
        pack(&files)
    };
    load(&store, &archive(&["windows", "linux"])).unwrap();
    assert_eq!(names(&store), ["linux:1"]);
    let error = load(&store, &archive(&["windows"])).unwrap_err();
    assert_eq!(error.to_string(), "cannot load windows image on linux");
}

#[test]
fn oci_layouts_load_by_their_index() {
    let dir = Dir::new();
    let store = dir.open();
    let image = image(&[layer("a"), layer("b")], &[]);
    let id = image.id();
    let layers: Vec<_> = image.layers.iter().map(|l| descriptor("layer.v1.tar", l)).collect();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "config": descriptor("config.v1+json", &image.config), "layers": layers,
    });
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let mut entry = descriptor("manifest.v1+json", &manifest);
    entry["annotations"] = serde_json::json!({ "io.containerd.image.name": "docker.io/library/oci:1" });
    let inner = serde_json::to_vec(&serde_json::json!({ "schemaVersion": 2, "manifests": [entry] })).unwrap();
    let mut nested = descriptor("index.v1+json", &inner);
    nested["annotations"] =
        serde_json::json!({ "org.opencontainers.image.ref.name": "example.com/nested:2" });
    let index =
        serde_json::to_vec(&serde_json::json!({ "schemaVersion": 2, "manifests": [nested] })).unwrap();
    let mut files = docker_files(&[image]);
    *files.last_mut().unwrap() = ("index.json".to_owned(), index);
    files.push((format!("blobs/sha256/{}", hex(&manifest)), manifest));
    files.push((format!("blobs/sha256/{}", hex(&inner)), inner));
    files.push(("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()));
    load(&store, &pack(&files)).unwrap();
    assert_eq!(names(&store), ["example.com/nested:2", "oci:1"]);
    assert_eq!(store.get("oci:1").unwrap().id.digest().to_string(), id);
}

#[test]
fn the_layout_of_before_docker_1_10_loads() {
    let dir = Dir::new();
    let store = dir.open();
    let (bottom, top) = ("1".repeat(64), "2".repeat(64));
    let json = |value: serde_json::Value| serde_json::to_vec(&value).unwrap();
    let files = [
        (format!("{bottom}/VERSION"), b"1.0".to_vec()),
        (
            format!("{bottom}/json"),
            json(serde_json::json!({ "id": bottom, "os": "linux", "created": "2014-01-01T00:00:00Z" })),
        ),
        (format!("{bottom}/layer.tar"), layer("a")),
        (
            format!("{top}/json"),
            json(serde_json::json!({
                "id": top, "parent": bottom, "os": "linux", "architecture": "amd64",
                "created": "2014-01-02T00:00:00Z", "config": { "Cmd": ["old"] },
            })),
        ),
        (format!("{top}/layer.tar"), layer("b")),
        ("repositories".to_owned(), json(serde_json::json!({ "old": { "latest": top, "v1": top } }))),
    ];
    load(&store, &pack(&files)).unwrap();
    assert_eq!(names(&store), ["old:latest", "old:v1"]);
    let image = store.get("old").unwrap();
    assert_eq!(image.config.rootfs.diff_ids.len(), 2);
    assert_eq!(image.config.config.as_ref().unwrap().cmd.as_deref(), Some(&["old".to_owned()][..]));
}

#[test]
fn a_name_moves_and_a_platform_is_chosen() {
    let dir = Dir::new();
    let store = dir.open();
    let first = load(&store, &docker_archive(&[image(&[layer("a")], &["x:1"])])).unwrap();
    let second = load(&store, &docker_archive(&[image(&[layer("b")], &["x:1"])])).unwrap();
    assert_eq!(second[0].renamed, [("x:1".parse().unwrap(), first[0].id)]);
    assert!(store.by_id(&first[0].id).unwrap().is_untagged());
    assert_eq!(load(&store, &docker_archive(&[image(&[layer("b")], &["x:1"])])).unwrap()[0].renamed, []);
    let arm: Platform = "linux/arm64".parse().unwrap();
    let archive = docker_archive(&[image(&[layer("c")], &["y:1"])]);
    let error = store.load(&mut &archive[..], Some(&arm), &mut |_| ()).unwrap_err();
    assert!(matches!(error, Error::Platform(_)), "{error}");
    assert_eq!(names(&store), ["x:1"]);
}

#[test]
fn what_is_refused_leaves_nothing() {
    let dir = Dir::new();
    let store = dir.open();
    load(&store, &docker_archive(&[image(&[layer("kept")], &["kept:1"])])).unwrap();
    let (before, listed) = (dir.paths(&store), names(&store));
    let fresh = || docker_files(&[image(&[layer("a"), layer("b")], &["x:1"])]);
    let at = |files: &[(String, Vec<u8>)], bytes: &[u8]| files.iter().position(|(_, c)| c == bytes).unwrap();
    let edit_manifest = |from: &str, to: &str| {
        let mut files = fresh();
        let manifest = files.last_mut().unwrap();
        let text = String::from_utf8(manifest.1.clone()).unwrap();
        assert!(text.contains(from));
        manifest.1 = text.replace(from, to).into_bytes();
        pack(&files)
    };
    let without = |bytes: &[u8]| {
        let mut files = fresh();
        files.remove(at(&files, bytes));
        pack(&files)
    };
    let with = |old: &[u8], new: Vec<u8>| {
        let mut files = fresh();
        let at = at(&files, old);
        files[at].1 = new;
        pack(&files)
    };
    let config = image(&[layer("a"), layer("b")], &[]).config;
    let whole = pack(&fresh());
    let escape = Archive::new().file("../../evil", "x").finish();
    let mut wrong_parent = image(&[layer("a"), layer("b")], &["x:1"]);
    let other = image(&[layer("c")], &[]);
    wrong_parent.parent = Some(other.id());
    for (archive, message) in [
        (whole[..whole.len() / 2].to_vec(), "unexpected EOF"),
        (b"hello".to_vec(), "unexpected EOF"),
        (vec![b'x'; 4000], "archive/tar: invalid tar header"),
        (Archive::new().finish(), "no manifest.json, index.json or repositories in the archive"),
        (with(&layer("a"), layer("z")), "layer"),
        (with(&layer("b"), escape), "invalid entry name \"../../evil\""),
        (with(&layer("b"), layer("b")[..300].to_vec()), "unexpected EOF"),
        (
            with(&config, config.iter().map(|b| b.to_ascii_uppercase()).collect()),
            "image configuration has digest",
        ),
        (without(&layer("b")), "no such file"),
        (without(&config), "no such file"),
        (edit_manifest("[{", "[{{"), "manifest.json"),
        (edit_manifest("x:1", "X:1"), "must be lowercase"),
        (edit_manifest("x:1", "x"), "invalid tag \"x\""),
        (
            edit_manifest(&format!(",\"blobs/sha256/{}\"", hex(&layer("b"))), ""),
            "layers length mismatch: expected 1, got 2",
        ),
        (docker_archive(&[other, wrong_parent]), "is not a valid parent for"),
    ] {
        let error = load(&store, &archive).expect_err(message);
        assert!(error.to_string().contains(message), "{error} instead of {message}");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert_eq!(dir.paths(&store), before, "{message}");
        assert_eq!(names(&store), listed, "{message}");
    }
    load(&store, &whole).unwrap();
}

#[test]
fn progress_is_told_for_layers_that_are_new() {
    let dir = Dir::new();
    let store = dir.open();
    let archive = docker_archive(&[image(&[layer("a"), layer("b")], &["x:1"])]);
    let mut told = Vec::new();
    store.load(&mut &archive[..], None, &mut |event| told.push(event)).unwrap();
    assert_eq!(told.len(), 2);
    told.clear();
    store.load(&mut &archive[..], None, &mut |event| told.push(event)).unwrap();
    assert_eq!(told, []);
}

/// Counts what is taken, and has so much.
struct Most(u64, std::sync::Mutex<u64>);

impl skiff_images::Room for Most {
    fn take(&self, bytes: u64) -> std::io::Result<()> {
        let mut taken = self.1.lock().unwrap();
        *taken += bytes;
        match *taken > self.0 {
            true => Err(std::io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }

    fn settle(&self, _: u64) {}
}

#[test]
fn what_a_layer_copies_from_below_counts() {
    let dir = Dir::new();
    let store = dir.open();
    let below = Archive::new().file("big", &"0123456789abcdef".repeat(1 << 18)).finish();
    let links = Archive::new().link("l", "big").finish();
    let before = dir.paths(&store);
    // Room for what is read, with what is taken ahead, and not for the copy.
    store.limit(std::sync::Arc::new(Most(8 << 20, std::sync::Mutex::default())));
    let error = load(&store, &docker_archive(&[image(&[below, links], &["x:1"])])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfSpace, "{error}");
    assert_eq!(dir.paths(&store), before);
}

/// Tools that make images without a time write Go's zero, of which an archive has none.
#[test]
fn an_image_without_a_time_is_saved_as_of_1970() {
    let mut made = image(&[layer("motd")], &["timeless:1"]);
    let config = String::from_utf8(made.config).unwrap();
    made.config = config.replace("2024-05-06T07:08:09.12Z", "0001-01-01T00:00:00Z").into_bytes();
    let dir = Dir::new();
    let store = dir.open();
    load(&store, &docker_archive(&[made])).unwrap();
    let mut saved = Vec::new();
    store.save(&["timeless:1".to_owned()], None, &mut saved).unwrap();
    let mut reader = skiff_snapshots::tar::Reader::new(&saved[..]);
    while let Some(entry) = reader.next_entry().unwrap() {
        assert!(entry.mtime.secs >= 0, "{entry:?}");
        reader.copy_contents(&mut Vec::new()).unwrap();
    }
}
