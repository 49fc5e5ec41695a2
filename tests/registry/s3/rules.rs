//! Quotas, collection and the cache of another registry are in a bucket what they are in files.

use std::collections::BTreeSet;

use anyhow::Result;

use super::{
    super::{
        OCI, OCTETS, Test,
        collect::{collect, collect_while_others_push},
        digest, image, noise,
        replicate::project,
        with_digest,
    },
    LARGE, configuration, registry,
    store::{Fault, Store},
    until,
};

fn uploads(test: &mut Test) -> Result<usize> {
    Ok(fs_err::read_dir(test.server().root().join("uploads"))?.count())
}

#[test]
fn what_a_quota_refuses_is_not_left_in_the_bucket() -> Result<()> {
    let (store, mut test, _dir) = registry(&[])?;
    let root = test.server().root();
    project(&root, &["add", "team"], "")?;
    project(&root, &["set", "--quota", "30m", "team"], "")?;
    let (one, other) = (noise(LARGE), noise(7 << 20));
    let mut ends = Vec::new();
    for bytes in [&one, &other] {
        let begun = test.client.request("POST", "/v2/team/app/blobs/uploads/", &[], b"")?.expect(202)?;
        test.client.request("PATCH", &begun.location()?, &OCTETS, bytes)?.expect(202)?;
        ends.push(with_digest(&begun.location()?, &digest(bytes)));
    }
    test.client.request("PUT", &ends[0], &OCTETS, b"")?.expect(201)?;
    // Each of these would fit.
    project(&root, &["set", "--quota", "12m", "team"], "")?;
    let refused = test.client.request("PUT", &ends[1], &OCTETS, b"")?.expect(403)?;
    assert_eq!(refused.code(), "DENIED");
    assert!(refused.text().contains("quota"), "{}", refused.text());
    assert_eq!((store.objects("blobs"), store.unfinished()), (1, 0));
    let (config, layer) = (test.push_blob("team/app", b"{}")?, digest(&one));
    let manifest = image(&config, &layer, LARGE, None).to_string().into_bytes();
    test.put_manifest("team/app", "v1", OCI, &manifest)?.expect(201)?;
    assert_eq!(store.objects("blobs"), 3);
    // A manifest is written before it is known whether it fits.
    project(&root, &["set", "--quota", "1m", "team"], "")?;
    let new = image(&config, &layer, LARGE, None).to_string() + " ";
    test.put_manifest("team/app", "v2", OCI, new.as_bytes())?.expect(403)?;
    let begun = test.client.request("POST", "/v2/team/app/blobs/uploads/", &[], b"")?;
    assert_eq!((begun.status, begun.code().as_str()), (403, "DENIED"));
    until("what was refused is gone", || store.objects("blobs") == 3)?;
    assert_eq!(test.client.get("/v2/team/app/manifests/v1")?.expect(200)?.body, manifest);
    assert_eq!(test.client.get(&format!("/v2/team/app/blobs/{layer}"))?.expect(200)?.body, one);
    // Nor is the upload here: it would take room that others need.
    project(&root, &["set", "--quota", "30m", "team"], "")?;
    test.client.request("PUT", &ends[1], &OCTETS, b"")?.expect(404)?;
    assert_eq!(uploads(&mut test)?, 0);
    test.push_blob("team/app", &other)?;
    assert_eq!((store.objects("blobs"), uploads(&mut test)?), (4, 0));
    Ok(())
}

#[test]
fn collections_while_others_push_keep_what_is_named_and_nothing_else() -> Result<()> {
    let (store, mut test, _dir) = registry(&["--gc-grace", "0", "--gc-interval", "0"])?;
    let root = test.server().root();
    let whole = collect_while_others_push(&mut test)?;
    let mut named: BTreeSet<String> = BTreeSet::new();
    for (_, manifest, layer) in whole {
        named.extend([digest(&manifest), layer, digest(b"{}")]);
    }
    // What was accepted in the moment of the kill, of which nobody heard.
    let all = test.client.get("/v2/_catalog")?.expect(200)?.json()?;
    for name in all["repositories"].as_array().into_iter().flatten().filter_map(|name| name.as_str()) {
        if let Ok(found) = test.client.get(&format!("/v2/{name}/manifests/v1"))?.expect(200) {
            let manifest = found.json()?;
            let layer = manifest["layers"][0]["digest"].as_str().unwrap_or_default().to_owned();
            named.extend([digest(&found.body), layer, digest(b"{}")]);
        }
    }
    store.age(std::time::Duration::from_secs(3600));
    collect(&root)?;
    until("only what is named is there", || store.objects("blobs") == named.len())?;
    assert_eq!(store.unfinished(), 0);
    Ok(())
}

#[test]
fn a_collection_ends_at_the_first_thing_that_the_store_does_not_do() -> Result<()> {
    let (store, mut test, _dir) = registry(&["--gc-grace", "0", "--gc-interval", "0"])?;
    let root = test.server().root();
    let kept = test.push_image("a", "v1", b"kept")?;
    for n in 0..20u8 {
        test.push_blob(&format!("b{n}"), &[n])?;
        test.push_blob("c", &[n, n])?;
    }
    let asked = store.requests();
    store.fail(Fault::Busy);
    assert!(collect(&root).is_err());
    // One removal, as often as a busy store is asked.
    assert!(store.requests() - asked < 10, "{} requests", store.requests() - asked);
    store.fail(Fault::None);
    store.age(std::time::Duration::from_secs(3600));
    collect(&root)?;
    until("only what is named is there", || store.objects("blobs") == 3)?;
    assert_eq!(test.client.get("/v2/a/manifests/v1")?.expect(200)?.body, kept);
    Ok(())
}

/// A cache of a registry, whose tags are looked up each time.
fn cache(origin: &mut Test, redirect: bool) -> Result<(Store, Test, tempfile::TempDir)> {
    let (store, dir) = (Store::start()?, tempfile::tempdir()?);
    let path = dir.path().join("config.yml");
    let file = configuration(&store.address, &path, "/", redirect)?;
    let text = fs_err::read_to_string(&path)?;
    let url = format!("http://{}", origin.server().address);
    fs_err::write(&path, format!("{text}proxy:\n  remoteurl: {url}\n  tagttl: 0s\n"))?;
    let test = Test::ours(&[&file, "--auth", "none"])?;
    Ok((store, test, dir))
}

#[test]
fn a_cache_keeps_in_a_bucket_what_it_passes_on() -> Result<()> {
    let mut origin = Test::ours(&["--auth", "none"])?;
    let layer = noise(LARGE);
    let first = origin.push_image("a/b", "v1", &layer)?;
    let (store, mut test, _dir) = cache(&mut origin, false)?;
    assert_eq!(test.client.get("/v2/a/b/manifests/v1")?.expect(200)?.body, first);
    let blob = format!("/v2/a/b/blobs/{}", digest(&layer));
    assert_eq!(test.client.get(&blob)?.expect(200)?.body, layer);
    assert_eq!((store.objects("blobs"), store.unfinished(), uploads(&mut test)?), (2, 0, 0));
    // A tag that moved is seen.
    let second = origin.push_image("a/b", "v1", b"second")?;
    assert_eq!(test.client.get("/v2/a/b/manifests/v1")?.expect(200)?.body, second);
    assert_eq!(store.objects("blobs"), 3);
    // Without the other one, what is here is served, from the bucket too.
    origin.server().kill()?;
    super::again(&mut test)?;
    assert_eq!(test.client.get("/v2/a/b/manifests/v1")?.expect(200)?.body, second);
    assert_eq!(test.client.get(&blob)?.expect(200)?.body, layer);
    let missing = test.client.get(&format!("/v2/a/b/blobs/{}", digest(b"second")))?.expect(502)?;
    assert_eq!(missing.code(), "UNAVAILABLE");
    Ok(())
}

#[test]
fn a_cache_sends_clients_to_the_bucket_for_what_is_there() -> Result<()> {
    let mut origin = Test::ours(&["--auth", "none"])?;
    let layer = noise(LARGE);
    origin.push_image("a", "v1", &layer)?;
    let (store, mut test, _dir) = cache(&mut origin, true)?;
    let blob = format!("/v2/a/blobs/{}", digest(&layer));
    // It comes while it is fetched.
    assert_eq!(test.client.get(&blob)?.expect(200)?.body, layer);
    let sent = test.client.get(&blob)?.expect(307)?;
    let location = sent.header("location").unwrap_or_default();
    assert!(location.starts_with(&format!("http://{}/images/blobs/", store.address)), "{location}");
    Ok(())
}

#[test]
fn a_cache_whose_bucket_is_away_keeps_nothing_and_goes_on_later() -> Result<()> {
    let mut origin = Test::ours(&["--auth", "none"])?;
    let (small, large) = (noise(50_000), noise(LARGE));
    let manifest = origin.push_image("a", "v1", &large)?;
    origin.push_blob("a", &small)?;
    let (store, mut test, _dir) = cache(&mut origin, false)?;
    store.fail(Fault::Busy);
    let blobs = [&small, &large].map(|bytes| format!("/v2/a/blobs/{}", digest(bytes)));
    assert_eq!(test.client.get(&blobs[0])?.expect(503)?.code(), "UNAVAILABLE");
    assert_eq!(test.client.get("/v2/a/manifests/v1")?.expect(503)?.code(), "UNAVAILABLE");
    // The answer has begun: its last byte does not come.
    assert!(test.client.get(&blobs[1]).is_err());
    until("what was fetched is removed", || uploads(&mut test).is_ok_and(|left| left == 0))?;
    store.fail(Fault::None);
    test.client = super::Client::new(&test.server().address.clone());
    for (blob, bytes) in blobs.iter().zip([&small, &large]) {
        assert_eq!(&test.client.get(blob)?.expect(200)?.body, bytes);
    }
    assert_eq!(test.client.get("/v2/a/manifests/v1")?.expect(200)?.body, manifest);
    assert_eq!((store.objects("blobs"), store.unfinished()), (3, 0));
    Ok(())
}
