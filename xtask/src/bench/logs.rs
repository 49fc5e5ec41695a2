//! Rows about what containers print.

use std::{io::Read, time::Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use skiff_testkit::http::Body;

use super::{
    Row,
    report::Unit,
    subject::{Subject, milliseconds},
};

/// 500,000 lines of 40 bytes, the newline counted.
const WRITE: &str = "yes 012345678901234567890123456789012345678 | head -n 500000";
const BYTES: u64 = 500_000 * 40;

pub(super) const ROWS: &[Row] = &[
    Row::new("500,000 log lines of 40 bytes: start to exit", Unit::Milliseconds, 7, write).target(250.0),
    Row::new("reading these back through logs", Unit::Milliseconds, 7, read)
        .target(200.0)
        .around(|s| write_and_keep(s).map(drop), Subject::remove_containers),
];

fn write_and_keep(subject: &mut Subject) -> Result<f64> {
    let id = subject.create(&["sh", "-c", WRITE], "none")?;
    let start = Instant::now();
    subject.client.post(&format!("/containers/{id}/start"), &Value::Null)?.ok()?;
    let ended = subject.client.post(&format!("/containers/{id}/wait"), &Value::Null)?.ok()?.json()?;
    let took = milliseconds(start);
    ensure!(ended["StatusCode"] == 0, "{ended}");
    subject.containers.push(id);
    Ok(took)
}

fn write(subject: &mut Subject) -> Result<f64> {
    let took = write_and_keep(subject)?;
    subject.remove_containers()?;
    Ok(took)
}

fn read(subject: &mut Subject) -> Result<f64> {
    let id = subject.containers.first().context("no container")?;
    let start = Instant::now();
    let mut stream =
        subject.client.stream("GET", &format!("/containers/{id}/logs?stdout=1"), &Body::Empty)?;
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            n => bytes += n as u64,
        }
    }
    let took = milliseconds(start);
    // Each line comes in a frame of its own, with a header of eight bytes.
    ensure!(bytes == BYTES + 8 * 500_000, "{bytes} bytes came back");
    Ok(took)
}
