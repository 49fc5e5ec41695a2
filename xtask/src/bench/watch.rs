//! Rows about watching and changing containers that run.

use std::{
    process::{Command, Stdio},
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
    Row::new("a health check by a process, engine's processor time", Unit::Milliseconds, 1, checks)
        .target(3.0)
        .around(checked, Subject::remove_containers),
];

/// Containers that are checked every second.
const CHECKED: u32 = 20;

/// How long processor time is counted, after things have settled.
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

fn checked(subject: &mut Subject) -> Result<()> {
    let body = json!({
        "Image": "busybox", "Cmd": ["sleep", "100000"], "HostConfig": { "NetworkMode": "none" },
        "Healthcheck": { "Test": ["CMD", "true"], "Interval": 1_000_000_000 },
    });
    for _ in 0..CHECKED {
        let created = subject.client.post("/containers/create", &body)?.ok()?.json()?;
        let id = created["Id"].as_str().context("no Id")?.to_owned();
        subject.client.post(&format!("/containers/{id}/start"), &json!(null))?.ok()?;
        subject.containers.push(id);
    }
    thread::sleep(Duration::from_secs(3));
    Ok(())
}

/// For one check, without what the process that is started takes by itself.
fn checks(subject: &mut Subject) -> Result<f64> {
    let alone = process_alone()?;
    let before = memory::engine_time_with_children(subject)?;
    thread::sleep(WINDOW);
    let used = memory::engine_time_with_children(subject)?.saturating_sub(before);
    let one = used.as_secs_f64() * 1e3 / f64::from(CHECKED) / WINDOW.as_secs_f64();
    Ok(one - alone)
}

/// Milliseconds of processor time that the process of a check takes when nobody contains it: `true` of the same busybox.
fn process_alone() -> Result<f64> {
    const STARTS: u32 = 1000;
    let before = memory::children_time()?;
    for _ in 0..STARTS {
        Command::new("/bin/busybox").arg("true").status()?;
    }
    let used = memory::children_time()?.saturating_sub(before);
    Ok(used.as_secs_f64() * 1e3 / f64::from(STARTS))
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
