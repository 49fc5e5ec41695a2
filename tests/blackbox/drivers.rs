//! Networks whose driver, and whose addresses, are a plugin's. The plugin is written here: it makes links and remembers what it was asked.

use std::{
    ffi::OsString,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use skiff_testkit::plugin::Plugin;

use crate::{
    Test,
    networks::{DONE, act, inside, is, network, places, sleeper},
};

/// Methods that fail at the moment.
type Failing = Arc<Mutex<Vec<String>>>;

struct Net {
    name: String,
    plugin: Plugin,
    failing: Failing,
}

impl Net {
    fn start(test: &mut Test) -> Result<Self> {
        let name = test.name("net");
        let command = test.engine.inside("ip");
        let ip: Vec<OsString> =
            std::iter::once(command.get_program()).chain(command.get_args()).map(OsString::from).collect();
        let failing = Failing::default();
        let (fails, next) = (failing.clone(), AtomicU32::new(2));
        let plugin = Plugin::install(&name, move |method, body| {
            if fails.lock().expect("no panic").iter().any(|m| m == method) {
                return (200, json!({ "Err": "boom", "Error": "boom" }).to_string());
            }
            (200, answer(method, body, &ip, &next).to_string())
        })?;
        Ok(Self { name, plugin, failing })
    }

    fn fail(&self, methods: &[&str]) {
        *self.failing.lock().expect("no panic") = methods.iter().map(|m| (*m).to_owned()).collect();
    }

    /// What it was asked since the last time, without questions about itself.
    fn since(&self, before: &mut usize) -> Vec<String> {
        let all = self.plugin.methods();
        let new = all[*before..].iter().filter(|m| !m.contains("Capabilities") && !m.contains("Activate"));
        let new = new.map(|m| m.split('.').nth(1).unwrap_or_default().to_owned()).collect();
        *before = all.len();
        new
    }
}

fn run(ip: &[OsString], line: &str) {
    // What was never made cannot be removed: the test sees what is there.
    let _ = Command::new(&ip[0]).args(&ip[1..]).args(line.split(' ')).output();
}

fn answer(method: &str, body: &Value, ip: &[OsString], next: &AtomicU32) -> Value {
    let text = |key: &str| body[key].as_str().unwrap_or_default();
    let link = text("EndpointID").get(..7).unwrap_or_default();
    match method {
        "Plugin.Activate" => json!({ "Implements": ["NetworkDriver", "IpamDriver"] }),
        "NetworkDriver.GetCapabilities" => json!({ "Scope": "local", "ConnectivityScope": "local" }),
        "IpamDriver.GetDefaultAddressSpaces" => {
            json!({ "LocalDefaultAddressSpace": "here", "GlobalDefaultAddressSpace": "there" })
        }
        "IpamDriver.RequestPool" => {
            json!({ "PoolID": format!("pool {}", text("Pool")), "Pool": text("Pool"), "Data": null })
        }
        "IpamDriver.RequestAddress" => {
            let net = text("PoolID").trim_start_matches("pool ").trim_end_matches("0/24").to_owned();
            let address = match text("Address") {
                "" => format!("{net}{}", next.fetch_add(1, Ordering::Relaxed)),
                asked => asked.to_owned(),
            };
            json!({ "Address": format!("{address}/24") })
        }
        "NetworkDriver.CreateEndpoint" => json!({ "Interface": { "MacAddress": "02:11:22:33:44:55" } }),
        "NetworkDriver.Join" => {
            run(ip, &format!("link add vr{link} type veth peer name vc{link}"));
            run(ip, &format!("link set vr{link} up"));
            json!({
                "InterfaceName": { "SrcName": format!("vc{link}"), "DstPrefix": "net" },
                "Gateway": "10.99.7.1",
                "StaticRoutes": [
                    { "Destination": "10.55.0.0/16", "RouteType": 0, "NextHop": "10.99.7.9" },
                    { "Destination": "10.56.0.0/16", "RouteType": 1, "NextHop": "" },
                ],
            })
        }
        "NetworkDriver.DeleteEndpoint" => {
            // Its end is back on the host, by the name it had.
            run(ip, &format!("link del vc{link}"));
            json!({})
        }
        _ => json!({}),
    }
}

/// A network whose driver and addresses are the plugin's.
fn body(net: &Net) -> Value {
    json!({
        "Driver": net.name, "Options": { "speed": "high" },
        "IPAM": {
            "Driver": net.name, "Options": { "where": "here" },
            "Config": [{ "Subnet": "10.99.7.0/24", "Gateway": "10.99.7.1", "AuxiliaryAddresses": { "router": "10.99.7.9" } }],
        },
    })
}

#[test]
fn a_network_plugin_is_asked_as_docker_asks_it() -> Result<()> {
    let mut test = Test::new()?;
    let net = Net::start(&mut test)?;
    let (name, one, mut seen) = (test.name("lan"), test.name("one"), 0);
    let id = network(&mut test, &name, &body(&net))?;
    let made =
        ["GetDefaultAddressSpaces", "RequestPool", "RequestAddress", "RequestAddress", "CreateNetwork"];
    let mut asked = net.since(&mut seen);
    asked.dedup_by(|a, b| a == b && a == "GetDefaultAddressSpaces");
    assert_eq!(asked, made);
    let pool = json!({ "AddressSpace": "here", "Pool": "10.99.7.0/24", "SubPool": "", "Options": { "where": "here" }, "V6": false });
    assert_eq!(net.plugin.asked("IpamDriver.RequestPool"), [pool]);
    let created = net.plugin.asked("NetworkDriver.CreateNetwork").remove(0);
    assert_eq!(created["NetworkID"], json!(id));
    assert_eq!(
        created["Options"],
        json!({
            "com.docker.network.enable_ipv4": true, "com.docker.network.enable_ipv6": false,
            "com.docker.network.generic": { "speed": "high" },
        })
    );
    assert_eq!(
        created["IPv4Data"],
        json!([{ "AddressSpace": "here", "Pool": "10.99.7.0/24", "Gateway": "10.99.7.1/24", "AuxAddresses": { "router": "10.99.7.9/24" } }])
    );
    let shown = test.client.get(&format!("/networks/{name}"))?.ok()?.json()?;
    assert_eq!((&shown["Driver"], &shown["IPAM"]["Driver"]), (&json!(net.name), &json!(net.name)));

    let mut sleeps = Test::body(&["sleep", "1000"]);
    sleeps["HostConfig"] =
        json!({ "NetworkMode": name, "PortBindings": { "80/tcp": [{ "HostPort": "18755" }] } });
    sleeps["ExposedPorts"] = json!({ "80/tcp": {} });
    let one = test.create_named(&one, &sleeps)?;
    test.start(&one)?;
    let started =
        ["RequestAddress", "CreateEndpoint", "Join", "ProgramExternalConnectivity", "EndpointOperInfo"];
    assert_eq!(net.since(&mut seen), started);
    let endpoint = net.plugin.asked("NetworkDriver.CreateEndpoint").remove(0);
    assert_eq!(
        endpoint["Interface"],
        json!({ "Address": "10.99.7.2/24", "AddressIPv6": "", "MacAddress": "" })
    );
    assert_eq!(
        endpoint["Options"],
        json!({
            "com.docker.network.endpoint.exposedports": [{ "Proto": 6, "Port": 80 }],
            "com.docker.network.portmap":
                [{ "Proto": 6, "IP": "", "Port": 80, "HostIP": "", "HostPort": 18755, "HostPortEnd": 18755 }],
        })
    );
    let place = places(&mut test, &one)?[&name].clone();
    assert_eq!((&place["IPAddress"], &place["Gateway"]), (&json!("10.99.7.2"), &json!("10.99.7.1")));
    assert_eq!((&place["MacAddress"], &place["IPPrefixLen"]), (&json!("02:11:22:33:44:55"), &json!(24)));
    let key = test.inspect(&one)?["NetworkSettings"]["SandboxKey"].clone();
    assert_eq!(net.plugin.asked("NetworkDriver.Join")[0]["SandboxKey"], key);
    let routes = inside(&mut test, &one, "ip route; ip -o link show net0")?;
    for line in
        ["default via 10.99.7.1 dev net0", "10.55.0.0/16 via 10.99.7.9 dev net0", "10.56.0.0/16 dev net0"]
    {
        assert!(routes.contains(line), "{routes}");
    }

    test.act(&one, "restart?t=0")?.ok()?;
    let ended = ["RevokeExternalConnectivity", "Leave", "DeleteEndpoint", "ReleaseAddress"];
    assert_eq!(net.since(&mut seen), [&ended[..], &started].concat());
    assert_eq!(places(&mut test, &one)?[&name]["IPAddress"], "10.99.7.3");
    is(act(&mut test, &name, "disconnect", &json!({ "Container": one }))?, DONE);
    assert_eq!(net.since(&mut seen), ended);
    let released = json!({ "PoolID": "pool 10.99.7.0/24", "Address": "10.99.7.3" });
    assert_eq!(net.plugin.asked("IpamDriver.ReleaseAddress")[1], released);
    assert_eq!(inside(&mut test, &one, "ip -o link | grep -c net0 || true")?, "0\n");
    let asked = json!({ "Container": one, "EndpointConfig": {
        "IPAMConfig": { "IPv4Address": "10.99.7.77" }, "DriverOpts": { "fast": "yes" },
    }});
    is(act(&mut test, &name, "connect", &asked)?, DONE);
    assert_eq!(places(&mut test, &one)?[&name]["IPAddress"], "10.99.7.77");
    assert_eq!(net.plugin.asked("NetworkDriver.CreateEndpoint")[2]["Options"]["fast"], "yes");
    net.since(&mut seen);
    test.client.delete(&format!("/containers/{one}?force=1"))?.ok()?;
    test.client.delete(&format!("/networks/{name}"))?.ok()?;
    let gone = ["ReleaseAddress", "ReleaseAddress", "ReleasePool", "DeleteNetwork"];
    assert_eq!(net.since(&mut seen), [&ended[..], &gone].concat());
    Ok(())
}

#[test]
fn what_a_plugin_refuses_is_told_and_undone() -> Result<()> {
    let mut test = Test::new()?;
    let net = Net::start(&mut test)?;
    let (name, one, mut seen) = (test.name("lan"), test.name("one"), 0);
    let mut named = body(&net);
    named["Name"] = json!(name);
    for (method, words, undone) in [
        ("IpamDriver.RequestPool", "remote: boom", &[][..]),
        (
            "IpamDriver.RequestAddress",
            "failed to allocate gateway (10.99.7.1): remote: boom",
            &["ReleasePool"],
        ),
        ("NetworkDriver.CreateNetwork", "remote: boom", &["ReleaseAddress", "ReleaseAddress", "ReleasePool"]),
    ] {
        net.fail(&[method]);
        net.since(&mut seen);
        let refused = test.client.post("/networks/create", &named)?;
        assert_eq!((refused.status, refused.message()), (500, words.to_owned()), "{method}");
        assert!(
            net.since(&mut seen).iter().map(String::as_str).collect::<Vec<_>>().ends_with(undone),
            "{method}"
        );
    }
    net.fail(&[]);
    network(&mut test, &name, &body(&net))?;
    let id = sleeper(&mut test, &one, &name, &json!({}))?;
    for (method, words, undone) in [
        ("IpamDriver.RequestAddress", "remote: boom".to_owned(), &["RequestAddress"][..]),
        (
            "NetworkDriver.CreateEndpoint",
            format!("failed to create endpoint {one} on network {name}: remote: boom"),
            &["CreateEndpoint", "ReleaseAddress"],
        ),
        ("NetworkDriver.Join", "remote: boom".to_owned(), &["Join", "DeleteEndpoint", "ReleaseAddress"]),
    ] {
        net.fail(&[method]);
        net.since(&mut seen);
        let refused = test.act(&id, "start")?;
        let words = format!("failed to set up container networking: {words}");
        assert_eq!((refused.status, refused.message()), (500, words), "{method}");
        assert!(
            net.since(&mut seen).iter().map(String::as_str).collect::<Vec<_>>().ends_with(undone),
            "{method}"
        );
    }
    // What a plugin does not undo keeps nobody.
    net.fail(&[]);
    test.start(&id)?;
    net.fail(&["NetworkDriver.Leave", "NetworkDriver.DeleteEndpoint", "IpamDriver.ReleaseAddress"]);
    test.client.delete(&format!("/containers/{id}?force=1"))?.ok()?;
    net.fail(&["NetworkDriver.DeleteNetwork", "IpamDriver.ReleasePool"]);
    test.client.delete(&format!("/networks/{name}"))?.ok()?;
    for driver in [json!({ "Driver": "nobody" }), json!({ "IPAM": { "Driver": "nobody" } })] {
        let mut asked = driver;
        asked["Name"] = json!(name);
        let refused = test.client.post("/networks/create", &asked)?;
        assert_eq!((refused.status, refused.message().as_str()), (404, "plugin \"nobody\" not found"));
    }
    Ok(())
}

#[test]
fn a_bridge_may_have_its_addresses_from_a_plugin() -> Result<()> {
    let mut test = Test::new()?;
    let net = Net::start(&mut test)?;
    let (name, one, two) = (test.name("lan"), test.name("one"), test.name("two"));
    let mut bridge = body(&net);
    bridge["Driver"] = json!("bridge");
    bridge["Options"] = json!({});
    network(&mut test, &name, &bridge)?;
    let first = sleeper(&mut test, &one, &name, &json!({}))?;
    test.start(&first)?;
    let second = sleeper(&mut test, &two, &name, &json!({}))?;
    test.start(&second)?;
    let address = places(&mut test, &second)?[&name]["IPAddress"].as_str().context("an address")?.to_owned();
    assert_eq!(address, "10.99.7.3");
    assert_eq!(inside(&mut test, &first, &format!("ping -c 1 -W 5 {two} >/dev/null && echo yes"))?, "yes\n");
    test.act(&second, "stop?t=0")?.ok()?;
    test.until("the address is given back", |_| {
        Ok(net
            .plugin
            .asked("IpamDriver.ReleaseAddress")
            .iter()
            .any(|body| body["Address"] == address.as_str()))
    })
}
