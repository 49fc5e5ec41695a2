//! Two daemons on one cable, each with a `macvlan` network of the same LAN: their containers are neighbours, whatever becomes of the daemons.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use skiff_testkit::{Daemon, http::Client};

use crate::{create, daemon, inspect, start, wait};

const SUBNET: &str = "10.79.0.0/24";

fn succeeds(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    ensure!(output.status.success(), "{command:?}: {output:?}");
    Ok(())
}

fn ip(daemon: &Daemon, line: &str) -> Result<()> {
    succeeds(daemon.inside("ip").args(line.split(' ')))
}

/// The network `lan` on a link; addresses are given out of `range`, so that the daemons do not give the same.
fn lan(client: &mut Client, parent: &str, range: &str) -> Result<()> {
    let config = json!([{ "Subnet": SUBNET, "IPRange": range, "Gateway": "10.79.0.1" }]);
    let options = json!({ "parent": parent });
    let body =
        json!({ "Name": "lan", "Driver": "macvlan", "Options": options, "IPAM": { "Config": config } });
    client.post("/networks/create", &body)?.ok()?;
    Ok(())
}

fn address(client: &mut Client, id: &str) -> Result<String> {
    let seen = inspect(client, id)?;
    let address = seen["NetworkSettings"]["Networks"]["lan"]["IPAddress"].as_str();
    address.map(str::to_owned).context("no address")
}

/// Whether a container on this daemon's LAN reaches another.
fn reaches(client: &mut Client, whom: &str) -> Result<bool> {
    let id = create(client, &["ping", "-c", "1", "-W", "10", whom], "lan")?;
    start(client, &id)?;
    let code = wait(client, &id)?;
    client.delete(&format!("/containers/{id}"))?.ok()?;
    Ok(code == 0)
}

#[test]
fn neighbours_on_a_cable_outlive_their_daemons() -> Result<()> {
    let mut here = daemon(&[])?;
    let there = daemon(&[])?;
    ip(&here, "link add cable type veth peer name far")?;
    let pid = there.pid().context("it runs")?;
    ip(&here, &format!("link set far netns {pid}"))?;
    ip(&here, "link set cable up")?;
    ip(&there, "link set far up")?;
    let (mut near, mut far) = (here.client(), there.client());
    lan(&mut near, "cable", "10.79.0.0/26")?;
    lan(&mut far, "far", "10.79.0.128/26")?;
    let one = create(&mut near, &["sleep", "1000"], "lan")?;
    start(&mut near, &one)?;
    let two = create(&mut far, &["sleep", "1000"], "lan")?;
    start(&mut far, &two)?;
    let (first, second) = (address(&mut near, &one)?, address(&mut far, &two)?);
    assert_eq!((first.as_str(), second.as_str()), ("10.79.0.2", "10.79.0.128"));
    assert!(reaches(&mut near, &second)? && reaches(&mut far, &first)?);

    here.kill()?;
    assert!(reaches(&mut far, &first)?, "while the daemon is away");
    here.start_again()?;
    let mut near = here.client();
    assert_eq!(address(&mut near, &one)?, first);
    assert!(reaches(&mut far, &first)? && reaches(&mut near, &second)?, "when it is back");
    // What was given before is known to be taken, by name too.
    assert!(reaches(&mut near, &one[..12])?);
    let taken = json!({ "lan": { "IPAMConfig": { "IPv4Address": first } } });
    let body = json!({
        "Image": "busybox", "Cmd": ["true"], "HostConfig": { "NetworkMode": "lan" },
        "NetworkingConfig": { "EndpointsConfig": taken },
    });
    let third = near.post("/containers/create", &body)?.ok()?.json()?;
    let third = third["Id"].as_str().context("no Id")?.to_owned();
    let refused = near.post(&format!("/containers/{third}/start"), &Value::Null)?;
    assert!(refused.message().ends_with("Address already in use"), "{}", refused.message());
    // One that ended while nobody watched gives its address back.
    let state = inspect(&mut near, &one)?["State"]["Pid"].as_i64().context("no Pid")?;
    here.kill()?;
    succeeds(Command::new("kill").args(["-9", &state.to_string()]))?;
    while std::path::Path::new(&format!("/proc/{state}")).exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    here.start_again()?;
    let mut near = here.client();
    start(&mut near, &third)?;
    assert_eq!(wait(&mut near, &third)?, 0);
    start(&mut near, &one)?;
    assert_eq!(address(&mut near, &one)?, first);
    assert!(reaches(&mut far, &first)?);
    let left = near.delete("/networks/lan")?;
    assert_eq!(left.status, 403, "{}", left.message());
    near.delete(&format!("/containers/{one}?force=1"))?.ok()?;
    near.delete("/networks/lan")?.ok()?;
    ip(&here, "link show cable")
}
