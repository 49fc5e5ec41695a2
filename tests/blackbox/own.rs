//! What the other engine of the comparison cannot be asked for: its init program is not installed, it forgets, and it calls
//! networks dangling that have containers.

use anyhow::Result;
use serde_json::json;

use crate::{Test, health::until};

#[test]
fn init_reaps_and_passes_on_the_exit_code() -> Result<()> {
    let mut test = Test::new()?;
    let mut body = Test::body(&["sh", "-c", "cat /proc/1/comm; echo $$; exit 6"]);
    body["HostConfig"]["Init"] = json!(true);
    let ran = test.run(&body)?;
    assert_eq!(ran.code, 6);
    let lines: Vec<_> = ran.out.lines().collect();
    assert_ne!(lines[0], "sh");
    assert_ne!(lines[1], "1");
    Ok(())
}

/// A client that starts a container and then asks for its end may be slower than the container.
#[test]
fn the_end_of_a_container_that_removed_itself_is_remembered() -> Result<()> {
    let mut test = Test::new()?;
    let mut body = Test::body(&["sh", "-c", "exit 3"]);
    body["HostConfig"]["AutoRemove"] = json!(true);
    let id = test.up(&body)?;
    test.until("it is gone", |test| Ok(test.client.get(&format!("/containers/{id}/json"))?.status == 404))?;
    assert_eq!(test.wait(&id)?, 3);
    assert_eq!(test.act(&"0".repeat(64), "wait")?.status, 404);
    Ok(())
}

/// A container whose health is asked for without a process, and its status and last output.
fn knocked(test: &mut Test, script: &str, probe: [&str; 2]) -> Result<String> {
    let mut body = Test::body(&["sh", "-c", script]);
    body["Healthcheck"] =
        json!({ "Test": probe, "Interval": 50_000_000, "Retries": 2, "Timeout": 500_000_000 });
    body["HostConfig"]["NetworkMode"] = json!("none");
    test.up(&body)
}

fn last_output(seen: &serde_json::Value) -> String {
    let log = seen["State"]["Health"]["Log"].as_array();
    log.and_then(|log| log.last()).map_or(String::new(), |last| last["Output"].to_string())
}

#[test]
fn health_is_asked_for_at_ports_of_the_containers_own_network() -> Result<()> {
    const SERVE: &str = "mkdir /w; echo well > /w/page; httpd -p 127.0.0.1:8080 -h /w; sleep 1000";
    let mut test = Test::new()?;
    let is =
        |status: &'static str| move |seen: &serde_json::Value| seen["State"]["Health"]["Status"] == status;
    let id = knocked(&mut test, SERVE, ["HTTP", ":8080/page"])?;
    let seen = until(&mut test, &id, "healthy", is("healthy"))?;
    assert!(last_output(&seen).contains("200 OK"), "{}", last_output(&seen));
    assert_eq!(seen["Config"]["Healthcheck"]["Test"], json!(["HTTP", ":8080/page"]));
    crate::exec::output(&mut test, &id, &["rm", "/w/page"])?;
    let seen = until(&mut test, &id, "unhealthy", is("unhealthy"))?;
    assert!(last_output(&seen).contains("404"), "{}", last_output(&seen));

    let id = knocked(&mut test, SERVE, ["TCP", "8080"])?;
    until(&mut test, &id, "healthy", is("healthy"))?;
    let id = knocked(&mut test, "sleep 1000", ["TCP", "8080"])?;
    let seen = until(&mut test, &id, "unhealthy", is("unhealthy"))?;
    assert_eq!(last_output(&seen), "\"dial tcp 127.0.0.1:8080: connection refused\"");
    // One that takes the connection and says nothing.
    let id = knocked(&mut test, "nc -ll -p 8080 -e sleep 1000; sleep 1000", ["HTTP", ":8080/"])?;
    until(&mut test, &id, "given up", |seen| {
        seen["State"]["Health"]["Log"].to_string().contains("Health check exceeded timeout (500ms)")
    })?;
    Ok(())
}

#[test]
fn an_address_of_a_health_check_that_means_nothing_is_refused() -> Result<()> {
    let mut test = Test::new()?;
    let mut body = Test::body(&["true"]);
    body["Healthcheck"] = json!({ "Test": ["HTTP", "https://localhost/"] });
    let refused = test.client.post("/containers/create", &body)?;
    assert_eq!(refused.status, 400);
    assert_eq!(
        refused.message(),
        r#"invalid address of an HTTP health check "https://localhost/": https is not supported"#
    );
    Ok(())
}

#[test]
fn networks_with_containers_do_not_dangle() -> Result<()> {
    let mut test = Test::new()?;
    let (used, unused) = (test.name("used"), test.name("unused"));
    for name in [&used, &unused] {
        test.client.post("/networks/create", &json!({ "Name": name }))?.ok()?;
        test.networks.push(name.clone());
    }
    let mut body = Test::body(&["sleep", "60"]);
    body["HostConfig"]["NetworkMode"] = json!(used);
    test.up(&body)?;
    for (dangling, expected) in [("true", &unused), ("false", &used)] {
        let path = format!(
            "/networks?filters=%7B%22dangling%22:%5B%22{dangling}%22%5D,%22type%22:%5B%22custom%22%5D%7D"
        );
        let list = test.client.get(&path)?.ok()?.json()?;
        let names: Vec<_> = list.as_array().into_iter().flatten().map(|network| &network["Name"]).collect();
        assert_eq!(names, [&json!(expected)]);
    }
    Ok(())
}

/// Debian's own plugins: a bridge with addresses from files, and ports by iptables.
#[test]
fn a_network_may_be_made_by_cni_plugins() -> Result<()> {
    let mut test = Test::new()?;
    let dir = tempfile::tempdir()?;
    let (name, one, two) = (test.name("lan"), test.name("one"), test.name("two"));
    let (conf, leases) = (dir.path().join("lan.conflist"), dir.path().join("leases"));
    let list = json!({ "cniVersion": "1.0.0", "name": name, "plugins": [
        { "type": "bridge", "bridge": "cnibb0", "isGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": {
            "type": "host-local", "dataDir": leases, "routes": [{ "dst": "0.0.0.0/0" }],
            "ranges": [[{ "subnet": "10.88.7.0/24" }]],
        }},
        { "type": "portmap", "capabilities": { "portMappings": true } },
    ]});
    fs_err::write(&conf, list.to_string())?;
    let body = json!({ "Driver": "cni", "Options": { "conf": conf } });
    crate::networks::network(&mut test, &name, &body)?;
    let mut serves = Test::body(&["sh", "-c", "mkdir /w; echo well > /w/page; httpd -f -p 80 -h /w"]);
    serves["HostConfig"] =
        json!({ "NetworkMode": name, "PortBindings": { "80/tcp": [{ "HostPort": "18788" }] } });
    let first = test.create_named(&one, &serves)?;
    test.start(&first)?;
    let second = crate::networks::sleeper(&mut test, &two, &name, &json!({}))?;
    test.start(&second)?;
    let seen = test.inspect(&first)?["NetworkSettings"].clone();
    let place = &seen["Networks"][&name];
    assert_eq!((&place["IPAddress"], &place["Gateway"]), (&json!("10.88.7.2"), &json!("10.88.7.1")));
    assert_eq!(seen["Ports"]["80/tcp"], json!([{ "HostIp": "0.0.0.0", "HostPort": "18788" }]));
    let line = format!("for n in $(seq 100); do wget -q -O - http://{one}/page && break; sleep 0.1; done");
    assert_eq!(crate::networks::inside(&mut test, &second, &line)?, "well\n");
    test.until("the published port leads there", |test| {
        let answer = test.engine.inside("curl").args(["-s", "http://10.88.7.1:18788/page"]).output()?;
        Ok(answer.stdout == b"well\n")
    })?;
    let kept = |test: &Test| -> Result<String> {
        Ok(String::from_utf8(test.engine.inside("iptables-save").output()?.stdout)?)
    };
    assert!(kept(&test)?.contains("18788"));
    // Both ways to an end.
    test.act(&first, "stop?t=0")?.ok()?;
    test.client.delete(&format!("/containers/{first}"))?.ok()?;
    test.client.delete(&format!("/containers/{second}?force=1"))?.ok()?;
    test.client.delete(&format!("/networks/{name}"))?.ok()?;
    let left: Vec<String> = fs_err::read_dir(leases.join(&name))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|file| file.starts_with("10."))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(!kept(&test)?.contains("18788") && !kept(&test)?.contains(&first));

    let mut asked = body;
    asked["Name"] = json!(name);
    asked["IPAM"] = json!({ "Config": [{ "Subnet": "10.1.0.0/24" }] });
    let refused = test.client.post("/networks/create", &asked)?;
    assert_eq!(refused.status, 400);
    assert!(refused.message().starts_with("a subnet cannot be asked for in a network of the driver cni"));
    Ok(())
}
