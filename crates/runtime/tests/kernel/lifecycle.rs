//! create, start, state, exec, pause, update, events, kill, delete: the commands and the states between them.

use serde_json::{Value, json};

use crate::bundle::{Bundle, eventually};

#[test]
fn a_container_goes_through_its_states() {
    let mut bundle = Bundle::new("echo started; exec sleep 60");
    bundle.set("/annotations", json!({"key": "value"}));
    bundle.create().ok();
    assert_eq!((bundle.state("status"), bundle.output().as_str()), (json!("created"), ""));
    assert_eq!(bundle.state("annotations")["key"], "value");
    bundle.command(&["start", &bundle.id]).ok();
    assert_eq!(bundle.state("status"), "running");
    eventually("output", || bundle.output() == "started\n");
    bundle.command(&["start", &bundle.id]).refused("cannot start an already running container");
    bundle.command(&["delete", &bundle.id]).refused("that is not stopped: running");
    bundle.command(&["kill", &bundle.id, "KILL"]).ok();
    eventually("the end", || bundle.state("status") == "stopped");
    assert_eq!(bundle.state("pid"), 0);
    bundle.command(&["kill", &bundle.id]).refused("container not running");
    bundle.command(&["exec", &bundle.id, "true"]).refused("stopped container");
    bundle.command(&["delete", &bundle.id]).ok();
    bundle.command(&["state", &bundle.id]).refused("container does not exist");
    assert_eq!(bundle.left_overs(), Vec::<String>::new());
}

#[test]
fn a_created_container_can_be_deleted() {
    let bundle = Bundle::new("true");
    bundle.create().ok();
    bundle.create().refused("container with given ID already exists");
    bundle.command(&["delete", &bundle.id]).ok();
    assert_eq!(bundle.left_overs(), Vec::<String>::new());
}

#[test]
fn a_program_that_fails_at_exec_is_told_by_start() {
    let mut bundle = Bundle::new("true");
    fs_err::write(bundle.root("bin/broken"), "text").unwrap();
    fs_err::set_permissions(bundle.root("bin/broken"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    bundle.set("/process/args", json!(["broken"]));
    bundle.create().ok();
    bundle.command(&["start", &bundle.id]).refused("exec /bin/broken: exec format error");
}

#[test]
fn exec_joins_everything() {
    let bundle = Bundle::new("exec sleep 60");
    bundle.start();
    let script = "for kind in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$kind; done; exit 9";
    let inside = bundle.command(&["exec", &bundle.id, "sh", "-c", script]);
    assert_eq!(inside.code, 9);
    let pid = bundle.state("pid");
    for (kind, line) in ["pid", "net", "ipc", "uts", "mnt", "cgroup"].iter().zip(inside.out.lines()) {
        assert_eq!(line, fs_err::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().to_str().unwrap());
    }
    let out = bundle.command(&[
        "exec",
        "-u",
        "5:6",
        "-e",
        "A=b",
        "--cwd",
        "/tmp",
        &bundle.id,
        "sh",
        "-c",
        "id -u; id -g; echo $A; pwd",
    ]);
    assert_eq!(out.ok(), "5\n6\nb\n/tmp");
    bundle.command(&["exec", &bundle.id, "nope"]).refused("executable file not found in $PATH");
    assert_eq!(bundle.command(&["exec", &bundle.id, "ls", "/proc/self/fd"]).ok(), "0\n1\n2\n3");
}

#[test]
fn processes_are_listed_paused_and_resumed() {
    let bundle = Bundle::new("sleep 60 & exec sleep 61");
    bundle.start();
    let pids =
        || serde_json::from_str::<Vec<i64>>(&bundle.command(&["ps", "-f", "json", &bundle.id]).ok()).unwrap();
    eventually("two processes", || pids().len() == 2);
    assert!(pids().contains(&bundle.state("pid").as_i64().unwrap()));
    assert!(bundle.command(&["ps", &bundle.id]).ok().contains("sleep 61"));
    bundle.command(&["pause", &bundle.id]).ok();
    assert_eq!(bundle.state("status"), "paused");
    bundle.command(&["exec", &bundle.id, "true"]).refused("paused container");
    bundle.command(&["resume", &bundle.id]).ok();
    assert_eq!(bundle.state("status"), "running");
    bundle.command(&["resume", &bundle.id]).refused("container not paused");
    bundle.command(&["pause", &bundle.id]).ok();
    bundle.command(&["kill", &bundle.id, "KILL"]).ok();
    eventually("the end of a paused container", || bundle.state("status") == "stopped");
}

#[test]
fn limits_are_changed_and_measured() {
    let bundle = Bundle::new("exec sleep 60");
    bundle.start();
    bundle.command(&["update", "--memory", "67108864", "--pids-limit", "33", &bundle.id]).ok();
    let stats: Value =
        serde_json::from_str(&bundle.command(&["events", "--stats", &bundle.id]).ok()).unwrap();
    assert_eq!(stats["data"]["memory"]["usage"]["limit"], 67_108_864);
    assert_eq!(stats["data"]["pids"], json!({"current": 1, "limit": 33}));
    assert_eq!((&stats["type"], &stats["id"]), (&json!("stats"), &json!(bundle.id)));
    bundle.command(&["update", "--l3-cache-schema", "x", &bundle.id]).refused("no class of service");
}

#[test]
fn containers_are_listed() {
    let bundle = Bundle::new("exec sleep 60");
    assert_eq!(bundle.command(&["list", "-q"]).ok(), "");
    bundle.start();
    assert_eq!(bundle.command(&["list", "-q"]).ok(), bundle.id);
    let list: Value = serde_json::from_str(&bundle.command(&["list", "-f", "json"]).ok()).unwrap();
    assert_eq!((&list[0]["id"], &list[0]["status"]), (&json!(bundle.id), &json!("running")));
    assert!(bundle.command(&["list"]).ok().starts_with("ID  "));
}

#[test]
fn a_signal_reaches_all_or_the_first() {
    let bundle = Bundle::new("trap 'echo got; exit 0' TERM; echo ready; while :; do sleep 0.1; done");
    bundle.start();
    eventually("ready", || bundle.output().contains("ready"));
    bundle.command(&["kill", &bundle.id]).ok();
    eventually("the trap", || bundle.output().contains("got"));
    bundle.command(&["kill", "--all", &bundle.id, "9"]).ok();
    bundle.command(&["kill", &bundle.id, "NOPE"]).refused("unknown signal");
}

#[test]
fn processes_without_a_pid_namespace_are_cleaned_up() {
    let mut bundle = Bundle::new("sleep 60 & exit 3");
    bundle.namespace("pid", None);
    assert_eq!(bundle.run().code, 3);
    assert_eq!(bundle.left_overs(), Vec::<String>::new());
}

#[test]
fn a_detached_container_outlives_its_command() {
    let bundle = Bundle::new("exec sleep 60");
    bundle.write();
    let pid_file = bundle.path("pid");
    let directory = bundle.path("").display().to_string();
    let args = ["run", "-d", "--pid-file", pid_file.to_str().unwrap(), "-b", &directory, &bundle.id];
    let status = bundle
        .runtime(&args)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status();
    assert!(status.unwrap().success());
    assert_eq!(bundle.state("status"), "running");
    assert_eq!(fs_err::read_to_string(pid_file).unwrap(), bundle.state("pid").to_string());
}

#[test]
fn the_template_is_a_container() {
    let bundle = Bundle::new("true");
    let directory = bundle.path("").display().to_string();
    bundle.command(&["spec", "-b", &directory]).ok();
    bundle.command(&["spec", "-b", &directory]).refused("exists. Remove it first");
    let text = fs_err::read_to_string(bundle.path("config.json")).unwrap();
    let mut spec: Value = serde_json::from_str(&text).unwrap();
    spec["process"]["terminal"] = json!(false);
    spec["process"]["args"] = json!(["/bin/sh", "-c", "/bin/hostname"]);
    fs_err::write(bundle.path("config.json"), spec.to_string()).unwrap();
    assert_eq!(bundle.command(&["run", "-b", &directory, &bundle.id]).ok(), "skiff");
}
