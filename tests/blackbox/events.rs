//! What the engine tells about what happens.

use std::io::BufRead;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use skiff_testkit::http::Body;

use crate::{Test, list::percent_encode};

/// The events of one container between two moments.
pub(crate) fn events(test: &Test, id: &str, since: &str, until: &str) -> Result<Vec<Value>> {
    events_of(test, &json!({ "container": [id] }), since, until)
}

/// The events that filters choose.
pub(crate) fn events_of(test: &Test, filters: &Value, since: &str, until: &str) -> Result<Vec<Value>> {
    let filters = percent_encode(&filters.to_string());
    let path = format!("/events?since={since}&until={until}&filters={filters}");
    let stream = test.client.stream("GET", &path, &Body::Empty)?;
    stream.lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

pub(crate) fn now(test: &mut Test) -> Result<String> {
    let info = test.client.get("/info")?.ok()?.json()?;
    let time = info["SystemTime"].as_str().context("no SystemTime")?;
    let time: jiff::Timestamp = time.parse()?;
    Ok(format!("{}.{:09}", time.as_second(), time.subsec_nanosecond()))
}

/// One event for each thing that is done: a name is one, and an archive has its images, whatever their names.
#[test]
fn imports_and_loads_are_told_of() -> Result<()> {
    let mut test = Test::new()?;
    let name = test.name("told");
    let since = now(&mut test)?;
    let mut tar = skiff_testkit::image::Tar::default();
    tar.entry("name", b'0', 0o644, "", name.as_bytes());
    let path = format!("/images/create?fromSrc=-&repo={name}&tag=a");
    test.client.request("POST", &path, &Body::Bytes("application/x-tar", &tar.finish()))?.ok()?;
    let id = test.client.get(&format!("/images/{name}:a/json"))?.ok()?.json()?["Id"].clone();
    test.client.post(&format!("/images/{name}:a/tag?repo={name}&tag=b"), &Value::Null)?.ok()?;
    let saved = test.client.get(&format!("/images/get?names={name}:a&names={name}:b"))?.ok()?.body;
    for tag in ["a", "b"] {
        test.client.delete(&format!("/images/{name}:{tag}"))?.ok()?;
    }
    test.client.request("POST", "/images/load", &Body::Bytes("application/x-tar", &saved))?.ok()?;
    for tag in ["a", "b"] {
        test.images.push(format!("{name}:{tag}"));
    }
    let until = now(&mut test)?;
    let all = events_of(&test, &json!({ "type": ["image"] }), &since, &until)?;
    let told: Vec<(&str, &str)> = all
        .iter()
        .filter(|event| event["Actor"]["ID"] == id)
        .filter_map(|e| Some((e["Action"].as_str()?, e["Actor"]["Attributes"]["name"].as_str()?)))
        .collect();
    let (id, a, b) = (id.as_str().context("no Id")?, format!("{name}:a"), format!("{name}:b"));
    let expected = [
        ("tag", a.as_str()),
        ("import", id),
        ("tag", &b),
        ("save", id),
        ("untag", id),
        ("untag", id),
        ("delete", id),
        ("load", id),
    ];
    assert_eq!(told, expected);
    Ok(())
}

#[test]
fn a_life_is_told_in_order() -> Result<()> {
    let mut test = Test::new()?;
    let since = now(&mut test)?;
    let mut body = Test::body(&["sh", "-c", "exit 3"]);
    body["Labels"] = json!({ "tier": "front" });
    let name = test.name("events");
    let id = test.create_named(&name, &body)?;
    test.start(&id)?;
    test.wait(&id)?;
    test.client.delete(&format!("/containers/{id}"))?.ok()?;
    let until = now(&mut test)?;
    let all = events(&test, &id, &since, &until)?;
    let containers: Vec<_> = all.iter().filter(|e| e["Type"] == "container").collect();
    let actions: Vec<_> = containers.iter().filter_map(|e| e["Action"].as_str()).collect();
    assert_eq!(actions, ["create", "start", "die", "destroy"]);
    let die = containers[2];
    assert_eq!(die["Actor"]["ID"], id);
    assert_eq!(die["Actor"]["Attributes"]["exitCode"], "3");
    assert_eq!(die["Actor"]["Attributes"]["name"], name);
    assert_eq!(die["Actor"]["Attributes"]["tier"], "front");
    assert_eq!(die["Actor"]["Attributes"]["image"], "busybox");
    assert_eq!(die["scope"], "local");
    Ok(())
}

#[test]
fn kill_and_stop_are_told_too() -> Result<()> {
    let mut test = Test::new()?;
    let id = test.up(&Test::body(&["sleep", "1000"]))?;
    let since = now(&mut test)?;
    test.act(&id, "stop?t=0")?.ok()?;
    let until = now(&mut test)?;
    let all = events(&test, &id, &since, &until)?;
    let mut actions: Vec<_> =
        all.iter().filter(|e| e["Type"] == "container").filter_map(|e| e["Action"].as_str()).collect();
    actions.dedup();
    assert_eq!(actions.first(), Some(&"kill"));
    // Whether the end or the request is told first is not promised.
    actions.sort_unstable();
    assert_eq!(actions, ["die", "kill", "stop"]);
    Ok(())
}

#[test]
fn an_exec_is_told_with_its_command_line() -> Result<()> {
    let mut test = Test::new()?;
    let id = test.up(&Test::body(&["sleep", "1000"]))?;
    let since = now(&mut test)?;
    for command in [json!(["true"]), json!(["echo", "a b", "c"])] {
        let body = json!({ "Cmd": command, "AttachStdout": true });
        let made = test.client.post(&format!("/containers/{id}/exec"), &body)?.ok()?.json()?;
        let exec = made["Id"].as_str().context("no Id")?.to_owned();
        let start = json!({ "Detach": false, "Tty": false });
        test.client.hijack(&format!("/exec/{exec}/start"), &Body::Json(&start))?.read_frames()?;
    }
    let until = now(&mut test)?;
    let all = events(&test, &id, &since, &until)?;
    let actions: Vec<_> =
        all.iter().filter_map(|e| e["Action"].as_str()).filter(|a| *a != "exec_die").collect();
    assert_eq!(
        actions,
        ["exec_create: true ", "exec_start: true ", "exec_create: echo a b c", "exec_start: echo a b c"]
    );
    Ok(())
}
