//! A store that accepts and does not answer, breaks off, or has no time: everything ends, clients are told, nothing that was
//! acknowledged is lost and nothing that was given up is left.

use std::thread;

use anyhow::{Result, anyhow};

use super::{
    super::{Client, OCTETS, Test, digest, noise, with_digest},
    LARGE, again, configuration, refused,
    store::{Fault, Store},
    until,
};

/// A registry that waits for its store one second.
fn registry() -> Result<(Store, Test, tempfile::TempDir)> {
    let (store, dir) = (Store::start()?, tempfile::tempdir()?);
    let path = dir.path().join("config.yml");
    let file = configuration(&store.address, &path, "/", false)?;
    let text = fs_err::read_to_string(&path)?;
    fs_err::write(&path, text.replace("    bucket:", "    timeout: 1s\n    bucket:"))?;
    let test = Test::ours(&[&file, "--auth", "none"])?;
    Ok((store, test, dir))
}

/// Sends all bytes of a blob; answers where it is to be finished.
fn send(client: &mut Client, bytes: &[u8]) -> Result<String> {
    let begun = client.request("POST", "/v2/a/blobs/uploads/", &[], b"")?.expect(202)?;
    let location = begun.location()?;
    client.request("PATCH", &location, &OCTETS, bytes)?.expect(202)?;
    Ok(with_digest(&location, &digest(bytes)))
}

#[test]
fn a_store_that_never_answers_is_given_up() -> Result<()> {
    let (store, mut test, _dir) = registry()?;
    let address = test.server().address.clone();
    let layer = noise(50_000);
    let manifest = test.push_image("a", "v1", &layer)?;
    let blobs: Vec<_> = (0..6).map(|n| noise(60_000 + n)).collect();
    let ends = blobs.iter().map(|bytes| send(&mut test.client, bytes)).collect::<Result<Vec<_>>>()?;
    store.fail(Fault::Hang);
    // More than there are places for.
    let mut waiting = Vec::new();
    for (method, path) in ends
        .iter()
        .map(|end| ("PUT", end.clone()))
        .chain([("GET", format!("/v2/a/blobs/{}", digest(&layer))), ("HEAD", "/v2/a/manifests/v1".into())])
    {
        let address = address.clone();
        waiting.push(thread::spawn(move || {
            Client::new(&address).request(method, &path, &OCTETS, b"").map(|answer| (method, answer.status))
        }));
    }
    until("requests wait for the store", || store.hanging() > 3)?;
    // Who needs no store is served.
    assert_eq!(test.client.get("/v2/a/manifests/v1")?.expect(200)?.body, manifest);
    test.client.get("/v2/a/tags/list")?.expect(200)?;
    let late = send(&mut test.client, b"late")?;
    for client in waiting {
        let (method, status) = client.join().map_err(|_| anyhow!("a client panicked"))??;
        assert_eq!(status, if method == "HEAD" { 200 } else { 503 }, "{method}");
    }
    // What was given up is not waited for by anybody.
    until("nobody waits", || store.hanging() == 0)?;
    store.fail(Fault::None);
    for (end, bytes) in ends.iter().chain([&late]).zip(blobs.iter().map(Vec::as_slice).chain([&b"late"[..]]))
    {
        test.client.request("PUT", end, &OCTETS, b"")?.expect(201)?;
        assert_eq!(test.client.get(&format!("/v2/a/blobs/{}", digest(bytes)))?.expect(200)?.body, bytes);
    }
    Ok(())
}

#[test]
fn a_store_that_is_silent_at_the_start_is_named() -> Result<()> {
    let (store, mut test, dir) = registry()?;
    let root = test.server().root();
    test.server().kill()?;
    store.fail(Fault::Hang);
    let said = refused(&root, &[&dir.path().join("config.yml").display().to_string()])?;
    let words = "storage is not available: the store does not answer: ";
    assert!(said.contains(words), "{said}");
    Ok(())
}

#[test]
fn parts_of_an_upload_that_was_given_up_go() -> Result<()> {
    let (store, mut test, _dir) = registry()?;
    let layer = noise(LARGE);
    let end = send(&mut test.client, &layer)?;
    store.fail(Fault::HangAfterPart);
    let refused = test.client.request("PUT", &end, &OCTETS, b"")?.expect(503)?;
    assert_eq!(refused.code(), "UNAVAILABLE");
    assert_eq!(store.unfinished(), 1);
    store.fail(Fault::None);
    until("its parts are gone", || store.unfinished() == 0)?;
    test.client.request("PUT", &end, &OCTETS, b"")?.expect(201)?;
    // Nor when the process ends before.
    let other = noise(LARGE + 1);
    let end = send(&mut test.client, &other)?;
    store.fail(Fault::HangAfterPart);
    test.client.request("PUT", &end, &OCTETS, b"")?.expect(503)?;
    test.server().kill()?;
    store.fail(Fault::None);
    assert_eq!(store.unfinished(), 1);
    again(&mut test)?;
    until("its parts are gone", || store.unfinished() == 0)?;
    test.client.request("PUT", &end, &OCTETS, b"")?.expect(201)?;
    for bytes in [&layer, &other] {
        assert_eq!(&test.client.get(&format!("/v2/a/blobs/{}", digest(bytes)))?.expect(200)?.body, bytes);
    }
    Ok(())
}

#[test]
fn an_end_that_is_not_answered_is_looked_for() -> Result<()> {
    let (store, mut test, _dir) = registry()?;
    let layer = noise(LARGE);
    store.fail(Fault::HangAtEnd);
    let blob = test.push_blob("a", &layer)?;
    assert_eq!(test.client.get(&format!("/v2/a/blobs/{blob}"))?.expect(200)?.body, layer);
    assert_eq!(store.unfinished(), 0);
    Ok(())
}

#[test]
fn a_store_that_answers_in_drops_is_given_up() -> Result<()> {
    let (store, mut test, _dir) = registry()?;
    let layer = noise(100_000);
    let manifest = test.push_image("a", "v1", &layer)?;
    // Nothing is in memory.
    again(&mut test)?;
    store.fail(Fault::Drip);
    let refused = test.client.get("/v2/a/manifests/v1")?.expect(503)?;
    assert_eq!(refused.code(), "UNAVAILABLE");
    // The answer has begun: it is cut short.
    let blob = format!("/v2/a/blobs/{}", digest(&layer));
    assert!(test.client.get(&blob).is_err());
    test.client = Client::new(&test.server().address.clone());
    test.client.get("/v2/a/tags/list")?.expect(200)?;
    store.fail(Fault::None);
    assert_eq!(test.client.get(&blob)?.expect(200)?.body, layer);
    assert_eq!(test.client.get("/v2/a/manifests/v1")?.expect(200)?.body, manifest);
    Ok(())
}

#[test]
fn what_a_busy_store_refuses_and_what_breaks_off_is_sent_again() -> Result<()> {
    let (store, mut test, _dir) = registry()?;
    let layer = noise(LARGE);
    store.fail(Fault::BusyFor(4));
    let manifest = test.push_image("a", "v1", b"small")?;
    store.fail(Fault::BusyFor(4));
    assert_eq!(test.client.get(&format!("/v2/a/blobs/{}", digest(b"small")))?.expect(200)?.body, b"small");
    for fault in [Fault::Torn(2), Fault::BusyFor(4)] {
        store.fail(fault);
        test.push_blob("a", &layer)?;
        assert_eq!(test.client.get(&format!("/v2/a/blobs/{}", digest(&layer)))?.expect(200)?.body, layer);
        test.client.request("DELETE", &format!("/v2/a/blobs/{}", digest(&layer)), &[], b"")?.expect(202)?;
        until("it is removed", || store.objects("blobs") == 3)?;
    }
    again(&mut test)?;
    assert_eq!(test.client.get("/v2/a/manifests/v1")?.expect(200)?.body, manifest);
    assert_eq!(store.unfinished(), 0);
    Ok(())
}
