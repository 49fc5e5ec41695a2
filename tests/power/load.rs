//! Work until the power goes: two threads with containers, one with images.

use std::thread;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use skiff_testkit::{
    http::{Body, Client},
    image,
};

use crate::{
    SOCKET,
    image::build,
    journal::{Journal, State, acknowledged, trying},
};

/// Objects of earlier rounds that are kept.
const KEPT: usize = 12;

/// Works until something fails.
pub(crate) fn run(journal: &Journal) -> Result<()> {
    let round = journal.cuts;
    let mut client = Client::new(SOCKET);
    if client.get("/images/busybox/json")?.status != 200 {
        let path = "/images/create?fromSrc=-&repo=busybox&tag=latest";
        client.request("POST", path, &Body::Bytes("application/x-tar", &image::busybox()?))?.ok()?;
    }
    forget_old(&mut client, journal)?;
    thread::scope(|scope| {
        let workers = [
            scope.spawn(|| containers(round, "a", "none")),
            scope.spawn(|| containers(round, "b", "bridge")),
            scope.spawn(|| images(round)),
        ];
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker panicked"))
    })
}

/// Removes what there is too much of.
fn forget_old(client: &mut Client, journal: &Journal) -> Result<()> {
    for kind in ["container ", "image "] {
        let there = journal.objects.iter().filter(|(key, known)| {
            key.starts_with(kind) && known.tried.is_none() && known.acknowledged != State::Absent
        });
        let keys: Vec<_> = there.map(|(key, _)| key).collect();
        for key in &keys[..keys.len().saturating_sub(KEPT)] {
            remove(client, key)?;
        }
    }
    Ok(())
}

fn remove(client: &mut Client, key: &str) -> Result<()> {
    trying(key, &State::Absent)?;
    let path = match key.split_once(' ').context("a key has two words")? {
        ("container", name) => format!("/containers/{name}?force=1"),
        (_, name) => format!("/images/{name}"),
    };
    client.delete(&path)?.ok()?;
    acknowledged(key, &State::Absent)
}

/// Creates, starts, waits, removes; every other container stays, in each of the states in turn.
fn containers(round: usize, worker: &str, network: &str) -> Result<()> {
    let mut client = Client::new(SOCKET);
    for n in 0.. {
        let (name, code) = (format!("c{round}{worker}{n}"), n % 100);
        let key = format!("container {name}");
        let command = match n % 3 {
            0 => "while :; do date >> /dates; sleep 0.1; done".to_owned(),
            _ => format!("dd if=/dev/zero of=/zeros bs=64k count=20; exit {code}"),
        };
        let body = json!({
            "Image": "busybox", "Cmd": ["sh", "-c", command], "Labels": { "round": round.to_string() },
            "HostConfig": { "NetworkMode": network },
        });
        trying(&key, &State::Created { id: None })?;
        let created = client.post(&format!("/containers/create?name={name}"), &body)?.ok()?.json()?;
        let id = created["Id"].as_str().context("no id")?.to_owned();
        acknowledged(&key, &State::Created { id: Some(id.clone()) })?;
        if n % 4 != 3 {
            trying(&key, &State::Started { id: id.clone() })?;
            client.post(&format!("/containers/{name}/start"), &Value::Null)?.ok()?;
            acknowledged(&key, &State::Started { id: id.clone() })?;
        }
        if n % 4 < 2 && n % 3 != 0 {
            client.post(&format!("/containers/{name}/wait"), &Value::Null)?.ok()?;
            acknowledged(&key, &State::Exited { id, code })?;
        }
        if n % 2 == 0 {
            remove(&mut client, &key)?;
        }
    }
    Ok(())
}

/// Loads, tags, takes names away.
fn images(round: usize) -> Result<()> {
    let mut client = Client::new(SOCKET);
    for n in 0.. {
        let (name, other) = (format!("i{round}.{n}:latest"), format!("t{round}.{n}:latest"));
        let (key, other_key) = (format!("image {name}"), format!("image {other}"));
        let state = State::Image { payload: name.clone() };
        let archive = build(&name, &name)?.archive;
        trying(&key, &state)?;
        let answer =
            client.request("POST", "/images/load", &Body::Bytes("application/x-tar", &archive))?.ok()?;
        anyhow::ensure!(!answer.text().contains("errorDetail"), "{}", answer.text());
        acknowledged(&key, &state)?;
        if n % 2 == 0 {
            trying(&other_key, &state)?;
            client
                .post(
                    &format!("/images/{name}/tag?repo={}", other.trim_end_matches(":latest")),
                    &Value::Null,
                )?
                .ok()?;
            acknowledged(&other_key, &state)?;
        }
        match n % 4 {
            0 => remove(&mut client, &key)?,
            1 => remove(&mut client, &key)?,
            2 => remove(&mut client, &other_key)?,
            _ => {}
        }
    }
    Ok(())
}
