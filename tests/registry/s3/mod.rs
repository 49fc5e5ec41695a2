//! Content in a bucket, and what happens when the store fails.

mod keys;
mod moto;
mod rules;
mod stall;
mod store;

use std::{
    path::Path,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use self::store::{Fault, Store};
use super::{
    Client, OCTETS, Test, alone,
    collect::collect,
    digest, noise,
    replicate::{arrives, project},
    with_digest,
};

/// A part, and a blob that needs three.
const PART: usize = 5 << 20;
const LARGE: usize = 2 * PART + 12_345;

/// Writes the configuration of a registry on the store at this address.
fn configuration(store: &str, path: &Path, prefix: &str, redirect: bool) -> Result<String> {
    let text = format!(
        "version: 0.1\nstorage:\n  s3:\n    bucket: images\n    regionendpoint: http://{store}\n    region: us-east-1\n    \
         accesskey: key\n    secretkey: secret\n    chunksize: {PART}\n    rootdirectory: {prefix}\n  redirect:\n    disable: {}\n",
        !redirect
    );
    fs_err::write(path, text)?;
    Ok(path.display().to_string())
}

/// A registry on a store of its own; clients read through it.
fn registry(more: &[&str]) -> Result<(Store, Test, tempfile::TempDir)> {
    let (store, dir) = (Store::start()?, tempfile::tempdir()?);
    let file = configuration(&store.address, &dir.path().join("config.yml"), "/", false)?;
    let test = Test::ours(&[&[file.as_str(), "--auth", "none"], more].concat())?;
    Ok((store, test, dir))
}

/// Asks until it is true.
fn until(what: &str, mut good: impl FnMut() -> bool) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(60);
    while !good() {
        ensure!(Instant::now() < end, "never: {what}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Starts a registry that is to refuse.
fn refused(root: &Path, args: &[&str]) -> Result<String> {
    refused_in(root, args, &[])
}

fn refused_in(root: &Path, args: &[&str], environment: &[(&str, &str)]) -> Result<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skiff"));
    alone(&mut command);
    let Output { status, stderr, .. } = command
        .args(["registry", "serve", "--addr", "127.0.0.1:0", "--auth", "none", "--root"])
        .arg(root)
        .args(args)
        .envs(environment.iter().copied())
        .output()?;
    ensure!(status.code() == Some(1), "{status}");
    Ok(String::from_utf8(stderr)?)
}

fn again(test: &mut Test) -> Result<()> {
    test.server().kill()?;
    test.server().start_again()?;
    test.client = Client::new(&test.server().address.clone());
    Ok(())
}

#[test]
fn blobs_of_any_size_are_objects() -> Result<()> {
    let (store, mut test, _dir) = registry(&[])?;
    let layer = noise(LARGE);
    let manifest = test.push_image("a/b", "v1", &layer)?;
    let empty = test.push_blob("a/b", b"")?;
    // The manifest, the configuration, the layer, and nothing; no blob is in a file here.
    assert_eq!(store.objects("blobs"), 4);
    assert_eq!(store.unfinished(), 0);
    assert!(!test.server().root().join("blobs").exists());
    again(&mut test)?;
    assert_eq!(test.client.get("/v2/a/b/manifests/v1")?.expect(200)?.body, manifest);
    let blob = format!("/v2/a/b/blobs/{}", digest(&layer));
    assert_eq!(test.client.get(&blob)?.expect(200)?.body, layer);
    assert_eq!(test.client.get(&format!("/v2/a/b/blobs/{empty}"))?.expect(200)?.body, b"");
    let head = test.client.request("HEAD", &blob, &[], b"")?.expect(200)?;
    assert_eq!(head.header("content-length"), Some(layer.len().to_string().as_str()));
    let part = test.client.request("GET", &blob, &[("Range", "bytes=5242870-5242890")], b"")?.expect(206)?;
    assert_eq!(part.body, layer[5_242_870..=5_242_890]);
    test.client.request("GET", &blob, &[("Range", "bytes=99999999-")], b"")?.expect(416)?;
    // What is there is not sent again, and another repository gets it by its name.
    // The collection with which it begins may be under way yet.
    let mut asked = store.requests();
    until("the store has its rest", || {
        std::thread::sleep(std::time::Duration::from_millis(200));
        std::mem::replace(&mut asked, store.requests()) == store.requests()
    })?;
    let from = format!("/v2/c/blobs/uploads/?mount={}&from=a/b", digest(&layer));
    test.client.request("POST", &from, &[], b"")?.expect(201)?;
    assert_eq!(store.requests(), asked);
    assert_eq!(test.client.get(&format!("/v2/c/blobs/{}", digest(&layer)))?.expect(200)?.body, layer);
    Ok(())
}

#[test]
fn clients_are_sent_to_the_store_for_blobs() -> Result<()> {
    let (store, dir) = (Store::start()?, tempfile::tempdir()?);
    let file = configuration(&store.address, &dir.path().join("config.yml"), "some/where", true)?;
    let mut test = Test::ours(&[&file, "--auth", "none"])?;
    let layer = noise(100_000);
    let manifest = test.push_image("a", "v1", &layer)?;
    assert_eq!(store.objects("some/where/blobs"), 3);
    assert_eq!(test.client.get("/v2/a/manifests/v1")?.expect(200)?.body, manifest);
    let blob = format!("/v2/a/blobs/{}", digest(&layer));
    let sent = test.client.get(&blob)?.expect(307)?;
    let location = sent.header("location").unwrap_or_default().to_owned();
    ensure!(
        location.starts_with(&format!("http://{}/images/some/where/blobs/", store.address)),
        "{location}"
    );
    let mut direct = Client::new(&store.address);
    assert_eq!(direct.get(&sent.location()?)?.expect(200)?.body, layer);
    let part = direct.request("GET", &sent.location()?, &[("Range", "bytes=10-19")], b"")?.expect(206)?;
    assert_eq!(part.body, layer[10..20]);
    // The address is good for this object alone.
    let other = sent.location()?.replace(&digest(&layer)[7..], &digest(&manifest)[7..]);
    direct.get(&other)?.expect(403)?;
    test.client.request("HEAD", &blob, &[], b"")?.expect(200)?;
    Ok(())
}

#[test]
fn what_is_removed_leaves_the_bucket() -> Result<()> {
    let (store, mut test, _dir) = registry(&["--gc-grace", "0", "--gc-interval", "0"])?;
    let kept = test.push_image("a", "v1", b"kept")?;
    let gone = test.push_image("a", "v2", b"gone")?;
    test.push_blob("b", b"unused")?;
    assert_eq!(store.objects("blobs"), 6);
    test.client.request("DELETE", &format!("/v2/a/manifests/{}", digest(&gone)), &[], b"")?.expect(202)?;
    let root = test.server().root();
    // While the store is away, nothing is lost and nothing is forgotten.
    store.fail(Fault::Busy);
    assert!(collect(&root).is_err());
    store.fail(Fault::None);
    store.age(Duration::from_secs(3600));
    collect(&root)?;
    until("three objects", || store.objects("blobs") == 3)?;
    assert_eq!(test.client.get("/v2/a/manifests/v1")?.expect(200)?.body, kept);
    test.client.get(&format!("/v2/a/blobs/{}", digest(b"kept")))?.expect(200)?;
    Ok(())
}

#[test]
fn a_bucket_belongs_to_one_registry() -> Result<()> {
    let (store, mut test, dir) = registry(&[])?;
    let file = dir.path().join("config.yml").display().to_string();
    let manifest = test.push_image("a", "v1", b"layer")?;
    let root = test.server().root();
    let other = tempfile::tempdir()?;
    let said = refused(other.path(), &[&file])?;
    ensure!(said.contains("belongs to another registry"), "{said}");
    // A prefix of its own will do.
    let prefixed = configuration(&store.address, &dir.path().join("other.yml"), "other", false)?;
    let mut second = Test::ours(&[&prefixed, "--auth", "none"])?;
    second.push_image("a", "v1", b"layer")?;
    test.server().kill()?;
    let said = refused(&root, &[])?;
    ensure!(said.contains("is in the bucket images/"), "{said}");
    let said = refused(&root, &[&prefixed])?;
    ensure!(said.contains("belongs to another registry"), "{said}");
    let empty = configuration(&store.address, &dir.path().join("empty.yml"), "empty", false)?;
    let said = refused(&root, &[&empty])?;
    ensure!(said.contains("does not hold the content of this registry"), "{said}");
    test.server().start_again()?;
    test.client = Client::new(&test.server().address.clone());
    assert_eq!(test.client.get("/v2/a/manifests/v1")?.expect(200)?.body, manifest);
    // What is in files stays there.
    let mut files = Test::ours(&["--auth", "none"])?;
    files.push_image("a", "v1", b"layer")?;
    files.server().kill()?;
    let said = refused(&files.server().root(), &[&empty])?;
    ensure!(said.contains("is in files below"), "{said}");
    Ok(())
}

#[test]
fn a_store_that_is_not_there_or_says_no_is_named_at_the_start() -> Result<()> {
    let (store, dir) = (Store::start()?, tempfile::tempdir()?);
    let path = dir.path().join("config.yml");
    let file = configuration(&store.address, &path, "/", true)?;
    let text = fs_err::read_to_string(&path)?;
    let root = dir.path().join("data");
    for (from, to, words) in [
        ("secretkey: secret", "secretkey: wrong", "SignatureDoesNotMatch"),
        ("bucket: images", "bucket: missing", "NoSuchBucket"),
        (store.address.as_str(), "127.0.0.1:1", "connection refused"),
    ] {
        fs_err::write(&path, text.replace(from, to))?;
        let said = refused(&root, &[&file])?;
        ensure!(said.contains("storage is not available") && said.contains(words), "{said}");
        ensure!(!said.contains("X-Amz-Signature"), "{said}");
    }
    // None of that was a claim.
    fs_err::write(&path, text)?;
    let mut test = Test::ours(&[&file, "--auth", "none"])?;
    test.push_image("a", "v1", b"layer")?;
    Ok(())
}

#[test]
fn an_outage_loses_nothing() -> Result<()> {
    let (store, mut test, _dir) = registry(&[])?;
    let (small, large) = (noise(50_000), noise(LARGE));
    let manifest = test.push_image("a", "v1", &small)?;
    let held = format!("/v2/a/blobs/{}", digest(&small));
    for fault in [Fault::Busy, Fault::Gone] {
        store.fail(fault);
        let refused = test.client.get(&held)?.expect(503)?;
        assert_eq!(refused.code(), "UNAVAILABLE");
        // Manifests and lists need no store.
        assert_eq!(test.client.get("/v2/a/manifests/v1")?.expect(200)?.body, manifest);
        test.client.get("/v2/a/tags/list")?.expect(200)?;
        let refused = test.put_manifest("a", "v2", super::OCI, &manifest)?;
        assert_eq!((refused.status, refused.code().as_str()), (503, "UNAVAILABLE"));
        store.fail(Fault::None);
        assert_eq!(test.client.get(&held)?.expect(200)?.body, small);
    }
    // An upload goes on where it is: nothing has to be sent again.
    for (bytes, fault) in [(&large, Fault::Gone), (&noise(70_000), Fault::Busy)] {
        let begun = test.client.request("POST", "/v2/a/blobs/uploads/", &[], b"")?.expect(202)?;
        let location = begun.location()?;
        test.client.request("PATCH", &location, &OCTETS, bytes)?.expect(202)?;
        store.fail(fault);
        let finish = with_digest(&location, &digest(bytes));
        let refused = test.client.request("PUT", &finish, &OCTETS, b"")?.expect(503)?;
        assert_eq!(refused.code(), "UNAVAILABLE");
        let blob = format!("/v2/a/blobs/{}", digest(bytes));
        test.client.get(&blob)?.expect(404)?;
        store.fail(Fault::None);
        test.client.request("PUT", &finish, &OCTETS, b"")?.expect(201)?;
        assert_eq!(test.client.get(&blob)?.expect(200)?.body, *bytes);
    }
    Ok(())
}

#[test]
fn an_object_that_is_cut_off_goes_on_where_it_stopped() -> Result<()> {
    let (store, mut test, _dir) = registry(&[])?;
    let layer = noise(LARGE);
    test.push_image("a", "v1", &layer)?;
    let blob = format!("/v2/a/blobs/{}", digest(&layer));
    store.fail(Fault::Cut(6));
    assert_eq!(test.client.get(&blob)?.expect(200)?.body, layer);
    Ok(())
}

#[test]
fn kills_lose_nothing_and_leave_nothing_half_done() -> Result<()> {
    let (store, mut test, _dir) = registry(&[])?;
    let address = test.server().address.clone();
    let large = noise(LARGE);
    for round in 0..3u64 {
        let clients: Vec<_> = (0..4)
            .map(|n| {
                let (address, large) = (address.clone(), large.clone());
                thread::spawn(move || {
                    let mut test = Test { client: Client::new(&address), server: None };
                    let mut acknowledged = Vec::new();
                    for i in 0.. {
                        let name = format!("kill/r{round}-{n}-{i}");
                        let mut layer = name.clone().into_bytes();
                        if i % 2 == 1 {
                            layer.extend_from_slice(&large);
                        }
                        match test.push_image(&name, "v1", &layer) {
                            Ok(manifest) => acknowledged.push((name, manifest, layer)),
                            Err(_) => break,
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(400 + 330 * round));
        test.server().kill()?;
        let acknowledged: Vec<_> = clients.into_iter().flat_map(|c| c.join().unwrap_or_default()).collect();
        again(&mut test)?;
        // What was sent in parts when it was killed is given up.
        assert_eq!(store.unfinished(), 0);
        for (name, manifest, layer) in &acknowledged {
            assert_eq!(&test.client.get(&format!("/v2/{name}/manifests/v1"))?.expect(200)?.body, manifest);
            let blob = format!("/v2/{name}/blobs/{}", digest(layer));
            assert_eq!(&test.client.get(&blob)?.expect(200)?.body, layer);
        }
    }
    Ok(())
}

#[test]
fn a_project_in_a_bucket_is_replicated() -> Result<()> {
    let (_store, mut here, _dir) = registry(&[])?;
    let mut there = Test::ours(&["--auth", "none"])?;
    let root = here.server().root();
    project(&root, &["add", "team"], "")?;
    project(&root, &["set", "--replicate", &there.server().address.clone(), "team"], "")?;
    let layer = noise(LARGE);
    let manifest = here.push_image("team/app", "v1", &layer)?;
    arrives(&mut there.client, "/v2/team/app/manifests/v1", &manifest)?;
    assert_eq!(there.client.get(&format!("/v2/team/app/blobs/{}", digest(&layer)))?.expect(200)?.body, layer);
    Ok(())
}

#[test]
fn a_removal_that_may_still_happen_meets_no_new_content() -> Result<()> {
    let (store, mut test, _dir) = registry(&[])?;
    let manifest = test.push_image("a", "v1", b"layer")?;
    store.fail(Fault::Mute);
    test.client
        .request("DELETE", &format!("/v2/a/manifests/{}", digest(&manifest)), &[], b"")?
        .expect(202)?;
    until("it is removed", || store.objects("blobs") == 2)?;
    store.fail(Fault::None);
    // Nobody told the registry: it waits until nothing of that can happen any more.
    test.put_manifest("a", "v1", super::OCI, &manifest)?.expect(201)?;
    again(&mut test)?;
    assert_eq!(test.client.get("/v2/a/manifests/v1")?.expect(200)?.body, manifest);
    Ok(())
}
