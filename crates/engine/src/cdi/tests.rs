use super::*;

fn request(driver: &str, count: i64, ids: &[&str], gpu: bool) -> DeviceRequest {
    DeviceRequest {
        driver: driver.into(),
        count,
        device_ids: Some(ids.iter().map(|id| (*id).to_owned()).collect()),
        capabilities: gpu.then(|| vec![vec!["gpu".to_owned()]]),
        ..DeviceRequest::default()
    }
}

fn write(dir: &Path, name: &str, kind: &str, devices: &[(&str, &str)]) {
    let devices: Vec<_> = devices
        .iter()
        .map(|(name, edits)| serde_json::json!({ "name": name, "containerEdits": serde_json::from_str::<serde_json::Value>(edits).unwrap() }))
        .collect();
    let spec = serde_json::json!({
        "cdiVersion": "0.8.0", "kind": kind, "devices": devices, "containerEdits": { "env": ["ALL=yes"] },
    });
    fs_err::write(dir.join(name), spec.to_string()).unwrap();
}

#[test]
fn later_directories_win_and_twins_hide_each_other() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(first.path(), "a.json", "v.com/c", &[("one", r#"{"env":["FROM=first"]}"#), ("two", "{}")]);
    write(second.path(), "a.json", "v.com/c", &[("one", r#"{"env":["FROM=second"]}"#)]);
    write(second.path(), "b.json", "w.com/c", &[("twin", "{}")]);
    write(second.path(), "c.json", "w.com/c", &[("twin", "{}")]);
    fs_err::write(second.path().join("bad.json"), "{").unwrap();
    fs_err::write(second.path().join("readme.txt"), "{").unwrap();
    let devices = Devices::read(&[first.path().into(), second.path().into(), "/nonexistent".into()]);
    assert_eq!(devices.names(), ["v.com/c=one", "v.com/c=two"]);

    let mut spec = Spec::default();
    devices.inject(&["v.com/c=one".into(), "v.com/c=two".into()], &mut spec).unwrap();
    let env = spec.process().as_ref().unwrap().env().clone().unwrap();
    assert!(env.ends_with(&["ALL=yes".to_owned(), "FROM=second".to_owned()]), "{env:?}");
    let missing = devices.inject(&["w.com/c=twin".into(), "x/y=z".into()], &mut spec).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "CDI device injection failed: unresolvable CDI devices w.com/c=twin, x/y=z"
    );
}

#[test]
fn edits_change_a_specification_as_docker_s_do() {
    let dir = tempfile::tempdir().unwrap();
    let edits = r#"{
        "env": ["PATH=/x", "NEW=1"],
        "deviceNodes": [{"path": "/dev/mine", "hostPath": "/dev/null", "permissions": "rw"}, {"path": "/dev/zero"}],
        "mounts": [{"hostPath": "/usr/lib/x", "containerPath": "/usr/lib/x", "options": ["ro", "bind"]}],
        "hooks": [{"hookName": "createContainer", "path": "/bin/hook", "args": ["hook", "a"], "timeout": 5}],
        "additionalGids": [0, 44, 44],
        "intelRdt": {"closID": "c"}
    }"#;
    write(dir.path(), "a.json", "v.com/c", &[("one", edits)]);
    let mut spec = Spec::default();
    Devices::read(&[dir.path().into()]).inject(&["v.com/c=one".into()], &mut spec).unwrap();
    let process = spec.process().as_ref().unwrap();
    let paths = |env: &[String]| env.iter().filter(|v| v.starts_with("PATH=")).cloned().collect::<Vec<_>>();
    assert_eq!(paths(process.env().as_ref().unwrap()), ["PATH=/x"]);
    assert_eq!(process.user().additional_gids().as_deref(), Some([44].as_slice()));
    let linux = spec.linux().as_ref().unwrap();
    let nodes: Vec<_> =
        linux.devices().iter().flatten().map(|d| (d.path().clone(), d.major(), d.minor())).collect();
    assert_eq!(nodes, [(PathBuf::from("/dev/mine"), 1, 3), (PathBuf::from("/dev/zero"), 1, 5)]);
    let rules = linux.resources().as_ref().unwrap().devices().clone().unwrap();
    let mine = rules.iter().find(|r| r.minor() == Some(3) && r.major() == Some(1)).unwrap();
    assert_eq!((mine.allow(), mine.access().as_deref()), (true, Some("rw")));
    assert!(spec.mounts().iter().flatten().any(|m| m.destination() == Path::new("/usr/lib/x")));
    let hooks = spec.hooks().as_ref().unwrap().create_container().clone().unwrap();
    assert_eq!((hooks[0].path().as_path(), hooks[0].timeout()), (Path::new("/bin/hook"), Some(5)));
    assert_eq!(linux.intel_rdt().as_ref().unwrap().clos_id().as_deref(), Some("c"));
}

#[test]
fn gpus_are_nvidia_s_devices_where_they_are_described() {
    let dir = tempfile::tempdir().unwrap();
    let none = Devices::read(&[dir.path().into()]);
    let refused = none.asked_for(&[request("", -1, &[], true)]).unwrap_err();
    assert_eq!(refused.to_string(), "could not select device driver \"\" with capabilities: [[gpu]]");
    write(dir.path(), "nvidia.json", "nvidia.com/gpu", &[("0", "{}"), ("1", "{}"), ("all", "{}")]);
    let devices = Devices::read(&[dir.path().into()]);
    for (request, names) in [
        (request("", -1, &[], true), &["nvidia.com/gpu=all"][..]),
        (request("nvidia", 2, &[], true), &["nvidia.com/gpu=0", "nvidia.com/gpu=1"]),
        (request("", 0, &["1"], true), &["nvidia.com/gpu=1"]),
        (request("cdi", 0, &["v.com/c=x"], false), &["v.com/c=x"]),
    ] {
        assert_eq!(devices.asked_for(&[request]).unwrap(), names);
    }
    assert!(devices.asked_for(&[request("amd", -1, &[], true)]).is_err());
}
