//! Rows about starting, running and removing containers.

use std::{sync::mpsc, thread, time::Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use skiff_testkit::http::{Body, Client};

use super::{
    Row,
    report::Unit,
    subject::{Subject, create, milliseconds},
};

pub(super) const ROWS: &[Row] = &[
    Row::new("create+start+wait+remove, network none", Unit::Milliseconds, 50, |s| cycle(s, "none"))
        .target(5.0),
    Row::new("create+start+wait+remove, bridge network", Unit::Milliseconds, 50, |s| cycle(s, "bridge"))
        .target(8.0),
    Row::new("create+start+wait+remove, host network", Unit::Milliseconds, 50, |s| cycle(s, "host"))
        .target(5.0),
    Row::new("CLI run --rm busybox true, bridge network", Unit::Milliseconds, 30, |s| {
        s.cli(&["run", "--rm", "busybox", "true"])
    })
    .target(12.0),
    Row::new("exec: create, start, stream, inspect", Unit::Milliseconds, 50, exec)
        .target(3.0)
        .around(one_running, Subject::remove_containers),
    Row::new("100 containers with bridge network, 8 at a time: all up", Unit::Milliseconds, 5, |s| {
        let took = hundred_up(s)?;
        hundred_removed(s)?;
        Ok(took)
    })
    .target(500.0),
    Row::new("the same 100: all removed by force", Unit::Milliseconds, 5, |s| {
        hundred_up(s)?;
        hundred_removed(s)
    })
    .target(400.0),
    Row::new("list 100 containers", Unit::Milliseconds, 50, list)
        .target(0.5)
        .around(|s| hundred_up(s).map(drop), Subject::remove_containers),
    Row::new("daemon start to first answer, 0 containers", Unit::Milliseconds, 10, restart)
        .target(30.0)
        .only_ours(),
    Row::new("daemon start to first answer, 100 running", Unit::Milliseconds, 10, restart)
        .target(150.0)
        .around(|s| hundred_up(s).map(drop), Subject::remove_containers)
        .only_ours(),
];

fn cycle(subject: &mut Subject, network: &str) -> Result<f64> {
    let start = Instant::now();
    let id = subject.create(&["true"], network)?;
    let client = &mut subject.client;
    client.post(&format!("/containers/{id}/start"), &Value::Null)?.ok()?;
    let ended = client.post(&format!("/containers/{id}/wait"), &Value::Null)?.ok()?.json()?;
    ensure!(ended["StatusCode"] == 0, "{ended}");
    client.delete(&format!("/containers/{id}"))?.ok()?;
    Ok(milliseconds(start))
}

pub(super) fn one_running(subject: &mut Subject) -> Result<()> {
    let id = subject.create(&["sleep", "100000"], "none")?;
    subject.client.post(&format!("/containers/{id}/start"), &Value::Null)?.ok()?;
    subject.containers.push(id);
    Ok(())
}

fn exec(subject: &mut Subject) -> Result<f64> {
    let id = subject.containers.first().context("no container")?.clone();
    let client = &mut subject.client;
    let start = Instant::now();
    let body = json!({ "AttachStdout": true, "AttachStderr": true, "Cmd": ["echo", "hi"] });
    let exec = client.post(&format!("/containers/{id}/exec"), &body)?.ok()?.json()?;
    let exec = exec["Id"].as_str().context("no Id")?;
    let body = json!({ "Detach": false, "Tty": false });
    let (out, _) = client.hijack(&format!("/exec/{exec}/start"), &Body::Json(&body))?.read_frames()?;
    let ended = client.get(&format!("/exec/{exec}/json"))?.ok()?.json()?;
    let took = milliseconds(start);
    ensure!(out == b"hi\n" && ended["ExitCode"] == 0, "{ended}");
    Ok(took)
}

/// Runs `work` for each item, eight at a time, each worker with a connection of its own.
fn eight_at_a_time<T: Send, R: Send>(
    subject: &Subject,
    items: Vec<T>,
    work: impl Fn(&mut Client, T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let socket = subject.client.socket();
    let (send, receive) = mpsc::channel();
    for item in items {
        send.send(item).expect("the receiver lives");
    }
    drop(send);
    let queue = std::sync::Mutex::new(receive);
    thread::scope(|scope| {
        let worker = || {
            let mut client = Client::new(socket);
            let mut done = Vec::new();
            loop {
                let next = queue.lock().expect("no worker panics").try_recv();
                let Ok(item) = next else { return Ok(done) };
                done.push(work(&mut client, item)?);
            }
        };
        let workers: Vec<_> = (0..8).map(|_| scope.spawn(worker)).collect();
        let results = workers.into_iter().map(|w| w.join().expect("no worker panics"));
        results.collect::<Result<Vec<_>>>().map(|all| all.into_iter().flatten().collect())
    })
}

pub(super) fn hundred_up(subject: &mut Subject) -> Result<f64> {
    let start = Instant::now();
    let ids = eight_at_a_time(subject, vec![(); 100], |client, ()| {
        let id = create(client, &["sleep", "100000"], "bridge")?;
        client.post(&format!("/containers/{id}/start"), &Value::Null)?.ok()?;
        Ok(id)
    })?;
    let took = milliseconds(start);
    subject.containers = ids;
    Ok(took)
}

fn hundred_removed(subject: &mut Subject) -> Result<f64> {
    let ids = std::mem::take(&mut subject.containers);
    let start = Instant::now();
    eight_at_a_time(subject, ids, |client, id| client.delete(&format!("/containers/{id}?force=1"))?.ok())?;
    Ok(milliseconds(start))
}

fn list(subject: &mut Subject) -> Result<f64> {
    let start = Instant::now();
    let list = subject.client.get("/containers/json")?.ok()?;
    let took = milliseconds(start);
    let count = list.json()?.as_array().map_or(0, Vec::len);
    ensure!(count >= 100, "{count} containers listed");
    Ok(took)
}

fn restart(subject: &mut Subject) -> Result<f64> {
    let daemon = subject.daemon.as_mut().context("only a daemon of ours")?;
    daemon.kill()?;
    let start = Instant::now();
    daemon.start_again()?;
    let took = milliseconds(start);
    subject.client = daemon.client();
    Ok(took)
}
