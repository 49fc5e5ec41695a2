//! What goes wrong leaves nothing behind, and says what it was.

use serde_json::json;

use crate::bundle::{Bundle, eventually};

#[test]
fn bad_specifications_are_refused_before_anything_exists() {
    let mut bundle = Bundle::new("true");
    fs_err::write(bundle.path("config.json"), "{").unwrap();
    let directory = bundle.path("").display().to_string();
    bundle.command(&["run", "-b", &directory, &bundle.id]).refused("config.json: EOF while parsing");
    bundle.set("/ociVersion", json!("2.0.0"));
    bundle.run().refused("is not 1.x");
    bundle.set("/ociVersion", json!("1.2.0")).set("/root/path", json!("nowhere"));
    bundle.run().refused("rootfs");
    bundle.command(&["run", "-b", "/nowhere", &bundle.id]).refused("/nowhere");
    bundle.command(&["run", "-b", &directory, "../x"]).refused("invalid container ID format");
    assert_eq!(bundle.left_overs(), Vec::<String>::new());
}

#[test]
fn limits_that_cannot_be_raised_are_named() {
    let mut bundle = Bundle::new("true");
    let beyond = fs_err::read_to_string("/proc/sys/fs/nr_open").unwrap().trim().parse::<u64>().unwrap() + 1;
    bundle.set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 10, "hard": beyond}]));
    bundle.run().refused("RLIMIT_NOFILE");
    assert_eq!(bundle.left_overs(), Vec::<String>::new());
}

#[test]
fn a_limit_without_its_controller_is_refused() {
    let mut bundle = Bundle::new("true");
    bundle.set("/linux/resources/hugepageLimits", json!([{"pageSize": "3MB", "limit": 4096}]));
    bundle.run().refused("");
    bundle.set("/linux/resources", json!({"memory": {"limit": -5}}));
    bundle.run().refused("linux.resources");
    assert_eq!(bundle.left_overs(), Vec::<String>::new());
}

#[test]
fn what_is_asked_for_and_cannot_be_had_is_refused() {
    let mut bundle = Bundle::new("true");
    bundle.set("/linux/intelRdt", json!({"closID": "x"}));
    bundle.run().refused("intelRdt is not supported");
    let answer = bundle.command(&["--systemd-cgroup", "list"]);
    answer.refused("--systemd-cgroup is not supported");
    bundle
        .command(&["checkpoint", "--image-path", "x", "y"])
        .refused("checkpoint and restore are not supported");
    bundle.command(&["restore", "y"]).refused("checkpoint and restore are not supported");
    bundle.command(&["exec", "absent", "true"]).refused("container does not exist");
}

#[test]
fn a_killed_creation_leaves_nothing_once_it_is_deleted() {
    let mut bundle = Bundle::new("true");
    bundle
        .set("/hooks/createRuntime", json!([{"path": "/bin/sleep", "args": ["sleep", "60"], "timeout": 60}]));
    bundle.write();
    let directory = bundle.path("").display().to_string();
    let mut child = bundle.runtime(&["create", "-b", &directory, &bundle.id]).spawn().unwrap();
    let cgroups = || bundle.left_overs().iter().any(|path| path.starts_with("/sys/fs/cgroup"));
    eventually("the cgroup", cgroups);
    assert_eq!((bundle.state("status"), bundle.state("pid")), (json!("creating"), json!(0)));
    bundle.command(&["exec", &bundle.id, "true"]).refused("is being created");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(bundle.state("status"), "stopped");
    bundle.command(&["delete", &bundle.id]).ok();
    assert_eq!(bundle.left_overs(), Vec::<String>::new());
}

#[test]
fn errors_are_logged_as_containerd_reads_them() {
    let bundle = Bundle::new("true");
    let log = bundle.path("log.json");
    let args = ["--log", log.to_str().unwrap(), "--log-format", "json", "start", "absent"];
    bundle.command(&args).refused("container does not exist");
    let line: serde_json::Value = serde_json::from_str(fs_err::read_to_string(&log).unwrap().trim()).unwrap();
    assert_eq!(
        (&line["level"], &line["msg"]),
        (&json!("error"), &json!("start failed: container does not exist"))
    );
}

#[test]
fn a_hundred_containers_leave_nothing() {
    let bundle = Bundle::new("exit 0");
    for _ in 0..100 {
        bundle.run().ok();
    }
    assert_eq!(bundle.left_overs(), Vec::<String>::new());
}
