//! Logs that go elsewhere: receivers that are away, that hang, that talk nonsense; daemons that die meanwhile.

use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use skiff_testkit::{Daemon, http::Client};

use crate::{daemon, start, wait};

/// For what never comes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A fluentd that acknowledges what it gets.
struct Fluentd {
    lines: Arc<Mutex<Vec<String>>>,
}

impl Fluentd {
    fn at(path: &Path) -> Result<Self> {
        let listener = UnixListener::bind(path)?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let all = lines.clone();
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let all = all.clone();
                thread::spawn(move || serve(socket, &all));
            }
        });
        Ok(Self { lines })
    }

    /// What has come, each line once, when there are so many.
    fn wait_for(&self, count: usize) -> Result<Vec<String>> {
        let until = Instant::now() + PATIENCE;
        loop {
            let mut lines = self.lines.lock().expect("no panic").clone();
            lines.sort_by_key(|line| number(line));
            lines.dedup();
            if lines.len() >= count {
                return Ok(lines);
            }
            ensure!(Instant::now() < until, "{} of {count} lines came", lines.len());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn number(line: &str) -> u32 {
    line.trim_start_matches("line ").parse().unwrap_or(u32::MAX)
}

fn serve(mut socket: UnixStream, lines: &Mutex<Vec<String>>) {
    const CHUNK: &[u8] = b"\xa5chunk\xb8";
    let mut got = Vec::new();
    let mut space = vec![0; 1 << 16];
    while let Ok(len @ 1..) = socket.read(&mut space) {
        got.extend_from_slice(&space[..len]);
        while let Some(at) = got.windows(CHUNK.len()).position(|window| window == CHUNK) {
            let (id, end) = (at + CHUNK.len(), at + CHUNK.len() + 24);
            if got.len() < end {
                break;
            }
            let answer = [b"\x81\xa3ack\xb8", &got[id..end]].concat();
            lines.lock().expect("no panic").extend(records(&got[..at]));
            if socket.write_all(&answer).is_err() {
                return;
            }
            got.drain(..end);
        }
    }
}

/// The short lines of a batch: behind the key `log` one byte of length and the text.
fn records(batch: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\xa3log";
    let starts = batch.windows(KEY.len()).enumerate().filter(|(_, window)| *window == KEY);
    let text = |at: usize| {
        let len = usize::from(batch.get(at)? & 0x1f);
        Some(String::from_utf8_lossy(batch.get(at + 1..at + 1 + len)?).into_owned())
    };
    starts.filter_map(|(at, _)| text(at + KEY.len())).collect()
}

struct Scene {
    daemon: Daemon,
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Result<Self> {
        Ok(Self { daemon: daemon(&[])?, dir: tempfile::tempdir()? })
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("fluentd")
    }

    /// A container that prints so many lines, with their numbers.
    fn create(
        &self,
        client: &mut Client,
        count: usize,
        more: &[(&str, &str)],
        remove: bool,
    ) -> Result<String> {
        let mut options = json!({
            "fluentd-address": format!("unix://{}", self.socket().display()),
            "fluentd-request-ack": "true", "fluentd-retry-wait": "100ms",
        });
        for (key, value) in more {
            options[*key] = json!(value);
        }
        let script = format!("i=1; while [ $i -le {count} ]; do echo line $i; i=$((i+1)); done");
        let body = json!({
            "Image": "busybox", "Cmd": ["sh", "-c", script],
            "HostConfig": {
                "NetworkMode": "none", "AutoRemove": remove,
                "LogConfig": { "Type": "fluentd", "Config": options },
            },
        });
        let created = client.post("/containers/create", &body)?.ok()?.json()?;
        created["Id"].as_str().map(str::to_owned).context("no Id")
    }

    fn spools(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.daemon.data_root().join("log-spool"));
        entries.into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    }
}

fn all(count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("line {n}")).collect()
}

#[test]
fn an_outage_of_the_receiver_and_of_the_daemon_loses_nothing() -> Result<()> {
    let mut scene = Scene::new()?;
    let mut client = scene.daemon.client();
    let id = scene.create(&mut client, 5000, &[], false)?;
    start(&mut client, &id)?;
    // Nobody listens, and the container is not held up.
    assert_eq!(wait(&mut client, &id)?, 0);
    scene.daemon.kill()?;
    scene.daemon.start_again()?;
    let fluentd = Fluentd::at(&scene.socket())?;
    assert_eq!(fluentd.wait_for(5000)?, all(5000));
    // Killed again in the middle of the next run: what was sent stays sent, what was not is.
    let mut client = scene.daemon.client();
    fluentd.lines.lock().expect("no panic").clear();
    start(&mut client, &id)?;
    fluentd.wait_for(100)?;
    scene.daemon.kill()?;
    scene.daemon.start_again()?;
    assert_eq!(fluentd.wait_for(5000)?, all(5000));
    Ok(())
}

#[test]
fn what_a_removed_container_wrote_is_still_sent() -> Result<()> {
    let mut scene = Scene::new()?;
    let mut client = scene.daemon.client();
    let id = scene.create(&mut client, 300, &[], true)?;
    start(&mut client, &id)?;
    let until = Instant::now() + PATIENCE;
    while client.get(&format!("/containers/{id}/json"))?.status != 404 {
        ensure!(Instant::now() < until, "the container is never removed");
        thread::sleep(Duration::from_millis(20));
    }
    scene.daemon.kill()?;
    scene.daemon.start_again()?;
    let fluentd = Fluentd::at(&scene.socket())?;
    assert_eq!(fluentd.wait_for(300)?, all(300));
    while !scene.spools().is_empty() {
        ensure!(Instant::now() < until, "the spool stays");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[test]
fn what_the_spool_has_no_room_for_is_counted() -> Result<()> {
    const COUNT: usize = 4000;
    let scene = Scene::new()?;
    let mut client = scene.daemon.client();
    let id =
        scene.create(&mut client, COUNT, &[("cache-max-size", "20k"), ("cache-max-file", "3")], false)?;
    start(&mut client, &id)?;
    assert_eq!(wait(&mut client, &id)?, 0);
    let fluentd = Fluentd::at(&scene.socket())?;
    // Those that were written last are there.
    let until = Instant::now() + PATIENCE;
    let lines = loop {
        let lines = fluentd.wait_for(1)?;
        if lines.last().is_some_and(|line| line == &format!("line {COUNT}")) {
            break lines;
        }
        ensure!(Instant::now() < until, "the last line never comes");
        thread::sleep(Duration::from_millis(20));
    };
    assert!(lines.len() < COUNT, "nothing was lost");
    let filters = json!({ "container": [id], "event": ["log_lost"] }).to_string();
    let query = format!("/events?since=1&until={}&filters={}", now() + 1, encode(&filters));
    let lost = || -> Result<usize> {
        let answer = scene.daemon.client().get(&query)?.ok()?.text();
        let events = answer.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        let lines = |event: &Value| event["Actor"]["Attributes"]["lines"].as_str()?.parse::<usize>().ok();
        Ok(events.iter().filter_map(lines).sum())
    };
    while lost()? + lines.len() != COUNT {
        ensure!(Instant::now() < until, "{} came, {} are told to be lost", lines.len(), lost()?);
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

#[test]
fn receivers_that_hang_or_talk_nonsense_harm_nobody() -> Result<()> {
    let scene = Scene::new()?;
    let mut client = scene.daemon.client();
    let listener = UnixListener::bind(scene.socket())?;
    let nonsense = thread::spawn(move || -> Result<()> {
        // One resets, one answers without end and without sense; the third says nothing, for ever.
        drop(listener.accept()?);
        let (mut talker, _) = listener.accept()?;
        while talker.write_all(&[0xc1; 4096]).is_ok() {}
        let silent = listener.accept()?;
        std::mem::forget(silent);
        Ok(())
    });
    // More than fits into any pipe or socket.
    let id = scene.create(&mut client, 30_000, &[], false)?;
    start(&mut client, &id)?;
    assert_eq!(wait(&mut client, &id)?, 0);
    nonsense.join().expect("no panic")?;
    let log = client.get(&format!("/containers/{id}/logs?stdout=1&tail=1"))?.ok()?;
    assert!(log.text().ends_with("line 30000\n"));
    client.request("DELETE", &format!("/containers/{id}"), &skiff_testkit::http::Body::Empty)?.ok()?;
    Ok(())
}

fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_secs())
}

fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}
