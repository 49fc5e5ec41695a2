//! Images that were published in an index, with attestations: what a pull keeps of that, and what a push sends on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use skiff_testkit::{
    Daemon,
    http::Body,
    image::Tar,
    registry::{MANIFEST, OCI_INDEX, OCI_MANIFEST, Registry, answer, digest},
};

/// A registry that has an image for two platforms, each with an attestation, as BuildKit pushes them.
struct World {
    daemon: Daemon,
    registry: Registry,
    /// `host:port/a`.
    image: String,
    index: Value,
}

/// The entries of the index, in order.
const AMD64: usize = 0;
const ATTESTED: usize = 1;

impl World {
    fn new() -> Result<Self> {
        let daemon = Daemon::start(std::path::Path::new(env!("CARGO_BIN_EXE_skiff")), &[])?;
        let registry = Registry::start(daemon.listen()?, None)?;
        let mut entries = Vec::new();
        for architecture in ["amd64", "s390x"] {
            let mut tar = Tar::default();
            tar.entry("file", b'0', 0o644, "", architecture.repeat(5000).as_bytes());
            let manifest = registry.put_image("a", architecture, &[tar.finish()], architecture).to_string();
            entries.push(json!({
                "mediaType": MANIFEST, "digest": digest(manifest.as_bytes()), "size": manifest.len(),
                "platform": { "architecture": architecture, "os": "linux" },
            }));
            entries.push(attest(&registry, &digest(manifest.as_bytes())));
        }
        let index = json!({
            "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries,
            "annotations": { "who": "made it" },
        });
        registry.put_manifest("a", "v1", OCI_INDEX, index.to_string().as_bytes());
        let image = format!("{}/a", registry.address());
        Ok(Self { daemon, registry, image, index })
    }

    fn pulled() -> Result<Self> {
        let world = Self::new()?;
        world.pull("v1")?;
        Ok(world)
    }

    fn digest_of(&self, entry: usize) -> String {
        self.index["manifests"][entry]["digest"].as_str().unwrap_or_default().to_owned()
    }

    fn post(&self, path: &str) -> Result<String> {
        let answer = self.daemon.client().post(path, &Value::Null)?;
        let text = answer.text();
        ensure!(answer.status < 300 && !text.contains("\"error\""), "{path}: {text}");
        Ok(text)
    }

    fn pull(&self, tag: &str) -> Result<String> {
        self.post(&format!("/images/create?fromImage={}&tag={tag}", self.image))
    }

    /// Pushes the image to a repository of a registry as `v2`.
    fn push(&self, registry: &Registry, name: &str, more: &str) -> Result<String> {
        let to = format!("{}/{name}", registry.address());
        self.post(&format!("/images/{}:v1/tag?repo={to}&tag=v2", self.image))?;
        self.post(&format!("/images/{to}/push?tag=v2{more}"))
    }

    /// Blobs of the image store.
    fn blobs(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for driver in fs_err::read_dir(self.daemon.data_root().join("images"))? {
            for blob in fs_err::read_dir(driver?.path().join("blobs/sha256"))? {
                found.push(blob?.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(found)
    }
}

/// Stores an attestation about an image; its entry of an index.
fn attest(registry: &Registry, about: &str) -> Value {
    let put = |kind: &str, text: String| {
        let digest = registry.put_blob("a", text.as_bytes());
        json!({ "mediaType": kind, "digest": digest, "size": text.len() })
    };
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": put("application/vnd.oci.image.config.v1+json", json!({ "for": about }).to_string()),
        "layers": [put("application/vnd.in-toto+json", json!({ "subject": about }).to_string())],
    })
    .to_string();
    let tag = format!("attests-{}", &about[7..19]);
    let digest = registry.put_manifest("a", &tag, OCI_MANIFEST, manifest.as_bytes());
    json!({
        "mediaType": OCI_MANIFEST, "digest": digest, "size": manifest.len(),
        "platform": { "architecture": "unknown", "os": "unknown" },
        "annotations": {
            "vnd.docker.reference.digest": about, "vnd.docker.reference.type": "attestation-manifest",
        },
    })
}

/// The manifest of a tag, and that everything which it refers to is there.
fn whole(registry: &Registry, name: &str, tag: &str) -> Result<Value> {
    let bytes = registry.manifest(name, tag).with_context(|| format!("{name} has no {tag}"))?;
    let manifest: Value = serde_json::from_slice(&bytes)?;
    for entry in manifest["manifests"].as_array().into_iter().flatten() {
        let digest = entry["digest"].as_str().context("digest")?;
        let below = whole(registry, name, digest)?;
        for blob in below["layers"].as_array().context("layers")?.iter().chain([&below["config"]]) {
            let digest = blob["digest"].as_str().context("digest")?;
            registry.blob(name, digest).with_context(|| format!("{name} has no {digest}"))?;
        }
    }
    Ok(manifest)
}

/// Somebody removes the image that a pull has just found to be there: it is pulled after all.
#[test]
fn a_pull_and_a_removal_at_once_end_well() -> Result<()> {
    let world = World::pulled()?;
    // The same image once more, with another attestation, which has to be fetched.
    let attestation = world.registry.manifest("a", &world.digest_of(ATTESTED)).context("no attestation")?;
    let mut attestation: Value = serde_json::from_slice(&attestation)?;
    attestation["annotations"] = json!({ "made": "again" });
    let attestation = attestation.to_string();
    let fetched = world.registry.put_manifest("a", "again", OCI_MANIFEST, attestation.as_bytes());
    let mut index = world.index.clone();
    index["manifests"][ATTESTED]["digest"] = json!(fetched);
    index["manifests"][ATTESTED]["size"] = json!(attestation.len());
    world.registry.put_manifest("a", "v2", OCI_INDEX, index.to_string().as_bytes());
    let inspected = world.daemon.client().get(&format!("/images/{}:v1/json", world.image))?.ok()?.json()?;
    let id = inspected["Id"].as_str().context("no Id")?.to_owned();
    let socket = world.daemon.socket().to_owned();
    let removed = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&removed);
    world.registry.hook(move |asked, _| {
        let mut removed = seen.lock().expect("no panic");
        if asked.path.ends_with(&fetched) && removed.is_empty() {
            let answer = skiff_testkit::http::Client::new(&socket).delete(&format!("/images/{id}?force=1"));
            removed.push(answer.map_or(0, |answer| answer.status));
        }
        Ok(false)
    });
    world.pull("v2")?;
    assert_eq!(*removed.lock().expect("no panic"), [200]);
    world.daemon.client().get(&format!("/images/{}:v2/json", world.image))?.ok()?;
    Ok(())
}

#[test]
fn an_image_goes_on_within_its_registry_as_it_was_published() -> Result<()> {
    let world = World::pulled()?;
    // Where all of the index is, all of it gets the tag.
    world.push(&world.registry, "a", "")?;
    assert_eq!(whole(&world.registry, "a", "v2")?, world.index);
    // Elsewhere what there is of it: nobody but the first registry has the other platform.
    world.push(&world.registry, "b", "")?;
    let index = whole(&world.registry, "b", "v2")?;
    let expected = [&world.index["manifests"][AMD64], &world.index["manifests"][ATTESTED]];
    assert_eq!(index["manifests"], json!(expected));
    assert_eq!(index["annotations"], world.index["annotations"]);
    // Who asks for one platform gets that alone.
    let platform = "&platform=%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22amd64%22%7D";
    world.push(&world.registry, "c", platform)?;
    let alone = world.registry.manifest("c", "v2").context("no manifest")?;
    assert_eq!(digest(&alone), world.digest_of(AMD64));
    assert_eq!(world.registry.manifest("c", &world.digest_of(ATTESTED)), None);
    Ok(())
}

#[test]
fn elsewhere_the_digests_are_preserved_if_that_is_asked_for() -> Result<()> {
    let mut world = World::pulled()?;
    let other = Registry::start(world.daemon.listen()?, None)?;
    // Compressed here, the layers are others, and what was said is not about them.
    let told = world.push(&other, "b", "")?;
    assert!(told.contains("Attestations are not pushed"), "{told}");
    let manifest = whole(&other, "b", "v2")?;
    assert_eq!(manifest["manifests"], Value::Null);
    assert_ne!(digest(&other.manifest("b", "v2").context("no manifest")?), world.digest_of(AMD64));

    // What is known of the image is on disk.
    world.daemon.kill()?;
    world.daemon.start_again()?;
    let told = world.push(&other, "c", "&preserveDigests=1")?;
    assert!(told.contains("\"Pushed\""), "{told}");
    let expected = [&world.index["manifests"][AMD64], &world.index["manifests"][ATTESTED]];
    assert_eq!(whole(&other, "c", "v2")?["manifests"], json!(expected));
    // From where it is now it comes the same way.
    let image = format!("{}/c", other.address());
    world.daemon.client().delete(&format!("/images/{}:v1?force=1", world.image))?.ok()?;
    world.daemon.client().delete(&format!("/images/{}/b:v2?force=1", other.address()))?.ok()?;
    world.daemon.client().delete(&format!("/images/{image}:v2?force=1"))?.ok()?;
    assert_eq!(world.blobs()?, [] as [String; 0]);
    world.post(&format!("/images/create?fromImage={image}&tag=v2"))?;
    let seen = world.daemon.client().get(&format!("/images/{image}:v2/json?manifests=1"))?.ok()?.json()?;
    let kinds: Vec<_> =
        seen["Manifests"].as_array().context("manifests")?.iter().map(|m| m["Kind"].clone()).collect();
    assert_eq!(kinds, ["image", "attestation"]);
    Ok(())
}

#[test]
fn digests_that_cannot_be_preserved_are_not_pushed() -> Result<()> {
    let world = World::pulled()?;
    let other = Registry::start(world.daemon.listen()?, None)?;
    let refused = |more: &str, why: &str| -> Result<()> {
        let error = world.push(&other, "b", more).err().context("it was pushed")?.to_string();
        ensure!(error.contains(why), "{error}");
        ensure!(other.manifest("b", "v2").is_none(), "it has a tag");
        Ok(())
    };
    refused("&preserveDigests=1&compression=zstd", "conflicting options")?;
    // The registry has lost the layer since.
    world.registry.hook(|asked, out| match asked.path.contains("/blobs/") {
        true => answer(out, "404 Not Found", &[], b"").map(|()| true),
        false => Ok(false),
    });
    refused("&preserveDigests=1", "does not have it")?;
    // An image that came from nowhere has no digests to preserve.
    let mut tar = Tar::default();
    tar.entry("file", b'0', 0o644, "", b"imported");
    let name = format!("{}/made:v1", other.address());
    let path = format!("/images/create?fromSrc=-&repo={}&tag=v1", name.trim_end_matches(":v1"));
    let tar = tar.finish();
    world.daemon.client().request("POST", &path, &Body::Bytes("application/x-tar", &tar))?.ok()?;
    let path = format!("/images/{}/push?tag=v1&preserveDigests=1", name.trim_end_matches(":v1"));
    let error = world.post(&path).err().context("it was pushed")?.to_string();
    ensure!(error.contains("cannot be preserved"), "{error}");
    Ok(())
}

#[test]
fn a_foreign_layer_stays_where_its_maker_has_it() -> Result<()> {
    let world = World::new()?;
    let bytes = world.registry.manifest("a", "amd64").context("no manifest")?;
    let mut manifest: Value = serde_json::from_slice(&bytes)?;
    let layer = manifest["layers"][0]["digest"].as_str().context("digest")?.to_owned();
    manifest["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into();
    manifest["layers"][0]["urls"] = json!([format!("http://{}/elsewhere", world.registry.address())]);
    let blob = world.registry.blob("a", &layer).context("no layer")?;
    let held = format!("/a/blobs/{layer}");
    world.registry.hook(move |asked, out| match asked.path.as_str() {
        "/elsewhere" => answer(out, "200 OK", &[], &blob).map(|()| true),
        path if path.ends_with(&held) => answer(out, "404 Not Found", &[], b"").map(|()| true),
        _ => Ok(false),
    });
    world.registry.put_manifest("a", "v1", MANIFEST, manifest.to_string().as_bytes());
    world.pull("v1")?;
    let other = Registry::start(world.daemon.listen()?, None)?;
    let told = world.push(&other, "b", "&preserveDigests=1")?;
    assert!(told.contains("Skipped foreign layer"), "{told}");
    assert_eq!(other.manifest("b", "v2").context("no manifest")?, manifest.to_string().into_bytes());
    assert_eq!(other.blob("b", &layer), None);
    Ok(())
}

#[test]
fn an_attestation_that_cannot_be_had_is_left_out() -> Result<()> {
    let world = World::new()?;
    let attested = world.digest_of(ATTESTED);
    let manifest: Value =
        serde_json::from_slice(&world.registry.manifest("a", &attested).context("no attestation")?)?;
    let blob = &manifest["layers"][0];
    let statement = format!("/blobs/{}", blob["digest"].as_str().context("digest")?);
    let wrong = vec![b'x'; blob["size"].as_u64().context("size")? as usize];
    let path = format!("/manifests/{attested}");
    let image = format!("/images/{}:v1", world.image);
    let denied = br#"{"errors":[{"code":"DENIED","message":"no"}]}"#;
    for (part, status, body, why) in [
        (&path, "404 Not Found", &b""[..], "the registry does not have it"),
        (&path, "403 Forbidden", denied, "denied: no"),
        (&path, "501 Not Implemented", b"", "501"),
        (&path, "200 OK", b"{}", "verification failed"),
        (&statement, "403 Forbidden", denied, "denied: no"),
        (&statement, "200 OK", &wrong, "verification failed"),
        (&statement, "200 OK", b"x", "less"),
    ] {
        let (part, body) = (part.clone(), body.to_vec());
        world.registry.hook(move |asked, out| match asked.path.ends_with(&part) {
            true => answer(out, status, &[("Content-Type", "application/json")], &body).map(|()| true),
            false => Ok(false),
        });
        let told = world.pull("v1")?;
        assert!(told.contains("Attestation left out: ") && told.contains(why), "{status} {why}: {told}");
        let seen = world.daemon.client().get(&format!("{image}/json?manifests=1"))?.ok()?.json()?;
        let manifests = seen["Manifests"].as_array().context("manifests")?;
        let available: Vec<_> = manifests.iter().map(|m| m["Available"].clone()).collect();
        assert_eq!(available, [true, false, false, false], "{status} {why}");
        world.daemon.client().delete(&format!("{image}?force=1"))?.ok()?;
        assert_eq!(world.blobs()?, [] as [String; 0], "{status} {why}");
    }
    Ok(())
}

#[test]
fn an_attestation_of_many_parts_takes_few_connections() -> Result<()> {
    let world = World::new()?;
    let about = world.digest_of(AMD64);
    let parts: Vec<String> = (0..24).map(|n| format!("part {n}")).collect();
    let described: Vec<Value> = parts
        .iter()
        .map(|part| json!({ "digest": world.registry.put_blob("a", part.as_bytes()), "size": part.len() }))
        .collect();
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described[0], "layers": described });
    let manifest = manifest.to_string();
    let stored = world.registry.put_manifest("a", "many", OCI_MANIFEST, manifest.as_bytes());
    let entry = json!({
        "mediaType": OCI_MANIFEST, "digest": stored, "size": manifest.len(),
        "annotations": { "vnd.docker.reference.digest": about },
    });
    let index = json!({
        "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [world.index["manifests"][AMD64], entry],
    });
    world.registry.put_manifest("a", "v1", OCI_INDEX, index.to_string().as_bytes());
    // How many parts are being sent, and the most there ever were.
    let sent = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let (count, paths) = (Arc::clone(&sent), parts.clone());
    world.registry.hook(move |asked, out| {
        let Some(part) = paths.iter().find(|part| asked.path.ends_with(&digest(part.as_bytes()))) else {
            return Ok(false);
        };
        count[1].fetch_max(count[0].fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(50));
        count[0].fetch_sub(1, Ordering::SeqCst);
        answer(out, "200 OK", &[], part.as_bytes()).map(|()| true)
    });
    let told = world.pull("v1")?;
    assert!(!told.contains("left out"), "{told}");
    let most = sent[1].load(Ordering::SeqCst);
    assert!((1..=4).contains(&most), "{most}");
    Ok(())
}

/// Of a layer that is there already nothing is loaded, so what a manifest says that its blob is may be anything.
#[test]
fn a_manifest_is_not_believed_of_a_layer_that_was_there() -> Result<()> {
    let world = World::new()?;
    let layer = |name: &str| {
        let mut tar = Tar::default();
        tar.entry(name, b'0', 0o644, "", name.as_bytes());
        tar.finish()
    };
    world.registry.put_image("a", "honest", &[layer("below")], "amd64");
    world.pull("honest")?;
    let mut manifest = world.registry.put_image("a", "v1", &[layer("below"), layer("above")], "amd64");
    let other = world.registry.put_image("a", "other", &[layer("harmful")], "amd64");
    manifest["layers"][0] = other["layers"][0].clone();
    world.registry.put_manifest("a", "v1", MANIFEST, manifest.to_string().as_bytes());
    world.pull("v1")?;
    for (name, more) in
        [("b", ""), ("c", "&platform=%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22amd64%22%7D")]
    {
        world.push(&world.registry, name, more)?;
        let pushed = world.registry.manifest(name, "v2").context("no manifest")?;
        let pushed: Value = serde_json::from_slice(&pushed)?;
        assert_ne!(pushed["layers"][0]["digest"], other["layers"][0]["digest"], "{name}");
    }
    // Pulled once more, the image is known, and still nothing is proved.
    world.pull("v1")?;
    let error = world.push(&world.registry, "d", "&preserveDigests=1").err().context("it was pushed")?;
    assert!(error.to_string().contains("cannot be preserved"), "{error}");
    Ok(())
}

#[test]
fn what_is_damaged_of_it_is_found_and_comes_again() -> Result<()> {
    let world = World::pulled()?;
    let attestation = world.digest_of(ATTESTED);
    let path = fs_err::read_dir(world.daemon.data_root().join("images"))?
        .map(|driver| Ok(driver?.path().join("blobs/sha256").join(&attestation[7..])))
        .collect::<Result<Vec<_>>>()?;
    let good = fs_err::read(&path[0])?;
    fs_err::write(&path[0], b"{}")?;
    let verify = |more: &str| world.post(&format!("/images/{}:v1/verify{more}", world.image));
    let error = verify("").err().context("it was found good")?.to_string();
    assert!(error.contains("Damaged: what it was published as"), "{error}");
    // The list goes on without what cannot be read.
    let list = world.daemon.client().get("/images/json?manifests=1")?.ok()?.json()?;
    assert_eq!((list.as_array().map(Vec::len), &list[0]["Manifests"]), (Some(1), &Value::Null));
    // What is damaged is not sent.
    assert!(world.push(&world.registry, "b", "").is_err());
    assert_eq!(world.registry.manifest("b", "v2"), None);
    verify("?mend=1")?;
    verify("")?;
    world.pull("v1")?;
    assert_eq!(fs_err::read(&path[0])?, good);
    verify("")?;
    Ok(())
}

#[test]
fn an_image_says_what_it_was_published_as() -> Result<()> {
    let world = World::pulled()?;
    let mut client = world.daemon.client();
    let path = format!("/images/{}:v1/json", world.image);
    assert_eq!(client.get(&path)?.ok()?.json()?["Manifests"], Value::Null);
    let seen = client.get(&format!("{path}?manifests=1"))?.ok()?.json()?;
    assert_eq!(seen["Descriptor"]["digest"], digest(world.index.to_string().as_bytes()));
    let manifests = seen["Manifests"].as_array().context("manifests")?;
    for (shown, entry) in manifests.iter().zip(world.index["manifests"].as_array().context("entries")?) {
        assert_eq!((&shown["ID"], &shown["Descriptor"]), (&entry["digest"], entry));
    }
    let of = |entry: usize| (&manifests[entry]["Kind"], &manifests[entry]["Available"]);
    assert_eq!(of(AMD64), (&json!("image"), &json!(true)));
    assert_eq!(manifests[AMD64]["ImageData"]["Platform"]["architecture"], "amd64");
    assert_eq!(of(ATTESTED), (&json!("attestation"), &json!(true)));
    assert_eq!(manifests[ATTESTED]["AttestationData"]["For"], world.digest_of(AMD64));
    assert_eq!(of(AMD64 + 2), (&json!("image"), &json!(false)));
    assert_eq!(of(ATTESTED + 2), (&json!("attestation"), &json!(false)));
    let list = client.get("/images/json?manifests=1")?.ok()?.json()?;
    assert_eq!(list[0]["Manifests"], seen["Manifests"]);
    Ok(())
}
