//! Addresses, names and published ports.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::Test;

/// A container on the default bridge that answers every connection to port 8000 with `text`.
fn server(test: &mut Test, text: &str, ports: &Value) -> Result<String> {
    let line = format!("while :; do echo {text} | nc -l -p 8000; done");
    let mut exposed = json!({});
    for port in ports.as_object().context("not an object")?.keys() {
        exposed[port] = json!({});
    }
    let body = json!({
        "Image": "busybox", "Cmd": ["sh", "-c", line], "ExposedPorts": exposed,
        "HostConfig": { "NetworkMode": "bridge", "PortBindings": ports },
    });
    test.up(&body)
}

/// What a connection from the engine's host brings back.
pub(crate) fn ask(test: &Test, host: &str, port: &str) -> Result<String> {
    for _ in 0..50 {
        let mut command = test.engine.inside("busybox");
        let output = command.args(["nc", "-w", "2", host, port]).stdin(Stdio::null()).output()?;
        if output.status.success() && !output.stdout.is_empty() {
            return Ok(String::from_utf8(output.stdout)?);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    anyhow::bail!("no answer from {host}:{port}")
}

fn address(test: &mut Test, id: &str) -> Result<String> {
    let seen = test.inspect(id)?;
    let address = seen["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].as_str();
    address.map(str::to_owned).context("no address")
}

#[test]
fn a_published_port_answers_on_loopback_and_on_the_bridge() -> Result<()> {
    let mut test = Test::new()?;
    let id = server(&mut test, "ahoy", &json!({ "8000/tcp": [{ "HostIp": "", "HostPort": "" }] }))?;
    let seen = test.inspect(&id)?;
    let port =
        seen["NetworkSettings"]["Ports"]["8000/tcp"][0]["HostPort"].as_str().context("no port")?.to_owned();
    assert_eq!(ask(&test, "127.0.0.1", &port)?, "ahoy\n");
    let own = address(&mut test, &id)?;
    assert_eq!(ask(&test, &own, "8000")?, "ahoy\n");
    Ok(())
}

#[test]
fn a_port_is_published_once() -> Result<()> {
    let mut test = Test::new()?;
    let ports = json!({ "8000/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "18732" }] });
    server(&mut test, "one", &ports)?;
    let body = json!({
        "Image": "busybox", "Cmd": ["sleep", "100"], "ExposedPorts": { "8000/tcp": {} },
        "HostConfig": { "NetworkMode": "bridge", "PortBindings": ports },
    });
    let second = test.create(&body)?;
    let refused = test.act(&second, "start")?;
    assert_eq!(refused.status, 500);
    let words = "Bind for 127.0.0.1:18732 failed: port is already allocated";
    assert!(refused.message().ends_with(words), "{}", refused.message());
    assert!(refused.message().contains("driver failed programming external connectivity on endpoint"));
    Ok(())
}

#[test]
fn containers_on_the_bridge_reach_each_other() -> Result<()> {
    let mut test = Test::new()?;
    let id = server(&mut test, "neighbour", &json!({}))?;
    let address = address(&mut test, &id)?;
    let line =
        format!("for i in $(seq 100); do nc -w 2 {address} 8000 </dev/null && exit 0; sleep 0.1; done");
    assert_eq!(test.shell_with(&line, &json!({ "NetworkMode": "bridge" }))?, "neighbour\n");
    Ok(())
}

#[test]
fn names_and_resolver_are_written() -> Result<()> {
    let mut test = Test::new()?;
    let mut body = Test::body(&["sh", "-c", "cat /etc/hosts; hostname; cat /etc/resolv.conf"]);
    body["Hostname"] = json!("vessel");
    body["HostConfig"] = json!({
        "NetworkMode": "bridge", "ExtraHosts": ["far:192.0.2.7"], "Dns": ["192.0.2.53"],
        "DnsSearch": ["example.test"], "DnsOptions": ["ndots:2"],
    });
    let ran = test.run(&body)?;
    for line in
        ["127.0.0.1\tlocalhost", "192.0.2.7\tfar", "vessel", "nameserver 192.0.2.53", "search example.test"]
    {
        assert!(ran.out.lines().any(|l| l == line), "{line:?} is not in:\n{}", ran.out);
    }
    assert!(ran.out.contains("ndots:2") && ran.out.contains("\tvessel"), "{}", ran.out);
    Ok(())
}

#[test]
fn none_has_only_loopback_and_a_joined_container_shares_all() -> Result<()> {
    let mut test = Test::new()?;
    let links = "ls /sys/class/net | tr '\\n' ' '";
    assert!(test.shell(links)?.contains("lo"));
    assert!(!test.shell(links)?.contains("eth0"));
    let first = test.up(&Test::body(&["sleep", "1000"]))?;
    let joined = json!({ "NetworkMode": format!("container:{first}") });
    let pid = test.inspect(&first)?["State"]["Pid"].as_i64().context("no pid")?;
    let want = std::process::Command::new("readlink").arg(format!("/proc/{pid}/ns/net")).output()?.stdout;
    let got = test.shell_with("readlink /proc/self/ns/net", &joined)?;
    assert_eq!(got.as_bytes(), want);
    Ok(())
}
