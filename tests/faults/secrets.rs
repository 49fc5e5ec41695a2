//! Secrets: where they are, where they are not, and what happens to them when the daemon or the host ends.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use skiff_testkit::{
    Daemon,
    http::{Client, frames},
};

use crate::{daemon, inspect, start, wait};

const GIVEN: &str = "correct-horse-battery";
const OF_FILE: &str = "staple-of-a-file";

/// A container with both kinds of secrets, whose program prints them.
fn create(client: &mut Client, source: &Path, policy: &str) -> Result<String> {
    // "correct-horse-battery"
    let given =
        json!({ "ID": "db", "Data": "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5", "UID": 5, "GID": 6, "Mode": 0o440 });
    let of_file = json!({ "ID": "key", "Source": source, "Target": "/etc/app/key", "Mode": 0o400 });
    let script = "cat /run/secrets/db /etc/app/key && stat -c '%u:%g:%a' /run/secrets/db /etc/app/key; \
        (echo x > /run/secrets/db) 2>/dev/null; echo $?";
    let body = json!({
        "Image": "busybox", "Cmd": ["sh", "-c", script],
        "HostConfig": { "Secrets": [given, of_file], "RestartPolicy": { "Name": policy } },
    });
    let created = client.post("/containers/create", &body)?.ok()?.json()?;
    created["Id"].as_str().map(str::to_owned).context("no Id")
}

fn run(client: &mut Client, id: &str) -> Result<String> {
    start(client, id)?;
    wait(client, id)?;
    let answer = client.get(&format!("/containers/{id}/logs?stdout=1&tail=4"))?.ok()?;
    Ok(String::from_utf8(frames(&mut answer.body.as_slice())?.0)?)
}

#[test]
fn secrets_reach_their_container_and_nobody_else() -> Result<()> {
    let mut daemon = daemon(&["--debug"])?;
    let mut client = daemon.client();
    let dir = tempfile::tempdir()?;
    let source = dir.path().join("key");
    fs_err::write(&source, format!("\n{OF_FILE}\n"))?;
    let id = create(&mut client, &source, "no")?;
    let expected = format!("{OF_FILE}\n5:6:440\n0:0:400\n1\n");
    assert_eq!(run(&mut client, &id)?, expected);

    // Nothing of it is shown, recorded, or on any disk.
    let shown = inspect(&mut client, &id)?;
    assert!(!shown.to_string().contains(GIVEN) && !shown.to_string().contains("Y29ycmVjdC1ob"));
    assert_eq!(shown["HostConfig"]["Secrets"][0]["Target"], "/run/secrets/db");
    for root in [daemon.data_root(), daemon.exec_root()] {
        for needle in [GIVEN, "Y29ycmVjdC1ob3JzZS1i"] {
            let found = Command::new("grep").args(["-rlaF", needle]).arg(&root).output()?;
            let found = String::from_utf8(found.stdout)?;
            let logs = |file: &&str| !file.ends_with("-json.log");
            assert_eq!(found.lines().filter(logs).count(), 0, "{found}");
        }
    }
    assert!(!fs_err::read_to_string(daemon.log())?.contains("Y29ycmVjdC1ob"));

    // A file is read again by every start; what was given is there after a kill.
    fs_err::write(&source, "another\n")?;
    daemon.kill()?;
    daemon.start_again()?;
    client = daemon.client();
    let again = run(&mut client, &id)?;
    assert!(again.contains("another\n5:6:440"), "{again}");

    fs_err::remove_file(&source)?;
    let refused = client.post(&format!("/containers/{id}/start"), &Value::Null)?;
    let text = format!("secret \"key\": open {}: no such file or directory", source.display());
    assert_eq!((refused.status, refused.message()), (400, text));
    client.delete(&format!("/containers/{id}"))?.ok()?;
    nothing_is_left(&daemon)
}

#[test]
fn what_was_given_is_lost_with_the_hosts_memory_and_said_so() -> Result<()> {
    let mut daemon = daemon(&[])?;
    let mut client = daemon.client();
    let dir = tempfile::tempdir()?;
    let source = dir.path().join("key");
    fs_err::write(&source, "x\n")?;
    let id = create(&mut client, &source, "no")?;
    daemon.kill()?;
    // What a boot does to it.
    ensure!(daemon.inside("umount").arg(daemon.exec_root().join("secrets")).status()?.success());
    daemon.start_again()?;
    client = daemon.client();
    let refused = client.post(&format!("/containers/{id}/start"), &Value::Null)?;
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.message().starts_with("secret \"db\" was given when the container was created"));
    client.delete(&format!("/containers/{id}"))?.ok()?;
    nothing_is_left(&daemon)
}

#[test]
fn a_container_that_cannot_be_created_leaves_no_secret() -> Result<()> {
    let daemon = daemon(&[])?;
    let mut client = daemon.client();
    let secret = json!({ "ID": "db", "Data": "eA==" });
    let body =
        |secrets: Value| json!({ "Image": "busybox", "Cmd": ["true"], "HostConfig": { "Secrets": secrets } });
    client.post("/containers/create?name=taken", &body(json!([secret])))?.ok()?;
    let refused = client.post("/containers/create?name=taken", &body(json!([secret])))?;
    assert_eq!(refused.status, 409);
    let refused = client.post("/containers/create", &body(json!([{ "ID": "db", "Data": "%" }])))?;
    assert_eq!(refused.status, 400);
    assert!(!refused.message().contains('%'), "{}", refused.message());
    client.delete("/containers/taken")?.ok()?;
    nothing_is_left(&daemon)
}

fn nothing_is_left(daemon: &Daemon) -> Result<()> {
    // They are in the daemon's mount namespace.
    for _ in 0..6000 {
        let listed = daemon.inside("ls").arg(daemon.exec_root().join("secrets")).output()?;
        if listed.stdout.is_empty() {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    anyhow::bail!("secrets of removed containers are there")
}
