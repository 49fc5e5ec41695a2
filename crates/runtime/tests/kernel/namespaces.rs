//! Namespaces: new, joined, mapped, shifted in time.

use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::bundle::{Bundle, eventually};

/// A process in namespaces of its own, to be joined.
struct Other(Child);

impl Other {
    fn new(options: &[&str]) -> Self {
        let mut command = Command::new("unshare");
        command.args(options).args(["--fork", "--kill-child", "sleep", "60"]).stdin(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// The number of the process inside.
    fn pid(&self) -> String {
        let path = format!("/proc/{0}/task/{0}/children", self.0.id());
        let read = || fs_err::read_to_string(&path).unwrap().trim().to_owned();
        // Until it has become `sleep` it is what made it.
        let name = |pid: &str| fs_err::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        eventually("a child", || name(&read()) == "sleep\n");
        read()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn map_ids(bundle: &mut Bundle) {
    bundle.namespace("user", Some(json!({"type": "user"})));
    for map in ["uidMappings", "gidMappings"] {
        bundle.set(&format!("/linux/{map}"), json!([{"containerID": 0, "hostID": 200_000, "size": 1000}]));
    }
}

#[test]
fn every_namespace_asked_for_is_new() {
    let kinds = ["pid", "net", "ipc", "uts", "mnt", "cgroup", "time"];
    let mut bundle =
        Bundle::new("for kind in pid net ipc uts mnt cgroup time; do readlink /proc/self/ns/$kind; done");
    bundle.add("/linux/namespaces", json!({"type": "time"}));
    let out = bundle.run().ok();
    for (kind, line) in kinds.iter().zip(out.lines()) {
        let host = fs_err::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert!(line.starts_with(kind) && line != host.to_str().unwrap(), "{kind}: {line}");
    }
    assert_eq!(out.lines().count(), kinds.len());
}

#[test]
fn what_is_not_asked_for_stays_the_hosts() {
    let mut bundle = Bundle::new("readlink /proc/self/ns/net; readlink /proc/self/ns/ipc");
    bundle.namespace("network", None).namespace("ipc", None);
    let host = |kind: &str| fs_err::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string();
    assert_eq!(bundle.run().ok(), format!("{}\n{}", host("net"), host("ipc")));
}

#[test]
fn names_belong_to_the_container() {
    let mut bundle = Bundle::new("hostname; cat /proc/sys/kernel/domainname");
    bundle.set("/hostname", json!("inside")).set("/domainname", json!("there"));
    assert_eq!(bundle.run().ok(), "inside\nthere");
}

#[test]
fn namespaces_are_joined_by_path() {
    let other = Other::new(&["--net", "--ipc", "--uts"]);
    let pid = other.pid();
    let mut bundle = Bundle::new("readlink /proc/self/ns/net; readlink /proc/self/ns/ipc");
    for (kind, file) in [("network", "net"), ("ipc", "ipc")] {
        bundle.namespace(kind, Some(json!({"type": kind, "path": format!("/proc/{pid}/ns/{file}")})));
    }
    let link =
        |file: &str| fs_err::read_link(format!("/proc/{pid}/ns/{file}")).unwrap().display().to_string();
    assert_eq!(bundle.run().ok(), format!("{}\n{}", link("net"), link("ipc")));
}

#[test]
fn a_joined_pid_namespace_shows_its_processes() {
    let other = Other::new(&["--pid"]);
    let pid = other.pid();
    let mut bundle = Bundle::new("cat /proc/1/cmdline");
    bundle.namespace("pid", Some(json!({"type": "pid", "path": format!("/proc/{pid}/ns/pid")})));
    assert_eq!(bundle.run().ok().replace('\0', " ").trim(), "sleep 60");
}

#[test]
fn a_user_namespace_maps_ids() {
    let mut bundle = Bundle::new("id -u; cat /proc/self/uid_map; touch /tmp/mine; exec sleep 60");
    map_ids(&mut bundle);
    fs_err::set_permissions(bundle.root("tmp"), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    bundle.start();
    let mine = bundle.root("tmp/mine");
    eventually("the file", || mine.exists());
    let metadata = fs_err::metadata(&mine).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&metadata), 200_000);
    assert_eq!(bundle.output().split_whitespace().collect::<Vec<_>>(), ["0", "0", "200000", "1000"]);
}

#[test]
fn exec_enters_the_user_namespace_too() {
    let mut bundle = Bundle::new("exec sleep 60");
    map_ids(&mut bundle);
    bundle.start();
    let out = bundle.command(&["exec", &bundle.id, "sh", "-c", "id -u; cat /proc/self/uid_map"]).ok();
    assert_eq!(out.split_whitespace().collect::<Vec<_>>(), ["0", "0", "200000", "1000"]);
}

#[test]
fn a_joined_user_namespace_owns_the_new_ones() {
    let mut first = Bundle::new("exec sleep 60");
    map_ids(&mut first);
    first.start();
    let pid = first.state("pid");
    let mut second = Bundle::new("readlink /proc/self/ns/user; hostname changed && hostname");
    second.namespace("user", Some(json!({"type": "user", "path": format!("/proc/{pid}/ns/user")})));
    let sets = json!(["CAP_SYS_ADMIN"]);
    for set in ["bounding", "effective", "permitted"] {
        second.set(&format!("/process/capabilities/{set}"), sets.clone());
    }
    let joined = fs_err::read_link(format!("/proc/{pid}/ns/user")).unwrap();
    assert_eq!(second.run().ok(), format!("{}\nchanged", joined.display()));
}

#[test]
fn a_new_user_namespace_goes_with_a_joined_network() {
    let other = Other::new(&["--net"]);
    let path = format!("/proc/{}/ns/net", other.pid());
    let mut bundle = Bundle::new("id -u; readlink /proc/self/ns/net");
    map_ids(&mut bundle);
    bundle.namespace("network", Some(json!({"type": "network", "path": path})));
    assert_eq!(bundle.run().ok(), format!("0\n{}", fs_err::read_link(&path).unwrap().display()));
}

#[test]
fn clocks_are_shifted() {
    let mut bundle = Bundle::new("cat /proc/self/timens_offsets; cat /proc/uptime");
    bundle.add("/linux/namespaces", json!({"type": "time"}));
    bundle.set("/linux/timeOffsets", json!({"boottime": {"secs": 1_000_000}, "monotonic": {"secs": 5}}));
    let out = bundle.run().ok();
    let words: Vec<&str> = out.split_whitespace().collect();
    assert_eq!(words[..6], ["monotonic", "5", "0", "boottime", "1000000", "0"]);
    assert!(words[6].parse::<f64>().unwrap() > 1_000_000.0);
}

#[test]
fn the_cgroup_namespace_begins_at_the_containers_cgroup() {
    let out = Bundle::new("cat /proc/self/cgroup").run().ok();
    assert!(out.lines().all(|line| line.ends_with(":/")), "{out}");
}

#[test]
fn what_is_no_namespace_cannot_be_joined() {
    let mut bundle = Bundle::new("true");
    bundle.namespace("network", Some(json!({"type": "network", "path": "/nowhere"})));
    bundle.run().refused("network /nowhere: no such file or directory");
    bundle.namespace("network", Some(json!({"type": "network", "path": "/proc/self/ns/uts"})));
    bundle.run().refused("join namespace: network: invalid argument");
    assert_eq!(bundle.left_overs(), Vec::<String>::new());
}
