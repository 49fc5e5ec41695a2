//! What becomes of containers that have asked for something, where that shows from outside.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use skiff_testkit::http::Body;

use super::requests::filtered;
use crate::{Test, network::ask};

/// Answers every connection to port 8000.
pub(super) const SERVE: &str = "while :; do echo ahoy | nc -l -p 8000; done";

pub(super) fn answers_from_outside(test: &mut Test, id: &str) -> Result<()> {
    test.start(id)?;
    let seen = test.inspect(id)?;
    let port = seen["NetworkSettings"]["Ports"]["8000/tcp"][0]["HostPort"].as_str().context("no port")?;
    ensure!(ask(test, "127.0.0.1", port)? == "ahoy\n");
    Ok(())
}

/// It runs `cat`.
pub(super) fn input_ends(test: &mut Test, id: &str) -> Result<()> {
    let path = format!("/containers/{id}/attach?stream=1&stdin=1&stdout=1");
    let mut stream = test.client.hijack(&path, &Body::Empty)?;
    test.start(id)?;
    stream.send(b"in and out")?;
    stream.close_stdin()?;
    ensure!(stream.read_frames()?.0 == b"in and out");
    ensure!(test.wait(id)? == 0);
    Ok(())
}

/// Its first check says this.
pub(super) fn is_well(test: &mut Test, id: &str, says: &str) -> Result<()> {
    test.start(id)?;
    test.until("it is healthy", |test| Ok(test.inspect(id)?["State"]["Health"]["Status"] == "healthy"))?;
    let said = test.inspect(id)?["State"]["Health"]["Log"][0]["Output"].clone();
    ensure!(said == says, "{said}");
    Ok(())
}

pub(super) fn is_found_by_its_label(test: &mut Test, id: &str) -> Result<()> {
    let found = |test: &mut Test, label: &str| -> Result<bool> {
        let path = filtered("/containers/json?all=1&", &json!({ "label": [label], "id": [id] }));
        Ok(test.client.get(&path)?.ok()?.json()?.as_array().is_some_and(|list| !list.is_empty()))
    };
    ensure!(found(test, "walked=yes")? && !found(test, "walked=no")?);
    Ok(())
}

/// It says `up` when it is ready for the signal.
pub(super) fn stops_with_7(test: &mut Test, id: &str) -> Result<()> {
    test.start(id)?;
    test.until("it is up", |test| Ok(test.logs(id, "stdout=1")?.0 == "up\n"))?;
    ensure!(test.act(id, "stop")?.status == 204);
    ensure!(test.inspect(id)?["State"]["ExitCode"] == 7);
    Ok(())
}

pub(super) fn has_no_log(test: &mut Test, id: &str) -> Result<()> {
    test.start(id)?;
    test.wait(id)?;
    let refused = test.client.get(&format!("/containers/{id}/logs?stdout=1"))?;
    ensure!(refused.message().contains("does not support reading"), "{}", refused.message());
    Ok(())
}

pub(super) fn restarts_twice(test: &mut Test, id: &str) -> Result<()> {
    test.start(id)?;
    test.until("it has given up", |test| {
        let seen = test.inspect(id)?;
        Ok(seen["RestartCount"] == 2 && seen["State"]["Status"] == "exited")
    })
}

pub(super) fn goes_by_itself(test: &mut Test, id: &str) -> Result<()> {
    test.start(id)?;
    test.until("it is gone", |test| Ok(test.client.get(&format!("/containers/{id}/json"))?.status == 404))
}

pub(super) fn has_a_labelled_volume(test: &mut Test, id: &str) -> Result<()> {
    test.start(id)?;
    ensure!(test.wait(id)? == 0);
    let name = test.inspect(id)?["Mounts"][0]["Name"].as_str().context("no volume")?.to_owned();
    let volume: Value = test.client.get(&format!("/volumes/{name}"))?.ok()?.json()?;
    ensure!(volume["Labels"]["a"] == "b" && volume["Options"]["o"] == "size=1m", "{volume}");
    Ok(())
}
