//! `POST /containers/{id}/update`: what changes shows in the control group, and what does not change stays.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::requests::sleeper;
use crate::{Test, limits::limit};

pub(super) const UPDATED: &[&str] = &[
    ".CpuShares",
    ".Memory",
    ".MemoryReservation",
    ".MemorySwap",
    ".CpuPeriod",
    ".CpuQuota",
    ".CpusetCpus",
    ".CpusetMems",
    ".PidsLimit",
    ".NanoCpus",
    ".RestartPolicy.Name",
    ".RestartPolicy.MaximumRetryCount",
    ".CpuPercent",
    ".IOMaximumIOps",
    ".IOMaximumBandwidth",
];

/// A file of a control group of version 1 and what it must say, and the same of version 2.
type Limit = ([&'static str; 2], [&'static str; 2]);

pub(super) fn update(test: &mut Test) -> Result<()> {
    let id = sleeper(test)?;
    let changes: [(Value, &[Limit]); 4] = [
        (
            json!({ "Memory": 64 << 20, "MemorySwap": 128 << 20, "MemoryReservation": 32 << 20 }),
            &[
                (["memory/memory.limit_in_bytes", "67108864"], ["memory.max", "67108864"]),
                (["memory/memory.memsw.limit_in_bytes", "134217728"], ["memory.swap.max", "67108864"]),
                (["memory/memory.soft_limit_in_bytes", "33554432"], ["memory.low", "33554432"]),
            ],
        ),
        (
            json!({ "CpuPeriod": 50_000, "CpuQuota": 25_000 }),
            &[
                (["cpu/cpu.cfs_period_us", "50000"], ["cpu.max", "25000 50000"]),
                (["cpu/cpu.cfs_quota_us", "25000"], ["cpu.max", "25000 50000"]),
            ],
        ),
        (
            json!({ "CpusetCpus": "0", "CpusetMems": "0" }),
            &[
                (["cpuset/cpuset.cpus", "0"], ["cpuset.cpus", "0"]),
                (["cpuset/cpuset.mems", "0"], ["cpuset.mems", "0"]),
            ],
        ),
        (json!({ "PidsLimit": 66 }), &[(["pids/pids.max", "66"], ["pids.max", "66"])]),
    ];
    for (change, limits) in changes {
        changed(test, &id, &change, limits)?;
    }
    // How shares become a weight has changed in 2025.
    changed(test, &id, &json!({ "CpuShares": 512 }), &[])?;
    let shares = limit(test, &id, "cpu/cpu.shares", "cpu.weight")?;
    ensure!(["512", "20", "59"].contains(&shares.as_str()), "{shares}");
    let nano = sleeper(test)?;
    let limits: &[Limit] = &[(["cpu/cpu.cfs_quota_us", "50000"], ["cpu.max", "50000 100000"])];
    changed(test, &nano, &json!({ "NanoCpus": 500_000_000 }), limits)?;

    let fails = test.create(&Test::body(&["false"]))?;
    let policy = json!({ "RestartPolicy": { "Name": "on-failure", "MaximumRetryCount": 2 } });
    changed(test, &fails, &policy, &[])?;
    super::effects::restarts_twice(test, &fails)?;
    left_alone(test)?;
    of_other_systems(test, &id)
}

fn changed(test: &mut Test, id: &str, change: &Value, limits: &[Limit]) -> Result<()> {
    test.client.post(&format!("/containers/{id}/update"), change)?.ok()?;
    let seen = test.inspect(id)?;
    for (key, value) in change.as_object().context("an object")? {
        ensure!(&seen["HostConfig"][key] == value, "{key} is {}", seen["HostConfig"][key]);
    }
    for ([old, in_old], [new, in_new]) in limits {
        let set = limit(test, id, old, new)?;
        ensure!(set == *in_old || set == *in_new, "{change}: {old} or {new} is {set}");
    }
    Ok(())
}

/// The rest is read and left as it is.
fn left_alone(test: &mut Test) -> Result<()> {
    let id = test.create(&Test::body(&["true"]))?;
    let before = test.inspect(&id)?["HostConfig"].clone();
    let rate = json!([{ "Path": "/dev/null", "Rate": 1 }]);
    let all = json!({
        "CgroupParent": "/elsewhere", "BlkioWeightDevice": [{ "Path": "/dev/null", "Weight": 100 }],
        "BlkioDeviceReadBps": rate, "BlkioDeviceWriteBps": rate, "BlkioDeviceReadIOps": rate, "BlkioDeviceWriteIOps": rate,
        "Devices": [{ "PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "rwm" }],
        "DeviceCgroupRules": ["c 1:3 rwm"], "DeviceRequests": [{ "Count": 1, "Capabilities": [["gpu"]] }],
        "KernelMemoryTCP": 8 << 20, "MemorySwappiness": 40, "OomKillDisable": true, "Init": true, "CpuCount": 1,
        "Ulimits": [{ "Name": "nofile", "Soft": 5, "Hard": 6 }],
    });
    test.client.post(&format!("/containers/{id}/update"), &all)?.ok()?;
    let after = test.inspect(&id)?["HostConfig"].clone();
    ensure!(after == before, "{after} was {before}");
    Ok(())
}

fn of_other_systems(test: &mut Test, id: &str) -> Result<()> {
    let path = format!("/containers/{id}/update");
    let warned = test.client.post(&path, &json!({ "CpuPercent": 5 }))?.ok()?.json()?;
    ensure!(warned["Warnings"][0] == "linux does not support CPU percent. Percent discarded.", "{warned}");
    for change in [json!({ "IOMaximumIOps": 5 }), json!({ "IOMaximumBandwidth": 5 })] {
        let refused = test.client.post(&path, &change)?;
        let words = "Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps";
        ensure!((refused.status, refused.message().as_str()) == (400, words), "{}", refused.message());
    }
    Ok(())
}
