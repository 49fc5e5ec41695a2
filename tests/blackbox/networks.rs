//! Networks that somebody makes: what may be asked of them, and what is told of them.

use std::io::BufRead;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use skiff_testkit::http::Body;

use crate::{Test, events::now, exec};

/// Makes a network that goes with the test; gives its id.
pub(crate) fn network(test: &mut Test, name: &str, body: &Value) -> Result<String> {
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

pub(crate) fn subnet(subnet: &str) -> Value {
    json!({ "IPAM": { "Config": [{ "Subnet": subnet }] } })
}

/// A container that sleeps in a network.
pub(crate) fn sleeper(test: &mut Test, name: &str, network: &str, endpoints: &Value) -> Result<String> {
    let mut body = Test::body(&["sleep", "1000"]);
    body["HostConfig"]["NetworkMode"] = json!(network);
    body["NetworkingConfig"] = json!({ "EndpointsConfig": endpoints });
    test.create_named(name, &body)
}

/// What a shell line prints inside a running container.
pub(crate) fn inside(test: &mut Test, id: &str, line: &str) -> Result<String> {
    exec::output(test, id, &["sh", "-c", line])
}

/// Filters as a query has them.
fn query(filters: &Value) -> String {
    let plain = |c: u8| c.is_ascii_alphanumeric();
    let text = filters.to_string();
    text.bytes().map(|c| if plain(c) { char::from(c).to_string() } else { format!("%{c:02X}") }).collect()
}

pub(crate) fn act(test: &mut Test, network: &str, action: &str, body: &Value) -> Result<(u16, String)> {
    let answer = test.client.post(&format!("/networks/{network}/{action}"), body)?;
    let text = if answer.status < 300 { answer.text() } else { answer.message() };
    Ok((answer.status, text))
}

pub(crate) fn places(test: &mut Test, id: &str) -> Result<Value> {
    Ok(test.inspect(id)?["NetworkSettings"]["Networks"].clone())
}

pub(crate) const DONE: (u16, &str) = (200, "");

pub(crate) fn is(answer: (u16, String), wanted: (u16, &str)) {
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
