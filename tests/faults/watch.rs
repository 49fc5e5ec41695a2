//! What watches containers goes on when the daemon is killed: health checks, restart policies, events.

use std::{
    io::BufRead,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use skiff_testkit::{
    Daemon,
    http::{Body, Client},
};

use crate::{daemon, inspect, start, wait};

const PATIENCE: Duration = Duration::from_secs(120);
const MILLISECOND: u64 = 1_000_000;

fn create(client: &mut Client, body: &Value) -> Result<String> {
    let made = client.post("/containers/create", body)?.ok()?.json()?;
    made["Id"].as_str().map(str::to_owned).context("no Id")
}

fn until(client: &mut Client, id: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
    let end = Instant::now() + PATIENCE;
    loop {
        let seen = inspect(client, id)?;
        if is_so(&seen) {
            return Ok(seen);
        }
        ensure!(Instant::now() < end, "not {what}: {}", seen["State"]);
        thread::sleep(Duration::from_millis(20));
    }
}

/// A sleeping container with this check.
fn checked(check: &str, timeout: u64) -> Value {
    json!({
        "Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": { "NetworkMode": "none" },
        "Healthcheck": {
            "Test": ["CMD-SHELL", check], "Interval": 50 * MILLISECOND, "Timeout": timeout * MILLISECOND, "Retries": 1,
        },
    })
}

fn status(seen: &Value) -> &str {
    seen["State"]["Health"]["Status"].as_str().unwrap_or_default()
}

#[test]
fn health_goes_on_where_the_killed_daemon_left_it() -> Result<()> {
    let mut daemon = daemon(&[])?;
    let mut client = daemon.client();
    let id = create(&mut client, &checked("test ! -e /bad", 5000))?;
    start(&mut client, &id)?;
    let before = until(&mut client, &id, "checked five times", |seen| {
        seen["State"]["Health"]["Log"].as_array().is_some_and(|log| log.len() == 5)
    })?;
    daemon.kill()?;
    daemon.start_again()?;
    let mut client = daemon.client();
    let after = inspect(&mut client, &id)?;
    assert_eq!(status(&after), "healthy", "nothing began anew");
    let newest = before["State"]["Health"]["Log"][4]["Start"].as_str();
    let log = after["State"]["Health"]["Log"].as_array().context("no log")?;
    ensure!(log.iter().any(|check| check["Start"].as_str() >= newest), "{log:?} has lost {newest:?}");
    let exec =
        client.post(&format!("/containers/{id}/exec"), &json!({ "Cmd": ["touch", "/bad"] }))?.ok()?.json()?;
    let exec = exec["Id"].as_str().context("no Id")?;
    client.post(&format!("/exec/{exec}/start"), &json!({ "Detach": true }))?.ok()?;
    until(&mut client, &id, "unhealthy", |seen| status(seen) == "unhealthy")?;
    Ok(())
}

#[test]
fn a_check_that_hung_under_the_killed_daemon_is_ended_by_the_next() -> Result<()> {
    let mut daemon = daemon(&[])?;
    let mut client = daemon.client();
    // The first check hangs, the others succeed.
    let id = create(&mut client, &checked("mkdir /hung 2>/dev/null && exec sleep 777; true", 600_000))?;
    start(&mut client, &id)?;
    let hung = |client: &mut Client| -> Result<bool> {
        let top = client.get(&format!("/containers/{id}/top"))?.ok()?.json()?;
        Ok(top["Processes"].to_string().contains("sleep 777"))
    };
    let end = Instant::now() + PATIENCE;
    while !hung(&mut client)? {
        ensure!(Instant::now() < end, "no check has begun");
        thread::sleep(Duration::from_millis(20));
    }
    daemon.kill()?;
    daemon.start_again()?;
    let mut client = daemon.client();
    until(&mut client, &id, "healthy", |seen| status(seen) == "healthy")?;
    ensure!(!hung(&mut client)?, "the check that hung is still there");
    Ok(())
}

#[test]
fn a_container_that_waits_for_its_next_start_gets_it_from_the_next_daemon() -> Result<()> {
    let mut daemon = daemon(&[])?;
    let mut client = daemon.client();
    let body = json!({
        "Image": "busybox", "Cmd": ["sh", "-c", "exit 3"],
        "HostConfig": { "NetworkMode": "none", "RestartPolicy": { "Name": "always" } },
    });
    let id = create(&mut client, &body)?;
    start(&mut client, &id)?;
    let waiting = until(&mut client, &id, "waiting for its fifth start", |seen| {
        seen["RestartCount"].as_u64() >= Some(4) && seen["State"]["Status"] == "restarting"
    })?;
    daemon.kill()?;
    daemon.start_again()?;
    let mut client = daemon.client();
    let before = waiting["State"]["StartedAt"].as_str();
    until(&mut client, &id, "started again", |seen| seen["State"]["StartedAt"].as_str() > before)?;
    until(&mut client, &id, "ended as before", |seen| seen["State"]["ExitCode"] == 3)?;
    client.post(&format!("/containers/{id}/stop?t=0"), &Value::Null)?.ok()?;
    // Whoever was stopped by hand is started by the next daemon: that is what "always" means.
    daemon.kill()?;
    daemon.start_again()?;
    let mut client = daemon.client();
    until(&mut client, &id, "started again", |seen| {
        seen["State"]["Restarting"] == true || seen["State"]["Running"] == true
    })?;
    Ok(())
}

#[test]
fn what_a_person_stopped_stays_stopped_unless_always() -> Result<()> {
    let mut daemon = daemon(&[])?;
    let mut client = daemon.client();
    let body = json!({
        "Image": "busybox", "Cmd": ["sleep", "1000"],
        "HostConfig": { "NetworkMode": "none", "RestartPolicy": { "Name": "unless-stopped" } },
    });
    let id = create(&mut client, &body)?;
    start(&mut client, &id)?;
    client.post(&format!("/containers/{id}/stop?t=0"), &Value::Null)?.ok()?;
    daemon.kill()?;
    daemon.start_again()?;
    let mut client = daemon.client();
    // Containers are started in order: one that is to be started says that this one was not.
    let body = json!({ "Image": "busybox", "Cmd": ["true"], "HostConfig": { "NetworkMode": "none" } });
    let other = create(&mut client, &body)?;
    start(&mut client, &other)?;
    assert_eq!(wait(&mut client, &other)?, 0);
    assert_eq!(inspect(&mut client, &id)?["State"]["Status"], "exited");
    Ok(())
}

#[test]
fn an_unhealthy_container_is_started_again_if_its_policy_says_so() -> Result<()> {
    let daemon = daemon(&[])?;
    let mut client = daemon.client();
    let mut body = checked("test ! -e /tmp/bad", 5000);
    body["Cmd"] = json!(["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done"]);
    body["HostConfig"]["RestartPolicy"] = json!({ "Name": "on-unhealthy", "MaximumRetryCount": 1 });
    // Its own file system outlives the restart: it is unhealthy again, once too often.
    let id = create(&mut client, &body)?;
    start(&mut client, &id)?;
    until(&mut client, &id, "healthy", |seen| status(seen) == "healthy")?;
    let exec = client
        .post(&format!("/containers/{id}/exec"), &json!({ "Cmd": ["touch", "/tmp/bad"] }))?
        .ok()?
        .json()?;
    let exec = exec["Id"].as_str().context("no Id")?;
    client.post(&format!("/exec/{exec}/start"), &json!({ "Detach": true }))?.ok()?;
    until(&mut client, &id, "started again", |seen| seen["RestartCount"] == 1)?;
    let left = until(&mut client, &id, "left alone", |seen| {
        seen["State"]["Running"] == true && status(seen) == "unhealthy"
    })?;
    assert_eq!(left["RestartCount"], 1);
    Ok(())
}

fn told(daemon: &Daemon, since: &str) -> Result<Vec<Value>> {
    let info = daemon.client().get("/info")?.ok()?.json()?;
    let now: jiff::Timestamp = info["SystemTime"].as_str().context("no SystemTime")?.parse()?;
    let until = format!("{}.{:09}", now.as_second(), now.subsec_nanosecond());
    let path = format!("/events?since={since}&until={until}");
    let stream = daemon.client().stream("GET", &path, &Body::Empty)?;
    stream.lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

#[test]
fn events_are_remembered_over_kills_and_told_once() -> Result<()> {
    let mut daemon = daemon(&[])?;
    for round in 0..3 {
        let mut client = daemon.client();
        let body = json!({
            "Image": "busybox", "Cmd": ["true"], "HostConfig": { "NetworkMode": "none" },
            "Labels": { "round": round.to_string() },
        });
        let id = create(&mut client, &body)?;
        start(&mut client, &id)?;
        wait(&mut client, &id)?;
        client.delete(&format!("/containers/{id}"))?.ok()?;
        daemon.kill()?;
        daemon.start_again()?;
    }
    let all = told(&daemon, "0")?;
    let of_containers = |events: &[Value]| -> Vec<String> {
        let container = |e: &&Value| e["Type"] == "container";
        let text =
            |e: &Value| format!("{} {}", e["Action"], e["Actor"]["Attributes"]["round"]).replace('"', "");
        events.iter().filter(container).map(text).collect()
    };
    let expected: Vec<String> = (0..3)
        .flat_map(|round| ["create", "start", "die", "destroy"].map(|action| format!("{action} {round}")))
        .collect();
    assert_eq!(of_containers(&all), expected);
    let times: Vec<i64> = all.iter().filter_map(|e| e["timeNano"].as_i64()).collect();
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    // A cursor: one nanosecond after an event begins with the next.
    let seen = times[4] + 1;
    let rest = told(&daemon, &format!("{}.{:09}", seen / 1_000_000_000, seen % 1_000_000_000))?;
    assert_eq!(rest.len(), all.len() - 5);
    Ok(())
}
