//! Rows about watching and changing containers that run.

use std::{
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::json;

use super::{
    Row, containers, memory,
    report::Unit,
    subject::{Subject, milliseconds},
};

pub(super) const ROWS: &[Row] = &[
    Row::new("update of a running container's memory limit", Unit::Milliseconds, 50, update)
        .around(containers::one_running, Subject::remove_containers),
    Row::new("CLI stats of 100 containers, engine's processor time", Unit::Core, 1, stats)
        .target(1.0)
        .around(|s| containers::hundred_up(s).map(drop), Subject::remove_containers),
];

/// How long `stats` is watched, after it has settled.
const WINDOW: Duration = Duration::from_secs(10);

fn update(subject: &mut Subject) -> Result<f64> {
    let id = subject.containers.first().context("no container")?.clone();
    let now = subject.client.get(&format!("/containers/{id}/json"))?.ok()?.json()?;
    // Not what is there already.
    let limit = if now["HostConfig"]["Memory"] == 64 << 20 { 96 << 20 } else { 64 << 20 };
    let start = Instant::now();
    let body = json!({ "Memory": limit, "MemorySwap": -1 });
    subject.client.post(&format!("/containers/{id}/update"), &body)?.ok()?;
    Ok(milliseconds(start))
}

/// Per cent of one core.
fn stats(subject: &mut Subject) -> Result<f64> {
    let mut client = subject.cli_command(&["stats", "--format", "{{.Name}} {{.CPUPerc}} {{.MemUsage}}"]);
    let mut client = client.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    thread::sleep(Duration::from_secs(3));
    let before = memory::engine_time(subject)?;
    thread::sleep(WINDOW);
    let used = memory::engine_time(subject)?.saturating_sub(before);
    client.kill()?;
    client.wait()?;
    Ok(used.as_secs_f64() / WINDOW.as_secs_f64() * 100.0)
}
