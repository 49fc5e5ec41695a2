//! The container that is made before anybody asks for it: nobody sees it, and nothing is left of it.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use skiff_testkit::{Daemon, http::Client};

use crate::{create, daemon, start, wait};

/// How long what happens behind the answers may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn cycle(client: &mut Client) -> Result<String> {
    let id = create(client, &["true"], "none")?;
    start(client, &id)?;
    assert_eq!(wait(client, &id)?, 0);
    client.delete(&format!("/containers/{id}"))?.ok()?;
    Ok(id)
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The directories `what` of the daemon's storage driver.
fn storage(daemon: &Daemon, what: &str) -> Result<PathBuf> {
    let drivers = daemon.data_root().join("snapshots");
    let driver = names(&drivers).pop().context("no storage driver")?;
    Ok(drivers.join(driver).join(what))
}

/// The ids of the containers that something is there of.
fn traces(daemon: &Daemon) -> Result<Vec<String>> {
    let mut dirs = daemon.container_cgroups();
    dirs.extend([storage(daemon, "snapshots")?, daemon.data_root().join("containers")]);
    let mut ids: Vec<String> =
        dirs.iter().flat_map(|dir| names(dir)).filter(|name| name.len() == 64).collect();
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// Waits until that many containers have left traces; answers their ids.
fn until_traces(daemon: &Daemon, count: usize) -> Result<Vec<String>> {
    until_traces_of_others(daemon, count, &[], PATIENCE)
}

/// The same, none of them one of those `before`.
fn until_traces_of_others(
    daemon: &Daemon,
    count: usize,
    before: &[String],
    patience: Duration,
) -> Result<Vec<String>> {
    let end = Instant::now() + patience;
    loop {
        let ids = traces(daemon)?;
        if ids.len() == count && !ids.iter().any(|id| before.contains(id)) {
            return Ok(ids);
        }
        ensure!(Instant::now() < end, "traces of {ids:?}, not of {count} beside {before:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A daemon that has a spare container, and its id.
fn with_a_spare() -> Result<(Daemon, Client, String)> {
    let daemon = daemon(&[])?;
    let mut client = daemon.client();
    let mut before = Vec::new();
    let spare = loop {
        // What a daemon finds when it starts comes first: until then it makes none.
        before.extend([cycle(&mut client)?, cycle(&mut client)?]);
        // What the last one leaves goes behind its answer, too.
        if let Ok(mut spare) = until_traces_of_others(&daemon, 1, &before, Duration::from_secs(5)) {
            break spare.remove(0);
        }
        ensure!(before.len() < 30, "no spare container is made");
    };
    // One that is being made is nobody's yet, and from outside looks as one that is made.
    thread::sleep(Duration::from_secs(1));
    Ok((daemon, client, spare))
}

#[test]
fn the_next_container_is_the_spare_one() -> Result<()> {
    let (_daemon, mut client, spare) = with_a_spare()?;
    let listed = client.get("/containers/json?all=1")?.ok()?.json()?;
    assert_eq!(listed.as_array().map(Vec::len), Some(0));
    assert_eq!(client.get(&format!("/containers/{spare}/json"))?.status, 404);
    assert_eq!(cycle(&mut client)?, spare);
    Ok(())
}

#[test]
fn a_name_that_is_taken_leaves_nothing() -> Result<()> {
    let (daemon, mut client, spare) = with_a_spare()?;
    let body =
        serde_json::json!({ "Image": "busybox", "Cmd": ["true"], "HostConfig": { "NetworkMode": "none" } });
    client.post("/containers/create?name=one", &body)?.ok()?;
    until_traces(&daemon, 2)?;
    assert_eq!(client.post("/containers/create?name=one", &body)?.status, 409);
    assert_eq!(until_traces(&daemon, 1)?, [spare]);
    Ok(())
}

#[test]
fn it_goes_when_nobody_wants_it() -> Result<()> {
    let (daemon, ..) = with_a_spare()?;
    until_traces(&daemon, 0)?;
    Ok(())
}

#[test]
fn a_start_may_come_when_what_was_made_for_it_is_let_go_of() -> Result<()> {
    let daemon = daemon(&[])?;
    // A second after they were created; what is made ahead, is for four at the same time.
    let late = |round: u64, place: u64| -> Result<()> {
        let mut client = daemon.client();
        let id = create(&mut client, &["true"], "none")?;
        thread::sleep(Duration::from_micros(999_000 + 300 * (round * 4 + place)));
        start(&mut client, &id)?;
        assert_eq!(wait(&mut client, &id)?, 0);
        client.delete(&format!("/containers/{id}"))?.ok().map(drop)
    };
    for round in 0..8 {
        thread::scope(|scope| {
            let all: Vec<_> = (0..4)
                .map(|place| {
                    let late = &late;
                    scope.spawn(move || late(round, place))
                })
                .collect();
            all.into_iter().try_for_each(|late| late.join().expect("no panic"))
        })?;
    }
    Ok(())
}

#[test]
fn it_keeps_no_image() -> Result<()> {
    let (daemon, mut client, _) = with_a_spare()?;
    let removed = client.delete("/images/busybox")?.ok()?.json()?;
    let layers = |step: &&Value| step["Deleted"].as_str().is_some();
    // The image and its only layer.
    assert_eq!(removed.as_array().context("no list")?.iter().filter(layers).count(), 2, "{removed}");
    assert_eq!(names(&storage(&daemon, "layers")?), [""; 0]);
    until_traces(&daemon, 0)?;
    Ok(())
}

#[test]
fn a_killed_daemon_leaves_nothing_of_it() -> Result<()> {
    let (mut daemon, ..) = with_a_spare()?;
    daemon.kill()?;
    daemon.start_again()?;
    until_traces(&daemon, 0)?;
    Ok(())
}

#[test]
fn a_killed_monitor_stops_nobody() -> Result<()> {
    let (daemon, mut client, spare) = with_a_spare()?;
    let daemon_pid = daemon.pid().context("the daemon is down")?;
    for launcher in children(daemon_pid)? {
        for monitor in children(launcher)? {
            let pid = Pid::from_raw(monitor.cast_signed()).context("a process")?;
            kill_process(pid, Signal::KILL)?;
            while Path::new(&format!("/proc/{monitor}")).exists() {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
    assert_eq!(cycle(&mut client)?, spare);
    Ok(())
}

fn children(pid: u32) -> Result<Vec<u32>> {
    let mut children = Vec::new();
    for task in names(Path::new(&format!("/proc/{pid}/task"))) {
        // A thread may end meanwhile.
        let list = fs_err::read_to_string(format!("/proc/{pid}/task/{task}/children")).unwrap_or_default();
        children.extend(list.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
    }
    Ok(children)
}
