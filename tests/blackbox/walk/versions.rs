//! What older versions of the API do not have, and what newer ones have no more. Read off Docker 28.5.2 by asking in every
//! version for everything.

use std::ops::RangeInclusive;

use anyhow::Result;
use serde_json::{Value, json};

use super::{merge, table};
use crate::Test;

/// The second numbers of versions 1.24 to 1.51.
const ALL: RangeInclusive<u32> = 24..=51;

/// A field of an answer that some versions have.
pub(super) struct Span {
    /// Below `/v1.51`; `CONTAINER` stands for one.
    pub(super) path: &'static str,
    pub(super) field: &'static str,
    pub(super) versions: RangeInclusive<u32>,
}

const fn span(path: &'static str, field: &'static str, versions: RangeInclusive<u32>) -> Span {
    Span { path, field, versions }
}

pub(super) const ANSWERS: &[Span] = &[
    span("/containers/json", "[].HostConfig.Annotations", 46..=51),
    span("/images/json", "[].VirtualSize", 24..=43),
    span("/images/busybox/json", ".VirtualSize", 24..=43),
    span("/images/busybox/json", ".ContainerConfig", 24..=44),
    span("/images/busybox/json", ".Config.AttachStdin", 24..=49),
    span("/images/busybox/json", ".Config.Hostname", 24..=49),
    span("/images/busybox/json", ".Config.Image", 24..=49),
    span("/info", ".BridgeNfIptables", 24..=49),
    span("/info", ".BridgeNfIp6tables", 24..=49),
    span("/info", ".RegistryConfig.AllowNondistributableArtifactsCIDRs", 24..=46),
    span("/info", ".RegistryConfig.AllowNondistributableArtifactsHostnames", 24..=46),
    span("/info", ".RuncCommit.Expected", 24..=48),
    span("/info", ".FirewallBackend", 49..=51),
    span("/networks", "[].Containers.*", 24..=27),
    span("/system/df", ".Images[].VirtualSize", 24..=43),
    span("/containers/CONTAINER/stats?stream=0&one-shot=1", ".precpu_stats.system_cpu_usage", 24..=40),
];

/// A field of `POST /containers/create` that is heeded from a version on: where `inspect` shows it, and what.
pub(super) struct Heeded {
    pub(super) field: &'static str,
    pub(super) since: u32,
    body: fn() -> Value,
    shown: fn() -> Value,
    pointer: &'static str,
}

pub(super) const HEEDED: &[Heeded] = &[
    Heeded {
        field: "HostConfig.AutoRemove",
        since: 25,
        body: || json!({ "HostConfig": { "AutoRemove": true } }),
        shown: || json!(true),
        pointer: "/HostConfig/AutoRemove",
    },
    Heeded {
        field: "HostConfig.IpcMode is private unless it is given",
        since: 40,
        body: || json!({}),
        shown: || json!("private"),
        pointer: "/HostConfig/IpcMode",
    },
    Heeded {
        field: "HostConfig.ConsoleSize",
        since: 42,
        body: || json!({ "HostConfig": { "ConsoleSize": [4, 5] } }),
        shown: || json!([4, 5]),
        pointer: "/HostConfig/ConsoleSize",
    },
    Heeded {
        field: "HostConfig.Annotations",
        since: 43,
        body: || json!({ "HostConfig": { "Annotations": { "a": "b" } } }),
        shown: || json!({ "a": "b" }),
        pointer: "/HostConfig/Annotations",
    },
    Heeded {
        field: "Healthcheck.StartInterval",
        since: 44,
        body: || json!({ "Healthcheck": { "Test": ["CMD", "true"], "StartInterval": 1_000_000_000 } }),
        shown: || json!(1_000_000_000),
        pointer: "/Config/Healthcheck/StartInterval",
    },
    Heeded {
        field: "EndpointsConfig.*.MacAddress",
        since: 44,
        body: || {
            json!({ "HostConfig": { "NetworkMode": "bridge" },
            "NetworkingConfig": { "EndpointsConfig": { "bridge": { "MacAddress": "02:42:0a:00:00:08" } } } })
        },
        shown: || json!("02:42:0a:00:00:08"),
        pointer: "/NetworkSettings/Networks/bridge/MacAddress",
    },
    Heeded {
        field: "EndpointsConfig.*.GwPriority",
        since: 48,
        body: || {
            json!({ "HostConfig": { "NetworkMode": "bridge" },
            "NetworkingConfig": { "EndpointsConfig": { "bridge": { "GwPriority": 3 } } } })
        },
        shown: || json!(3),
        pointer: "/NetworkSettings/Networks/bridge/GwPriority",
    },
];

/// A request that is refused before a version.
pub(super) struct Refused {
    pub(super) what: &'static str,
    pub(super) since: u32,
    /// `SCRATCH` stands for a directory.
    body: fn() -> Value,
    words: &'static str,
}

pub(super) const REFUSED: &[Refused] = &[
    Refused {
        what: "BindOptions.CreateMountpoint",
        since: 42,
        body: || {
            json!({ "HostConfig": { "Mounts": [{ "Type": "bind", "Source": "SCRATCH/made", "Target": "/m",
            "BindOptions": { "CreateMountpoint": true } }] } })
        },
        words: "bind source path does not exist",
    },
    Refused {
        what: "BindOptions.ReadOnlyForceRecursive",
        since: 44,
        body: || {
            json!({ "HostConfig": { "Mounts": [{ "Type": "bind", "Source": "/dev/shm", "Target": "/m", "ReadOnly": true,
            "BindOptions": { "ReadOnlyForceRecursive": true, "Propagation": "rprivate" } }] } })
        },
        words: "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer",
    },
    Refused {
        what: "more than one network",
        since: 44,
        body: || json!({ "NetworkingConfig": { "EndpointsConfig": { "bridge": {}, "other": {} } } }),
        words: "Container cannot be created with multiple network endpoints",
    },
    Refused {
        what: "VolumeOptions.Subpath",
        since: 45,
        body: || json!({ "HostConfig": { "Mounts": [{ "Type": "volume", "Target": "/m", "VolumeOptions": { "Subpath": "x" } }] } }),
        words: "VolumeOptions.Subpath needs API v1.45 or newer",
    },
    Refused {
        what: "mounts of images",
        since: 48,
        body: || json!({ "HostConfig": { "Mounts": [{ "Type": "image", "Source": "busybox", "Target": "/m" }] } }),
        words: "Mount type \"Image\" needs API v1.48 or newer",
    },
];

fn created(test: &mut Test, minor: u32, part: &Value) -> Result<skiff_testkit::http::Response> {
    let mut body = Test::body(&["true"]);
    merge(&mut body, part);
    let answer = test.client.post(&format!("/v1.{minor}/containers/create"), &body)?;
    if answer.status == 201 {
        test.made.push(answer.json()?["Id"].as_str().unwrap_or_default().to_owned());
    }
    Ok(answer)
}

#[test]
fn answers_have_the_fields_of_their_version() -> Result<()> {
    let mut test = Test::new()?;
    let body = json!({ "HostConfig": { "Annotations": { "a": "b" }, "NetworkMode": "bridge" } });
    let mut whole = Test::body(&["sleep", "600"]);
    merge(&mut whole, &body);
    let id = test.up(&whole)?;
    let mut wrong = Vec::new();
    for Span { path, field, versions } in ANSWERS {
        let path = path.replace("CONTAINER", &id);
        // Figures of a first moment take Docker a second.
        let few = [24, *versions.end(), (*versions.end() + 1).min(51), 51];
        for minor in ALL.filter(|minor| !path.contains("stats") || few.contains(minor)) {
            let answer = test.client.get(&format!("/v1.{minor}{path}"))?.ok()?.json()?;
            if table::at(&answer, field).is_empty() == versions.contains(&minor) {
                wrong.push(format!("1.{minor} {path} {field}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn requests_are_understood_as_in_their_version() -> Result<()> {
    let mut test = Test::new()?;
    for Heeded { field, since, body, shown, pointer } in HEEDED {
        for minor in [24, since - 1, *since, 51] {
            let id = created(&mut test, minor, &body())?.ok()?.json()?["Id"].clone();
            let seen = test.inspect(id.as_str().unwrap_or_default())?;
            let heeded = seen.pointer(pointer) == Some(&shown());
            assert_eq!(heeded, minor >= *since, "1.{minor} {field}: {:?}", seen.pointer(pointer));
        }
    }
    for Refused { what, since, body, words } in REFUSED {
        for minor in [24, since - 1, *since, 51] {
            let scratch = tempfile::tempdir()?;
            let body = body().to_string().replace("SCRATCH", &scratch.path().to_string_lossy());
            let answer = created(&mut test, minor, &serde_json::from_str(&body)?)?;
            let refused = answer.status >= 400 && answer.message().contains(words);
            assert_eq!(refused, minor < *since, "1.{minor} {what}: {}", answer.text());
        }
    }
    Ok(())
}
