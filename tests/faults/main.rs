//! What must survive: daemons killed at any moment, full disks, a thousand containers that come and go.

mod budget;
mod cdi;
mod disk;
mod drivers;
mod files;
mod hostile;
mod kill;
mod lan;
mod leaks;
mod logs;
mod networks;
mod published;
mod quota;
mod registries;
mod runtimes;
mod secrets;
mod spares;
mod volumes;
mod watch;

use std::{path::Path, thread, time::Duration};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use skiff_testkit::{Daemon, http::Client};

/// A daemon of ours with the busybox image.
fn daemon(args: &[&str]) -> Result<Daemon> {
    let daemon = Daemon::start(Path::new(env!("CARGO_BIN_EXE_skiff")), args)?;
    daemon.import_busybox()?;
    Ok(daemon)
}

/// Kills and restarts the daemon so many times, each after less than `longest`. The moments are a fixed sequence of odd ones: a
/// failure can be met again.
fn kill_at_odd_moments(daemon: &mut Daemon, kills: u32, seed: u32, longest: Duration) -> Result<()> {
    let mut random = seed;
    for _ in 0..kills {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // The upper bits are the better ones.
        thread::sleep(longest * (random >> 16) / (1 << 16));
        daemon.kill()?;
        daemon.start_again()?;
    }
    Ok(())
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
