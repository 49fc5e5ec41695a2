//! A disk that is full.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;
use skiff_testkit::{Daemon, http::Body};

use crate::{create, inspect, start, wait};

/// A daemon whose data root lies on a file system of 24 MB.
fn daemon_on_a_small_disk() -> Result<(Daemon, tempfile::TempDir)> {
    let dir = tempfile::Builder::new().prefix("skiff-disk-").tempdir()?;
    let image = dir.path().join("disk");
    fs_err::File::create(&image)?.set_len(24 << 20)?;
    let status =
        Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image).status().context("mkfs.ext4")?;
    anyhow::ensure!(status.success(), "mkfs.ext4: {status}");
    let data = dir.path().join("data");
    fs_err::create_dir(&data)?;
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_skiff"));
    let data_arg = data.to_str().context("not UTF-8")?;
    let daemon = Daemon::start_prepared(binary, &["--data-root", data_arg], |inside| {
        let status = inside("mount").args(["-o", "loop"]).arg(&image).arg(&data).status()?;
        anyhow::ensure!(status.success(), "mount: {status}");
        Ok(())
    })?;
    Ok((daemon, dir))
}

fn fill(daemon: &Daemon, dir: &std::path::Path) -> Result<()> {
    let file = dir.join("data/filler");
    let line = "cat /dev/zero > \"$1\" 2>/dev/null; sync -f \"$1\"; true";
    daemon.inside("sh").args(["-c", line, "sh"]).arg(file).status()?;
    Ok(())
}

fn empty(daemon: &Daemon, dir: &std::path::Path) -> Result<()> {
    daemon.inside("rm").arg(dir.join("data/filler")).status()?;
    Ok(())
}

#[test]
fn a_full_disk_gives_errors_and_the_daemon_works_on() -> Result<()> {
    let (daemon, dir) = daemon_on_a_small_disk()?;
    daemon.import_busybox()?;
    let mut client = daemon.client();
    let chatty =
        create(&mut client, &["sh", "-c", "while :; do echo some words that fill the disk; done"], "none")?;
    start(&mut client, &chatty)?;
    fill(&daemon, dir.path())?;

    // Creating fails with words, and leaves nothing.
    let body = serde_json::json!({ "Image": "busybox", "Cmd": ["true"] });
    let mut refused = 0;
    for _ in 0..50 {
        let answer = client.post("/containers/create", &body)?;
        if answer.status == 201 {
            continue;
        }
        assert_eq!(answer.status, 500, "{}", answer.text());
        assert!(answer.message().contains("no space left on device"), "{}", answer.message());
        refused += 1;
    }
    assert!(refused > 0, "the disk was not full");

    // So does loading.
    let tar = skiff_testkit::image::busybox()?;
    let path = "/images/create?fromSrc=-&repo=second";
    let answer =
        client.request("POST", path, &Body::Bytes("application/x-tar", &[tar, vec![0; 1 << 22]].concat()))?;
    let text = answer.text();
    assert!(text.contains("no space left on device"), "{}: {text}", answer.status);

    // A container whose log has no room runs on.
    assert_eq!(inspect(&mut client, &chatty)?["State"]["Running"], true);
    client.post(&format!("/containers/{chatty}/kill"), &Value::Null)?.ok()?;

    // With room again everything works.
    empty(&daemon, dir.path())?;
    let id = create(&mut client, &["sh", "-c", "exit 3"], "none")?;
    start(&mut client, &id)?;
    assert_eq!(wait(&mut client, &id)?, 3);
    Ok(())
}

#[test]
fn copies_and_commits_on_a_full_disk_fail_with_words() -> Result<()> {
    let (daemon, dir) = daemon_on_a_small_disk()?;
    daemon.import_busybox()?;
    let mut client = daemon.client();
    let id = create(&mut client, &["sleep", "10000"], "none")?;
    start(&mut client, &id)?;
    let tar = |name: &str| {
        let mut tar = skiff_testkit::image::Tar::default();
        tar.entry(name, b'0', 0o644, "", &vec![7; 1 << 20]);
        tar.finish()
    };
    let put = |client: &mut skiff_testkit::http::Client, name: &str| {
        let path = format!("/containers/{id}/archive?path=/");
        client.request("PUT", &path, &Body::Bytes("application/x-tar", &tar(name)))
    };
    put(&mut client, "first")?.ok()?;
    let images = client.get("/images/json?all=1")?.ok()?.body;
    fill(&daemon, dir.path())?;

    let refused = put(&mut client, "second")?;
    assert_eq!(refused.status, 500, "{}", refused.text());
    assert!(refused.message().contains("no space left on device"), "{}", refused.message());
    let commit = format!("/commit?container={id}&repo=full");
    let refused = client.post(&commit, &Value::Null)?;
    assert_eq!(refused.status, 500, "{}", refused.text());
    assert!(refused.message().contains("no space left on device"), "{}", refused.message());
    assert_eq!(inspect(&mut client, &id)?["State"]["Status"], "running");
    assert_eq!(client.get("/images/json?all=1")?.ok()?.body, images);
    // Reading needs no room.
    client.get(&format!("/containers/{id}/export"))?.ok()?;

    empty(&daemon, dir.path())?;
    put(&mut client, "second")?.ok()?;
    client.post(&commit, &Value::Null)?.ok()?;
    Ok(())
}
