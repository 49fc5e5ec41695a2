//! Images of what containers changed.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use skiff_testkit::http::Response;

use crate::Test;

impl Test {
    fn commit(&mut self, query: &str, body: &Value) -> Result<Response> {
        self.client.post(&format!("/commit?{query}"), body)
    }

    /// Commits to an image that is removed after the test; answers how it is described.
    fn committed(&mut self, id: &str, query: &str, body: &Value) -> Result<Value> {
        let answer = self.commit(&format!("container={id}&{query}"), body)?.ok()?;
        assert_eq!(answer.status, 201);
        let image = answer.json()?["Id"].as_str().context("no Id")?.to_owned();
        self.images.push(image.clone());
        self.client.get(&format!("/images/{image}/json"))?.ok()?.json()
    }
}

#[test]
fn an_image_has_what_the_container_changed_and_how_it_was_run() -> Result<()> {
    let mut test = Test::new()?;
    let mut body = Test::body(&["sh", "-c", "echo one >/new; rm /etc/group; mkdir /x; sleep 600"]);
    body["Env"] = json!(["A=b"]);
    body["Labels"] = json!({ "l": "1" });
    body["WorkingDir"] = json!("/tmp");
    let id = test.up(&body)?;
    while test.client.get(&format!("/containers/{id}/archive?path=/x"))?.status != 200 {}
    let name = test.name("commit");
    let image = test.committed(&id, &format!("repo={name}&tag=one&author=me&comment=hello"), &Value::Null)?;
    assert_eq!(image["RepoTags"], json!([format!("{name}:one")]));
    assert_eq!((&image["Author"], &image["Comment"]), (&json!("me"), &json!("hello")));
    assert_eq!(image["Config"]["Env"], json!(["A=b"]));
    assert_eq!(image["Config"]["Labels"], json!({ "l": "1" }));
    assert_eq!(image["Config"]["WorkingDir"], "/tmp");
    let base = test.client.get("/images/busybox/json")?.ok()?.json()?;
    assert_eq!(image["Parent"], base["Id"]);
    let layers = |image: &Value| image["RootFS"]["Layers"].as_array().map_or(0, Vec::len);
    assert_eq!(layers(&image), layers(&base) + 1);
    let history = test.client.get(&format!("/images/{name}:one/history"))?.ok()?.json()?;
    assert_eq!(history[0]["CreatedBy"], "sh -c echo one >/new; rm /etc/group; mkdir /x; sleep 600");
    assert_eq!((&history[0]["Comment"], &history[0]["Size"]), (&json!("hello"), &json!(4)));
    // The container goes on, and its image runs.
    assert_eq!(test.inspect(&id)?["State"]["Status"], "running");
    let mut body = Test::body(&["sh", "-c", "cat /new; ls -d /x /etc/group; pwd"]);
    body["Image"] = json!(format!("{name}:one"));
    let ran = test.run(&body)?;
    assert_eq!(ran.out, "one\n/x\n/tmp\n");
    Ok(())
}

#[test]
fn nothing_changed_is_a_step_without_a_layer() -> Result<()> {
    let mut test = Test::new()?;
    let id = test.create(&Test::body(&["true"]))?;
    let image = test.committed(&id, "", &Value::Null)?;
    let base = test.client.get("/images/busybox/json")?.ok()?.json()?;
    assert_eq!(image["RootFS"], base["RootFS"]);
    assert_ne!(image["Id"], base["Id"]);
    Ok(())
}

#[test]
fn the_request_may_configure_the_image() -> Result<()> {
    let mut test = Test::new()?;
    let mut body = Test::body(&["sleep", "600"]);
    body["Env"] = json!(["A=b"]);
    body["OnBuild"] = json!(["RUN x"]);
    body["ExposedPorts"] = json!({ "80/tcp": {} });
    body["WorkingDir"] = json!("/d");
    body["Healthcheck"] = json!({ "Test": ["CMD", "true"], "Interval": 1_000_000_000 });
    let id = test.create(&body)?;
    let escaped = |changes: &[&str]| {
        let escape = |c: &&str| c.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
        changes.iter().map(escape).map(|c| format!("changes={c}&")).collect::<String>()
    };
    for (changes, body, field, want) in [
        (&[][..], json!({}), "OnBuild", json!(["RUN x"])),
        (&[], json!({ "Cmd": ["other"] }), "Cmd", json!(["other"])),
        (&[], json!({ "cmd": ["other"] }), "OnBuild", Value::Null),
        (&[], json!({ "Env": ["A=c", "Z=1"] }), "Env", json!(["A=c", "Z=1"])),
        (&[], json!({ "Env": ["B=2"] }), "Env", json!(["B=2", "A=b"])),
        (&[], json!({ "Entrypoint": ["/e"] }), "Cmd", Value::Null),
        (&[], json!({ "Env": null }), "Cmd", json!(["sleep", "600"])),
        (
            &[],
            json!({ "ExposedPorts": { "90/udp": {} } }),
            "ExposedPorts",
            json!({ "80/tcp": {}, "90/udp": {} }),
        ),
        (
            &[],
            json!({ "Healthcheck": { "Interval": 5_000_000_000u64 } }),
            "Healthcheck",
            json!({ "Test": ["CMD", "true"], "Interval": 5_000_000_000u64 }),
        ),
        (&["CMD x y"], Value::Null, "Cmd", json!(["/bin/sh", "-c", "x y"])),
        (&["CMD x y"], json!({ "Cmd": ["body"] }), "Cmd", json!(["/bin/sh", "-c", "x y"])),
        (&["CMD"], Value::Null, "Cmd", json!(["/bin/sh", "-c"])),
        (&["ENTRYPOINT /e"], Value::Null, "Cmd", Value::Null),
        (&["CMD [\"x\"]", "ENTRYPOINT /e"], Value::Null, "Cmd", json!(["x"])),
        (&["ENV A=z", "ENV Q=w"], Value::Null, "Env", json!(["A=z", "Q=w"])),
        (&["WORKDIR rel"], Value::Null, "WorkingDir", json!("/d/rel")),
        (&["ONBUILD RUN z"], Value::Null, "OnBuild", json!(["RUN x", "RUN z"])),
        (&["CMD x\nUSER y"], Value::Null, "User", json!("y")),
        (&["VOLUME /q"], Value::Null, "Volumes", json!({ "/q": {} })),
        (&["EXPOSE 99"], Value::Null, "ExposedPorts", json!({ "80/tcp": {}, "99/tcp": {} })),
    ] {
        let image = test.committed(&id, &escaped(changes), &body)?;
        assert_eq!(image["Config"].get(field).unwrap_or(&Value::Null), &want, "{changes:?} {body}");
    }
    for (changes, message) in [
        ("RUN x", "RUN is not a valid change command"),
        ("FOO", "FOO is not a valid change command"),
        ("", "file with no instructions"),
        ("# c", "file with no instructions"),
        ("EXPOSE abc", "Invalid containerPort: abc"),
        ("ENV", "ENV requires at least one argument"),
        ("SHELL [\"a\"]", "SHELL is not a valid change command"),
    ] {
        let refused = test.commit(&format!("container={id}&{}", escaped(&[changes])), &Value::Null)?;
        assert_eq!((refused.status, refused.message().as_str()), (400, message), "{changes}");
    }
    Ok(())
}

#[test]
fn a_wrong_request_makes_no_image() -> Result<()> {
    let mut test = Test::new()?;
    let id = test.create(&Test::body(&["true"]))?;
    let digest = "a".repeat(64);
    for (query, status, message) in [
        (String::new(), 400, "invalid name or ID supplied: \"\"".to_owned()),
        ("container=no-such-one".into(), 404, "No such container: no-such-one".into()),
        (
            format!("container={id}&repo=UPPER"),
            400,
            "invalid reference format: repository name (library/UPPER) must be lowercase".into(),
        ),
        (format!("container={id}&repo=bb-i&tag=!!"), 400, "invalid tag format".into()),
        (format!("container={id}&repo=bb-i@sha256:{digest}"), 400, "cannot import digest reference".into()),
        (
            format!("container={id}&repo=sha256"),
            400,
            "refusing to create an ambiguous tag using digest algorithm as name".into(),
        ),
        (format!("container={id}&repo=a/b/"), 400, "invalid reference format".into()),
        (
            format!("container={id}&repo={digest}"),
            400,
            format!("invalid repository name ({digest}), cannot specify 64-byte hexadecimal strings"),
        ),
    ] {
        let refused = test.commit(&query, &Value::Null)?;
        assert_eq!((refused.status, refused.message()), (status, message), "{query}");
    }
    let refused = test.commit(&format!("container={id}"), &json!({ "Cmd": 3 }))?;
    assert_eq!(refused.status, 400);
    assert!(refused.message().starts_with("invalid JSON: "), "{}", refused.message());
    Ok(())
}

#[test]
fn a_container_stands_still_while_it_is_committed_unless_asked_not_to() -> Result<()> {
    let mut test = Test::new()?;
    let id = test.up(&Test::body(&["sleep", "600"]))?;
    let now = || {
        Ok::<_, anyhow::Error>(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs())
    };
    for (query, actions) in [
        ("", &["pause", "commit", "unpause"][..]),
        ("pause=1", &["pause", "commit", "unpause"]),
        ("pause=0", &["commit"]),
    ] {
        let since = now()?;
        while now()? == since {}
        let name = test.name("paused");
        let image = test.committed(&id, &format!("{query}&repo={name}&comment=c"), &Value::Null)?;
        let filters =
            format!("%7B%22container%22%3A%5B%22{id}%22%5D%2C%22type%22%3A%5B%22container%22%5D%7D");
        let path = format!("/events?since={}&until={}&filters={filters}", since + 1, now()? + 1);
        let text = test.client.get(&path)?.ok()?.text();
        let events: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let seen: Vec<_> = events.iter().filter_map(|e| e["Action"].as_str()).collect();
        assert_eq!(seen, actions, "{query}");
        let commit = events.iter().find(|e| e["Action"] == "commit").context("no commit")?;
        let told = &commit["Actor"]["Attributes"];
        assert_eq!((&told["comment"], &told["imageID"]), (&json!("c"), &image["Id"]));
        assert_eq!(told["imageRef"], format!("{name}:latest"));
        assert_eq!(test.inspect(&id)?["State"]["Status"], "running");
    }
    // One that is paused already stays so.
    test.act(&id, "pause")?.ok()?;
    test.committed(&id, "", &Value::Null)?;
    assert_eq!(test.inspect(&id)?["State"]["Status"], "paused");
    Ok(())
}
