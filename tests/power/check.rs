//! After a power cut: everything acknowledged is there and right, and nothing is half there.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use skiff_testkit::http::{Client, frames};

use crate::{
    DATA, SOCKET, image,
    journal::{self, Journal, Known, State},
};

/// How long the daemon may take to clear away what nobody was told of.
const SWEEP: Duration = Duration::from_secs(60);

/// What the names of containers begin with that check an image's content: nobody counts on these.
const CHECK: &str = "check";

/// Checks, and tells what became of the acts that were under way.
pub(crate) fn all(journal: &Journal) -> Result<()> {
    let mut client = Client::new(SOCKET);
    let mut containers = containers(&mut client)?;
    for name in containers.extract_if(.., |name, _| name.starts_with(CHECK)).map(|(name, _)| name) {
        client.delete(&format!("/containers/{name}?force=1"))?.ok()?;
    }
    let mut images = images(&mut client)?;
    for (key, known) in &journal.objects {
        let found = match key.split_once(' ').context("a key has two words")? {
            ("container", name) => container_state(&mut client, containers.remove(name))?,
            (_, name) => image_state(known, images.remove(name)),
        };
        ensure!(
            fits(&found, &known.acknowledged)
                || known.tried.as_ref().is_some_and(|tried| fits(&found, tried)),
            "{key} is {found:?}, and was {known:?}"
        );
        if known.tried.is_some() {
            journal::acknowledged(key, &found)?;
        }
        if let State::Image { payload } = &found {
            image_content(&mut client, key.trim_start_matches("image "), payload)?;
        }
    }
    ensure!(containers.is_empty(), "nobody has asked for these containers: {containers:?}");
    images.remove("busybox:latest");
    ensure!(images.is_empty(), "nobody has asked for these images: {images:?}");
    nothing_is_left(&mut client)
}

/// Ids by name.
fn containers(client: &mut Client) -> Result<BTreeMap<String, String>> {
    let list = client.get("/containers/json?all=1")?.ok()?.json()?;
    let pairs = list.as_array().context("not a list")?.iter().map(|container| {
        let name = container["Names"][0].as_str().unwrap_or_default().trim_start_matches('/');
        (name.to_owned(), container["Id"].as_str().unwrap_or_default().to_owned())
    });
    Ok(pairs.collect())
}

/// Ids by name.
fn images(client: &mut Client) -> Result<BTreeMap<String, String>> {
    let list = client.get("/images/json")?.ok()?.json()?;
    let mut out = BTreeMap::new();
    for image in list.as_array().context("not a list")? {
        let id = image["Id"].as_str().unwrap_or_default();
        let names = image["RepoTags"].as_array().context("an image without names")?;
        ensure!(!names.is_empty(), "{id} has no name");
        out.extend(names.iter().filter_map(Value::as_str).map(|name| (name.to_owned(), id.to_owned())));
    }
    Ok(out)
}

fn container_state(client: &mut Client, id: Option<String>) -> Result<State> {
    let Some(id) = id else { return Ok(State::Absent) };
    let found = client.get(&format!("/containers/{id}/json"))?.ok()?.json()?;
    let state = &found["State"];
    let code = state["ExitCode"].as_i64().context("no exit code")?;
    match state["Status"].as_str() {
        Some("created") => Ok(State::Created { id: Some(id) }),
        Some("exited") => Ok(State::Exited { id, code }),
        other => bail!("{id} is {other:?} after a power cut"),
    }
}

fn image_state(known: &Known, id: Option<String>) -> State {
    let Some(id) = id else { return State::Absent };
    let payloads = [Some(&known.acknowledged), known.tried.as_ref()].into_iter().flatten().filter_map(
        |state| match state {
            State::Image { payload } => Some(payload),
            _ => None,
        },
    );
    // One that nobody loaded fits nothing.
    let payload =
        payloads.into_iter().find(|payload| image::build("x", payload).is_ok_and(|image| image.id == id));
    State::Image { payload: payload.cloned().unwrap_or(id) }
}

/// Whether what was found is what an act left, with the machine gone since.
fn fits(found: &State, left: &State) -> bool {
    match (found, left) {
        (State::Created { .. }, State::Created { id: None }) => true,
        // It ended with the machine, or by itself before.
        (State::Exited { id, .. }, State::Started { id: started }) => id == started,
        // It counts as lost with the machine if the cut came within 2 ms after its end was told.
        (State::Exited { id, code: 137 }, State::Exited { id: ended, .. }) => id == ended,
        (found, left) => found == left,
    }
}

/// What is saved is what was loaded, and a container of it reads the same.
fn image_content(client: &mut Client, name: &str, payload: &str) -> Result<()> {
    let expected = image::build(name, payload)?;
    let archive = client.get(&format!("/images/{name}/get"))?.ok()?.body;
    let blobs = image::verify(&archive).with_context(|| name.to_owned())?;
    ensure!(blobs >= 3, "{name} was saved with {blobs} blobs");
    let body = json!({ "Image": name, "HostConfig": { "NetworkMode": "bridge" } });
    let created = client.post(&format!("/containers/create?name={CHECK}"), &body)?.ok()?.json()?;
    let id = created["Id"].as_str().context("no id")?;
    client.post(&format!("/containers/{id}/start"), &Value::Null)?.ok()?;
    client.post(&format!("/containers/{id}/wait"), &Value::Null)?.ok()?;
    let logs = client.get(&format!("/containers/{id}/logs?stdout=1&stderr=1"))?.ok()?.body;
    let (out, err) = frames(&mut logs.as_slice())?;
    client.delete(&format!("/containers/{id}?force=1"))?.ok()?;
    let out = String::from_utf8_lossy(&out).into_owned();
    ensure!(out.starts_with(&expected.hash), "{name} reads {out} {}", String::from_utf8_lossy(&err));
    Ok(())
}

/// The directories of the data root are those of the containers that there are.
fn nothing_is_left(client: &mut Client) -> Result<()> {
    let known: BTreeSet<String> = containers(client)?.into_values().collect();
    let driver = client.get("/info")?.ok()?.json()?["Driver"].as_str().context("no driver")?.to_owned();
    let snapshots = format!("{DATA}/snapshots/{driver}/snapshots");
    let end = Instant::now() + SWEEP;
    loop {
        let (snapshots, directories) = (names(&snapshots)?, names(&format!("{DATA}/containers"))?);
        let garbage = names(&format!("{DATA}/snapshots/{driver}/trash"))?;
        if snapshots == known && directories.is_subset(&known) && garbage.is_empty() {
            return Ok(());
        }
        if Instant::now() > end {
            bail!(
                "there are {known:?}, but snapshots {snapshots:?}, directories {directories:?}, garbage {garbage:?}"
            );
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn names(directory: &str) -> Result<BTreeSet<String>> {
    let entries = fs_err::read_dir(directory)?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}
