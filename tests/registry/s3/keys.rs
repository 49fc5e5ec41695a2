//! A registry that is given no keys finds them as Amazon's tools do.

use std::{net::TcpListener, path::Path, time::Duration};

use anyhow::{Result, ensure};

use super::{
    super::{Client, Test, digest, noise},
    LARGE, configuration, refused_in,
    store::{Fault, Store},
};

/// A [`configuration`] that has no keys.
pub(super) fn without_keys(store: &str, path: &Path, prefix: &str, redirect: bool) -> Result<String> {
    let file = configuration(store, path, prefix, redirect)?;
    let text = fs_err::read_to_string(path)?;
    fs_err::write(path, text.replace("    accesskey: key\n    secretkey: secret\n", ""))?;
    Ok(file)
}

/// A registry on a machine whose role gives keys that are good for so long.
fn registry(lifetime: Duration, redirect: bool) -> Result<(Store, Test, tempfile::TempDir)> {
    let (store, dir) = (Store::start()?, tempfile::tempdir()?);
    store.issue_for(lifetime);
    let file = without_keys(&store.address, &dir.path().join("config.yml"), "/", redirect)?;
    let machine = format!("http://{}", store.address);
    let environment = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", machine.as_str())];
    let test = Test::ours_in(&[&file, "--auth", "none"], &environment)?;
    Ok((store, test, dir))
}

#[test]
fn keys_of_a_machine_are_renewed_while_a_blob_is_sent() -> Result<()> {
    let (store, mut test, _dir) = registry(Duration::from_secs(2), false)?;
    let before = store.used();
    // It is created, filled, completed and looked at: longer than the first keys are good.
    store.fail(Fault::Slow(Duration::from_millis(900)));
    let layer = noise(LARGE);
    let blob = test.push_blob("a", &layer)?;
    store.fail(Fault::None);
    ensure!(store.used() > before, "{} keys", store.used());
    assert_eq!(test.client.get(&format!("/v2/a/blobs/{blob}"))?.expect(200)?.body, layer);
    assert_eq!(store.unfinished(), 0);
    Ok(())
}

#[test]
fn keys_that_are_taken_away_are_fetched_again() -> Result<()> {
    let (store, mut test, _dir) = registry(Duration::from_secs(3600), true)?;
    let layer = noise(100_000);
    let manifest = test.push_image("a", "v1", &layer)?;
    assert_eq!(store.used(), 1);
    store.revoke();
    // The first question is one that is answered without a reason.
    test.push_image("b", "v1", &layer)?;
    assert_eq!(store.used(), 2);
    store.revoke();
    test.push_blob("a", b"new")?;
    assert_eq!(store.used(), 3);
    let sent = test.client.get(&format!("/v2/a/blobs/{}", digest(&layer)))?.expect(307)?;
    assert_eq!(Client::new(&store.address).get(&sent.location()?)?.expect(200)?.body, layer);
    assert_eq!(test.client.get("/v2/a/manifests/v1")?.expect(200)?.body, manifest);
    Ok(())
}

#[test]
fn keys_are_in_the_environment_or_in_a_file() -> Result<()> {
    let (store, dir) = (Store::start()?, tempfile::tempdir()?);
    let credentials = dir.path().join("credentials");
    fs_err::write(&credentials, "[registry]\naws_access_key_id = key\naws_secret_access_key = secret\n")?;
    let credentials = credentials.display().to_string();
    let file = [("AWS_SHARED_CREDENTIALS_FILE", credentials.as_str()), ("AWS_PROFILE", "registry")];
    let keys = [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    for (prefix, environment) in [("file", file), ("keys", keys)] {
        let config = without_keys(&store.address, &dir.path().join("config.yml"), prefix, false)?;
        let mut test = Test::ours_in(&[&config, "--auth", "none"], &environment)?;
        test.push_image("a", "v1", b"layer")?;
        assert_eq!(store.objects(&format!("{prefix}/blobs")), 3);
    }
    Ok(())
}

#[test]
fn a_role_that_is_not_found_is_told_at_the_start() -> Result<()> {
    let (store, dir) = (Store::start()?, tempfile::tempdir()?);
    let file = without_keys(&store.address, &dir.path().join("config.yml"), "/", true)?;
    // It takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let silent = format!("http://{}", silent.local_addr()?);
    let machine = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
    let container = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    for (environment, words) in [
        ((machine, silent.as_str()), ": no answer within 5 seconds"),
        (
            (machine, "http://127.0.0.1:1"),
            "http://127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused",
        ),
        (
            (container, "http://127.0.0.1:1/keys"),
            "storage is not available: no keys from http://127.0.0.1:1: dial",
        ),
        (("AWS_PROFILE", "missing"), "no keys from the profile missing: neither keys nor a web identity in"),
    ] {
        let said = refused_in(&dir.path().join("data"), &[&file], &[environment])?;
        ensure!(said.contains("storage is not available: no keys from ") && said.contains(words), "{said}");
    }
    assert_eq!(store.requests(), 0);
    Ok(())
}
