//! Rows about volumes and mounts.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{
    Row,
    report::Unit,
    subject::{Subject, milliseconds},
};

pub(super) const ROWS: &[Row] = &[
    Row::new("volume create", Unit::Milliseconds, 50, create),
    Row::new("start with ten mounts, beyond one without", Unit::Milliseconds, 30, ten_mounts).target(1.0),
];

fn create(subject: &mut Subject) -> Result<f64> {
    let start = Instant::now();
    let made = subject.client.post("/volumes/create", &json!({}))?.ok()?.json()?;
    let took = milliseconds(start);
    let name = made["Name"].as_str().context("no Name")?;
    subject.client.delete(&format!("/volumes/{name}"))?.ok()?;
    Ok(took)
}

/// The difference between two starts, one after the other.
fn ten_mounts(subject: &mut Subject) -> Result<f64> {
    let mounts: Vec<Value> = (0..5)
        .flat_map(|n| {
            [
                json!({ "Type": "volume", "Target": format!("/m/v{n}") }),
                json!({ "Type": "bind", "Source": "/usr", "Target": format!("/m/b{n}"), "ReadOnly": true }),
            ]
        })
        .collect();
    let with = start(subject, &json!(mounts))?;
    let without = start(subject, &json!([]))?;
    Ok(with - without)
}

fn start(subject: &mut Subject, mounts: &Value) -> Result<f64> {
    let body = json!({ "Image": "busybox", "Cmd": ["true"], "HostConfig": { "NetworkMode": "none", "Mounts": mounts } });
    let client = &mut subject.client;
    let made = client.post("/containers/create", &body)?.ok()?.json()?;
    let id = made["Id"].as_str().context("no Id")?;
    let start = Instant::now();
    client.post(&format!("/containers/{id}/start"), &Value::Null)?.ok()?;
    let took = milliseconds(start);
    let ended = client.post(&format!("/containers/{id}/wait"), &Value::Null)?.ok()?.json()?;
    ensure!(ended["StatusCode"] == 0, "{ended}");
    client.delete(&format!("/containers/{id}?v=1"))?.ok()?;
    Ok(took)
}
