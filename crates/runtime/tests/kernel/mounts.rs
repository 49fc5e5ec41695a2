//! Mounts: options, sources, targets that try to lead out, and what is hidden or protected.

use std::os::unix::fs::{MetadataExt, symlink};

use serde_json::{Value, json};

use crate::bundle::Bundle;

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": kind, "source": source, "options": options})
}

/// The options of a mount, as the container sees them: its own, then those of the file system.
fn options(out: &str, target: &str) -> String {
    let line = out.lines().find(|line| line.split(' ').nth(4) == Some(target));
    line.unwrap_or_else(|| panic!("{target} is not in {out}")).to_owned()
}

#[test]
fn attributes_are_those_asked_for() {
    let mut bundle = Bundle::new("cat /proc/self/mountinfo");
    bundle.add("/mounts", mount("/a", "tmpfs", "x", &["ro", "nosuid", "noexec", "size=64k"]));
    bundle.add("/mounts", mount("/b", "tmpfs", "x", &["nodev", "noatime", "nodiratime", "nosymfollow"]));
    let out = bundle.run().ok();
    let (a, b) = (options(&out, "/a"), options(&out, "/b"));
    assert!(a.contains("ro,nosuid,noexec,relatime") && a.contains("size=64k"), "{a}");
    assert!(b.contains("rw,nodev,noatime,nodiratime,nosymfollow"), "{b}");
}

#[test]
fn a_read_only_bind_leaves_the_source_writable() {
    let mut bundle = Bundle::new("cat /a/file; touch /a/new && echo written");
    let source = bundle.path("source");
    fs_err::create_dir(&source).unwrap();
    fs_err::write(source.join("file"), "content").unwrap();
    bundle.add("/mounts", mount("/a", "bind", source.to_str().unwrap(), &["rbind", "ro"]));
    let answer = bundle.run();
    assert_eq!((answer.out.as_str(), answer.code), ("content", 1));
    assert!(answer.err.contains("Read-only file system"), "{}", answer.err);
    fs_err::write(source.join("new"), "").unwrap();
}

#[test]
fn recursive_attributes_reach_the_mounts_below() {
    let mut bundle = Bundle::new("cat /proc/self/mountinfo");
    bundle.add("/mounts", mount("/plain", "bind", "/sys", &["rbind", "ro"]));
    bundle.add("/mounts", mount("/all", "bind", "/sys", &["rbind", "rro", "rnosuid"]));
    let out = bundle.run().ok();
    let below = |top: &str| {
        let prefix = format!("{top}/");
        let inside = |line: &&str| line.split(' ').nth(4).is_some_and(|path| path.starts_with(&prefix));
        out.lines().filter(inside).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(!below("/all").is_empty(), "{out}");
    assert!(below("/all").iter().all(|line| line.contains(" ro,nosuid")), "{out}");
    assert!(below("/plain").iter().any(|line| !line.contains(" ro")), "{out}");
}

#[test]
fn owners_are_shifted_by_an_idmapped_mount() {
    let mut bundle = Bundle::new("stat -c %u:%g /a; touch /a/new; stat -c %u /a/new");
    let source = bundle.path("source");
    fs_err::create_dir(&source).unwrap();
    let mut shifted = mount("/a", "bind", source.to_str().unwrap(), &["bind", "idmap"]);
    shifted["uidMappings"] = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    shifted["gidMappings"] = json!([{"containerID": 0, "hostID": 7000, "size": 10}]);
    bundle.add("/mounts", shifted);
    let answer = bundle.run();
    assert!(answer.out.starts_with("0:7000"), "{answer:?}");
}

#[test]
fn a_container_with_mapped_ids_sees_shifted_owners_as_its_own() {
    let mut bundle = Bundle::new("stat -c %u:%g /a /a/file; touch /a/new && stat -c %u /a/new");
    let source = bundle.path("source");
    fs_err::create_dir(bundle.root("a")).unwrap();
    fs_err::create_dir(&source).unwrap();
    fs_err::write(source.join("file"), "").unwrap();
    bundle.namespace("user", Some(json!({"type": "user"})));
    for map in ["uidMappings", "gidMappings"] {
        bundle.set(&format!("/linux/{map}"), json!([{"containerID": 0, "hostID": 200_000, "size": 1000}]));
    }
    bundle.add("/mounts", mount("/a", "bind", source.to_str().unwrap(), &["rbind", "ridmap"]));
    assert_eq!(bundle.run().ok(), "0:0\n0:0\n0");
    assert_eq!(fs_err::metadata(source.join("new")).unwrap().uid(), 0);
}

#[test]
fn tmpcopyup_starts_with_what_was_there() {
    let mut bundle =
        Bundle::new("cat /etc/deep/file; readlink /etc/link; stat -c '%a %u' /etc/deep/file; touch /etc/new");
    fs_err::create_dir(bundle.root("etc/deep")).unwrap();
    let file = bundle.root("etc/deep/file");
    fs_err::write(&file, "up\n").unwrap();
    fs_err::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o4755)).unwrap();
    std::os::unix::fs::chown(&file, Some(12), Some(34)).unwrap();
    fs_err::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o4755)).unwrap();
    symlink("deep/file", bundle.root("etc/link")).unwrap();
    bundle.add("/mounts", mount("/etc", "tmpfs", "tmpfs", &["tmpcopyup"]));
    assert_eq!(bundle.run().ok(), "up\ndeep/file\n4755 12");
    assert!(!bundle.root("etc/new").exists());
}

#[test]
fn targets_that_lead_out_stay_in_the_root() {
    let outside = tempfile::tempdir().unwrap();
    let trap = outside.path().join("trap");
    let mut bundle = Bundle::new("cat /proc/self/mountinfo");
    symlink(outside.path(), bundle.root("absolute")).unwrap();
    symlink("../../../../../../..", bundle.root("climbing")).unwrap();
    bundle.add("/mounts", mount("/absolute/trap", "tmpfs", "x", &[]));
    bundle.add("/mounts", mount(&format!("/climbing{}", trap.display()), "tmpfs", "x", &[]));
    let out = bundle.run().ok();
    assert!(!trap.exists(), "the host's directory was touched");
    assert_eq!(out.matches(trap.to_str().unwrap()).count(), 2, "{out}");
}

#[test]
fn procfs_goes_onto_a_plain_directory_only() {
    let bundle = Bundle::new("true");
    fs_err::remove_dir(bundle.root("proc")).unwrap();
    symlink("/tmp", bundle.root("proc")).unwrap();
    bundle.run().refused("mount: /proc");
    assert_eq!(bundle.left_overs(), Vec::<String>::new());
}

#[test]
fn nothing_is_mounted_inside_proc_but_what_is_known() {
    let mut bundle = Bundle::new("cat /proc/uptime");
    let source = bundle.path("uptime");
    fs_err::write(&source, "faked").unwrap();
    bundle.add("/mounts", mount("/proc/uptime", "bind", source.to_str().unwrap(), &["bind"]));
    assert_eq!(bundle.run().ok(), "faked");
    bundle.add("/mounts", mount("/proc/self/attr/exec", "bind", source.to_str().unwrap(), &["bind"]));
    bundle.run().refused("nothing may be mounted inside /proc");
}

#[test]
fn masked_paths_are_empty_and_read_only_ones_protected() {
    let mut bundle = Bundle::new(
        "wc -c < /secret; ls /hidden | wc -l; touch /hidden/x || echo ro; touch /kept/x || echo ro; ls /kept; \
         stat -c %t:%T /secret",
    );
    fs_err::write(bundle.root("secret"), "word").unwrap();
    for name in ["hidden", "second", "kept"] {
        fs_err::create_dir(bundle.root(name)).unwrap();
        fs_err::write(bundle.root(name).join("file"), "").unwrap();
    }
    bundle.set("/linux/maskedPaths", json!(["/secret", "/hidden", "/second", "/absent", "/secret/below"]));
    bundle.set("/linux/readonlyPaths", json!(["/kept", "/absent"]));
    assert_eq!(bundle.run().ok(), "0\n0\nro\nro\nfile\n1:3");
}

#[test]
fn a_masking_device_of_the_images_is_not_used() {
    let mut bundle = Bundle::new("cat /secret; touch /tmp/ok");
    fs_err::write(bundle.root("secret"), "word").unwrap();
    // CVE-2025-31133: a link in the place of the null device would turn masking into binding something else.
    symlink("/proc/sysrq-trigger", bundle.root("dev/null")).unwrap();
    bundle.spec["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/dev");
    bundle.set("/linux/maskedPaths", json!(["/secret"]));
    bundle.run().refused("device: /dev/null");
}

#[test]
fn the_root_is_read_only_if_asked_for() {
    let mut bundle = Bundle::new("touch /x || touch /dev/x && echo dev");
    bundle.set("/root/readonly", json!(true));
    assert_eq!(bundle.run().ok(), "dev");
}

#[test]
fn a_read_only_dev_still_has_its_devices() {
    let mut bundle = Bundle::new("test -c /dev/null && test -L /dev/fd && touch /dev/x || echo ro");
    bundle.spec["mounts"][1]["options"] = json!(["ro", "mode=755"]);
    assert_eq!(bundle.run().ok(), "ro");
}

#[test]
fn propagation_is_what_was_asked_for() {
    for (word, shown) in [("rshared", "shared:"), ("rprivate", " - "), ("runbindable", "unbindable")] {
        let mut bundle = Bundle::new("cat /proc/self/mountinfo");
        bundle.set("/linux/rootfsPropagation", json!(word));
        let line = options(&bundle.run().ok(), "/");
        assert!(line.contains(shown), "{word}: {line}");
        assert_eq!(line.contains("shared:"), word == "rshared", "{line}");
    }
}

#[test]
fn nothing_of_a_container_is_mounted_on_the_host() {
    let mut bundle = Bundle::new("exec sleep 60");
    bundle.set("/linux/rootfsPropagation", json!("rshared"));
    bundle.start();
    let host = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!host.contains(bundle.path("").to_str().unwrap()), "{host}");
}

#[test]
fn a_root_can_be_moved_instead_of_pivoted() {
    let answer = Bundle::new("ls / | wc -l; cat /proc/self/mountinfo | wc -l").run_with(&["--no-pivot"]);
    assert!(answer.out.starts_with('6'), "{answer:?}");
}

#[test]
fn the_cgroup_mount_shows_the_containers_own_cgroup() {
    for own_namespace in [true, false] {
        // On v2 a container in the host's namespace sees the host's tree, as with runc, and is told its place in it.
        let mut bundle = Bundle::new(
            "cat /sys/fs/cgroup/memory/cgroup.procs 2>/dev/null && exit
            IFS=: read -r _ _ place < /proc/self/cgroup; cat /sys/fs/cgroup$place/cgroup.procs",
        );
        bundle.add("/mounts", mount("/sys", "sysfs", "sysfs", &["ro"]));
        bundle.add("/mounts", mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro"]));
        if !own_namespace {
            bundle.namespace("cgroup", None);
        }
        let out = bundle.run().ok();
        assert!(out.lines().any(|line| line == "1"), "own namespace {own_namespace}: {out}");
    }
}

#[test]
fn a_missing_mount_point_is_made() {
    let mut bundle = Bundle::new("cat /new/file");
    let source = bundle.path("source");
    fs_err::write(&source, "content").unwrap();
    bundle.add("/mounts", mount("/new/file", "bind", source.to_str().unwrap(), &["bind"]));
    assert_eq!(bundle.run().ok(), "content");
    assert_eq!(fs_err::metadata(bundle.root("new/file")).unwrap().size(), 0);
}

#[test]
fn refusals_say_what_and_why() {
    let mut bundle = Bundle::new("true");
    bundle.add("/mounts", mount("/a", "nofs", "x", &[]));
    bundle.run().refused("no such device");
    bundle.spec["mounts"][3] = mount("/a", "tmpfs", "x", &["size=much"]);
    bundle.run().refused("(tmpfs: Bad value for 'size'): invalid argument");
    bundle.spec["mounts"][3] = mount("/a", "bind", "/nowhere", &["bind"]);
    bundle.run().refused("/a: source /nowhere: no such file or directory");
    assert_eq!(bundle.left_overs(), Vec::<String>::new());
}
