//! Networks that somebody makes: what may be asked of them, and of a container's place in them.

use std::io::BufRead;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use skiff_testkit::http::Body;

use crate::{Test, events::now, exec};

/// Makes a network that goes with the test; gives its id.
fn network(test: &mut Test, name: &str, body: &Value) -> Result<String> {
    let mut body = body.clone();
    body["Name"] = json!(name);
    let made = test.client.post("/networks/create", &body)?.ok()?;
    assert_eq!(made.status, 201);
    let made = made.json()?;
    assert_eq!(made["Warning"], "");
    let id = made["Id"].as_str().context("no Id")?.to_owned();
    test.networks.push(id.clone());
    Ok(id)
}

fn subnet(subnet: &str) -> Value {
    json!({ "IPAM": { "Config": [{ "Subnet": subnet }] } })
}

/// A container that sleeps in a network.
fn sleeper(test: &mut Test, name: &str, network: &str, endpoints: &Value) -> Result<String> {
    let mut body = Test::body(&["sleep", "1000"]);
    body["HostConfig"]["NetworkMode"] = json!(network);
    body["NetworkingConfig"] = json!({ "EndpointsConfig": endpoints });
    test.create_named(name, &body)
}

/// What a shell line prints inside a running container.
fn inside(test: &mut Test, id: &str, line: &str) -> Result<String> {
    exec::output(test, id, &["sh", "-c", line])
}

/// Filters as a query has them.
fn query(filters: &Value) -> String {
    let plain = |c: u8| c.is_ascii_alphanumeric();
    let text = filters.to_string();
    text.bytes().map(|c| if plain(c) { char::from(c).to_string() } else { format!("%{c:02X}") }).collect()
}

fn act(test: &mut Test, network: &str, action: &str, body: &Value) -> Result<(u16, String)> {
    let answer = test.client.post(&format!("/networks/{network}/{action}"), body)?;
    let text = if answer.status < 300 { answer.text() } else { answer.message() };
    Ok((answer.status, text))
}

fn places(test: &mut Test, id: &str) -> Result<Value> {
    Ok(test.inspect(id)?["NetworkSettings"]["Networks"].clone())
}

const DONE: (u16, &str) = (200, "");

fn is(answer: (u16, String), wanted: (u16, &str)) {
    assert_eq!((answer.0, answer.1.as_str()), wanted);
}

#[test]
fn a_network_is_shown_as_it_was_asked_for() -> Result<()> {
    let mut test = Test::new()?;
    let (plain, full) = (test.name("plain"), test.name("full"));
    let id = network(&mut test, &plain, &json!({}))?;
    let seen = test.client.get(&format!("/networks/{plain}"))?.ok()?.json()?;
    assert_eq!(
        (&seen["Id"], &seen["Driver"], &seen["Scope"]),
        (&json!(id), &json!("bridge"), &json!("local"))
    );
    assert_eq!((&seen["EnableIPv4"], &seen["EnableIPv6"]), (&json!(true), &json!(false)));
    for off in ["Internal", "Attachable", "Ingress", "ConfigOnly"] {
        assert_eq!(seen[off], false, "{off}");
    }
    for empty in ["Containers", "Options", "Labels"] {
        assert_eq!(seen[empty], json!({}), "{empty}");
    }
    assert_eq!(seen["ConfigFrom"], json!({ "Network": "" }));
    let chosen = &seen["IPAM"]["Config"][0];
    let gateway = chosen["Gateway"].as_str().context("a gateway")?;
    assert!(gateway.ends_with(".1") && chosen["Subnet"].as_str().context("a subnet")?.contains('/'));

    let ipam = json!({ "Driver": "default", "Options": { "foo": "bar" }, "Config": [{
        "Subnet": "10.77.1.0/24", "IPRange": "10.77.1.128/25", "Gateway": "10.77.1.3",
        "AuxiliaryAddresses": { "printer": "10.77.1.200" },
    }]});
    let options = json!({ "com.docker.network.bridge.enable_icc": "false", "x": "y" });
    let body = json!({
        "IPAM": ipam, "Internal": true, "Attachable": true, "Labels": { "a": "b" }, "Options": options,
        "EnableIPv6": true,
    });
    network(&mut test, &full, &body)?;
    let seen = test.client.get(&format!("/networks/{full}"))?.ok()?.json()?;
    for (key, value) in body.as_object().context("an object")? {
        if key != "IPAM" {
            assert_eq!(&seen[key], value, "{key}");
        }
    }
    assert_eq!(seen["IPAM"]["Options"], ipam["Options"]);
    assert_eq!(seen["IPAM"]["Config"][0], ipam["Config"][0]);
    let ipv6 = seen["IPAM"]["Config"][1]["Subnet"].as_str().context("an IPv6 subnet")?;
    assert!(ipv6.starts_with("fd") && ipv6.ends_with("/64"), "{ipv6}");

    let again = test.client.post("/networks/create", &json!({ "Name": plain }))?;
    assert_eq!((again.status, again.message()), (409, format!("network with name {plain} already exists")));
    let by_prefix = test.client.get(&format!("/networks/{}", &id[..12]))?.ok()?.json()?;
    assert_eq!(by_prefix["Name"], json!(plain));
    assert_eq!(test.client.delete(&format!("/networks/{plain}"))?.status, 204);
    let gone = test.client.get(&format!("/networks/{id}"))?;
    assert_eq!((gone.status, gone.message()), (404, format!("network {id} not found")));
    Ok(())
}

/// Recorded from Docker 28.5.2.
#[test]
fn networks_that_cannot_be_are_refused() -> Result<()> {
    let mut test = Test::new()?;
    let name = test.name("bad");
    let ipam = |config: Value| json!({ "IPAM": { "Config": [config] } });
    let option =
        |key: &str, value: &str| json!({ "Options": { format!("com.docker.network.{key}"): value } });
    let net = "10.77.2.0/24";
    for (body, status, words) in [
        (json!({ "Name": "" }), 400, "invalid name: name is empty"),
        (json!({ "Name": "host" }), 403, "operation is not permitted on predefined host network "),
        (json!({ "Driver": "nope" }), 404, "plugin \"nope\" not found"),
        (json!({ "Driver": "host" }), 403, "only one instance of \"host\" network is allowed"),
        (json!({ "Scope": "swarm" }), 403, "cannot create a swarm scoped network when swarm is not active"),
        (json!({ "Ingress": true }), 403, "Ingress network can only be global scope network"),
        (json!({ "EnableIPv4": false }), 400, "IPv4 or IPv6 must be enabled"),
        (
            ipam(json!({ "Subnet": "10.77.2.5/24" })),
            400,
            "invalid network config:\ninvalid subnet 10.77.2.5/24: it should be 10.77.2.0/24",
        ),
        (ipam(json!({})), 400, "invalid network config:\ninvalid subnet : invalid CIDR block notation"),
        (
            ipam(json!({ "Subnet": net, "Gateway": "10.78.0.1" })),
            400,
            "invalid network config:\ninvalid gateway 10.78.0.1: parent subnet 10.77.2.0/24 doesn't contain this address",
        ),
        (
            ipam(json!({ "Subnet": net, "IPRange": "y", "Gateway": "x" })),
            400,
            "invalid network config:\n* invalid ip-range y: invalid CIDR block notation\n* invalid gateway x: invalid address",
        ),
        (
            ipam(json!({ "Subnet": net, "Gateway": "10.77.2.0" })),
            500,
            "failed to allocate gateway (10.77.2.0): Address already in use",
        ),
        (
            ipam(json!({ "Subnet": net, "AuxiliaryAddresses": { "a": "10.77.2.1" } })),
            500,
            "failed to allocate secondary ip address (a:10.77.2.1): Address already in use",
        ),
        (
            json!({ "IPAM": { "Config": [{ "Subnet": net }, { "Subnet": "10.77.3.0/24" }] } }),
            403,
            "bridge driver doesn't support multiple subnets",
        ),
        (json!({ "IPAM": { "Driver": "nope" } }), 404, "plugin \"nope\" not found"),
        (
            option("bridge.enable_icc", "x"),
            400,
            "failed to parse com.docker.network.bridge.enable_icc value: x (strconv.ParseBool: parsing \"x\": invalid syntax)",
        ),
        (
            option("bridge.gateway_mode_ipv4", "x"),
            400,
            "failed to parse com.docker.network.bridge.gateway_mode_ipv4 value: x (unknown gateway mode x)",
        ),
        (
            option("bridge.gateway_mode_ipv4", "isolated"),
            500,
            "gateway mode 'isolated' can only be used for an internal network",
        ),
        (option("bridge.name", "lo"), 500, "existing interface lo is not a bridge"),
        (option("driver.mtu", "-1"), 400, "invalid MTU number: -1"),
        (
            option("enable_ipv6", "x"),
            400,
            "driver-opt \"com.docker.network.enable_ipv6\" is not a valid bool",
        ),
        (
            json!({ "ConfigOnly": true, "Internal": true }),
            403,
            "configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | attachable | scope ] are not supported.",
        ),
        (
            json!({ "ConfigFrom": { "Network": "nope" } }),
            404,
            "configuration network \"nope\" does not exist",
        ),
    ] {
        let mut body = body;
        if body["Name"].is_null() {
            body["Name"] = json!(name);
        }
        let refused = test.client.post("/networks/create", &body)?;
        assert_eq!((refused.status, refused.message().as_str()), (status, words), "{body}");
    }
    let left = test.client.get(&format!("/networks/{name}"))?;
    assert_eq!(left.status, 404, "nothing is left behind");
    network(&mut test, &name, &subnet("10.77.4.0/24"))?;
    let mut overlapping = subnet("10.77.4.128/25");
    overlapping["Name"] = json!(test.name("overlapping"));
    let refused = test.client.post("/networks/create", &overlapping)?;
    let words = "invalid pool request: Pool overlaps with other one on this address space";
    assert_eq!((refused.status, refused.message().as_str()), (403, words));
    for (path, status, words) in [
        ("/networks/bridge", 403, "bridge is a pre-defined network and cannot be removed"),
        ("/networks/nope", 404, "network nope not found"),
    ] {
        let refused = test.client.delete(path)?;
        assert_eq!((refused.status, refused.message().as_str()), (status, words));
    }
    Ok(())
}

#[test]
fn a_configuration_is_taken_over_by_those_who_name_it() -> Result<()> {
    let mut test = Test::new()?;
    let (config, user) = (test.name("config"), test.name("user"));
    let mut body = subnet("10.77.5.0/24");
    body["ConfigOnly"] = json!(true);
    body["Options"] = json!({ "com.docker.network.driver.mtu": "1400" });
    network(&mut test, &config, &body)?;
    let seen = test.client.get(&format!("/networks/{config}"))?.json()?;
    assert_eq!((&seen["Driver"], &seen["ConfigOnly"]), (&json!("null"), &json!(true)));
    let from = json!({ "ConfigFrom": { "Network": config } });
    let mut own = from.clone();
    own["Name"] = json!(user);
    own["Options"] = json!({ "a": "b" });
    let refused = test.client.post("/networks/create", &own)?;
    let words = "network driver options are not supported if the network depends on a configuration network";
    assert_eq!((refused.status, refused.message().as_str()), (403, words));
    network(&mut test, &user, &from)?;
    let seen = test.client.get(&format!("/networks/{user}"))?.json()?;
    assert_eq!(seen["IPAM"]["Config"][0]["Subnet"], "10.77.5.0/24");
    assert_eq!(seen["Options"]["com.docker.network.driver.mtu"], "1400");
    assert_eq!(seen["ConfigFrom"]["Network"], json!(config));
    let refused = test.client.delete(&format!("/networks/{config}"))?;
    let words = format!("error while removing network: configuration network {config:?} is in use");
    assert_eq!((refused.status, refused.message()), (403, words));
    Ok(())
}

#[test]
fn a_container_lives_in_its_network() -> Result<()> {
    let mut test = Test::new()?;
    let (net, name) = (test.name("net"), test.name("web"));
    let id = network(&mut test, &net, &subnet("10.77.6.0/24"))?;
    let place = json!({ &net: {
        "IPAMConfig": { "IPv4Address": "10.77.6.99" }, "Aliases": ["one", "two"], "MacAddress": "02:42:0a:4d:06:63",
    }});
    let web = sleeper(&mut test, &name, &net, &place)?;
    let before = &places(&mut test, &web)?[&net];
    assert_eq!((&before["NetworkID"], &before["IPAddress"]), (&json!(""), &json!("")));
    test.start(&web)?;
    let seen = places(&mut test, &web)?[&net].clone();
    let names = json!([name, "one", "two", &web[..12]]);
    for (key, value) in [
        ("NetworkID", json!(id)),
        ("IPAddress", json!("10.77.6.99")),
        ("IPPrefixLen", json!(24)),
        ("Gateway", json!("10.77.6.1")),
        ("MacAddress", json!("02:42:0a:4d:06:63")),
        ("Aliases", json!(["one", "two"])),
        ("DNSNames", names.clone()),
        ("IPAMConfig", json!({ "IPv4Address": "10.77.6.99" })),
    ] {
        assert_eq!(seen[key], value, "{key}");
    }
    let member = test.client.get(&format!("/networks/{net}"))?.json()?["Containers"][&web].clone();
    assert_eq!((&member["Name"], &member["IPv4Address"]), (&json!(name), &json!("10.77.6.99/24")));
    assert_eq!(member["EndpointID"], seen["EndpointID"]);
    let routes = inside(&mut test, &web, "ip route")?;
    assert!(routes.starts_with("default via 10.77.6.1 dev eth0"), "{routes}");
    // A neighbour is reached.
    let other = sleeper(&mut test, "", &net, &json!({}))?;
    test.start(&other)?;
    let pinged = inside(&mut test, &other, "ping -c 1 -W 5 10.77.6.99 >/dev/null && echo reached")?;
    assert_eq!(pinged, "reached\n");
    let refused = test.client.delete(&format!("/networks/{net}"))?;
    assert_eq!(refused.status, 403);
    assert!(
        refused
            .message()
            .contains(&format!("error while removing network: network {net} has active endpoints"))
    );
    // The address goes with the end, the names stay.
    test.client.post(&format!("/containers/{web}/stop?t=0"), &Value::Null)?.ok()?;
    let seen = places(&mut test, &web)?[&net].clone();
    assert_eq!((&seen["IPAddress"], &seen["EndpointID"]), (&json!(""), &json!("")));
    assert_eq!((&seen["NetworkID"], &seen["DNSNames"]), (&json!(id), &names));
    test.start(&web)?;
    assert_eq!(places(&mut test, &web)?[&net]["IPAddress"], "10.77.6.99");
    Ok(())
}

#[test]
fn places_that_cannot_be_are_refused() -> Result<()> {
    let mut test = Test::new()?;
    let (net, auto) = (test.name("net"), test.name("auto"));
    network(&mut test, &net, &subnet("10.77.7.0/24"))?;
    network(&mut test, &auto, &json!({}))?;
    let settings = "invalid endpoint settings:\n";
    let on_request = "user specified IP address is supported only when connecting to networks with user configured subnets";
    let sysctl = |value: &str| json!({ "DriverOpts": { "com.docker.network.endpoint.sysctls": value } });
    let ip = |ip: &str| json!({ "IPAMConfig": { "IPv4Address": ip } });
    for (network, place, words) in [
        (
            &net,
            ip("10.78.0.9"),
            format!("{settings}no configured subnet or ip-range contain the IP address 10.78.0.9"),
        ),
        (
            &net,
            ip("x"),
            format!(
                "{settings}* invalid IPv4 address: x\n* no configured subnet or ip-range contain the IP address x"
            ),
        ),
        (&net, json!({ "IPAMConfig": { "IPv6Address": "fd00::9" } }), format!("{settings}{on_request}")),
        (&auto, ip("172.20.0.9"), format!("{settings}{on_request}")),
        (
            &net,
            json!({ "IPAMConfig": { "LinkLocalIPs": ["x"] } }),
            format!("{settings}invalid link-local IP address: x"),
        ),
        (&net, json!({ "MacAddress": "xx" }), "invalid MAC address xx".to_owned()),
        (
            &net,
            sysctl("net.ipv4.ip_forward=1"),
            format!(
                "{settings}unrecognised network interface sysctl 'net.ipv4.ip_forward=1'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
            ),
        ),
    ] {
        let mut body = Test::body(&["true"]);
        body["HostConfig"]["NetworkMode"] = json!(network);
        body["NetworkingConfig"] = json!({ "EndpointsConfig": { network: place } });
        let refused = test.client.post("/containers/create", &body)?;
        let words = format!("invalid config for network {network}: {words}");
        assert_eq!((refused.status, refused.message()), (400, words));
    }
    let started = |test: &mut Test, network: &str, place: Value| -> Result<(u16, String)> {
        let id = sleeper(test, "", network, &json!({ network: place }))?;
        let answer = test.act(&id, "start")?;
        Ok((answer.status, answer.message()))
    };
    let label = "failed to set up container networking:";
    for taken in ["10.77.7.1", "10.77.7.0", "10.77.7.255"] {
        is(started(&mut test, &net, ip(taken))?, (403, &format!("{label} Address already in use")));
    }
    let link_local = json!({ "IPAMConfig": { "LinkLocalIPs": ["10.0.0.1"] } });
    let words = format!("{label} invalid link local IP address: 10.0.0.1");
    is(started(&mut test, &net, link_local)?, (400, &words));
    let (status, words) = started(&mut test, &net, sysctl("net.ipv4.conf.IFNAME.nope=1"))?;
    assert_eq!(status, 500);
    assert!(words.ends_with("to sandbox: /proc/sys/net/ipv4/conf/eth0/nope is not a sysctl file"), "{words}");
    let missing = test.name("missing");
    is(started(&mut test, &missing, json!({}))?, (404, &format!("{label} network {missing} not found")));
    Ok(())
}

#[test]
fn running_containers_are_connected_and_disconnected() -> Result<()> {
    let mut test = Test::new()?;
    let (b, a, name) = (test.name("net-b"), test.name("net-a"), test.name("web"));
    network(&mut test, &b, &subnet("10.77.8.0/24"))?;
    network(&mut test, &a, &subnet("10.77.9.0/24"))?;
    let web = sleeper(&mut test, &name, &b, &json!({}))?;
    test.start(&web)?;
    let place = json!({ "Aliases": ["al"], "IPAMConfig": { "IPv4Address": "10.77.9.50" } });
    is(act(&mut test, &a, "connect", &json!({ "Container": web, "EndpointConfig": place }))?, DONE);
    let seen = places(&mut test, &web)?;
    assert_eq!((&seen[&a]["IPAddress"], &seen[&a]["Gateway"]), (&json!("10.77.9.50"), &json!("10.77.9.1")));
    assert_eq!(seen[&a]["DNSNames"], json!([name, "al", &web[..12]]));
    assert_eq!(seen[&b]["IPAddress"], "10.77.8.2");
    // The default route leads through the network whose name comes first: they begin alike, but for a and b.
    assert!(inside(&mut test, &web, "ip route")?.starts_with("default via 10.77.9.1 dev eth1"));
    assert!(inside(&mut test, &web, "ip -o addr show eth1")?.contains("10.77.9.50/24"));
    assert!(inside(&mut test, &web, "cat /etc/hosts")?.contains(&format!("10.77.9.50\t{}\n", &web[..12])));
    let words = format!("endpoint with name {name} already exists in network {a}");
    is(act(&mut test, &a, "connect", &json!({ "Container": web }))?, (403, &words));

    is(act(&mut test, &a, "disconnect", &json!({ "Container": web }))?, DONE);
    assert_eq!(places(&mut test, &web)?[&a], Value::Null);
    assert!(inside(&mut test, &web, "ip route")?.starts_with("default via 10.77.8.1 dev eth0"));
    assert!(!inside(&mut test, &web, "ip -o link; cat /etc/hosts")?.contains("eth1"));
    assert!(!inside(&mut test, &web, "cat /etc/hosts")?.contains("10.77.9.50"));
    let words = format!("container {web} is not connected to network {a}");
    is(act(&mut test, &a, "disconnect", &json!({ "Container": web }))?, (500, &words));

    // Priority is above names; what was connected stays connected when the container starts again.
    let first = json!({ "Container": web, "EndpointConfig": { "GwPriority": -1 } });
    is(act(&mut test, &a, "connect", &first)?, DONE);
    assert!(inside(&mut test, &web, "ip route")?.starts_with("default via 10.77.8.1 dev eth0"));
    test.client.post(&format!("/containers/{web}/restart?t=0"), &Value::Null)?.ok()?;
    assert!(inside(&mut test, &web, "ip route")?.starts_with("default via 10.77.8.1 dev eth0"));
    assert_eq!(places(&mut test, &web)?[&a]["IPPrefixLen"], 24);
    // The last network may go too.
    is(act(&mut test, &a, "disconnect", &json!({ "Container": web }))?, DONE);
    is(act(&mut test, &b, "disconnect", &json!({ "Container": web }))?, DONE);
    assert_eq!(places(&mut test, &web)?, json!({}));
    assert_eq!(inside(&mut test, &web, "ls /sys/class/net")?.trim(), "lo");
    Ok(())
}

#[test]
fn what_cannot_be_connected_is_refused() -> Result<()> {
    let mut test = Test::new()?;
    let net = test.name("net");
    network(&mut test, &net, &subnet("10.77.10.0/24"))?;
    let web = sleeper(&mut test, "", &net, &json!({}))?;
    test.start(&web)?;
    let host = test.up(
        &json!({ "Image": "busybox", "Cmd": ["sleep", "100"], "HostConfig": { "NetworkMode": "host" } }),
    )?;
    let none = test.up(&Test::body(&["sleep", "100"]))?;
    let shares = "container sharing network namespace with another container or host cannot be connected to any other network";
    let private =
        "container cannot be connected to multiple networks with one of the networks in private (none) mode";
    let missing = "No such container: nope";
    for (network, action, body, status, words) in [
        ("nope", "connect", json!({ "Container": web }), 404, "network nope not found"),
        (&net, "connect", json!({ "Container": "nope" }), 404, missing),
        (&net, "connect", json!({}), 400, "invalid name or ID supplied: \"\""),
        (&net, "connect", json!({ "Container": host }), 400, shares),
        (&net, "connect", json!({ "Container": none }), 400, private),
        ("none", "connect", json!({ "Container": web }), 400, private),
        (
            "host",
            "connect",
            json!({ "Container": web }),
            400,
            "cannot connect container to host network - container must be created in host network mode",
        ),
        (
            "bridge",
            "connect",
            json!({ "Container": web, "EndpointConfig": { "Aliases": ["x"] } }),
            400,
            "invalid endpoint settings:\nnetwork-scoped alias is supported only for containers in user defined networks",
        ),
        ("nope", "disconnect", json!({ "Container": web }), 404, "network nope not found"),
        (&net, "disconnect", json!({ "Container": "nope" }), 404, missing),
        (
            "host",
            "disconnect",
            json!({ "Container": host }),
            400,
            "cannot disconnect container from host network - container was created in host network mode",
        ),
    ] {
        is(act(&mut test, network, action, &body)?, (status, words));
    }
    Ok(())
}

#[test]
fn stopped_containers_are_connected_when_they_start() -> Result<()> {
    let mut test = Test::new()?;
    let (a, b, name) = (test.name("a"), test.name("b"), test.name("web"));
    network(&mut test, &a, &subnet("10.77.11.0/24"))?;
    let b_id = network(&mut test, &b, &subnet("10.77.12.0/24"))?;
    let web = sleeper(&mut test, &name, &a, &json!({}))?;
    let place = json!({ "Container": web, "EndpointConfig": { "Aliases": ["z"] } });
    is(act(&mut test, &b, "connect", &place)?, DONE);
    let seen = places(&mut test, &web)?[&b].clone();
    assert_eq!((&seen["NetworkID"], &seen["DNSNames"]), (&json!(""), &json!([name, "z", &web[..12]])));
    is(act(&mut test, &a, "disconnect", &json!({ "Container": web }))?, DONE);
    let words = format!("container {web} is not connected to the network {a}");
    is(act(&mut test, &a, "disconnect", &json!({ "Container": web }))?, (500, &words));
    test.start(&web)?;
    let seen = places(&mut test, &web)?;
    assert_eq!(seen.as_object().context("an object")?.len(), 1);
    assert_eq!((&seen[&b]["NetworkID"], &seen[&b]["IPAddress"]), (&json!(b_id), &json!("10.77.12.2")));
    // A network that was removed under a stopped container is missed by its id.
    test.client.post(&format!("/containers/{web}/stop?t=0"), &Value::Null)?.ok()?;
    test.client.delete(&format!("/networks/{b}"))?.ok()?;
    let missed = test.act(&web, "start")?;
    let words = format!("failed to set up container networking: network {b_id} not found");
    assert_eq!((missed.status, missed.message()), (404, words));
    Ok(())
}

#[test]
fn a_container_is_created_in_several_networks() -> Result<()> {
    let mut test = Test::new()?;
    let (a, b, v) = (test.name("a"), test.name("b"), test.name("v"));
    network(&mut test, &a, &subnet("10.77.13.0/24"))?;
    let b_id = network(&mut test, &b, &subnet("10.77.14.0/24"))?;
    let dual = json!({ "EnableIPv6": true, "IPAM": { "Config": [{ "Subnet": "10.77.15.0/24" }, { "Subnet": "fd77:15::/64" }] } });
    network(&mut test, &v, &dual)?;
    let endpoints = json!({ &a: {}, &b: {}, &v: { "GwPriority": 1 } });
    let web = sleeper(&mut test, "", &b, &endpoints)?;
    test.start(&web)?;
    let seen = places(&mut test, &web)?;
    assert_eq!(seen[&v]["GlobalIPv6Address"], "fd77:15::2");
    assert_eq!(
        (&seen[&v]["IPv6Gateway"], &seen[&v]["GlobalIPv6PrefixLen"]),
        (&json!("fd77:15::1"), &json!(64))
    );
    let addresses = inside(&mut test, &web, "ip -o -4 addr")?;
    for address in ["10.77.13.2/24", "10.77.14.2/24", "10.77.15.2/24"] {
        assert!(addresses.contains(address), "{address} in {addresses}");
    }
    assert!(inside(&mut test, &web, "ip route")?.starts_with("default via 10.77.15.1 "));
    assert!(inside(&mut test, &web, "ip -6 route")?.contains("default via fd77:15::1 "));
    // By its id, or the beginning of it, the network is the same.
    let other = sleeper(&mut test, "", &b_id[..12], &json!({ &b: { "Aliases": ["q"] } }))?;
    test.start(&other)?;
    let seen = places(&mut test, &other)?;
    assert_eq!(seen[&b]["Aliases"], json!(["q"]));
    assert_eq!(seen.as_object().context("an object")?.len(), 1);
    Ok(())
}

#[test]
fn ports_are_published_where_the_default_route_leads() -> Result<()> {
    let mut test = Test::new()?;
    let (inner, outer) = (test.name("inner"), test.name("outer"));
    network(&mut test, &inner, &json!({ "Internal": true }))?;
    network(&mut test, &outer, &json!({}))?;
    let body = json!({
        "Image": "busybox", "Cmd": ["sleep", "1000"], "ExposedPorts": { "80/tcp": {} },
        "HostConfig": { "NetworkMode": inner, "PortBindings": { "80/tcp": [{ "HostPort": "18745" }] } },
    });
    let web = test.up(&body)?;
    let ports =
        |test: &mut Test| -> Result<Value> { Ok(test.inspect(&web)?["NetworkSettings"]["Ports"].clone()) };
    assert_eq!(ports(&mut test)?, json!({}), "an internal network publishes nothing");
    assert_eq!(places(&mut test, &web)?[&inner]["Gateway"], "");
    is(act(&mut test, &outer, "connect", &json!({ "Container": web }))?, DONE);
    assert_eq!(ports(&mut test)?["80/tcp"][0], json!({ "HostIp": "0.0.0.0", "HostPort": "18745" }));
    Ok(())
}

#[test]
fn networks_are_filtered_and_pruned() -> Result<()> {
    let mut test = Test::new()?;
    let (used, unused) = (test.name("fused"), test.name("funused"));
    let label = test.name("label");
    network(&mut test, &used, &json!({ "Labels": { &label: "1" } }))?;
    let id = network(&mut test, &unused, &json!({ "Labels": { &label: "2" } }))?;
    let web = sleeper(&mut test, "", &used, &json!({}))?;
    test.start(&web)?;
    let listed = |test: &mut Test, filters: Value| -> Result<Vec<String>> {
        let list = test.client.get(&format!("/networks?filters={}", query(&filters)))?.ok()?.json()?;
        let mut names: Vec<String> = list
            .as_array()
            .context("a list")?
            .iter()
            .filter_map(|n| Some(n["Name"].as_str()?.to_owned()))
            .collect();
        names.sort();
        Ok(names)
    };
    let mut both = vec![used.clone(), unused.clone()];
    both.sort();
    for (filters, wanted) in [
        (json!({ "label": [label] }), both.clone()),
        (json!({ "label": [format!("{label}=2")] }), vec![unused.clone()]),
        (json!({ "label": [label], "dangling": ["true"] }), vec![unused.clone()]),
        (json!({ "label": [label], "dangling": ["false"] }), vec![used.clone()]),
        (json!({ "label": [label], "driver": ["bridge"], "scope": ["local"], "type": ["custom"] }), both),
        (json!({ "name": [format!("^{used}$")] }), vec![used.clone()]),
        (json!({ "id": [id] }), vec![unused.clone()]),
        (json!({ "label": [label], "type": ["builtin"] }), vec![]),
    ] {
        assert_eq!(listed(&mut test, filters.clone())?, wanted, "{filters}");
    }
    for (filters, status, words) in [
        (json!({ "foo": ["x"] }), 400, "invalid filter 'foo'"),
        (json!({ "until": ["x"] }), 400, "failed to parse value as time or duration: \"x\""),
    ] {
        let refused =
            test.client.post(&format!("/networks/prune?filters={}", query(&filters)), &Value::Null)?;
        assert_eq!((refused.status, refused.message().as_str()), (status, words));
    }
    let early = json!({ "label": [label], "until": ["1h"] });
    let pruned = test
        .client
        .post(&format!("/networks/prune?filters={}", query(&early)), &Value::Null)?
        .ok()?
        .json()?;
    assert_eq!(pruned["NetworksDeleted"], Value::Null);
    let of_label = json!({ "label": [label] });
    let pruned = test
        .client
        .post(&format!("/networks/prune?filters={}", query(&of_label)), &Value::Null)?
        .ok()?
        .json()?;
    assert_eq!(pruned["NetworksDeleted"], json!([unused]));
    assert_eq!(listed(&mut test, of_label)?, [used]);
    Ok(())
}

#[test]
fn a_new_name_is_a_new_name_in_every_network() -> Result<()> {
    let mut test = Test::new()?;
    let (net, old, new) = (test.name("net"), test.name("old"), test.name("new"));
    network(&mut test, &net, &json!({}))?;
    let web = sleeper(&mut test, &old, &net, &json!({ &net: { "Aliases": ["al"] } }))?;
    test.start(&web)?;
    test.client.post(&format!("/containers/{web}/rename?name={new}"), &Value::Null)?.ok()?;
    assert_eq!(places(&mut test, &web)?[&net]["DNSNames"], json!([new, "al", &web[..12]]));
    let seen = test.client.get(&format!("/networks/{net}"))?.json()?;
    assert_eq!(seen["Containers"][&web]["Name"], json!(new));
    Ok(())
}

#[test]
fn what_happens_to_networks_is_told() -> Result<()> {
    let mut test = Test::new()?;
    let (net, other) = (test.name("net"), test.name("other"));
    let since = now(&mut test)?;
    let id = network(&mut test, &net, &json!({}))?;
    network(&mut test, &other, &json!({}))?;
    let web = sleeper(&mut test, "", &net, &json!({}))?;
    test.start(&web)?;
    is(act(&mut test, &other, "connect", &json!({ "Container": web }))?, DONE);
    is(act(&mut test, &other, "disconnect", &json!({ "Container": web }))?, DONE);
    test.client.delete(&format!("/containers/{web}?force=1"))?.ok()?;
    test.client.delete(&format!("/networks/{other}"))?.ok()?;
    test.client.delete(&format!("/networks/{net}"))?.ok()?;
    let until = now(&mut test)?;
    let filters = query(&json!({ "type": ["network"], "network": [net, other] }));
    let path = format!("/events?since={since}&until={until}&filters={filters}");
    let stream = test.client.stream("GET", &path, &Body::Empty)?;
    let told: Vec<Value> =
        stream.lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect::<Result<_>>()?;
    let short: Vec<(String, String)> = told
        .iter()
        .map(|event| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (text(&event["Action"]), text(&event["Actor"]["Attributes"]["name"]))
        })
        .collect();
    let wanted = [
        ("create", &net),
        ("create", &other),
        ("connect", &net),
        ("connect", &other),
        ("disconnect", &other),
        ("disconnect", &net),
        ("destroy", &other),
        ("destroy", &net),
    ];
    assert_eq!(short, wanted.map(|(action, name)| (action.to_owned(), name.clone())));
    let connect = &told[2]["Actor"];
    assert_eq!((&connect["ID"], &connect["Attributes"]["container"]), (&json!(id), &json!(web)));
    assert_eq!(connect["Attributes"]["type"], "bridge");
    Ok(())
}
