//! What a container uses, as it is told.

use std::io::BufRead;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use skiff_testkit::http::Body;

use crate::Test;

fn lines(test: &Test, id: &str, count: usize) -> Result<Vec<Value>> {
    let stream = test.client.stream("GET", &format!("/containers/{id}/stats"), &Body::Empty)?;
    stream.lines().take(count).map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

#[test]
fn figures_are_there_and_belong_together() -> Result<()> {
    let mut test = Test::new()?;
    let mut body = Test::body(&["sh", "-c", "while :; do :; done"]);
    body["HostConfig"]["Memory"] = json!(64 << 20);
    body["HostConfig"]["PidsLimit"] = json!(77);
    let id = test.up(&body)?;
    let all = lines(&test, &id, 3)?;
    let name = test.inspect(&id)?["Name"].clone();
    for stats in &all {
        assert_eq!((&stats["id"], &stats["name"]), (&json!(id), &name));
        assert_eq!(stats["memory_stats"]["limit"], 64 << 20);
        assert!(stats["memory_stats"]["usage"].as_u64() > Some(0), "{stats}");
        assert_eq!(stats["pids_stats"], json!({ "current": 1, "limit": 77 }));
        assert_eq!(stats["cpu_stats"]["online_cpus"], 2);
        assert_eq!(stats.get("networks"), None, "there is no network");
    }
    assert_eq!(all[0]["preread"], "0001-01-01T00:00:00Z");
    assert_eq!(all[0]["precpu_stats"].get("system_cpu_usage"), None);
    for pair in all.windows(2) {
        assert_eq!(pair[1]["preread"], pair[0]["read"]);
        assert_eq!(pair[1]["precpu_stats"], pair[0]["cpu_stats"]);
        let used = |stats: &Value| stats["cpu_stats"]["cpu_usage"]["total_usage"].as_u64();
        assert!(used(&pair[1]) > used(&pair[0]), "it is busy");
    }
    Ok(())
}

#[test]
fn one_answer_has_a_rate_unless_it_is_one_shot() -> Result<()> {
    let mut test = Test::new()?;
    let id = test.up(&Test::body(&["sleep", "1000"]))?;
    let path = format!("/containers/{id}/stats?stream=0");
    let one = test.client.get(&path)?.ok()?.json()?;
    assert!(one["precpu_stats"]["system_cpu_usage"].as_u64() > Some(0), "{one}");
    assert!(one["cpu_stats"]["system_cpu_usage"].as_u64() > one["precpu_stats"]["system_cpu_usage"].as_u64());
    let shot = test.client.get(&format!("{path}&one-shot=1"))?.ok()?.json()?;
    assert_eq!(shot["preread"], "0001-01-01T00:00:00Z");
    assert!(shot["cpu_stats"]["system_cpu_usage"].as_u64() > Some(0), "{shot}");
    // Unknown before 1.41.
    let old = test.client.get(&format!("/v1.40{path}&one-shot=1"))?.ok()?.json()?;
    assert_ne!(old["preread"], "0001-01-01T00:00:00Z");
    let both = test.client.get(&format!("/containers/{id}/stats?stream=1&one-shot=1"))?;
    assert_eq!((both.status, both.message().as_str()), (400, "cannot have stream=true and one-shot=true"));
    let none = test.client.get("/containers/bb-none/stats")?;
    assert_eq!((none.status, none.message().as_str()), (404, "No such container: bb-none"));
    Ok(())
}

#[test]
fn what_does_not_run_uses_nothing() -> Result<()> {
    let mut test = Test::new()?;
    let id = test.create(&Test::body(&["true"]))?;
    let idle = test.client.get(&format!("/containers/{id}/stats?stream=0"))?.ok()?.json()?;
    assert_eq!(idle["read"], "0001-01-01T00:00:00Z");
    assert_eq!((&idle["pids_stats"], &idle["memory_stats"]), (&json!({}), &json!({})));
    assert_eq!(idle["blkio_stats"]["io_service_bytes_recursive"], Value::Null);
    Ok(())
}

#[test]
fn a_stream_goes_on_over_a_stop_and_ends_with_the_container() -> Result<()> {
    let mut test = Test::new()?;
    let id = test.up(&Test::body(&["sleep", "1000"]))?;
    let stream = test.client.stream("GET", &format!("/containers/{id}/stats"), &Body::Empty)?;
    let mut lines = stream.lines();
    let mut next = || -> Result<Option<Value>> {
        lines.next().map(|line| Ok(serde_json::from_str(&line?)?)).transpose()
    };
    let running = next()?.context("a line")?;
    assert!(running["pids_stats"]["current"].as_u64() > Some(0));
    test.act(&id, "stop?t=0")?.ok()?;
    while next()?.context("a line")?["pids_stats"] != json!({}) {}
    test.start(&id)?;
    while next()?.context("a line")?["pids_stats"] == json!({}) {}
    test.client.delete(&format!("/containers/{id}?force=1"))?.ok()?;
    while next()?.is_some() {}
    Ok(())
}

#[test]
fn interfaces_are_those_of_the_container() -> Result<()> {
    let mut test = Test::new()?;
    let mut body = Test::body(&["sleep", "1000"]);
    body["HostConfig"]["NetworkMode"] = json!("bridge");
    let id = test.up(&body)?;
    let stats = &lines(&test, &id, 1)?[0];
    let interfaces: Vec<_> =
        stats["networks"].as_object().into_iter().flatten().map(|(name, _)| name).collect();
    assert_eq!(interfaces, ["eth0"]);
    assert!(stats["networks"]["eth0"]["tx_errors"].is_u64());
    body["HostConfig"]["NetworkMode"] = json!("host");
    let id = test.up(&body)?;
    assert_eq!(lines(&test, &id, 1)?[0].get("networks"), None);
    Ok(())
}
