//! Volumes of a plugin, which is written here: it keeps its volumes in a directory.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};
use skiff_testkit::{http::Body, image::Tar, plugin::Plugin};

use crate::Test;

/// A plugin with the files of its volumes.
struct Disks {
    name: String,
    plugin: Plugin,
    files: tempfile::TempDir,
}

impl Disks {
    fn start(name: String) -> Result<Self> {
        let files = tempfile::tempdir()?;
        let root = files.path().to_owned();
        let plugin =
            Plugin::install(&name, move |method, body| (200, answer(method, body, &root).to_string()))?;
        Ok(Self { name, plugin, files })
    }

    fn asked(&self, method: &str) -> Vec<Value> {
        self.plugin.asked(method)
    }
}

fn answer(method: &str, body: &Value, root: &Path) -> Value {
    let name = body["Name"].as_str().unwrap_or_default();
    let place = root.join(name);
    let described = |name: &str| json!({ "Name": name, "Mountpoint": root.join(name), "CreatedAt": "2024-05-01T10:00:00Z", "Status": { "disks": 2 } });
    match method {
        "Plugin.Activate" => json!({ "Implements": ["VolumeDriver"] }),
        "VolumeDriver.Capabilities" => json!({ "Capabilities": { "Scope": "global" } }),
        "VolumeDriver.Create" if body["Opts"]["fail"] == "yes" => json!({ "Err": "as you wished" }),
        "VolumeDriver.Create" => match fs_err::create_dir_all(&place) {
            Ok(()) => json!({ "Err": "" }),
            Err(e) => json!({ "Err": e.to_string() }),
        },
        "VolumeDriver.Remove" => match fs_err::remove_dir_all(&place) {
            Ok(()) => json!({ "Err": "" }),
            Err(e) => json!({ "Err": e.to_string() }),
        },
        "VolumeDriver.Mount" | "VolumeDriver.Path" => json!({ "Mountpoint": place, "Err": "" }),
        "VolumeDriver.Get" if place.is_dir() => json!({ "Volume": described(name), "Err": "" }),
        "VolumeDriver.Get" => json!({ "Err": "no such volume" }),
        "VolumeDriver.List" => {
            let names = fs_err::read_dir(root).into_iter().flatten().flatten();
            let names: Vec<Value> = names.map(|e| described(&e.file_name().to_string_lossy())).collect();
            json!({ "Volumes": names, "Err": "" })
        }
        _ => json!({ "Err": "" }),
    }
}

#[test]
fn a_plugins_volume_is_used_as_any_other() -> Result<()> {
    let mut test = Test::new()?;
    let plugin = Disks::start(test.name("plugin"))?;
    let image = test.image_with_files()?;
    let name = test.volume_name("plugged");
    let made =
        test.volume(&json!({ "Name": name, "Driver": plugin.name, "DriverOpts": { "disks": "2" } }))?;
    assert_eq!((&made["Driver"], &made["Scope"]), (&json!(plugin.name), &json!("global")));
    assert_eq!((&made["Status"], &made["Options"]), (&Value::Null, &json!({ "disks": "2" })));
    let shown = test.client.get(&format!("/volumes/{name}"))?.ok()?.json()?;
    assert_eq!(shown["Status"], json!({ "disks": 2 }));
    assert_eq!(plugin.asked("VolumeDriver.Create"), [json!({ "Name": name, "Opts": { "disks": "2" } })]);

    let mut body = Test::body(&["sh", "-c", "cat /srv/file; echo more > /srv/more"]);
    body["Image"] = json!(image);
    body["HostConfig"]["Binds"] = json!([format!("{name}:/srv")]);
    let id = test.create(&body)?;
    test.start(&id)?;
    assert_eq!(test.wait(&id)?, 0);
    assert_eq!(test.logs(&id, "stdout=1")?.0, "from the image\n");
    let place = plugin.files.path().join(&name);
    assert_eq!(fs_err::read_to_string(place.join("more"))?, "more\n");
    assert_eq!(test.inspect(&id)?["Mounts"][0]["Source"], json!(place));
    test.until("every mount is undone", |_| {
        let mounts = plugin.asked("VolumeDriver.Mount");
        Ok(!mounts.is_empty() && mounts.len() == plugin.asked("VolumeDriver.Unmount").len())
    })?;
    for (mounted, unmounted) in
        plugin.asked("VolumeDriver.Mount").iter().zip(plugin.asked("VolumeDriver.Unmount"))
    {
        assert_eq!(*mounted, unmounted);
    }
    let in_use = test.client.delete(&format!("/volumes/{name}"))?;
    assert_eq!(in_use.status, 409);
    test.client.delete(&format!("/containers/{id}"))?.ok()?;
    assert_eq!(test.client.delete(&format!("/volumes/{name}"))?.status, 204);
    assert!(!place.exists());
    Ok(())
}

#[test]
fn files_of_a_volume_are_reached_while_its_container_does_not_run() -> Result<()> {
    let mut test = Test::new()?;
    let plugin = Disks::start(test.name("plugin"))?;
    let (plugged, bound) = (test.volume_name("plugged"), test.volume_name("bound"));
    let elsewhere = tempfile::tempdir()?;
    test.volume(&json!({ "Name": plugged, "Driver": plugin.name }))?;
    let options = json!({ "type": "none", "o": "bind", "device": elsewhere.path() });
    test.volume(&json!({ "Name": bound, "DriverOpts": options }))?;
    let mut body = Test::body(&["true"]);
    body["HostConfig"]["Binds"] = json!([format!("{plugged}:/plugged"), format!("{bound}:/bound")]);
    let id = test.create(&body)?;
    let before = plugin.asked("VolumeDriver.Mount").len();

    let mut tar = Tar::default();
    tar.entry("copied", b'0', 0o644, "", b"from outside\n");
    let tar = tar.finish();
    for (target, place) in
        [("/plugged", plugin.files.path().join(&plugged)), ("/bound", elsewhere.path().into())]
    {
        let at = |path: &str| format!("/containers/{id}/archive?path={target}{path}");
        test.client.request("PUT", &at(""), &Body::Bytes("application/x-tar", &tar))?.ok()?;
        assert_eq!(fs_err::read_to_string(place.join("copied"))?, "from outside\n", "{target}");
        let got = test.client.get(&at("/copied"))?.ok()?;
        assert_eq!(&got.body[512..525], b"from outside\n", "{target}");
    }
    let mounts = plugin.asked("VolumeDriver.Mount");
    assert!(mounts.len() > before);
    test.until("every mount is undone", |_| {
        let undone = plugin.asked("VolumeDriver.Unmount");
        Ok(mounts.len() == undone.len() && mounts.iter().all(|mount| undone.contains(mount)))
    })?;
    // A start finds them as any other.
    test.start(&id)?;
    assert_eq!(test.wait(&id)?, 0);
    Ok(())
}

#[test]
fn a_plugin_may_refuse_and_know_volumes_of_its_own() -> Result<()> {
    let mut test = Test::new()?;
    let plugin = Disks::start(test.name("plugin"))?;
    let name = test.volume_name("refused");
    let body = json!({ "Name": name, "Driver": plugin.name, "DriverOpts": { "fail": "yes" } });
    let answer = test.client.post("/volumes/create", &body)?;
    assert_eq!((answer.status, answer.message()), (500, format!("create {name}: as you wished")));
    assert_eq!(test.volume_status(&name)?, 404);

    let foreign = test.volume_name("foreign");
    fs_err::create_dir(plugin.files.path().join(&foreign))?;
    // An engine asks the plugins that it knows.
    let known = test.volume_name("known");
    test.volume(&json!({ "Name": known, "Driver": plugin.name }))?;
    let listed = test.client.get("/volumes")?.ok()?.json()?;
    let names: Vec<&str> =
        listed["Volumes"].as_array().into_iter().flatten().filter_map(|v| v["Name"].as_str()).collect();
    assert!(names.contains(&foreign.as_str()) && names.contains(&known.as_str()), "{names:?}");
    let taken = test.client.post("/volumes/create", &json!({ "Name": known, "Driver": "local" }))?;
    assert_eq!(taken.status, 409, "{}", taken.message());
    Ok(())
}
