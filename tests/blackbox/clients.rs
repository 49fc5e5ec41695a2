//! What clients rely on that nobody here wrote: docker-py, dockerode, bollard. Each of these made one of them stumble once.

use anyhow::Result;
use serde_json::{Value, json};
use skiff_testkit::http::Body;

use crate::Test;

/// They stop to listen when the container has ended.
#[test]
fn attached_clients_have_all_of_the_output_when_the_wait_is_over() -> Result<()> {
    let mut test = Test::new()?;
    for _ in 0..10 {
        let id = test.create(&Test::body(&["sh", "-c", "echo out; echo err >&2"]))?;
        let path = format!("/containers/{id}/attach?stream=1&stdout=1&stderr=1");
        let mut attached = test.client.hijack(&path, &Body::Empty)?;
        test.start(&id)?;
        assert_eq!(test.wait(&id)?, 0);
        let (out, err) = skiff_testkit::http::frames(&mut attached.read_now()?.as_slice())?;
        assert_eq!((out.as_slice(), err.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    }
    Ok(())
}

/// A client that attached for the next run has nothing to do with the end of the last one.
#[test]
fn who_is_attached_early_does_not_hold_up_a_wait() -> Result<()> {
    let mut test = Test::new()?;
    let id = test.up(&Test::body(&["sh", "-c", "exit 4"]))?;
    assert_eq!(test.wait(&id)?, 4);
    let path = format!("/containers/{id}/attach?stream=1&stdout=1");
    let mut attached = test.client.hijack(&path, &Body::Empty)?;
    assert_eq!(test.wait(&id)?, 4);
    assert_eq!(attached.read_now()?, b"");
    Ok(())
}

/// A list that was not asked for is `null`, one that is empty is `[]`: clients send back what they got.
#[test]
fn lists_stay_as_they_were_asked_for() -> Result<()> {
    const LISTS: [&str; 9] = [
        "BlkioWeightDevice",
        "BlkioDeviceReadBps",
        "BlkioDeviceWriteBps",
        "BlkioDeviceReadIOps",
        "BlkioDeviceWriteIOps",
        "Dns",
        "DnsOptions",
        "DnsSearch",
        "Binds",
    ];
    let mut test = Test::new()?;
    let mut body = Test::body(&["true"]);
    let id = test.create(&body)?;
    let seen = test.inspect(&id)?;
    for list in LISTS {
        assert_eq!(seen["HostConfig"][list], Value::Null, "{list}");
        body["HostConfig"][list] = json!([]);
    }
    assert_eq!(seen["HostConfig"]["PortBindings"], Value::Null);
    body["HostConfig"]["PortBindings"] = json!({});
    let id = test.create(&body)?;
    let seen = test.inspect(&id)?;
    for list in LISTS {
        assert_eq!(seen["HostConfig"][list], json!([]), "{list}");
    }
    assert_eq!(seen["HostConfig"]["PortBindings"], json!({}));
    Ok(())
}

#[test]
fn an_exec_shows_whose_it_is() -> Result<()> {
    let mut test = Test::new()?;
    let mut body = Test::body(&["sleep", "60"]);
    body["User"] = json!("app");
    let id = test.up(&body)?;
    for (asked, shown) in [("", "app"), ("0:0", "0:0")] {
        let body = json!({ "Cmd": ["true"], "User": asked });
        let exec = test.client.post(&format!("/containers/{id}/exec"), &body)?.ok()?.json()?;
        let exec = exec["Id"].as_str().unwrap_or_default();
        let seen = test.client.get(&format!("/exec/{exec}/json"))?.ok()?.json()?;
        assert_eq!(seen["ProcessConfig"]["user"], shown);
    }
    Ok(())
}

#[test]
fn filters_by_time_do_not_bring_containers_that_do_not_run() -> Result<()> {
    let mut test = Test::new()?;
    let first = test.create(&Test::body(&["true"]))?;
    let second = test.create(&Test::body(&["true"]))?;
    let mut listed = |query: String| -> Result<bool> {
        let list = test.client.get(&format!("/containers/json?{query}"))?.ok()?.json()?;
        Ok(list.as_array().is_some_and(|list| list.iter().any(|c| c["Id"] == second.as_str())))
    };
    let since = format!("filters=%7B%22since%22%3A%5B%22{first}%22%5D%7D");
    assert!(!listed(since.clone())?);
    assert!(listed(format!("{since}&all=1"))?);
    Ok(())
}

/// It belongs to an endpoint since 1.44, but clients look for it where it was.
#[test]
fn a_hardware_address_is_shown_at_both_places() -> Result<()> {
    const ADDRESS: &str = "02:42:0a:00:00:07";
    let mut test = Test::new()?;
    let deprecated = "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead.";
    for (version, warnings) in [("1.43", json!([])), ("1.44", json!([deprecated]))] {
        let body = json!({ "Image": "busybox", "Cmd": ["true"], "MacAddress": ADDRESS });
        let created = test.client.post(&format!("/v{version}/containers/create"), &body)?.ok()?.json()?;
        let id = created["Id"].as_str().unwrap_or_default().to_owned();
        test.made.push(id.clone());
        assert_eq!(created["Warnings"], warnings, "{version}");
        let seen = test.inspect(&id)?;
        assert_eq!(seen["Config"]["MacAddress"], ADDRESS, "{version}");
        assert_eq!(seen["NetworkSettings"]["Networks"]["bridge"]["MacAddress"], ADDRESS, "{version}");
    }
    Ok(())
}

#[test]
fn a_limit_on_tcp_buffers_is_kept_and_the_kernels_memory_is_checked() -> Result<()> {
    let mut test = Test::new()?;
    let mut body = Test::body(&["true"]);
    body["HostConfig"]["KernelMemoryTCP"] = json!(8 << 20);
    let created = test.client.post("/containers/create", &body)?.ok()?.json()?;
    let id = created["Id"].as_str().unwrap_or_default().to_owned();
    test.made.push(id.clone());
    // With cgroup v2 there is no such limit, and a warning says so.
    if created["Warnings"] == json!([]) {
        assert_eq!(test.inspect(&id)?["HostConfig"]["KernelMemoryTCP"], 8 << 20);
    }
    body["HostConfig"]["KernelMemory"] = json!(1 << 20);
    let refused = test.client.post("/v1.41/containers/create", &body)?;
    assert_eq!(
        (refused.status, refused.message().as_str()),
        (400, "Minimum kernel memory limit allowed is 6MB")
    );
    Ok(())
}

/// Clients save an image under the first of its names.
#[test]
fn an_images_names_are_sorted_as_text() -> Result<()> {
    let mut test = Test::new()?;
    let stem = test.name("sorted");
    let created = test.create(&Test::body(&["true"]))?;
    let longer = format!("{stem}2");
    for repo in [&stem, &longer] {
        let path = format!("/commit?container={created}&repo={repo}&tag=x");
        // The first makes the image, the second only names it.
        match test.images.is_empty() {
            true => test.client.post(&path, &json!({}))?.ok()?,
            false => {
                let path = format!("/images/{stem}:x/tag?repo={repo}&tag=x");
                test.client.post(&path, &Value::Null)?.ok()?
            }
        };
        test.images.push(format!("{repo}:x"));
    }
    let seen = test.client.get(&format!("/images/{stem}:x/json"))?.ok()?.json()?;
    assert_eq!(seen["RepoTags"], json!([format!("{longer}:x"), format!("{stem}:x")]));
    Ok(())
}

#[test]
fn disk_usage_tells_of_volumes_without_options_only() -> Result<()> {
    let mut test = Test::new()?;
    let (plain, optioned) = (test.name("plain"), test.name("optioned"));
    for (name, options) in
        [(&plain, json!({})), (&optioned, json!({ "type": "tmpfs", "device": "tmpfs", "o": "size=1m" }))]
    {
        let body = json!({ "Name": name, "DriverOpts": options });
        test.client.post("/volumes/create", &body)?.ok()?;
        test.volumes.push(name.clone());
    }
    let usage = test.client.get("/system/df?type=volume")?.ok()?.json()?;
    let names: Vec<_> = usage["Volumes"].as_array().into_iter().flatten().map(|v| &v["Name"]).collect();
    assert!(names.contains(&&json!(plain)) && !names.contains(&&json!(optioned)), "{names:?}");
    Ok(())
}
