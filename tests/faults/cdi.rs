//! Devices by a vendor's name for them.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use skiff_testkit::http::{Client, frames};

use crate::{daemon, inspect, start, wait};

fn create(client: &mut Client, request: &Value, command: &str) -> Result<String> {
    let body = json!({
        "Image": "busybox", "Cmd": ["sh", "-c", command], "User": "7:8",
        "HostConfig": { "DeviceRequests": [request] },
    });
    let created = client.post("/containers/create", &body)?.ok()?.json()?;
    created["Id"].as_str().map(str::to_owned).context("no Id")
}

fn run(client: &mut Client, request: &Value, command: &str) -> Result<String> {
    let id = create(client, request, command)?;
    start(client, &id)?;
    wait(client, &id)?;
    let answer = client.get(&format!("/containers/{id}/logs?stdout=1&stderr=1"))?.ok()?;
    let (out, err) = frames(&mut answer.body.as_slice())?;
    Ok(String::from_utf8(out)? + std::str::from_utf8(&err)?)
}

#[test]
fn devices_come_with_what_their_vendor_says() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (specs, library, ran) = (dir.path().join("cdi"), dir.path().join("library"), dir.path().join("ran"));
    fs_err::create_dir(&specs)?;
    fs_err::write(&library, "a library\n")?;
    let spec = format!(
        "cdiVersion: 0.6.0
kind: vendor.com/class
containerEdits:
  env: [ALL=yes]
devices:
- name: one
  containerEdits:
    env: [NAME=one]
    deviceNodes:
    - {{ path: /dev/one, hostPath: /dev/zero, permissions: r }}
    mounts:
    - {{ hostPath: {library}, containerPath: /lib/vendor, options: [ro, bind] }}
    hooks:
    - {{ hookName: createRuntime, path: /bin/sh, args: [sh, -c, 'echo ran > {ran}'] }}
    - {{ hookName: poststart, path: /bin/sh, args: [sh, -c, 'grep -o running >> {ran}'] }}
    - {{ hookName: poststop, path: /bin/sh, args: [sh, -c, 'grep -o stopped >> {ran}'] }}
    additionalGids: [44]
",
        library = library.display(),
        ran = ran.display()
    );
    fs_err::write(specs.join("vendor.yaml"), spec)?;
    let daemon = daemon(&["--cdi-spec-dir", &specs.to_string_lossy()])?;
    let mut client = daemon.client();
    let request = json!({ "Driver": "cdi", "DeviceIDs": ["vendor.com/class=one"] });
    let said = run(
        &mut client,
        &request,
        "echo $ALL $NAME; cat /lib/vendor; id -G; stat -c '%u %g %t:%T' /dev/one; head -c 2 /dev/one | wc -c",
    )?;
    assert_eq!(
        said,
        "yes one
a library
8 44
7 8 1:5
2
"
    );
    assert_eq!(fs_err::read_to_string(&ran)?, "ran\nrunning\nstopped\n");
    let info = client.get("/info")?.ok()?.json()?;
    assert_eq!(info["CDISpecDirs"], json!([specs]));
    assert_eq!(info["DiscoveredDevices"], json!([{ "Source": "cdi", "ID": "vendor.com/class=one" }]));

    // Read at each start: what is there now counts.
    let id = create(&mut client, &request, "true")?;
    fs_err::remove_file(specs.join("vendor.yaml"))?;
    let refused = client.post(&format!("/containers/{id}/start"), &Value::Null)?;
    let text = "CDI device injection failed: unresolvable CDI devices vendor.com/class=one";
    assert_eq!((refused.status, refused.message().as_str()), (500, text));
    assert_eq!(inspect(&mut client, &id)?["State"]["Status"], "created");
    let gpus = json!({ "Count": -1, "Capabilities": [["gpu"]] });
    let id = create(&mut client, &gpus, "true")?;
    let refused = client.post(&format!("/containers/{id}/start"), &Value::Null)?;
    let text = "could not select device driver \"\" with capabilities: [[gpu]]";
    assert_eq!((refused.status, refused.message().as_str()), (500, text));
    Ok(())
}
