//! Networks on a link of the host: `macvlan`, and what of `ipvlan` needs no kernel that has it.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{
    Test,
    networks::{DONE, act, inside, is, network, places, sleeper},
};

/// A cable on the engine's host, both ends up, that goes with the test; gives its near end.
fn cable(test: &mut Test) -> Result<String> {
    let number = test.name("").rsplit('-').next().context("a number")?.to_owned();
    let name = format!("bb{}x{number}", std::process::id() % 100_000);
    let far = format!("{name}p");
    ip(test, &["link", "add", &name, "type", "veth", "peer", "name", &far])?;
    test.links.push(name.clone());
    ip(test, &["link", "set", &name, "up"])?;
    ip(test, &["link", "set", &far, "up"])?;
    Ok(name)
}

fn ip(test: &Test, words: &[&str]) -> Result<()> {
    let status = test.engine.inside("ip").args(words).status()?;
    ensure!(status.success(), "ip {words:?}: {status}");
    Ok(())
}

/// The body of a network of a driver on a link.
fn on(driver: &str, parent: &str, subnets: &[&str]) -> Value {
    let config: Vec<Value> = subnets.iter().map(|subnet| json!({ "Subnet": subnet })).collect();
    json!({ "Driver": driver, "Options": { "parent": parent }, "IPAM": { "Config": config } })
}

fn address(test: &mut Test, id: &str, net: &str) -> Result<String> {
    let seen = places(test, id)?;
    seen[net]["IPAddress"].as_str().map(str::to_owned).context("an address")
}

#[test]
fn containers_get_places_on_a_lan() -> Result<()> {
    let mut test = Test::new()?;
    let (net, one, two) = (test.name("lan"), test.name("one"), test.name("two"));
    let parent = cable(&mut test)?;
    let mut body = on("macvlan", &parent, &["10.78.1.0/24", "10.78.2.0/24"]);
    body["IPAM"]["Config"][0]["IPRange"] = json!("10.78.1.128/25");
    body["IPAM"]["Config"][0]["AuxiliaryAddresses"] = json!({ "router": "10.78.1.129" });
    body["IPAM"]["Config"][1]["Gateway"] = json!("10.78.2.9");
    network(&mut test, &net, &body)?;
    let seen = test.client.get(&format!("/networks/{net}"))?.ok()?.json()?;
    assert_eq!((&seen["Driver"], &seen["Options"]["parent"]), (&json!("macvlan"), &json!(parent)));
    assert_eq!(seen["IPAM"]["Config"], body["IPAM"]["Config"], "a gateway that nobody named is not shown");

    let mut first = Test::body(&["sleep", "1000"]);
    first["HostConfig"] = json!({
        "NetworkMode": net, "PortBindings": { "80/tcp": [{ "HostPort": "18733" }] },
    });
    first["ExposedPorts"] = json!({ "80/tcp": {}, "99/tcp": {} });
    let first = test.create_named(&one, &first)?;
    test.start(&first)?;
    let endpoints = json!({ &net: {
        "IPAMConfig": { "IPv4Address": "10.78.2.7" }, "MacAddress": "02:11:22:33:44:55",
        "DriverOpts": { "com.docker.network.endpoint.ifname": "lan0" },
    }});
    let second = sleeper(&mut test, &two, &net, &endpoints)?;
    test.start(&second)?;
    assert_eq!(address(&mut test, &first, &net)?, "10.78.1.130", "behind the gateway's and the router's");
    let seen = test.inspect(&first)?["NetworkSettings"].clone();
    assert_eq!((&seen["Ports"], &seen["Networks"][&net]["Gateway"]), (&json!({}), &json!("10.78.1.128")));
    let link = inside(&mut test, &second, "ip -o link show lan0; ip route show default")?;
    assert!(link.contains("02:11:22:33:44:55") && link.contains("via 10.78.2.9 dev lan0"), "{link}");
    Ok(())
}

#[test]
fn neighbours_have_names_and_come_and_go() -> Result<()> {
    let mut test = Test::new()?;
    let (net, other, one, two) = (test.name("lan"), test.name("wan"), test.name("one"), test.name("two"));
    let (parent, second) = (cable(&mut test)?, cable(&mut test)?);
    let mut both = on("macvlan", &parent, &["10.78.3.0/24", "fd78:3::/64"]);
    both["EnableIPv6"] = json!(true);
    network(&mut test, &net, &both)?;
    network(&mut test, &other, &on("macvlan", &second, &["10.78.4.0/24"]))?;
    let first = sleeper(&mut test, &one, &net, &json!({}))?;
    test.start(&first)?;
    let ping = |to: &str| format!("ping -c 1 -W 5 {to} >/dev/null && echo yes");
    let also = sleeper(&mut test, &two, &net, &json!({}))?;
    test.start(&also)?;
    assert_eq!(inside(&mut test, &first, &ping(&two))?, "yes\n");
    let ipv6 = places(&mut test, &also)?[&net]["GlobalIPv6Address"].as_str().context("IPv6")?.to_owned();
    assert_eq!(inside(&mut test, &first, &ping(&ipv6))?, "yes\n");

    let fixed = json!({ "Container": first, "EndpointConfig": {
        "Aliases": ["al"], "IPAMConfig": { "IPv4Address": "10.78.4.44" },
    }});
    is(act(&mut test, &other, "connect", &fixed)?, DONE);
    is(act(&mut test, &other, "connect", &json!({ "Container": also }))?, DONE);
    assert_eq!(inside(&mut test, &also, &ping("al"))?, "yes\n");
    is(act(&mut test, &net, "disconnect", &json!({ "Container": first }))?, DONE);
    let left = inside(&mut test, &first, "ip -o link; ip route show default")?;
    assert!(!left.contains("eth0") && left.contains("via 10.78.4.1 dev eth1"), "{left}");
    test.act(&first, "restart?t=0")?.ok()?;
    assert_eq!(address(&mut test, &first, &other)?, "10.78.4.44");
    assert_eq!(inside(&mut test, &also, &ping("al"))?, "yes\n");
    let busy = test.client.delete(&format!("/networks/{other}"))?;
    assert!(
        busy.message()
            .starts_with(&format!("error while removing network: network {other} has active endpoints"))
    );
    assert_eq!(busy.status, 403);
    Ok(())
}

#[test]
fn an_internal_lan_has_no_gateway() -> Result<()> {
    let mut test = Test::new()?;
    let net = test.name("lan");
    let parent = cable(&mut test)?;
    let body = json!({ "Driver": "macvlan", "Internal": true, "Options": { "parent": parent } });
    network(&mut test, &net, &body)?;
    let seen = test.client.get(&format!("/networks/{net}"))?.ok()?.json()?;
    let config = &seen["IPAM"]["Config"][0];
    assert!(
        config["Subnet"].is_string() && config["Gateway"].as_str().unwrap_or_default().is_empty(),
        "{config}"
    );
    let one = sleeper(&mut test, "", &net, &json!({}))?;
    test.start(&one)?;
    assert!(!inside(&mut test, &one, "ip route")?.contains("default"));
    Ok(())
}

/// Recorded from Docker 28.5.2.
#[test]
fn lans_that_cannot_be_are_refused() -> Result<()> {
    let mut test = Test::new()?;
    let (net, bad) = (test.name("lan"), test.name("bad"));
    let parent = cable(&mut test)?;
    let id = network(&mut test, &net, &on("macvlan", &parent, &["10.78.5.0/24"]))?;
    let refused = |test: &mut Test, body: &Value| -> Result<(u16, String)> {
        let mut body = body.clone();
        body["Name"] = json!(bad);
        let refused = test.client.post("/networks/create", &body)?;
        Ok((refused.status, refused.message()))
    };
    let no_master = format!("-o parent interface was not found on the host: {parent}q");
    for (driver, link, words) in [
        ("macvlan", "lo", "loopback interface is not a valid macvlan parent link"),
        ("ipvlan", "lo", "loopback interface is not a valid ipvlan parent link"),
        ("macvlan", "bbnope", "invalid subinterface vlan name bbnope, example formatting is eth0.10"),
        ("macvlan", &format!("{parent}q.5"), &no_master),
        (
            "macvlan",
            &format!("{parent}.x"),
            "unable to parse a valid vlan id from: x (ex. eth0.10 for vlan 10)",
        ),
        ("macvlan", &format!("{parent}.0"), "vlan id must be between 1-4094, received: 0"),
        ("macvlan", &format!("{parent}.4095"), "vlan id must be between 1-4094, received: 4095"),
    ] {
        let answer = refused(&mut test, &on(driver, link, &["10.78.6.0/24"]))?;
        assert_eq!(answer, (500, words.to_owned()), "{link}");
    }
    for (driver, option, words) in [
        (
            "macvlan",
            "macvlan_mode",
            "requested macvlan mode 'x' is not valid, 'bridge' mode is the macvlan driver default",
        ),
        (
            "ipvlan",
            "ipvlan_mode",
            "requested ipvlan mode 'x' is not valid, 'l2' mode is the ipvlan driver default",
        ),
        (
            "ipvlan",
            "ipvlan_flag",
            "requested ipvlan flag 'x' is not valid, 'bridge' is the ipvlan driver default",
        ),
    ] {
        let body = json!({ "Driver": driver, "Options": { "parent": parent, option: "x" } });
        assert_eq!(refused(&mut test, &body)?, (500, words.to_owned()));
    }
    let mut alone = on("macvlan", &parent, &["10.78.6.0/24"]);
    alone["Options"]["macvlan_mode"] = json!("passthru");
    let words =
        format!("cannot use mode passthru, macvlan network {id} is already using parent interface {parent}");
    assert_eq!(refused(&mut test, &alone)?, (500, words));
    let overlap = "invalid pool request: Pool overlaps with other one on this address space";
    assert_eq!(refused(&mut test, &on("macvlan", &parent, &["10.78.5.128/25"]))?, (403, overlap.to_owned()));
    assert_eq!(test.client.get(&format!("/networks/{bad}"))?.status, 404, "nothing is left behind");
    // Shared, it may be.
    let more = test.name("more");
    network(&mut test, &more, &on("macvlan", &parent, &["10.78.6.0/24"]))?;

    let one =
        sleeper(&mut test, "", &net, &json!({ &net: { "IPAMConfig": { "IPv4Address": "10.78.5.9" } } }))?;
    test.start(&one)?;
    let two =
        sleeper(&mut test, "", &net, &json!({ &net: { "IPAMConfig": { "IPv4Address": "10.78.5.9" } } }))?;
    let taken = test.act(&two, "start")?;
    let words = "failed to set up container networking: Address already in use";
    assert_eq!((taken.status, taken.message().as_str()), (403, words));
    Ok(())
}

#[test]
fn the_drivers_are_told() -> Result<()> {
    let mut test = Test::new()?;
    let info = test.client.get("/info")?.ok()?.json()?;
    let drivers = info["Plugins"]["Network"].as_array().context("a list")?;
    for driver in ["bridge", "host", "ipvlan", "macvlan", "null"] {
        assert!(drivers.contains(&json!(driver)), "{driver}");
    }
    Ok(())
}
