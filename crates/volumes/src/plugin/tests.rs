//! Against plugins written here.

use std::path::Path;

use skiff_testkit::plugin::Plugin as Fake;

use super::*;

fn ordinary(method: &str, body: &Value) -> (u16, String) {
    let answer = match method {
        "Plugin.Activate" => json!({ "Implements": ["VolumeDriver"] }),
        "VolumeDriver.Capabilities" => json!({ "Capabilities": { "Scope": "global" } }),
        "VolumeDriver.Mount" | "VolumeDriver.Path" => {
            json!({ "Mountpoint": format!("/mnt/{}", body["Name"].as_str().unwrap()), "Err": "" })
        }
        "VolumeDriver.Get" => json!({ "Volume": {
            "Name": body["Name"], "Mountpoint": "", "Status": { "size": 5 }, "CreatedAt": "2024-05-01T10:00:00Z" } }),
        "VolumeDriver.List" => {
            json!({ "Volumes": [{ "Name": "one", "Status": null }, { "Name": "two" }], "Err": "" })
        }
        "VolumeDriver.Remove" => return (500, json!({ "Err": "busy" }).to_string()),
        "VolumeDriver.Unmount" => json!({ "Err": "not mounted" }),
        _ => json!({ "Err": "" }),
    };
    (200, answer.to_string())
}

fn plugins(dir: &Path) -> Plugins {
    Plugins::new(PluginDirs { sockets: vec![dir.to_owned()], descriptions: vec![dir.to_owned()] })
}

#[test]
fn a_plugin_is_asked_as_the_protocol_says() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(&dir.path().join("disk.sock"), ordinary).unwrap();
    let plugins = plugins(dir.path());
    let disk = plugins.get("disk").unwrap();
    assert_eq!((disk.name(), disk.scope()), ("disk", "global"));
    disk.create("v", &[("size".to_owned(), "1G".to_owned())].into()).unwrap();
    assert_eq!(disk.mount("v", "user").unwrap(), Path::new("/mnt/v"));
    assert_eq!(disk.path("v").unwrap(), "/mnt/v");
    let described = disk.describe("v").unwrap();
    assert_eq!(
        (described.created_at.as_str(), &described.status["size"]),
        ("2024-05-01T10:00:00Z", &json!(5))
    );
    assert_eq!(disk.list().unwrap().len(), 2);
    assert_eq!(disk.remove("v").unwrap_err().to_string(), "VolumeDriver.Remove: busy");
    assert_eq!(disk.unmount("v", "user").unwrap_err().to_string(), "not mounted");
    // The handshake happens once.
    assert_eq!(plugins.get("disk").unwrap().name(), "disk");
    let asked = fake.all();
    assert_eq!(
        fake.methods(),
        [
            "Plugin.Activate",
            "VolumeDriver.Capabilities",
            "VolumeDriver.Create",
            "VolumeDriver.Mount",
            "VolumeDriver.Path",
            "VolumeDriver.Get",
            "VolumeDriver.List",
            "VolumeDriver.Remove",
            "VolumeDriver.Unmount"
        ]
    );
    assert_eq!(asked[2].1, json!({ "Name": "v", "Opts": { "size": "1G" } }));
    assert_eq!(asked[3].1, json!({ "Name": "v", "ID": "user" }));
}

#[test]
fn what_is_no_volume_driver_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let implements = |_: &str, _: &Value| (200, json!({ "Implements": ["NetworkDriver"] }).to_string());
    let _fake = Fake::start(&dir.path().join("net.sock"), implements).unwrap();
    let error = plugins(dir.path()).get("net").unwrap_err();
    assert_eq!(
        error.to_string(),
        "error looking up volume plugin net: plugin does not implement the requested driver"
    );
    let missing = plugins(dir.path()).get("nope").unwrap_err();
    assert_eq!(missing.to_string(), r#"error looking up volume plugin nope: plugin "nope" not found"#);
}

#[test]
fn garbage_is_an_error_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let odd = |method: &str, body: &Value| match method {
        "Plugin.Activate" => ordinary(method, body),
        "VolumeDriver.Create" => (200, "not json".to_owned()),
        _ => (404, "404 page not found\n".to_owned()),
    };
    let _fake = Fake::start(&dir.path().join("odd.sock"), odd).unwrap();
    let odd = plugins(dir.path()).get("odd").unwrap();
    assert_eq!(odd.scope(), "local");
    assert!(matches!(
        odd.create("v", &BTreeMap::new()),
        Err(Error::Plugin(skiff_plugins::Error::Protocol { .. }))
    ));
    assert_eq!(odd.mount("v", "u").unwrap_err().to_string(), "VolumeDriver.Mount: 404 page not found");
}
