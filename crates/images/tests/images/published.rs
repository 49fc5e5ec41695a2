//! What images were published as: found in archives, kept with the image, and gone with it.

use std::sync::Arc;

use serde_json::{Value, json};
use skiff_images::{Document, Published, RemoveOptions};

use crate::archives::{Dir, hex, image, layer, load, pack};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": format!("sha256:{}", hex(bytes)), "size": bytes.len() })
}

/// An OCI layout of an index with an image and an attestation about it; the layer and what the manifest says it is.
fn archive(inside: &[u8], said: &[u8]) -> Vec<(String, Vec<u8>)> {
    let image = image(&[inside.to_vec()], &[]);
    let mut files = Vec::new();
    let mut put = |kind: &str, bytes: Vec<u8>| {
        let entry = descriptor(kind, &bytes);
        files.push((format!("blobs/sha256/{}", hex(&bytes)), bytes));
        entry
    };
    put("", said.to_vec());
    let bytes = |value: &Value| value.to_string().into_bytes();
    let config = put("application/vnd.oci.image.config.v1+json", image.config.clone());
    let layer = put("application/vnd.oci.image.layer.v1.tar", inside.to_vec());
    let named =
        if said == inside { layer } else { descriptor("application/vnd.oci.image.layer.v1.tar", said) };
    let manifest = put(OCI, bytes(&json!({ "schemaVersion": 2, "config": config, "layers": [named] })));
    let statement = put("application/vnd.in-toto+json", b"{\"who\":\"made it\"}".to_vec());
    // As BuildKit makes it, the configuration looks like an image's.
    let unknown = json!({
        "architecture": "unknown", "os": "unknown", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [statement["digest"]] },
    });
    let unknown = put("application/vnd.oci.image.config.v1+json", bytes(&unknown));
    let mut attestation =
        put(OCI, bytes(&json!({ "schemaVersion": 2, "config": unknown, "layers": [statement] })));
    attestation["annotations"] = json!({
        "vnd.docker.reference.digest": manifest["digest"], "vnd.docker.reference.type": "attestation-manifest",
    });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest, attestation] });
    let mut index = put("application/vnd.oci.image.index.v1+json", bytes(&index));
    index["annotations"] = json!({ "io.containerd.image.name": "reg:5000/a:1" });
    files.push(("index.json".to_owned(), bytes(&json!({ "schemaVersion": 2, "manifests": [index] }))));
    files
}

#[test]
fn an_archives_index_and_attestations_stay_with_the_image() {
    let dir = Dir::new();
    let store = dir.open();
    let before = dir.paths(&store);
    let plain = layer("a");
    load(&store, &pack(&archive(&plain, &plain))).unwrap();
    let id = store.get("reg:5000/a:1").unwrap().id;
    let check = |published: Vec<Published>| {
        let [published] = &published[..] else { panic!("{published:?}") };
        assert!(published.is_index());
        assert_eq!((published.attestations.len(), published.blobs.len()), (1, 2));
    };
    check(store.published(&id));
    drop(store);
    let store = dir.open();
    check(store.published(&id));
    store.published(&id).iter().for_each(|published| store.check_published(published).unwrap());
    // Loaded once more, it is there once.
    load(&store, &pack(&archive(&plain, &plain))).unwrap();
    check(store.published(&id));
    store.remove("reg:5000/a:1", RemoveOptions::default(), &|_| Vec::new()).unwrap();
    assert_eq!(dir.paths(&store), before);
}

/// An image is not taken for one that a manifest of the same configuration, but of other files, describes.
#[test]
fn what_an_archive_says_of_a_layer_must_be_so() {
    let dir = Dir::new();
    let store = dir.open();
    let plain = layer("a");
    let lie = archive(&plain, &layer("another"));
    // The layer is there, and nothing of the lie would be looked at.
    load(&store, &pack(&archive(&plain, &plain))).unwrap();
    let id = store.get("reg:5000/a:1").unwrap().id;
    let honest = store.published(&id);
    let _ = load(&store, &pack(&lie));
    assert_eq!(store.published(&id), honest);
}

#[test]
fn what_is_not_recorded_does_not_stay() {
    let dir = Dir::new();
    let store = Arc::new(dir.open());
    let plain = layer("a");
    load(&store, &pack(&archive(&plain, &plain))).unwrap();
    let id = store.get("reg:5000/a:1").unwrap().id;
    let before = dir.paths(&store);
    let known = store.published(&id).remove(0);
    let other = b"another index".to_vec();
    let digest = format!("sha256:{}", hex(&other)).parse().unwrap();
    let target = Document { digest, ..known.target.clone() };
    let published = Published { target, ..known.clone() };
    let publication = store.keep(published.clone(), &[other.clone().into()]).unwrap();
    assert_ne!(dir.paths(&store), before);
    drop(publication);
    assert_eq!(dir.paths(&store), before);
    // Without its bytes nothing is kept.
    assert!(store.keep(published.clone(), &[]).is_err());
    // What no name leads to any more makes room for what a name leads to.
    let publication = store.keep(published.clone(), &[other.into()]).unwrap();
    let name = format!("reg:5000/a@{digest}").parse().unwrap();
    store.name(&id, &[name], Some(publication)).unwrap();
    assert_eq!(store.published(&id), [published]);
    let old = known.target.digest.hex();
    assert!(dir.paths(&store).iter().all(|path| !path.ends_with(&old)));
    store.forget_published(&id, &digest).unwrap();
    assert_eq!(store.published(&id), []);
}
