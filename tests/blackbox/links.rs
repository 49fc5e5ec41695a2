//! Links between containers on the default bridge.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{Test, exec::output};

/// A container on the default bridge that sleeps.
fn body(host: &Value) -> Value {
    let mut body = Test::body(&["sleep", "1000"]);
    body["HostConfig"] = json!({ "NetworkMode": "bridge" });
    for (key, value) in host.as_object().into_iter().flatten() {
        body["HostConfig"][key] = value.clone();
    }
    body
}

fn address(test: &mut Test, id: &str) -> Result<String> {
    let seen = test.inspect(id)?;
    let address = seen["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].as_str();
    address.filter(|a| !a.is_empty()).map(str::to_owned).context("no address")
}

/// The lines of a container's `/etc/hosts` that say where others are.
fn hosts(test: &mut Test, id: &str) -> Result<Vec<String>> {
    let text = output(test, id, &["cat", "/etc/hosts"])?;
    Ok(text.lines().filter(|line| line.starts_with(char::is_numeric)).skip(1).map(str::to_owned).collect())
}

#[test]
fn a_link_tells_where_the_other_is_and_what_it_offers() -> Result<()> {
    let mut test = Test::new()?;
    let (db, web) = (test.name("db"), test.name("web"));
    let mut target = body(&json!({}));
    target["Hostname"] = json!("dbhost");
    target["ExposedPorts"] = json!({ "5432/tcp": {}, "53/udp": {}, "80/tcp": {}, "81/tcp": {} });
    target["Env"] = json!(["PW=secret", "HOME=/x"]);
    let target = test.create_named(&db, &target)?;
    test.start(&target)?;
    let there = address(&mut test, &target)?;

    let mut linked =
        body(&json!({ "Links": [format!("{db}:data-base"), db], "ExtraHosts": ["far:192.0.2.7"] }));
    linked["Env"] = json!(["DATA_BASE_PORT_5432_TCP=mine"]);
    let linked = test.create_named(&web, &linked)?;
    test.start(&linked)?;
    let here = address(&mut test, &linked)?;
    let own = format!("{here}\t{}", &linked[..12]);
    let names = [format!("data-base dbhost {db}"), format!("{db} dbhost")];
    let lines = |at: &str| {
        vec![
            "192.0.2.7\tfar".to_owned(),
            format!("{at}\t{}", names[0]),
            format!("{at}\t{}", names[1]),
            own.clone(),
        ]
    };
    assert_eq!(hosts(&mut test, &linked)?, lines(&there));
    let environment = output(&mut test, &linked, &["env"])?;
    for variable in [
        format!("DATA_BASE_PORT=tcp://{there}:80"),
        "DATA_BASE_PORT_5432_TCP=mine".to_owned(),
        format!("DATA_BASE_PORT_5432_TCP_ADDR={there}"),
        "DATA_BASE_PORT_53_UDP_PROTO=udp".to_owned(),
        format!("DATA_BASE_PORT_80_TCP_START=tcp://{there}:80"),
        "DATA_BASE_PORT_80_TCP_PORT_END=81".to_owned(),
        format!("DATA_BASE_NAME=/{web}/data-base"),
        "DATA_BASE_ENV_PW=secret".to_owned(),
    ] {
        assert!(environment.lines().any(|line| line == variable), "{variable} is not in:\n{environment}");
    }
    assert!(!environment.contains("_ENV_HOME"), "{environment}");
    let shown = test.inspect(&linked)?["HostConfig"]["Links"].clone();
    let mut shown: Vec<&str> = shown.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    shown.sort_unstable();
    assert_eq!(shown, [format!("/{db}:/{web}/{db}"), format!("/{db}:/{web}/data-base")]);

    // It comes back somewhere else, as soon as another one has got its address.
    test.act(&target, "stop?t=0")?.ok()?;
    for attempt in 0.. {
        let other = test.up(&body(&json!({})))?;
        if address(&mut test, &other)? == there {
            break;
        }
        assert!(attempt < 600, "{there} is never given to anybody again");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    test.start(&target)?;
    let moved = address(&mut test, &target)?;
    assert_ne!(moved, there);
    assert_eq!(hosts(&mut test, &linked)?, lines(&moved));

    // By its links it is found, and listed.
    let list = test.client.get("/containers/json")?.ok()?.json()?;
    let entry =
        list.as_array().into_iter().flatten().find(|c| c["Id"] == target.as_str()).context("not listed")?;
    let mut names = vec![format!("/{web}/data-base"), format!("/{web}/{db}"), format!("/{db}")];
    names.sort();
    assert_eq!(entry["Names"], json!(names));
    assert_eq!(test.inspect(&format!("{web}/data-base"))?["Id"], target.as_str());

    // A link can be taken away alone.
    let refused = test.client.delete(&format!("/containers/{web}?link=1"))?;
    assert_eq!(refused.status, 500);
    assert_eq!(refused.message(), "Conflict, cannot remove the default link name of the container");
    assert_eq!(test.client.delete(&format!("/containers/{web}/nosuch?link=1"))?.status, 404);
    assert_eq!(test.client.delete(&format!("/containers/{web}/data-base?link=1"))?.status, 204);
    assert_eq!(test.inspect(&linked)?["HostConfig"]["Links"], json!([format!("/{db}:/{web}/{db}")]));
    assert!(hosts(&mut test, &linked)?.iter().all(|line| !line.contains("data-base")));
    Ok(())
}

#[test]
fn links_to_nobody_are_refused() -> Result<()> {
    let mut test = Test::new()?;
    let stopped = test.name("stopped");
    let target = test.create_named(&stopped, &body(&json!({})))?;
    for (link, status, message) in [
        ("nosuch:x", 400, "could not get container for nosuch: No such container: nosuch"),
        (":x", 400, "could not get container for : invalid name or ID supplied: \"\""),
        ("", 500, "empty string specified for links"),
        ("a:b:c", 500, "bad format for links: a:b:c"),
    ] {
        let refused = test.client.post("/containers/create", &body(&json!({ "Links": [link] })))?;
        assert_eq!((refused.status, refused.message().as_str()), (status, message), "{link}");
    }
    let own = test.name("own");
    let linked = test.create_named(&own, &body(&json!({ "Links": [format!("{stopped}:x")] })))?;
    let refused = test.act(&linked, "start")?;
    let message = format!("Cannot link to a non running container: /{stopped} AS /{own}/x");
    assert_eq!((refused.status, refused.message()), (500, message.clone()));
    let state = test.inspect(&linked)?["State"].clone();
    assert_eq!((&state["ExitCode"], &state["Error"]), (&json!(128), &json!(message)));
    // Running, but nowhere on the default bridge.
    let mut elsewhere = body(&json!({}));
    elsewhere["HostConfig"]["NetworkMode"] = json!("none");
    let elsewhere = test.up(&elsewhere)?;
    let linked = test.create(&body(&json!({ "Links": [format!("{elsewhere}:x")] })))?;
    let refused = test.act(&linked, "start")?;
    let message = format!("container {elsewhere} not attached to default bridge network");
    assert_eq!((refused.status, refused.message()), (500, message));
    // What has no place on the default bridge itself is told nothing.
    let mut alone = body(&json!({ "Links": [format!("{stopped}:x")] }));
    alone["HostConfig"]["NetworkMode"] = json!("none");
    let alone = test.up(&alone)?;
    assert!(test.inspect(&alone)?["HostConfig"]["Links"].is_array());
    test.start(&target)?;
    Ok(())
}

#[test]
fn addresses_of_hosts_are_checked() -> Result<()> {
    let mut test = Test::new()?;
    for (host, message) in [
        ("x", "bad format for add-host: \"x\""),
        ("x:", "invalid IP address in add-host: \"\""),
        (":1.2.3.4", "bad format for add-host: \":1.2.3.4\""),
        ("x=1.2.3.4", "bad format for add-host: \"x=1.2.3.4\""),
        ("x:[::1]", "invalid IP address in add-host: \"[::1]\""),
    ] {
        let refused = test.client.post("/containers/create", &body(&json!({ "ExtraHosts": [host] })))?;
        assert_eq!((refused.status, refused.message().as_str()), (400, message), "{host}");
    }
    let bridge = test.client.get("/networks/bridge")?.ok()?.json()?;
    let gateway = bridge["IPAM"]["Config"][0]["Gateway"].as_str().context("no gateway")?.to_owned();
    let id = test.up(&body(&json!({ "ExtraHosts": ["gate:host-gateway", "six:2001:db8::7"] })))?;
    let text = output(&mut test, &id, &["cat", "/etc/hosts"])?;
    let lines: Vec<&str> = text.lines().skip(6).take(2).collect();
    assert_eq!(lines, [format!("{gateway}\tgate"), "2001:db8::7\tsix".to_owned()]);
    Ok(())
}
