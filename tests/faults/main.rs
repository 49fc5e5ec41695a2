//! What must survive: daemons killed at any moment, full disks, a thousand containers that come and go.

mod budget;
mod cdi;
mod disk;
mod files;
mod hostile;
mod kill;
mod lan;
mod leaks;
mod logs;
mod networks;
mod quota;
mod registries;
mod runtimes;
mod secrets;
mod spares;
mod volumes;
mod watch;

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use skiff_testkit::{Daemon, http::Client};

/// A daemon of ours with the busybox image.
fn daemon(args: &[&str]) -> Result<Daemon> {
    let daemon = Daemon::start(Path::new(env!("CARGO_BIN_EXE_skiff")), args)?;
    daemon.import_busybox()?;
    Ok(daemon)
}

fn create(client: &mut Client, command: &[&str], network: &str) -> Result<String> {
    let body = json!({ "Image": "busybox", "Cmd": command, "HostConfig": { "NetworkMode": network } });
    let created = client.post("/containers/create", &body)?.ok()?.json()?;
    created["Id"].as_str().map(str::to_owned).context("no Id")
}

fn start(client: &mut Client, id: &str) -> Result<()> {
    client.post(&format!("/containers/{id}/start"), &Value::Null)?.ok()?;
    Ok(())
}

fn wait(client: &mut Client, id: &str) -> Result<i64> {
    let ended = client.post(&format!("/containers/{id}/wait"), &Value::Null)?.ok()?.json()?;
    ended["StatusCode"].as_i64().context("no StatusCode")
}

fn inspect(client: &mut Client, id: &str) -> Result<Value> {
    client.get(&format!("/containers/{id}/json"))?.ok()?.json()
}
