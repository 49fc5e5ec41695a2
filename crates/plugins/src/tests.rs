//! Against plugins written here.

use serde_json::{Value, json};
use skiff_testkit::plugin::Plugin as Fake;

use super::*;

fn driver(method: &str, _: &Value) -> (u16, String) {
    match method {
        "Plugin.Activate" => (200, json!({ "Implements": ["NetworkDriver", "IpamDriver"] }).to_string()),
        "NetworkDriver.Leave" => (200, json!({ "Err": "gone already" }).to_string()),
        "IpamDriver.ReleasePool" => (200, json!({ "Error": "in use" }).to_string()),
        _ => (200, "{}".to_owned()),
    }
}

fn plugins(dir: &std::path::Path) -> Plugins {
    Plugins::new(PluginDirs { sockets: vec![dir.to_owned()], descriptions: vec![dir.to_owned()] })
}

#[test]
fn one_plugin_may_be_several_drivers_and_shakes_hands_once() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(&dir.path().join("net.sock"), driver).unwrap();
    let plugins = plugins(dir.path());
    plugins.get("net", "IpamDriver").unwrap();
    let net = plugins.get("net", "NetworkDriver").unwrap();
    assert!(matches!(plugins.get("net", "VolumeDriver"), Err(Error::Unusable { .. })));
    assert_eq!(plugins.all("VolumeDriver").len(), 0);
    assert_eq!(plugins.all("IpamDriver")[0].name(), "net");
    assert_eq!(fake.methods(), ["Plugin.Activate"]);
    // Trouble has two names.
    for (method, words) in [("NetworkDriver.Leave", "gone already"), ("IpamDriver.ReleasePool", "in use")] {
        let refused = net.ask::<Value>(method, &json!({})).unwrap_err();
        assert_eq!(refused.to_string(), words);
    }
}

#[test]
fn a_plugin_that_is_still_starting_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("real.sock");
    fs_err::write(dir.path().join("slow.spec"), format!("unix://{}", place.display())).unwrap();
    let starting = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        Fake::start(&place, driver).unwrap()
    });
    assert_eq!(plugins(dir.path()).get("slow", "NetworkDriver").unwrap().name(), "slow");
    drop(starting.join());
}
