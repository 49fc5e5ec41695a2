//! Replication: what is pushed here is there too, over failures and kills.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde_json::json;

use super::{Client, INDEX, OCI, Server, Test, digest, image, noise};

/// Runs `skiff registry project …` on a registry's directory.
pub(super) fn project(root: &Path, args: &[&str], input: &str) -> Result<String> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_skiff"))
        .args(["registry", "project"])
        .args(args)
        .arg("--root")
        .arg(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Asks until a registry has this manifest.
pub(super) fn arrives(client: &mut Client, path: &str, bytes: &[u8]) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = client.request("GET", path, &[("Accept", OCI), ("Accept", INDEX)], b"")?;
        if answer.status == 200 && answer.body == bytes {
            return Ok(());
        }
        ensure!(Instant::now() < end, "{path}: {} {}", answer.status, answer.text());
        thread::sleep(Duration::from_millis(20));
    }
}

/// Asks how the replication of `team` goes until the answer has this in it.
fn told(root: &Path, text: &str) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let told = project(root, &["replication", "team"], "")?;
        if told.contains(text) {
            return Ok(());
        }
        ensure!(Instant::now() < end, "{told}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A registry that lets in `bob` with `secret`, and a client that is bob.
fn guarded() -> Result<(Server, Client, tempfile::TempDir)> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("htpasswd");
    let made = Command::new(env!("CARGO_BIN_EXE_skiff"))
        .args(["registry", "htpasswd", "-Bbn", "-C", "4", "bob", "secret"])
        .output()?;
    fs_err::write(&file, made.stdout)?;
    let server = Server::start(&["--auth", "htpasswd", "--htpasswd", &file.display().to_string()], &[])?;
    let mut client = Client::new(&server.address);
    client.authorization = Some("Basic Ym9iOnNlY3JldA==".to_owned());
    Ok((server, client, dir))
}

#[test]
fn what_is_pushed_is_there_too_over_kills_of_both() -> Result<()> {
    let mut here = Test::ours(&["--auth", "none"])?;
    let (mut there, mut client, _dir) = guarded()?;
    let root = here.server().root();
    // Something that was there before.
    let before = here.push_image("team/before", "v1", b"before")?;
    project(&root, &["add", "team"], "")?;
    let to = format!("{}/copy", there.address);
    let set = ["set", "--replicate", &to, "--replicate-user", "bob", "--password-stdin", "team"];
    project(&root, &set, "secret\n")?;
    arrives(&mut client, "/v2/copy/team/before/manifests/v1", &before)?;
    // An index with an attestation, and a signature that refers to it.
    let child = here.push_image("team/app", "child", &noise(3_000_000))?;
    let entry = json!({ "mediaType": OCI, "digest": digest(&child), "size": child.len() });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] }).to_string();
    let (config, layer) = (here.push_blob("team/app", b"{}")?, here.push_blob("team/app", b"signed")?);
    let subject = json!({ "mediaType": INDEX, "digest": digest(index.as_bytes()), "size": index.len() });
    let signature = image(&config, &layer, 6, Some(subject)).to_string();
    let of = digest(signature.as_bytes());
    here.put_manifest("team/app", &of, OCI, signature.as_bytes())?.expect(201)?;
    here.put_manifest("team/app", "all", INDEX, index.as_bytes())?.expect(201)?;
    arrives(&mut client, "/v2/copy/team/app/manifests/all", index.as_bytes())?;
    arrives(&mut client, &format!("/v2/copy/team/app/manifests/{of}"), signature.as_bytes())?;
    // Other projects stay here.
    here.push_image("other/app", "v1", b"other")?;
    // The other one is away, and then this one: what was pushed meanwhile is sent all the same.
    there.kill()?;
    let away = here.push_image("team/away", "v1", b"while it was away")?;
    told(&root, "connection refused")?;
    here.server().kill()?;
    there.start_again()?;
    here.server().start_again()?;
    client = Client::new(&there.address);
    client.authorization = Some("Basic Ym9iOnNlY3JldA==".to_owned());
    arrives(&mut client, "/v2/copy/team/away/manifests/v1", &away)?;
    client.get("/v2/copy/other/app/manifests/v1")?.expect(404)?;
    // The password is in no answer and no log.
    let told = project(&root, &["replication", "team"], "")?;
    assert!(!told.contains("secret") && !here.server().log().contains("secret"), "{told}");
    Ok(())
}

#[test]
fn what_refers_to_an_image_follows_it_later() -> Result<()> {
    let mut here = Test::ours(&["--auth", "none"])?;
    let mut there = Test::ours(&["--auth", "none"])?;
    let (root, address) = (here.server().root(), there.server().address.clone());
    project(&root, &["add", "team"], "")?;
    project(&root, &["set", "--replicate", &address, "team"], "")?;
    let mut last = here.push_image("team/app", "v1", b"image")?;
    arrives(&mut there.client, "/v2/team/app/manifests/v1", &last)?;
    let config = here.push_blob("team/app", b"{}")?;
    // A signature of the image, and one of the signature: pushed by digest, each when what it signs has long been sent.
    for text in [&b"signature"[..], b"of the signature"] {
        let layer = here.push_blob("team/app", text)?;
        let subject = json!({ "mediaType": OCI, "digest": digest(&last), "size": last.len() });
        let bytes = image(&config, &layer, text.len(), Some(subject)).to_string().into_bytes();
        here.put_manifest("team/app", &digest(&bytes), OCI, &bytes)?.expect(201)?;
        arrives(&mut there.client, &format!("/v2/team/app/manifests/{}", digest(&bytes)), &bytes)?;
        last = bytes;
    }
    // All of it is known to be there.
    told(&root, "  0  ")
}

#[test]
fn tags_that_the_target_does_not_want_keep_no_others_back() -> Result<()> {
    let mut here = Test::ours(&["--auth", "none"])?;
    let mut there = Test::ours(&["--auth", "none"])?;
    let (root, address) = (here.server().root(), there.server().address.clone());
    project(&there.server().root(), &["add", "copy"], "")?;
    project(&there.server().root(), &["set", "--immutable", "v*", "copy"], "")?;
    project(&root, &["add", "team"], "")?;
    let mut last = Vec::new();
    for tag in ["v1", "v2", "v3", "w1"] {
        if tag.starts_with('v') {
            there.push_image("copy/team/app", tag, b"already there")?;
        }
        last = here.push_image("team/app", tag, tag.as_bytes())?;
    }
    project(&root, &["set", "--replicate", &format!("{address}/copy"), "team"], "")?;
    arrives(&mut there.client, "/v2/copy/team/app/manifests/w1", &last)?;
    told(&root, "  3  ")?;
    told(&root, "immutable")?;
    let later = here.push_image("team/other", "latest", b"later")?;
    arrives(&mut there.client, "/v2/copy/team/other/manifests/latest", &later)?;
    // When they are wanted, whoever asks need not wait until they are tried again.
    project(&there.server().root(), &["set", "--immutable", "", "copy"], "")?;
    let wanted = here.client.get("/v2/team/app/manifests/v3")?.expect(200)?.body;
    project(&root, &["replicate", "team"], "")?;
    arrives(&mut there.client, "/v2/copy/team/app/manifests/v3", &wanted)?;
    told(&root, "  0  ")
}

#[test]
fn who_asks_gets_everything_compared_and_only_what_matches_is_sent() -> Result<()> {
    let mut here = Test::ours(&["--auth", "none"])?;
    let mut there = Test::ours(&["--auth", "none"])?;
    let (root, address) = (here.server().root(), there.server().address.clone());
    project(&root, &["add", "team"], "")?;
    assert!(project(&root, &["replicate", "team"], "").is_err());
    project(&root, &["set", "--replicate", &address, "--replicate-tag", "v*", "team"], "")?;
    here.push_image("team/app", "test", b"not this")?;
    let sent = here.push_image("team/app", "v1", b"this")?;
    arrives(&mut there.client, "/v2/team/app/manifests/v1", &sent)?;
    there.client.get("/v2/team/app/manifests/test")?.expect(404)?;
    // Somebody removes it there.
    there.client.request("DELETE", "/v2/team/app/manifests/v1", &[], b"")?.expect(202)?;
    project(&root, &["replicate", "team"], "")?;
    arrives(&mut there.client, "/v2/team/app/manifests/v1", &sent)?;
    for wrong in ["nowhere", "http://x.example", "x.example/UPPER"] {
        let error = project(&root, &["set", "--replicate", wrong, "team"], "").unwrap_err().to_string();
        assert!(error.contains("is not a registry like"), "{error}");
    }
    project(&root, &["set", "--replicate", "", "team"], "")?;
    assert_eq!(project(&root, &["replication", "team"], "")?.lines().count(), 1);
    Ok(())
}

#[test]
fn a_schedule_compares_everything_again_also_after_a_restart() -> Result<()> {
    let mut here = Test::ours(&["--auth", "none"])?;
    let mut there = Test::ours(&["--auth", "none"])?;
    let (root, address) = (here.server().root(), there.server().address.clone());
    project(&root, &["add", "team"], "")?;
    let sent = here.push_image("team/app", "v1", b"layer")?;
    project(&root, &["set", "--replicate", &address, "--replicate-every", "24", "team"], "")?;
    let (path, by_digest) =
        ("/v2/team/app/manifests/v1", format!("/v2/team/app/manifests/{}", digest(&sent)));
    arrives(&mut there.client, path, &sent)?;
    // Somebody removes it there: only who compares sees that.
    there.client.request("DELETE", &by_digest, &[], b"")?.expect(202)?;
    let other = here.push_image("team/app", "v2", b"other")?;
    arrives(&mut there.client, "/v2/team/app/manifests/v2", &other)?;
    there.client.get(path)?.expect(404)?;
    here.server().kill()?;
    here.server().start_again()?;
    arrives(&mut there.client, path, &sent)?;
    // More often than the command line allows, so that nobody waits an hour for this test.
    let body = json!({ "replications": [{ "registry": address, "prefix": "", "user": "", "password": "", "tags": [], "every": 1 }] });
    let set = Command::new("curl")
        .args(["-sSf", "-X", "PATCH", "-H", "Content-Type: application/json", "-d", &body.to_string()])
        .arg("--unix-socket")
        .arg(root.join("operator.sock"))
        .arg("http://registry/api/v1/projects/team")
        .output()?;
    ensure!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    for _ in 0..3 {
        there.client.request("DELETE", &by_digest, &[], b"")?.expect(202)?;
        arrives(&mut there.client, path, &sent)?;
    }
    Ok(())
}
