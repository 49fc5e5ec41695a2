//! `/dev`: the default files, those asked for, and user namespaces.

use std::os::unix::fs::symlink;

use serde_json::json;

use crate::bundle::Bundle;

#[test]
fn the_default_devices_and_links_are_there() {
    let mut bundle = Bundle::new(
        "for name in null zero full random urandom tty; do stat -c %t:%T:%a /dev/$name; done; \
         for link in fd stdin stdout stderr ptmx; do readlink /dev/$link; done; echo x > /dev/null",
    );
    bundle.set("/process/user/umask", json!(0o077));
    let expected = "1:3:666\n1:5:666\n1:7:666\n1:8:666\n1:9:666\n5:0:666\n\
                    /proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx";
    assert_eq!(bundle.run().ok(), expected);
}

#[test]
fn devices_have_the_kind_mode_and_owner_asked_for() {
    let mut bundle = Bundle::new("stat -c '%F %t:%T %a %u:%g' /dev/own /dev/deep/disk /pipe");
    bundle.set("/linux/devices", json!([
        {"path": "/dev/own", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 3, "gid": 4},
        {"path": "/dev/deep/disk", "type": "b", "major": 7, "minor": 0, "fileMode": 0o600},
        {"path": "/pipe", "type": "p"},
    ]));
    let expected = "character special file a:e5 640 3:4\nblock special file 7:0 600 0:0\nfifo 0:0 666 0:0";
    assert_eq!(bundle.run().ok(), expected);
}

#[test]
fn only_devices_that_are_allowed_can_be_opened() {
    let mut bundle = Bundle::new("cat /dev/own; cat /dev/null && echo null");
    bundle.set("/linux/devices", json!([{"path": "/dev/own", "type": "c", "major": 1, "minor": 1}]));
    let answer = bundle.run();
    assert_eq!(answer.out, "null");
    assert!(answer.err.contains("Operation not permitted"), "{answer:?}");
    bundle.set(
        "/linux/resources/devices",
        json!([
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "w"},
        ]),
    );
    bundle.set("/linux/devices", json!([{"path": "/dev/own", "type": "c", "major": 1, "minor": 11}]));
    bundle.set("/process/args", json!(["sh", "-c", "echo -n > /dev/own && echo written"]));
    assert_eq!(bundle.run().ok(), "written");
}

#[test]
fn a_user_namespace_gets_the_hosts_devices_bound() {
    let mut bundle = Bundle::new("stat -c %t:%T /dev/null; echo x > /dev/null && echo works");
    bundle.namespace("user", Some(json!({"type": "user"})));
    for map in ["uidMappings", "gidMappings"] {
        bundle.set(&format!("/linux/{map}"), json!([{"containerID": 0, "hostID": 200_000, "size": 10}]));
    }
    assert_eq!(bundle.run().ok(), "1:3\nworks");
}

#[test]
fn what_stands_at_a_devices_place_must_be_that_device() {
    let mut bundle = Bundle::new("true");
    bundle.spec["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/dev");
    bundle.spec["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/dev/pts");
    symlink("/etc/passwd", bundle.root("dev/zero")).unwrap();
    bundle.run().refused("device: /dev/zero: file exists");
}
