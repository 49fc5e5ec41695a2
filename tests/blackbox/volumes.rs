//! Volumes: made, shown, filtered, removed, pruned.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use skiff_testkit::http::Body;

use crate::{
    Test,
    events::{events_of, now},
    list::percent_encode,
};

impl Test {
    /// Makes a volume that the test removes in the end.
    pub(crate) fn volume(&mut self, body: &Value) -> Result<Value> {
        let made = self.client.post("/volumes/create", body)?.ok()?;
        assert_eq!(made.status, 201);
        let volume = made.json()?;
        self.volumes.push(volume["Name"].as_str().context("no Name")?.to_owned());
        Ok(volume)
    }

    /// A volume's name, which the test removes in the end.
    pub(crate) fn volume_name(&mut self, stem: &str) -> String {
        let name = self.name(stem);
        self.volumes.push(name.clone());
        name
    }

    pub(crate) fn volume_status(&mut self, name: &str) -> Result<u16> {
        Ok(self.client.get(&format!("/volumes/{name}"))?.status)
    }
}

#[test]
fn a_volume_is_made_shown_and_removed() -> Result<()> {
    let mut test = Test::new()?;
    let name = test.volume_name("made");
    let body = json!({ "Name": name, "Labels": { "tier": "data" } });
    let made = test.volume(&body)?;
    assert_eq!(made["Name"], name);
    assert_eq!(made["Driver"], "local");
    assert_eq!(made["Scope"], "local");
    assert_eq!(made["Labels"], json!({ "tier": "data" }));
    assert_eq!(made["Options"], Value::Null);
    let place = made["Mountpoint"].as_str().context("no Mountpoint")?;
    assert!(place.ends_with(&format!("/volumes/{name}/_data")), "{place}");
    let created: jiff::Timestamp = made["CreatedAt"].as_str().context("no CreatedAt")?.parse()?;
    assert_eq!(created.subsec_nanosecond(), 0);
    assert_eq!(test.client.get(&format!("/volumes/{name}"))?.ok()?.json()?, made);
    // Once more is the same volume, whatever else is asked for.
    let again = json!({ "Name": name, "Labels": { "other": "x" }, "DriverOpts": { "type": "tmpfs", "device": "tmpfs" } });
    assert_eq!(test.volume(&again)?, made);

    let options = json!({ "type": "tmpfs", "device": "tmpfs", "o": "size=1m" });
    let other = test.volume_name("options");
    let made = test.volume(&json!({ "Name": other, "Driver": "local", "DriverOpts": options }))?;
    assert_eq!((&made["Options"], &made["Labels"]), (&options, &Value::Null));

    let anonymous = test.volume(&json!({}))?;
    assert_eq!(anonymous["Labels"], json!({ "com.docker.volume.anonymous": "" }));
    assert_eq!(anonymous["Name"].as_str().map(str::len), Some(64));

    assert_eq!(test.client.delete(&format!("/volumes/{name}"))?.status, 204);
    assert_eq!(test.volume_status(&name)?, 404);
    let gone = test.client.delete(&format!("/volumes/{name}"))?;
    assert_eq!((gone.status, gone.message()), (404, format!("get {name}: no such volume")));
    assert_eq!(test.client.delete(&format!("/volumes/{name}?force=1"))?.status, 204);
    Ok(())
}

#[test]
fn wrong_requests_are_answered_as_docker_answers() -> Result<()> {
    let mut test = Test::new()?;
    let characters = |name: &str| {
        format!(
            "create {name}: \"{name}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
        )
    };
    let options = |options: Value| json!({ "Name": "bb-wrong", "DriverOpts": options });
    for (body, status, message) in [
        (json!({ "Name": "a/b" }), 400, characters("a/b")),
        (json!({ "Name": "_a" }), 400, characters("_a")),
        (json!({ "Name": "../x" }), 400, characters("../x")),
        (
            json!({ "Name": "x" }),
            400,
            "create x: volume name is too short, names should be at least two alphanumeric characters".to_owned(),
        ),
        (options(json!({ "foo": "bar" })), 400, "create bb-wrong: invalid option: \"foo\"".to_owned()),
        (
            options(json!({ "type": "tmpfs" })),
            400,
            "create bb-wrong: missing required option: \"device\"".to_owned(),
        ),
        (
            options(json!({ "device": "tmpfs" })),
            400,
            "create bb-wrong: missing required option: \"type\"".to_owned(),
        ),
        (options(json!({ "size": "xx" })), 400, "create bb-wrong: invalid size: 'xx'".to_owned()),
        (
            json!({ "Name": 5 }),
            400,
            "invalid JSON: json: cannot unmarshal number into Go struct field CreateOptions.Name of type string"
                .to_owned(),
        ),
        (
            json!({ "Name": "bb-wrong", "ClusterVolumeSpec": { "Group": "x" } }),
            503,
            "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again."
                .to_owned(),
        ),
    ] {
        let answer = test.client.post("/volumes/create", &body)?;
        assert_eq!((answer.status, answer.message()), (status, message), "{body}");
    }
    assert_eq!(test.volume_status("bb-wrong")?, 404);
    let update = test.client.request("PUT", "/volumes/bb-wrong", &Body::Json(&json!({})))?;
    assert_eq!(
        (update.status, update.message().as_str()),
        (503, "volume update only valid for cluster volumes, but swarm is unavailable")
    );
    for (method, path) in [("GET", "/volumes/"), ("DELETE", "/volumes/")] {
        let answer = test.client.request(method, path, &Body::Empty)?;
        assert_eq!((answer.status, answer.message().as_str()), (404, "get: no such volume"), "{method}");
    }
    let slash = test.client.get("/volumes/a/b")?;
    assert_eq!((slash.status, slash.message().as_str()), (404, "get a/b: no such volume"));
    Ok(())
}

fn list(test: &mut Test, filters: &Value) -> Result<Vec<String>> {
    let filters = percent_encode(&filters.to_string());
    let answer = test.client.get(&format!("/volumes?filters={filters}"))?.ok()?.json()?;
    let volumes = answer["Volumes"].as_array().context("no Volumes")?;
    let mut names: Vec<_> = volumes.iter().filter_map(|v| v["Name"].as_str().map(str::to_owned)).collect();
    names.sort();
    Ok(names)
}

#[test]
fn filters_choose() -> Result<()> {
    let mut test = Test::new()?;
    let stem = test.name("filter");
    let (one, two) = (format!("{stem}-one"), format!("{stem}-two"));
    test.volume(&json!({ "Name": one, "Labels": { "set": stem, "n": "1" } }))?;
    test.volume(&json!({ "Name": two, "Labels": { "set": stem } }))?;
    let mut body = Test::body(&["true"]);
    body["HostConfig"]["Binds"] = json!([format!("{one}:/data")]);
    test.create(&body)?;
    let set = format!("set={stem}");
    for (filters, want) in [
        (json!({ "name": [stem] }), vec![&one, &two]),
        (json!({ "name": [one] }), vec![&one]),
        (json!({ "name": [format!("^{stem}-t.o$")] }), vec![&two]),
        (json!({ "name": ["bb-nope"] }), vec![]),
        (json!({ "label": [set] }), vec![&one, &two]),
        (json!({ "label": [set, "n"] }), vec![&one]),
        (json!({ "label": [set, "n=2"] }), vec![]),
        (json!({ "label": [set], "driver": ["local"] }), vec![&one, &two]),
        (json!({ "label": [set], "driver": ["loc"] }), vec![]),
        (json!({ "label": [set], "dangling": ["true"] }), vec![&two]),
        (json!({ "label": [set], "dangling": ["0"] }), vec![&one]),
    ] {
        let found = list(&mut test, &filters)?;
        assert_eq!(found.iter().collect::<Vec<_>>(), want, "{filters}");
    }
    for (filters, message) in [
        (r#"{"nope":["x"]}"#, "invalid filter 'nope'"),
        (r#"{"label!":["x"]}"#, "invalid filter 'label!'"),
        (r#"{"dangling":["x"]}"#, "invalid filter 'dangling=[x]'"),
        (r#"{"dangling":["true","false"]}"#, "invalid filter 'dangling=[true false]'"),
        ("xx", "error reading volume filters: invalid filter"),
    ] {
        let answer = test.client.get(&format!("/volumes?filters={}", percent_encode(filters)))?;
        // Which of two values comes first is chance.
        let said = answer.message().replace("false true", "true false");
        assert_eq!((answer.status, said.as_str()), (400, message), "{filters}");
    }
    let listed = test.client.get("/volumes")?.ok()?.json()?;
    assert_eq!(listed["Warnings"], Value::Null);
    Ok(())
}

#[test]
fn a_volume_that_a_container_has_stays() -> Result<()> {
    let mut test = Test::new()?;
    let name = test.volume_name("used");
    let mut body = Test::body(&["true"]);
    body["HostConfig"]["Binds"] = json!([format!("{name}:/data")]);
    let id = test.create(&body)?;
    for query in ["", "?force=1"] {
        let answer = test.client.delete(&format!("/volumes/{name}{query}"))?;
        let message = format!("remove {name}: volume is in use - [{id}]");
        assert_eq!((answer.status, answer.message()), (409, message));
    }
    test.start(&id)?;
    test.wait(&id)?;
    test.client.delete(&format!("/containers/{id}?v=1"))?.ok()?;
    assert_eq!(test.client.delete(&format!("/volumes/{name}"))?.status, 204);
    Ok(())
}

fn prune(test: &mut Test, version: &str, filters: &Value) -> Result<Value> {
    let filters = percent_encode(&filters.to_string());
    test.client.post(&format!("{version}/volumes/prune?filters={filters}"), &Value::Null)?.ok()?.json()
}

#[test]
fn prune_takes_anonymous_volumes_unless_all_are_meant() -> Result<()> {
    let mut test = Test::new()?;
    let label = test.name("prune");
    let named = test.volume_name("prune-named");
    test.volume(&json!({ "Name": named, "Labels": { "set": label } }))?;
    let anonymous = test.volume(&json!({ "Labels": { "set": label } }))?;
    let anonymous = anonymous["Name"].as_str().context("no Name")?.to_owned();
    let used = test.volume_name("prune-used");
    test.volume(&json!({ "Name": used, "Labels": { "set": label } }))?;
    let mut body = Test::body(&["sh", "-c", "head -c 5000 /dev/zero > /data/file"]);
    body["HostConfig"]["Binds"] = json!([format!("{used}:/data"), format!("{named}:/named")]);
    body["Cmd"] = json!(["sh", "-c", "head -c 5000 /dev/zero > /named/file"]);
    let id = test.create(&body)?;
    test.start(&id)?;
    test.wait(&id)?;

    let label = format!("set={label}");
    let nothing = prune(&mut test, "", &json!({ "label": [label], "label!": ["set"] }))?;
    assert_eq!(nothing, json!({ "VolumesDeleted": [], "SpaceReclaimed": 0 }));
    let first = prune(&mut test, "", &json!({ "label": [label] }))?;
    assert_eq!(first["VolumesDeleted"], json!([anonymous]));
    test.client.delete(&format!("/containers/{id}"))?.ok()?;
    body["HostConfig"]["Binds"] = json!([format!("{used}:/data")]);
    test.create(&body)?;
    let second = prune(&mut test, "", &json!({ "label": [label], "all": ["1"] }))?;
    assert_eq!(second["VolumesDeleted"], json!([named]));
    assert_eq!(second["SpaceReclaimed"], 5000);
    assert_eq!(test.volume_status(&used)?, 200);

    // Before version 1.42 nothing was anonymous.
    let old = test.volume(&json!({ "Name": named, "Labels": { "set": label } }))?;
    assert_eq!(old["Name"], named);
    let third = prune(&mut test, "/v1.41", &json!({ "label": [format!("set={label}")] }))?;
    assert_eq!(third["VolumesDeleted"], json!([named]));
    for (filters, message) in [
        (r#"{"all":["x"]}"#, r#"invalid filter 'all': strconv.ParseBool: parsing "x": invalid syntax"#),
        (r#"{"nope":["x"]}"#, "invalid filter 'nope'"),
        (r#"{"dangling":["true"]}"#, "invalid filter 'dangling'"),
    ] {
        let path = format!("/volumes/prune?filters={}", percent_encode(filters));
        let answer = test.client.post(&path, &Value::Null)?;
        assert_eq!((answer.status, answer.message().as_str()), (400, message));
    }
    Ok(())
}

#[test]
fn a_volumes_life_is_told() -> Result<()> {
    let mut test = Test::new()?;
    let since = now(&mut test)?;
    let name = test.volume_name("told");
    test.volume(&json!({ "Name": name }))?;
    let mut body = Test::body(&["true"]);
    body["HostConfig"]["Binds"] = json!([format!("{name}:/data:ro")]);
    let id = test.create(&body)?;
    test.start(&id)?;
    test.wait(&id)?;
    test.client.delete(&format!("/containers/{id}"))?.ok()?;
    test.client.delete(&format!("/volumes/{name}"))?.ok()?;
    let until = now(&mut test)?;
    let all = events_of(&test, &json!({ "volume": [name] }), &since, &until)?;
    let actions: Vec<_> = all.iter().filter_map(|e| e["Action"].as_str()).collect();
    assert_eq!(actions, ["create", "mount", "unmount", "destroy"]);
    for event in &all {
        assert_eq!((&event["Type"], &event["Actor"]["ID"]), (&json!("volume"), &json!(name)));
    }
    assert_eq!(all[0]["Actor"]["Attributes"], json!({ "driver": "local" }));
    assert_eq!(
        all[1]["Actor"]["Attributes"],
        json!({ "container": id, "destination": "/data", "driver": "local", "propagation": "", "read/write": "false" })
    );
    assert_eq!(all[2]["Actor"]["Attributes"], json!({ "container": id, "driver": "local" }));
    Ok(())
}
