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
    let id = knocked(&mut test, "nc -l -p 8080 -e sleep 1000; sleep 1000", ["HTTP", ":8080/"])?;
    let seen = until(&mut test, &id, "unhealthy", is("unhealthy"))?;
    let log = seen["State"]["Health"]["Log"].to_string();
    assert!(log.contains("Health check exceeded timeout (500ms)"), "{log}");
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
