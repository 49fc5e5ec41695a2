//! What prune removes, what it leaves, and what takes space.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::Test;

/// Filters as a query has them.
fn query(filters: &Value) -> String {
    let text = filters.to_string();
    let escape =
        |b: u8| if b.is_ascii_alphanumeric() { (b as char).to_string() } else { format!("%{b:02X}") };
    format!("filters={}", text.bytes().map(escape).collect::<String>())
}

fn prune(test: &mut Test, kind: &str, filters: &Value) -> Result<Value> {
    test.client.post(&format!("/{kind}/prune?{}", query(filters)), &Value::Null)?.ok()?.json()
}

fn labelled(label: &str, command: &[&str]) -> Value {
    let mut body = Test::body(command);
    body["Labels"] = json!({ label: "1" });
    body
}

#[test]
fn containers_that_do_not_run_go() -> Result<()> {
    let mut test = Test::new()?;
    let label = test.name("prune");
    let created = test.create(&labelled(&label, &["true"]))?;
    let ended = test.up(&labelled(&label, &["sh", "-c", "head -c 5000 /dev/zero > /file"]))?;
    test.wait(&ended)?;
    let running = test.up(&labelled(&label, &["sleep", "1000"]))?;
    let nothing = prune(&mut test, "containers", &json!({ "label": [&label], "until": ["24h"] }))?;
    assert_eq!(nothing, json!({ "ContainersDeleted": null, "SpaceReclaimed": 0 }));
    let nothing = prune(&mut test, "containers", &json!({ "label": [&label], "label!": [&label] }))?;
    assert_eq!(nothing["ContainersDeleted"], Value::Null);
    let answer = prune(&mut test, "containers", &json!({ "label": [&label] }))?;
    let mut gone: Vec<&str> =
        answer["ContainersDeleted"].as_array().context("none")?.iter().filter_map(Value::as_str).collect();
    gone.sort_unstable();
    let mut expected = [created.as_str(), ended.as_str()];
    expected.sort_unstable();
    assert_eq!(gone, expected);
    assert!(answer["SpaceReclaimed"].as_u64() >= Some(5000), "{answer}");
    assert_eq!(test.inspect(&running)?["State"]["Running"], true);
    Ok(())
}

#[test]
fn filters_that_mean_nothing_are_refused() -> Result<()> {
    let mut test = Test::new()?;
    for (kind, filters, words) in [
        ("containers", json!({ "foo": ["x"] }), "invalid filter 'foo'"),
        ("images", json!({ "foo": ["x"] }), "invalid filter 'foo'"),
        ("containers", json!({ "until": ["abc"] }), "failed to parse value as time or duration: \"abc\""),
        ("containers", json!({ "until": ["1h", "2h"] }), "more than one until filter specified"),
        ("images", json!({ "dangling": ["xx"] }), "invalid filter 'dangling=[xx]'"),
    ] {
        let answer = test.client.post(&format!("/{kind}/prune?{}", query(&filters)), &Value::Null)?;
        assert_eq!((answer.status, answer.message().as_str()), (400, words), "{kind} {filters}");
    }
    let answer = test.client.get("/system/df?type=foo")?;
    assert_eq!((answer.status, answer.message().as_str()), (400, "unknown object type: foo"));
    Ok(())
}

/// `system prune` asks for it last, and ends as it does.
#[test]
fn what_builds_have_left_may_be_asked_to_go() -> Result<()> {
    let mut test = Test::new()?;
    let nothing = prune(&mut test, "build", &json!({ "id": ["nosuch"] }))?;
    assert_eq!(nothing, json!({ "CachesDeleted": null, "SpaceReclaimed": 0 }));
    Ok(())
}

/// Imports an image with a label.
fn import(test: &mut Test, name: &str, label: &str) -> Result<String> {
    let tar = skiff_testkit::image::busybox()?;
    let change = format!("LABEL {label}=1 name={name}");
    let escape =
        |b: u8| if b.is_ascii_alphanumeric() { (b as char).to_string() } else { format!("%{b:02X}") };
    let change: String = change.bytes().map(escape).collect();
    let path = format!("/images/create?fromSrc=-&repo={name}&tag=latest&changes={change}");
    let body = skiff_testkit::http::Body::Bytes("application/x-tar", &tar);
    test.client.request("POST", &path, &body)?.ok()?;
    test.images.push(name.to_owned());
    let id = test.client.get(&format!("/images/{name}/json"))?.ok()?.json()?["Id"].clone();
    Ok(id.as_str().context("no Id")?.to_owned())
}

#[test]
fn images_without_a_name_go_and_all_that_nobody_uses_if_asked() -> Result<()> {
    let mut test = Test::new()?;
    let label = test.name("prune").replace('-', "");
    let (used, unused) = (test.name("used"), test.name("unused"));
    import(&mut test, &used, &label)?;
    let unused_id = import(&mut test, &unused, &label)?;
    let mut body = Test::body(&["true"]);
    body["Image"] = json!(&used);
    test.create(&body)?;
    let filters = json!({ "label": [&label] });
    assert_eq!(prune(&mut test, "images", &filters)?["ImagesDeleted"], Value::Null, "all have names");
    let all = json!({ "label": [&label], "dangling": ["false"] });
    let answer = prune(&mut test, "images", &all)?;
    let steps = answer["ImagesDeleted"].as_array().context("none")?;
    assert!(steps.contains(&json!({ "Untagged": format!("{unused}:latest") })), "{answer}");
    assert!(steps.contains(&json!({ "Deleted": unused_id })), "{answer}");
    assert_eq!(test.client.get(&format!("/images/{used}/json"))?.status, 200);
    assert_eq!(test.client.get(&format!("/images/{unused}/json"))?.status, 404);
    Ok(())
}

#[test]
fn usage_tells_what_is_there_and_only_what_was_asked_for() -> Result<()> {
    let mut test = Test::new()?;
    let id = test.up(&Test::body(&["sh", "-c", "head -c 7000 /dev/zero > /file; sleep 1000"]))?;
    crate::health::until(&mut test, &id, "written", |_| true)?;
    let mut of = |kinds: &str| test.client.get(&format!("/system/df?{kinds}"))?.ok()?.json();
    let all = of("")?;
    for key in ["Images", "Containers", "Volumes", "BuildCache"] {
        assert!(all[key].is_array(), "{key}");
    }
    assert!(all["LayersSize"].as_u64() > Some(0));
    let image = all["Images"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|image| image["RepoTags"] == json!(["busybox:latest"]));
    let image = image.context("no busybox")?;
    assert!(image["Containers"].as_u64() >= Some(1), "{image}");
    assert!(image["SharedSize"].as_i64() >= Some(0), "{image}");
    let ours = all["Containers"].as_array().into_iter().flatten().find(|c| c["Id"] == id.as_str());
    assert!(ours.context("no container")?["SizeRootFs"].as_u64() > Some(0));
    let only = of("type=container")?;
    assert_eq!((&only["Images"], &only["LayersSize"]), (&Value::Null, &json!(0)));
    assert!(only["Containers"].is_array());
    Ok(())
}
