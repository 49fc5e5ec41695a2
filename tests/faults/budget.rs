//! A disk budget: what is removed, what is not, what is refused.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use skiff_testkit::{
    Daemon,
    http::{Body, Client, Response},
    image::Tar,
    registry::{MANIFEST, Registry},
};

use crate::{create, daemon, inspect, kill_at_odd_moments, start, wait};

/// Room for busybox and three of the images that are made here.
const BUDGET: &str = "20m";

fn budgeted() -> Result<Daemon> {
    daemon(&["--disk-budget", BUDGET])
}

/// An image of so many megabytes that shares nothing with any other.
fn import(client: &mut Client, name: &str, megabytes: usize) -> Result<Response> {
    let mut tar = Tar::default();
    tar.entry(name, b'0', 0o644, "", &vec![b'x'; megabytes << 20]);
    let path = format!("/images/create?fromSrc=-&repo={name}");
    client.request("POST", &path, &Body::Bytes("application/x-tar", &tar.finish()))
}

/// A layer that compresses badly.
fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        noise.to_le_bytes()
    };
    let content: Vec<u8> = (0..bytes / 8).flat_map(|_| next()).collect();
    let mut tar = Tar::default();
    tar.entry("noise", b'0', 0o644, "", &content);
    tar.finish()
}

/// The error in an answer to an import; empty if there is none.
fn error(answer: &Response) -> String {
    match answer.status {
        200 => {
            let text = answer.text();
            let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.filter_map(|line| line["error"].as_str().map(str::to_owned)).collect()
        }
        _ => answer.message(),
    }
}

fn imported(client: &mut Client, name: &str) -> Result<()> {
    let answer = import(client, name, 5)?;
    let error = error(&answer);
    ensure!(answer.status == 200 && error.is_empty(), "{name}: {} {error}", answer.status);
    Ok(())
}

/// Names of the images, sorted.
fn images(client: &mut Client) -> Result<Vec<String>> {
    let list = client.get("/images/json")?.ok()?.json()?;
    let tags = list.as_array().into_iter().flatten().filter_map(|i| i["RepoTags"][0].as_str());
    let mut names: Vec<String> = tags.map(|tag| tag.trim_end_matches(":latest").to_owned()).collect();
    names.sort();
    Ok(names)
}

/// A container of an image that has no program; it can be made, and not run.
fn hold(client: &mut Client, image: &str) -> Result<String> {
    let body = json!({ "Image": image, "Cmd": ["x"], "HostConfig": { "NetworkMode": "none" } });
    let created = client.post("/containers/create", &body)?.ok()?.json()?;
    created["Id"].as_str().map(str::to_owned).context("no Id")
}

fn remove(client: &mut Client, id: &str) -> Result<()> {
    client.delete(&format!("/containers/{id}?force=1"))?.ok()?;
    Ok(())
}

/// What was told of removals for want of room: kind and name.
fn evicted(client: &mut Client) -> Result<Vec<(String, String)>> {
    let until = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs() + 1;
    let path = format!("/events?since=0&until={until}&filters=%7B%22event%22:%5B%22evict%22%5D%7D");
    let text = client.get(&path)?.ok()?.text();
    let mut told = Vec::new();
    for line in text.lines() {
        let event: Value = serde_json::from_str(line)?;
        let attributes = &event["Actor"]["Attributes"];
        let reclaimed: u64 = attributes["reclaimed"].as_str().context("no reclaimed")?.parse()?;
        ensure!(reclaimed > 1 << 20, "{line}");
        ensure!(attributes["lastUsed"].as_str().is_some_and(|at| at.ends_with('Z')), "{line}");
        let name = attributes["name"].as_str().unwrap_or_default().trim_end_matches(":latest");
        told.push((event["Type"].as_str().unwrap_or_default().to_owned(), name.to_owned()));
    }
    Ok(told)
}

fn budget(client: &mut Client) -> Result<(u64, u64)> {
    let budget = client.get("/info")?.ok()?.json()?["DiskBudget"].clone();
    let bytes = |key: &str| budget[key].as_u64().with_context(|| format!("no {key} in {budget}"));
    Ok((bytes("Limit")?, bytes("Used")?))
}

#[test]
fn what_was_used_least_recently_goes_and_what_is_in_use_stays() -> Result<()> {
    let daemon = budgeted()?;
    let mut client = daemon.client();
    let busybox = create(&mut client, &["true"], "none")?;
    for name in ["first", "second", "third"] {
        imported(&mut client, name)?;
    }
    let held = hold(&mut client, "first")?;
    let passing = hold(&mut client, "second")?;
    remove(&mut client, &passing)?;

    // The first one is in use, the second was used after the third.
    imported(&mut client, "fourth")?;
    assert_eq!(images(&mut client)?, ["busybox", "first", "fourth", "second"]);
    assert_eq!(evicted(&mut client)?, [("image".to_owned(), "third".to_owned())]);
    let (limit, used) = budget(&mut client)?;
    assert_eq!(limit, 20 << 20);
    assert!(used <= limit && used > 15 << 20, "{used}");

    // A stopped container of long ago goes before an image of today; its volume stays.
    let body = json!({
        "Image": "busybox",
        "Cmd": ["sh", "-c", "dd if=/dev/zero of=/big bs=1M count=3; echo kept > /v/file"],
        "Volumes": { "/v": {} },
        "HostConfig": { "NetworkMode": "none" },
    });
    let created = client.post("/containers/create?name=stopped", &body)?.ok()?.json()?;
    let stopped = created["Id"].as_str().context("no Id")?.to_owned();
    start(&mut client, &stopped)?;
    assert_eq!(wait(&mut client, &stopped)?, 0);
    remove(&mut client, &held)?;
    let volumes = client.get("/volumes")?.ok()?.json()?["Volumes"].clone();
    imported(&mut client, "fifth")?;
    imported(&mut client, "sixth")?;
    imported(&mut client, "seventh")?;
    assert_eq!(images(&mut client)?, ["busybox", "fifth", "seventh", "sixth"]);
    assert_eq!(client.get(&format!("/containers/{stopped}/json"))?.status, 404);
    assert_eq!(client.get("/volumes")?.ok()?.json()?["Volumes"], volumes);
    let told = evicted(&mut client)?;
    assert!(told.contains(&("container".to_owned(), "stopped".to_owned())), "{told:?}");
    // Never one that has not run yet.
    start(&mut client, &busybox)?;

    // Who looks at the use is told of the budget, and of what goes next.
    let df = client.get("/system/df")?.ok()?.json()?;
    assert_eq!(df["DiskBudget"]["Limit"], 20 << 20);
    assert!(
        df["Images"].as_array().is_some_and(|all| all.iter().all(|i| i["LastUsed"].as_i64() > Some(0))),
        "{df}"
    );
    let shown = String::from_utf8(daemon.cli(&["system", "df", "-v"]).output()?.stdout)?;
    assert!(shown.lines().any(|l| l.starts_with("REPOSITORY") && l.ends_with("LAST USED")), "{shown}");
    let shown = String::from_utf8(daemon.cli(&["system", "df"]).output()?.stdout)?;
    assert!(
        shown.lines().last().is_some_and(|l| l.starts_with("Disk budget: ") && l.ends_with(" of 20.97MB")),
        "{shown}"
    );
    let shown = String::from_utf8(daemon.cli(&["info"]).output()?.stdout)?;
    assert!(shown.lines().any(|l| l.starts_with(" Disk Budget: ") && l.ends_with(" of 20.97MB")), "{shown}");
    Ok(())
}

#[test]
fn what_finds_no_room_is_refused_and_removes_nothing() -> Result<()> {
    let daemon = budgeted()?;
    let mut client = daemon.client();
    imported(&mut client, "first")?;
    imported(&mut client, "second")?;
    imported(&mut client, "third")?;
    for image in ["first", "second", "busybox"] {
        hold(&mut client, image)?;
    }
    let before = images(&mut client)?;

    // Even without the third there would not be enough: none of it is fetched.
    let registry = Registry::start(daemon.listen()?, None)?;
    registry.put_image("large", "v1", &[noise(12 << 20)], "amd64");
    let path = format!("/images/create?fromImage={}/large&tag=v1", registry.address());
    let refused = client.post(&path, &Value::Null)?;
    let text = error(&refused);
    assert!(text.starts_with("no room in the disk budget of 20.97MB: "), "{}: {text}", refused.status);
    // Sizes that add up to next to nothing where the sum overflows.
    let layers: Vec<_> = (1..4).map(|n| noise(n << 10)).collect();
    let mut manifest = registry.put_image("huge", "v1", &layers, "amd64");
    for (layer, size) in [i64::MAX, i64::MAX, 12].into_iter().enumerate() {
        manifest["layers"][layer]["size"] = json!(size);
    }
    registry.put_manifest("huge", "v1", MANIFEST, manifest.to_string().as_bytes());
    let path = format!("/images/create?fromImage={}/huge&tag=v1", registry.address());
    let text = error(&client.post(&path, &Value::Null)?);
    assert!(text.starts_with("no room in the disk budget of 20.97MB: "), "{text}");
    // Of a stream nobody knows how much is to come.
    hold(&mut client, "third")?;
    let refused = import(&mut client, "small", 5)?;
    let text = error(&refused);
    assert!(text.contains("no room in the disk budget of 20.97MB: "), "{}: {text}", refused.status);
    assert_eq!(images(&mut client)?, before);
    assert!(evicted(&mut client)?.is_empty());

    // Nothing of it is left on the disk, or counted.
    let (limit, used) = budget(&mut client)?;
    assert!(used < limit, "{used}");
    Ok(())
}

#[test]
fn logs_that_grow_beyond_the_budget_stop_new_containers_until_there_is_room() -> Result<()> {
    let daemon = daemon(&["--disk-budget", "10m"])?;
    let mut client = daemon.client();
    let chatty = create(
        &mut client,
        &["sh", "-c", "yes 0123456789012345678901234567890 | head -c 6000000; exec sleep 10000"],
        "none",
    )?;
    let other = create(&mut client, &["true"], "none")?;
    start(&mut client, &chatty)?;
    let log = inspect(&mut client, &chatty)?["LogPath"].as_str().context("no LogPath")?.to_owned();
    until(|| Ok(fs_err::metadata(&log)?.len() > 12_000_000))?;
    // The end of a container is a reason to look.
    start(&mut client, &other)?;
    wait(&mut client, &other)?;
    let body = json!({ "Image": "busybox", "Cmd": ["true"] });
    until(|| Ok(daemon.client().post("/containers/create", &body)?.status != 201))?;
    let refused = client.post("/containers/create", &body)?;
    assert_eq!(refused.status, 500, "{}", refused.text());
    assert!(
        refused.message().starts_with("no room in the disk budget of 10.49MB: "),
        "{}",
        refused.message()
    );
    // What there is may run on, and start again.
    assert_eq!(inspect(&mut client, &chatty)?["State"]["Running"], true);

    remove(&mut client, &chatty)?;
    create(&mut client, &["true"], "none")?;
    Ok(())
}

fn until(mut good: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(60);
    while !good()? {
        ensure!(Instant::now() < end, "it does not come to be");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[test]
fn a_daemon_that_is_killed_while_it_makes_room_keeps_its_budget_and_whole_images() -> Result<()> {
    const KILLS: u32 = 25;
    let mut daemon = budgeted()?;
    let socket = daemon.socket().to_owned();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| -> Result<()> {
        let loading = scope.spawn(|| {
            let mut client = Client::new(Path::new(&socket));
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                // Most of these meet a daemon that is going down.
                if import(&mut client, &format!("image{number}"), 4).is_err() {
                    client = Client::new(Path::new(&socket));
                    thread::sleep(Duration::from_millis(5));
                }
            }
            number
        });
        let killed = kill_at_odd_moments(&mut daemon, KILLS, 0x2545_f491, Duration::from_millis(262));
        stop.store(true, Ordering::Relaxed);
        let number = loading.join().expect("the loader panicked");
        ensure!(number > 20, "only {number} imports were tried");
        killed
    })?;
    let mut client = daemon.client();
    imported(&mut client, "last")?;
    let (limit, used) = budget(&mut client)?;
    ensure!(used <= limit, "{used} of {limit}");
    let all = images(&mut client)?;
    ensure!(all.len() > 2 && all.contains(&"last".to_owned()), "{all:?}");
    for image in all {
        let saved = client.get(&format!("/images/{image}/get"))?.ok()?;
        assert!(saved.body.len() > 1 << 20, "{image}");
    }
    // And the disk has no more than that: nothing that was removed or broken off is left.
    until(|| {
        let du = daemon.inside("du").args(["-s", "-B1"]).arg(daemon.data_root()).output()?;
        let bytes: u64 = String::from_utf8(du.stdout)?.split_whitespace().next().context("du")?.parse()?;
        Ok(bytes < limit + (4 << 20))
    })
}

#[test]
fn the_times_of_last_use_outlive_a_killed_daemon() -> Result<()> {
    let mut daemon = budgeted()?;
    let mut client = daemon.client();
    for name in ["first", "second", "third"] {
        imported(&mut client, name)?;
    }
    hold(&mut client, "busybox")?;
    // Used later than the others, by a container that is gone.
    let passing = hold(&mut client, "first")?;
    remove(&mut client, &passing)?;
    let noted = |client: &mut Client| -> Result<Value> {
        let df = client.get("/system/df?type=image")?.ok()?.json()?;
        let first =
            df["Images"].as_array().into_iter().flatten().find(|i| i["RepoTags"][0] == "first:latest");
        Ok(first.context("no image")?["LastUsed"].clone())
    };
    let before = noted(&mut client)?;
    // Times are written together, some moments later.
    thread::sleep(Duration::from_secs(15));
    daemon.kill()?;
    daemon.start_again()?;
    let mut client = daemon.client();
    assert_eq!(noted(&mut client)?, before);
    imported(&mut client, "fourth")?;
    assert_eq!(images(&mut client)?, ["busybox", "first", "fourth", "third"]);
    Ok(())
}
