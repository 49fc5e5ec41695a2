//! Containers in networks that somebody made: places asked for, connected, disconnected, refused.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    Test,
    networks::{DONE, act, inside, is, network, places, sleeper, subnet},
};

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
