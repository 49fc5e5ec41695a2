//! Containers that another OCI runtime makes, be that one good, mute or stuck. The good one is our own command line, which the
//! monitor knows as little as any other.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use skiff_testkit::{
    Daemon,
    http::{Body, Client, frames},
};

use crate::{daemon, inspect, start, wait};

const COUNTING: &str =
    "trap 'echo asked; exit 3' TERM; i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done";

/// A daemon that knows a good runtime, and others made of it: what a script puts before it.
fn with_runtimes(scripts: &[(&str, &str)]) -> Result<(Daemon, tempfile::TempDir)> {
    let dir = tempfile::tempdir()?;
    let binary = env!("CARGO_BIN_EXE_skiff");
    let mut runtimes = json!({ "good": { "path": binary, "runtimeArgs": ["runtime"] } });
    for (name, script) in scripts {
        let path = dir.path().join(name);
        fs_err::write(&path, format!("#!/bin/sh\n{script}\nexec {binary} runtime \"$@\"\n"))?;
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        runtimes[name] = json!({ "path": path });
    }
    let config = dir.path().join("daemon.json");
    fs_err::write(&config, json!({ "runtimes": runtimes }).to_string())?;
    Ok((daemon(&["--config-file", &config.to_string_lossy()])?, dir))
}

fn create(client: &mut Client, runtime: &str, command: &[&str]) -> Result<String> {
    let host =
        json!({ "Runtime": runtime, "Mounts": [{ "Type": "volume", "Source": "kept", "Target": "/kept" }] });
    let body = json!({ "Image": "busybox", "Cmd": command, "HostConfig": host });
    let created = client.post("/containers/create", &body)?.ok()?.json()?;
    created["Id"].as_str().map(str::to_owned).context("no Id")
}

fn log(client: &mut Client, id: &str) -> Result<String> {
    let answer = client.get(&format!("/containers/{id}/logs?stdout=1&stderr=1"))?.ok()?;
    let (out, err) = frames(&mut answer.body.as_slice())?;
    Ok(String::from_utf8(out)? + std::str::from_utf8(&err)?)
}

/// Runs a command in a container, with an input: its output and exit code.
fn exec(client: &mut Client, id: &str, command: &[&str], input: &[u8]) -> Result<(String, Value)> {
    let body = json!({ "AttachStdin": true, "AttachStdout": true, "AttachStderr": true, "Cmd": command });
    let made = client.post(&format!("/containers/{id}/exec"), &body)?.ok()?.json()?;
    let exec = made["Id"].as_str().context("no Id")?.to_owned();
    let mut stream = client.hijack(&format!("/exec/{exec}/start"), &Body::Json(&json!({})))?;
    stream.send(input)?;
    stream.close_stdin()?;
    let (out, err) = stream.read_frames()?;
    let seen = client.get(&format!("/exec/{exec}/json"))?.ok()?.json()?;
    Ok((String::from_utf8(out)? + std::str::from_utf8(&err)?, seen["ExitCode"].clone()))
}

/// The parent of the container's first process.
fn monitor(client: &mut Client, id: &str) -> Result<i32> {
    let pid = inspect(client, id)?["State"]["Pid"].as_i64().context("no Pid")?;
    let status = fs_err::read_to_string(format!("/proc/{pid}/status"))?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).context("no PPid")?;
    Ok(parent.trim().parse()?)
}

#[test]
fn another_runtimes_container_is_a_container_like_any_other() -> Result<()> {
    let (mut daemon, _dir) = with_runtimes(&[])?;
    let mut client = daemon.client();
    let id = create(&mut client, "good", &["sh", "-c", COUNTING])?;
    start(&mut client, &id)?;
    let (out, code) = exec(&mut client, &id, &["sh", "-c", "cat; echo here >&2; exit 5"], b"sent ")?;
    assert_eq!((out.as_str(), &code), ("sent here\n", &json!(5)));
    let (out, code) = exec(&mut client, &id, &["nosuch"], b"")?;
    assert_eq!(code, 127, "{out}");
    let comm = fs_err::read_to_string(format!("/proc/{}/comm", monitor(&mut client, &id)?))?;
    assert_eq!(comm.trim(), "skiff-monitor");

    client.post(&format!("/containers/{id}/pause"), &Value::Null)?.ok()?;
    let paused = log(&mut client, &id)?;
    assert_eq!(inspect(&mut client, &id)?["State"]["Status"], "paused");
    daemon.kill()?;
    daemon.start_again()?;
    client = daemon.client();
    assert_eq!(inspect(&mut client, &id)?["State"]["Status"], "paused");
    assert_eq!(log(&mut client, &id)?, paused, "it is frozen");
    client.post(&format!("/containers/{id}/unpause"), &Value::Null)?.ok()?;
    client.post(&format!("/containers/{id}/update"), &json!({ "PidsLimit": 77 }))?.ok()?;
    let limits = daemon.container_cgroups().into_iter().map(|dir| dir.join(&id).join("pids.max"));
    let limits: Vec<String> = limits.filter_map(|file| fs_err::read_to_string(file).ok()).collect();
    assert!(limits.iter().any(|limit| limit.trim() == "77"), "{limits:?}");

    let (out, _) = exec(&mut client, &id, &["cat", "/proc/self/cgroup"], b"")?;
    assert!(!out.is_empty());
    client.post(&format!("/containers/{id}/stop"), &Value::Null)?.ok()?;
    assert_eq!(inspect(&mut client, &id)?["State"]["ExitCode"], 3);
    assert!(log(&mut client, &id)?.ends_with("asked\n"));
    start(&mut client, &id)?;
    client.post(&format!("/containers/{id}/kill"), &Value::Null)?.ok()?;
    assert_eq!(inspect(&mut client, &id)?["State"]["ExitCode"], 137);
    client.delete(&format!("/containers/{id}"))?.ok()?;
    nothing_is_left(&daemon)
}

#[test]
fn a_terminal_goes_through_the_other_runtime() -> Result<()> {
    let (daemon, _dir) = with_runtimes(&[])?;
    let mut client = daemon.client();
    let body = json!({
        "Image": "busybox", "Tty": true, "Cmd": ["sh", "-c", "stty size; tty"],
        "HostConfig": { "Runtime": "good", "ConsoleSize": [33, 44] },
    });
    let created = client.post("/containers/create", &body)?.ok()?.json()?;
    let id = created["Id"].as_str().context("no Id")?;
    start(&mut client, id)?;
    assert_eq!(wait(&mut client, id)?, 0);
    let log = client.get(&format!("/containers/{id}/logs?stdout=1"))?.ok()?.text();
    assert_eq!(log, "33 44\r\n/dev/pts/0\r\n");
    Ok(())
}

#[test]
fn the_death_of_its_monitor_ends_another_runtimes_container() -> Result<()> {
    let (daemon, _dir) = with_runtimes(&[])?;
    let mut client = daemon.client();
    let id = create(&mut client, "good", &["sh", "-c", COUNTING])?;
    start(&mut client, &id)?;
    let monitor = rustix::process::Pid::from_raw(monitor(&mut client, &id)?).context("no monitor")?;
    rustix::process::kill_process(monitor, rustix::process::Signal::KILL)?;
    assert_eq!(wait(&mut client, &id)?, 137);
    start(&mut client, &id)?;
    assert_eq!(exec(&mut client, &id, &["true"], b"")?.1, 0);
    client.delete(&format!("/containers/{id}?force=1"))?.ok()?;
    nothing_is_left(&daemon)
}

#[test]
fn a_runtime_that_fails_is_quoted_and_leaves_nothing() -> Result<()> {
    let scripts = [
        ("garbage", "echo '{]\u{1}' >&2; exit 9"),
        ("silent", "exit 0"),
        ("missing", "exec /nosuch/program"),
    ];
    let (daemon, dir) = with_runtimes(&scripts)?;
    let mut client = daemon.client();
    fs_err::remove_file(dir.path().join("missing"))?;
    for (runtime, said) in
        [("garbage", "exit status 9"), ("silent", "No such file"), ("missing", "No such file")]
    {
        let id = create(&mut client, runtime, &["true"])?;
        let refused = client.post(&format!("/containers/{id}/start"), &Value::Null)?;
        assert!(refused.message().contains(said), "{runtime}: {}", refused.message());
        assert_eq!(inspect(&mut client, &id)?["State"]["Status"], "created");
        client.delete(&format!("/containers/{id}"))?.ok()?;
    }
    let body = json!({ "Image": "busybox", "HostConfig": { "Runtime": "unknown" } });
    let refused = client.post("/containers/create", &body)?;
    assert_eq!(
        (refused.status, refused.message().as_str()),
        (400, "unknown or invalid runtime name: unknown")
    );
    nothing_is_left(&daemon)
}

#[test]
fn a_runtime_that_is_stuck_holds_up_only_what_it_was_asked_for() -> Result<()> {
    let (daemon, _dir) = with_runtimes(&[("stuck", "case \"$*\" in *pause*) exec sleep 1000;; esac")])?;
    let mut client = daemon.client();
    let id = create(&mut client, "stuck", &["sh", "-c", COUNTING])?;
    start(&mut client, &id)?;
    let socket: PathBuf = client.socket().to_owned();
    let pausing = thread::spawn({
        let path = format!("/containers/{id}/pause");
        move || Client::new(socket).post(&path, &Value::Null)
    });
    // Whether it is stuck already or not, what comes now is served.
    let before = log(&mut client, &id)?;
    assert_eq!(exec(&mut client, &id, &["echo", "served"], b"")?.0, "served\n");
    until("the log goes on", || Ok(log(&mut client, &id)?.len() > before.len() + 10))?;
    client.post(&format!("/containers/{id}/kill"), &Value::Null)?.ok()?;
    let paused = pausing.join().expect("the client panicked")?;
    assert!(paused.status >= 400, "{}", paused.text());
    assert_eq!(inspect(&mut client, &id)?["State"]["ExitCode"], 137);
    client.delete(&format!("/containers/{id}"))?.ok()?;
    nothing_is_left(&daemon)
}

fn until(what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    for _ in 0..6000 {
        if done()? {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
    anyhow::bail!("not so: {what}")
}

fn nothing_is_left(daemon: &Daemon) -> Result<()> {
    until("cgroups and run directories are gone", || {
        let mut places = daemon.container_cgroups();
        places.push(daemon.exec_root().join("containers"));
        let inside = places.iter().flat_map(fs_err::read_dir).flatten().flatten();
        Ok(inside.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).count() == 0)
    })?;
    let mounts = fs_err::read_to_string(Path::new("/proc/self/mountinfo"))?;
    let root = daemon.exec_root().to_string_lossy().into_owned();
    ensure!(!mounts.contains(&root), "something is mounted in {root}");
    Ok(())
}
