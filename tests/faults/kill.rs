//! `kill -9` of the daemon under load.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use skiff_testkit::http::{Client, frames};

use crate::{create, daemon, inspect, kill_at_odd_moments, start, wait};

const KILLS: u32 = 200;

/// What a client was told before a daemon died.
#[derive(Default)]
struct Told {
    /// Containers whose end was acknowledged with this code.
    ended: Vec<(String, i64)>,
    /// Containers whose removal was acknowledged.
    removed: Vec<String>,
}

#[test]
fn nothing_is_lost_when_the_daemon_is_killed_two_hundred_times() -> Result<()> {
    let mut daemon = daemon(&[])?;
    let mut client = daemon.client();
    let counting = "i=0; while :; do echo $i; i=$((i+1)); [ $((i%50)) = 0 ] && sleep 0.01; done";
    let mut steady = Vec::new();
    for _ in 0..4 {
        let id = create(&mut client, &["sh", "-c", counting], "bridge")?;
        start(&mut client, &id)?;
        let state = inspect(&mut client, &id)?["State"].clone();
        steady.push((id, state));
    }

    let stop = AtomicBool::new(false);
    let socket = daemon.socket().to_owned();
    let told = thread::scope(|scope| -> Result<Vec<Told>> {
        let workers: Vec<_> = (0..2)
            .map(|worker| {
                scope.spawn({
                    let (stop, socket) = (&stop, &socket);
                    move || load(worker, Client::new(socket), stop)
                })
            })
            .collect();
        let killed = kill_at_odd_moments(&mut daemon, KILLS, 0x2545_f491, Duration::from_millis(40));
        stop.store(true, Ordering::Relaxed);
        let told = workers.into_iter().map(|w| w.join().expect("a worker panicked")).collect();
        killed.map(|()| told)
    })?;

    let mut client = daemon.client();
    for (id, before) in &steady {
        let after = inspect(&mut client, id)?["State"].clone();
        for field in ["Pid", "StartedAt", "Status"] {
            assert_eq!(after[field], before[field], "{field} of {id}");
        }
        numbers_follow_each_other(&mut client, id)?;
    }
    let mut cycles = 0;
    for Told { ended, removed } in told {
        cycles += ended.len();
        for id in &removed {
            assert_eq!(client.get(&format!("/containers/{id}/json"))?.status, 404, "{id} is back");
        }
        for (id, code) in ended.iter().filter(|(id, _)| !removed.contains(id)) {
            let answer = client.get(&format!("/containers/{id}/json"))?;
            if answer.status == 200 {
                assert_eq!(answer.json()?["State"]["ExitCode"], *code, "{id}");
            }
        }
    }
    ensure!(cycles > 0, "the load never got through");
    no_record_lies(&mut client)
}

/// Creates, starts, waits for and removes containers until told to stop; a dead daemon is waited for.
fn load(worker: usize, mut client: Client, stop: &AtomicBool) -> Told {
    let mut told = Told::default();
    let mut round = 0;
    while !stop.load(Ordering::Relaxed) {
        round += 1;
        let code = (round + worker) % 100;
        let cycle = (|| -> Result<()> {
            let id = create(&mut client, &["sh", "-c", &format!("exit {code}")], "none")?;
            start(&mut client, &id)?;
            let ended = wait(&mut client, &id)?;
            told.ended.push((id.clone(), ended));
            assert_eq!(ended, code as i64, "{id} ended with another code than its own");
            client.delete(&format!("/containers/{id}"))?.ok()?;
            told.removed.push(id);
            Ok(())
        })();
        if cycle.is_err() {
            client = Client::new(client.socket());
            thread::sleep(Duration::from_millis(2));
        }
    }
    told
}

fn numbers_follow_each_other(client: &mut Client, id: &str) -> Result<()> {
    let answer = client.get(&format!("/containers/{id}/logs?stdout=1"))?.ok()?;
    let text = String::from_utf8(frames(&mut answer.body.as_slice())?.0)?;
    let mut lines = text.lines().map(|l| l.parse::<u64>().with_context(|| format!("line {l:?}")));
    // The oldest lines may have been rotated away.
    let mut last = lines.next().context("no lines")??;
    for line in lines {
        let line = line?;
        ensure!(line == last + 1, "{id}: after {last} came {line}");
        last = line;
    }
    Ok(())
}

/// Every container that the list shows as running has a living process, and no other has one.
fn no_record_lies(client: &mut Client) -> Result<()> {
    let list = client.get("/containers/json?all=1")?.ok()?.json()?;
    for container in list.as_array().context("no list")? {
        let id = container["Id"].as_str().context("no Id")?;
        let state = inspect(client, id)?["State"].clone();
        let pid = state["Pid"].as_u64().unwrap_or(0);
        let lives = pid > 0 && std::path::Path::new(&format!("/proc/{pid}")).exists();
        ensure!(lives == (state["Running"] == Value::Bool(true)), "{id}: {state}");
    }
    Ok(())
}

#[test]
fn a_daemon_that_comes_back_knows_what_ended_meanwhile() -> Result<()> {
    let mut daemon = daemon(&[])?;
    let mut client = daemon.client();
    let id = create(&mut client, &["sh", "-c", "sleep 0.3; echo done; exit 7"], "none")?;
    start(&mut client, &id)?;
    let pid = inspect(&mut client, &id)?["State"]["Pid"].as_u64().context("no Pid")?;
    daemon.kill()?;
    while std::path::Path::new(&format!("/proc/{pid}")).exists() {
        thread::sleep(Duration::from_millis(5));
    }
    daemon.start_again()?;
    let mut client = daemon.client();
    assert_eq!(wait(&mut client, &id)?, 7);
    assert_eq!(inspect(&mut client, &id)?["State"]["Status"], "exited");
    let answer = client.get(&format!("/containers/{id}/logs?stdout=1"))?.ok()?;
    assert_eq!(frames(&mut answer.body.as_slice())?.0, b"done\n");
    Ok(())
}

/// Every act is looked at through the next daemon, the last one having been killed as soon as it had answered.
#[test]
fn what_was_answered_is_so_for_the_next_daemon() -> Result<()> {
    let mut daemon = daemon(&[])?;
    let id = create(&mut daemon.client(), &["sleep", "1000"], "bridge")?;
    start(&mut daemon.client(), &id)?;
    for round in 0..5 {
        let mut ask = |method: &str, path: &str, body: Value| -> Result<Client> {
            let mut client = daemon.client();
            match method {
                "DELETE" => client.delete(path)?.ok()?,
                _ => client.post(path, &body)?.ok()?,
            };
            daemon.kill()?;
            daemon.start_again()?;
            Ok(daemon.client())
        };
        let name = format!("name{round}");
        let container = format!("/containers/{id}");
        let mut client = ask("POST", &format!("{container}/rename?name={name}"), Value::Null)?;
        assert_eq!(inspect(&mut client, &id)?["Name"], format!("/{name}"));
        let shares = 512 + round;
        let mut client = ask("POST", &format!("{container}/update"), json!({ "CpuShares": shares }))?;
        assert_eq!(inspect(&mut client, &id)?["HostConfig"]["CpuShares"], shares);
        let mut client = ask("POST", &format!("{container}/pause"), Value::Null)?;
        assert_eq!(inspect(&mut client, &id)?["State"]["Status"], "paused");
        let mut client = ask("POST", &format!("{container}/unpause"), Value::Null)?;
        assert_eq!(inspect(&mut client, &id)?["State"]["Status"], "running");

        let mut client = ask("POST", "/networks/create", json!({ "Name": name }))?;
        client.get(&format!("/networks/{name}"))?.ok()?;
        let member = json!({ "Container": id });
        let mut client = ask("POST", &format!("/networks/{name}/connect"), member.clone())?;
        let networks = |client: &mut Client| -> Result<Value> {
            Ok(inspect(client, &id)?["NetworkSettings"]["Networks"][&name].clone())
        };
        assert!(networks(&mut client)?["IPAddress"].as_str().is_some_and(|ip| !ip.is_empty()));
        let mut client = ask("POST", &format!("/networks/{name}/disconnect"), member)?;
        assert_eq!(networks(&mut client)?, Value::Null);
        let mut client = ask("DELETE", &format!("/networks/{name}"), Value::Null)?;
        assert_eq!(client.get(&format!("/networks/{name}"))?.status, 404);

        let mut client = ask("POST", "/volumes/create", json!({ "Name": name }))?;
        client.get(&format!("/volumes/{name}"))?.ok()?;
        let mut client = ask("DELETE", &format!("/volumes/{name}"), Value::Null)?;
        assert_eq!(client.get(&format!("/volumes/{name}"))?.status, 404);

        let mut client = ask("POST", &format!("/images/busybox/tag?repo={name}"), Value::Null)?;
        client.get(&format!("/images/{name}/json"))?.ok()?;
        let mut client = ask("DELETE", &format!("/images/{name}"), Value::Null)?;
        assert_eq!(client.get(&format!("/images/{name}/json"))?.status, 404);
    }
    Ok(())
}

#[test]
fn a_container_can_be_used_after_the_daemon_was_killed() -> Result<()> {
    let mut daemon = daemon(&[])?;
    let mut client = daemon.client();
    let id = create(&mut client, &["sleep", "1000"], "bridge")?;
    start(&mut client, &id)?;
    daemon.kill()?;
    daemon.start_again()?;
    let mut client = daemon.client();
    let body = serde_json::json!({ "AttachStdout": true, "Cmd": ["echo", "still here"] });
    let exec = client.post(&format!("/containers/{id}/exec"), &body)?.ok()?.json()?;
    let exec = exec["Id"].as_str().context("no Id")?;
    let body = serde_json::json!({ "Detach": false, "Tty": false });
    let path = format!("/exec/{exec}/start");
    let out = client.hijack(&path, &skiff_testkit::http::Body::Json(&body))?.read_frames()?.0;
    assert_eq!(out, b"still here\n");
    client.post(&format!("/containers/{id}/stop?t=0"), &Value::Null)?.ok()?;
    assert_eq!(inspect(&mut client, &id)?["State"]["ExitCode"], 137);
    start(&mut client, &id)?;
    assert_eq!(inspect(&mut client, &id)?["State"]["Running"], true);
    Ok(())
}
