//! What callers of runc rely on, beyond the specification's words: each was found by running others' test suites.

use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::bundle::{Bundle, eventually};

fn shell(script: &str) -> Value {
    json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}])
}

fn cgroup(name: &str) -> String {
    format!("/skiff/{name}-{}", std::process::id())
}

/// The bundle that `runc spec` (1.3.6) writes runs as it is, but for the program.
#[test]
fn the_bundle_of_runc_spec_runs() {
    let mut bundle = Bundle::new("");
    bundle.spec = serde_json::from_str(include_str!("data/runc-spec.json")).unwrap();
    bundle.set("/process/args", json!(["sh", "-c", "hostname; tty; ls /sys/fs/cgroup | grep -c ."]));
    let out = bundle.run().ok();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..2], ["runc", "/dev/pts/0"]);
    assert_ne!(lines[2], "0", "the view of the cgroups is empty");
}

#[test]
fn a_terminals_lines_end_as_a_programs() {
    let mut bundle = Bundle::new("echo one; echo two");
    bundle.set("/process/terminal", json!(true));
    assert_eq!(bundle.run().ok(), "one\ntwo");
}

#[test]
fn capabilities_without_meaning_are_warned_of() {
    let mut bundle = Bundle::new("grep CapBnd /proc/self/status");
    bundle.set("/process/capabilities/bounding", json!(["CAP_KILL", "CAP_NONSENSE"]));
    bundle.set("/process/capabilities/ambient", json!(["CAP_KILL"]));
    let answer = bundle.run();
    assert!(
        answer.err.contains("ignoring unknown or unavailable capabilities: [CAP_NONSENSE]"),
        "{answer:?}"
    );
    assert!(answer.err.contains("can't raise ambient capability CAP_KILL: "), "{answer:?}");
    assert_eq!(answer.ok(), "CapBnd:\t0000000000000020");
}

#[test]
fn an_added_capability_is_ambient_if_it_is_inheritable() {
    let mut bundle = Bundle::new("exec sleep 60");
    for set in ["bounding", "inheritable", "permitted"] {
        bundle.set(&format!("/process/capabilities/{set}"), json!(["CAP_CHOWN", "CAP_KILL"]));
    }
    bundle.start();
    let args = ["exec", "--cap", "CAP_KILL", &bundle.id, "grep", "CapAmb", "/proc/self/status"];
    assert_eq!(bundle.command(&args).ok(), "CapAmb:\t0000000000000020");
}

#[test]
fn the_environment_is_completed() {
    let mut bundle = Bundle::new("echo $HOME $A; cat /proc/self/environ");
    bundle.set("/process/env", json!(["PATH=/bin", "A=1", "HOME=", "A=2"]));
    fs_err::write(bundle.root("etc/passwd"), "root:x:0:0:root:/somewhere:/bin/sh\n").unwrap();
    let out = bundle.run().ok();
    assert!(out.starts_with("/somewhere 2\n"), "{out:?}");
    assert_eq!(out.split(['\0', '\n']).filter(|variable| variable.starts_with("A=")).count(), 1, "{out:?}");
    bundle.set("/process/user/uid", json!(77));
    assert!(bundle.run().ok().starts_with("/ 2\n"), "whoever is not in the list is at home in /");
    bundle.set("/process/env", json!(["PATH=/bin", "HOME=/mine", "A="]));
    assert!(bundle.run().ok().starts_with("/mine\n"));
    bundle.set("/process/env", json!(["PATH=/bin", "NOTHING"]));
    bundle.run().refused("process.env");
}

#[test]
fn a_list_of_users_that_is_no_file_is_no_danger() {
    let bundle = Bundle::new("echo $HOME");
    symlink("/dev/zero", bundle.root("etc/passwd")).unwrap();
    assert_eq!(bundle.run().ok(), "/");
}

#[test]
fn a_failed_poststart_hook_fails_the_start_and_deletes_the_container() {
    let mut bundle = Bundle::new("exec sleep 60");
    bundle.set("/hooks/poststart", shell("exit 3"));
    bundle.create().ok();
    bundle.command(&["start", &bundle.id]).refused("error running poststart hook #0");
    bundle.command(&["state", &bundle.id]).refused("container does not exist");
    assert_eq!(bundle.left_overs(), Vec::<String>::new());
    bundle.run().refused("error running poststart hook #0");
    assert_eq!(bundle.left_overs(), Vec::<String>::new());
}

#[test]
fn every_poststop_hook_has_its_turn() {
    let mut bundle = Bundle::new("true");
    let log = bundle.path("log").display().to_string();
    let hooks = [shell("exit 3")[0].clone(), shell(&format!("echo second > {log}"))[0].clone()];
    bundle.set("/hooks/poststop", json!(hooks));
    let answer = bundle.run();
    assert!(answer.err.contains("level=warning"), "{answer:?}");
    answer.ok();
    assert_eq!(fs_err::read_to_string(log).unwrap(), "second\n");
}

#[test]
fn hooks_find_themselves_where_runcs_do() {
    let mut bundle = Bundle::new("cat /created; cat /started");
    bundle.set("/process/env", json!(["PATH=/bin", "WORD=process"]));
    bundle.set("/hooks/createRuntime", shell("test -n \"$CARGO_PKG_NAME\" && pwd > where"));
    bundle.set("/hooks/createContainer", shell("echo here > ./created"));
    bundle.set("/hooks/startContainer", shell("echo $WORD > /started"));
    assert_eq!(bundle.run().ok(), "here\nprocess");
    let place = fs_err::canonicalize(bundle.path("")).unwrap();
    assert_eq!(fs_err::read_to_string(bundle.path("where")).unwrap().trim_end(), place.to_str().unwrap());
}

#[test]
fn two_containers_do_not_share_a_cgroup() {
    let mut first = Bundle::new("exec sleep 60");
    let path = cgroup("shared");
    first.set("/linux/cgroupsPath", json!(path));
    first.start();
    let mut second = Bundle::new("true");
    second.set("/linux/cgroupsPath", json!(path));
    second.create().refused("container's cgroup is not empty");
    second.run().refused("container's cgroup is not empty");
    assert_eq!(first.state("status"), "running");
}

#[test]
fn a_container_does_not_enter_a_frozen_cgroup() {
    let mut bundle = Bundle::new("exec sleep 60");
    let path = cgroup("frozen");
    bundle.set("/linux/cgroupsPath", json!(path));
    // Made and frozen by a runtime that knows one freezer only.
    let (directory, file, word) = if std::path::Path::new("/sys/fs/cgroup/freezer").is_dir() {
        (format!("/sys/fs/cgroup/freezer{path}"), "freezer.state", "FROZEN")
    } else {
        (format!("/sys/fs/cgroup{path}"), "cgroup.freeze", "1")
    };
    fs_err::create_dir_all(&directory).unwrap();
    fs_err::write(format!("{directory}/{file}"), word).unwrap();
    bundle.create().refused("container's cgroup unexpectedly frozen");
    fs_err::remove_dir(&directory).unwrap();
}

#[test]
fn what_another_freezer_has_frozen_is_paused_and_can_be_resumed() {
    let v1 = std::path::Path::new("/sys/fs/cgroup/freezer").is_dir();
    let bundle = Bundle::new("exec sleep 60");
    bundle.start();
    let (directory, file, word) =
        if v1 { ("freezer/", "freezer.state", "FROZEN") } else { ("", "cgroup.freeze", "1") };
    fs_err::write(format!("/sys/fs/cgroup/{directory}skiff/{}/{file}", bundle.id), word).unwrap();
    eventually("the pause", || bundle.state("status") == "paused");
    bundle.command(&["resume", &bundle.id]).ok();
    assert_eq!(bundle.state("status"), "running");
}

#[test]
fn signal_0_asks_whether_a_container_runs() {
    let bundle = Bundle::new("exec sleep 60");
    bundle.start();
    bundle.command(&["kill", &bundle.id, "0"]).ok();
    bundle.command(&["kill", &bundle.id, "KILL"]).ok();
    eventually("the end", || bundle.state("status") == "stopped");
    bundle.command(&["kill", &bundle.id, "0"]).refused("container not running");
    bundle.command(&["kill", "--all", &bundle.id, "0"]).ok();
}

#[test]
fn without_a_pid_namespace_a_kill_reaches_every_process() {
    let mut bundle = Bundle::new("exec sleep 60");
    bundle.namespace("pid", None);
    bundle.start();
    // It outlives the command and must not keep its output open.
    let mut exec = bundle.runtime(&["exec", "--detach", &bundle.id, "sleep", "60"]);
    let null = std::process::Stdio::null;
    assert!(exec.stdout(null()).stderr(null()).status().unwrap().success());
    let first = bundle.state("pid");
    // The first process ends by itself, and the container with the other one is still to be killed.
    bundle.command(&["exec", &bundle.id, "kill", "-9", &first.to_string()]).ok();
    eventually("the end of the first", || bundle.state("status") == "stopped");
    bundle.command(&["kill", &bundle.id, "KILL"]).ok();
    eventually("the end of the other", || {
        bundle.command(&["ps", "--format", "json", &bundle.id]).ok() == "[]"
    });
}

#[test]
fn a_process_joins_a_cgroup_that_the_container_made() {
    let bundle = Bundle::new("exec sleep 60");
    bundle.start();
    let controller = if std::path::Path::new("/sys/fs/cgroup/memory").is_dir() { "memory" } else { "" };
    let below = format!("/sys/fs/cgroup/{controller}/skiff/{}/below", bundle.id);
    fs_err::create_dir(below).unwrap();
    let option = if controller.is_empty() { "below".to_owned() } else { format!("{controller}:below") };
    let exec = |option: &str, args: &[&str]| {
        bundle.command(&[&["exec", "--cgroup", option, &bundle.id], args].concat())
    };
    let line = format!("{controller}:/below");
    assert!(exec(&option, &["cat", "/proc/self/cgroup"]).ok().lines().any(|it| it.ends_with(&line)));
    exec("/", &["true"]).ok();
    exec("..", &["true"]).refused(".. is not a sub cgroup path");
    exec("nowhere", &["true"]).refused("nowhere");
    exec("whaaat:/", &["true"]).refused("");
}

#[test]
fn a_created_process_keeps_nothing_open() {
    let bundle = Bundle::new("true");
    bundle.create().ok();
    let pid = bundle.state("pid");
    let state = bundle.path("state");
    // It closes what it has said with after it was heard.
    eventually("only the standard streams are open", || {
        let open = fs_err::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let targets = open.filter_map(|entry| fs_err::read_link(entry.unwrap().path()).ok());
        targets.filter(|target| !target.starts_with(&state)).count() == 3
    });
}

#[test]
fn the_cpus_of_the_caller_are_not_the_containers() {
    let bundle = Bundle::new("grep Cpus_allowed_list /proc/self/status");
    let free = bundle.run().ok();
    bundle.write();
    let mut bound = std::process::Command::new("taskset");
    let runtime = bundle.runtime(&["run", "--bundle", bundle.path("").to_str().unwrap(), &bundle.id]);
    bound.args(["-c", "0"]).arg(runtime.get_program()).args(runtime.get_args());
    assert_eq!(crate::bundle::answer(&mut bound).ok(), free);
}

#[test]
fn a_relative_destination_is_below_the_root() {
    let mut bundle = Bundle::new("cat /a/b/file");
    fs_err::create_dir(bundle.path("source")).unwrap();
    fs_err::write(bundle.path("source/file"), "found").unwrap();
    bundle.add(
        "/mounts",
        json!({"destination": "a/b", "type": "bind", "source": "source", "options": ["bind"]}),
    );
    assert_eq!(bundle.run().ok(), "found");
}

#[test]
fn procfs_goes_onto_an_ordinary_directory_only() {
    let bundle = Bundle::new("true");
    fs_err::remove_dir(bundle.root("proc")).unwrap();
    symlink("/tmp", bundle.root("proc")).unwrap();
    bundle.run().refused("proc must be mounted on ordinary directory");
}

/// Those of a user namespace above included: the time namespace of a container belongs to the host's.
#[test]
fn all_namespaces_of_another_container_are_joined() {
    let mut first = Bundle::new("exec sleep 60");
    first.namespace("user", Some(json!({"type": "user"})));
    first.namespace("time", Some(json!({"type": "time"})));
    first.set("/linux/timeOffsets", json!({"boottime": {"secs": 4000}}));
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
    first.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    crate::bundle::give_to(&first.root(""), 100_000);
    first.start();
    let pid = first.state("pid");
    let mut second = Bundle::new("cat /proc/self/timens_offsets; readlink /proc/self/ns/user");
    for kind in ["pid", "network", "ipc", "uts", "cgroup", "user", "time"] {
        let file = if kind == "network" { "net" } else { kind };
        second.namespace(kind, Some(json!({"type": kind, "path": format!("/proc/{pid}/ns/{file}")})));
    }
    crate::bundle::give_to(&second.root(""), 100_000);
    let out = second.run().ok();
    assert!(out.lines().any(|line| line.starts_with("boottime") && line.contains("4000")), "{out}");
    let user = fs_err::read_link(format!("/proc/{pid}/ns/user")).unwrap();
    assert!(out.ends_with(user.to_str().unwrap()), "{out}");
}

#[test]
fn a_process_of_a_file_needs_no_user_and_has_the_specifications_names() {
    let bundle = Bundle::new("exec sleep 60");
    bundle.start();
    let process = json!({
        "args": ["sh", "-c", "id -u; cat /proc/self/stat"], "cwd": "/", "env": ["PATH=/bin"],
        "scheduler": {"policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
    });
    fs_err::write(bundle.path("process.json"), process.to_string()).unwrap();
    let file = bundle.path("process.json").display().to_string();
    assert!(bundle.command(&["exec", "--process", &file, &bundle.id]).ok().starts_with("0\n"));
}

#[test]
fn events_are_in_the_order_of_runcs() {
    let bundle = Bundle::new("exec sleep 60");
    bundle.start();
    let out = bundle.command(&["events", "--stats", &bundle.id]).ok();
    assert!(out.starts_with(&format!("{{\"type\":\"stats\",\"id\":\"{}\",\"data\":{{", bundle.id)), "{out}");
}

#[test]
fn what_is_done_is_told_to_whoever_asks() {
    let bundle = Bundle::new("true");
    bundle.write();
    let directory = bundle.path("").display().to_string();
    let log = bundle.path("log").display().to_string();
    let answer = bundle.command(&["--debug", "run", "--bundle", &directory, &bundle.id]);
    assert!(answer.err.contains("level=debug"), "{answer:?}");
    let args = ["--debug", "--log", &log, "--log-format", "json", "run", "--bundle", &directory, &bundle.id];
    let answer = bundle.command(&args);
    assert_eq!(answer.err, "", "what is logged is not told twice");
    let log = fs_err::read_to_string(log).unwrap();
    assert!(
        log.lines().all(|line| serde_json::from_str::<Value>(line).unwrap()["level"] == "debug"),
        "{log}"
    );
}

/// Once the filter is in force, the runtime itself lives under it until the program is executed.
#[test]
fn a_filter_older_than_our_system_calls_is_no_obstacle() {
    let young = [
        "faccessat2",
        "close_range",
        "openat2",
        "statx",
        "clone3",
        "pidfd_open",
        "pidfd_send_signal",
        "execveat",
        "open_tree",
        "move_mount",
        "fsopen",
        "mount_setattr",
        "setns",
        "unshare",
        "dup3",
        "pipe2",
    ];
    for no_new_privs in [true, false] {
        let mut bundle = Bundle::new("exec echo fine");
        bundle.set("/process/noNewPrivileges", json!(no_new_privs));
        bundle.set("/process/user", json!({"uid": 5, "gid": 5}));
        let rule = json!({"names": young, "action": "SCMP_ACT_ERRNO"});
        bundle.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}));
        assert_eq!(bundle.run().ok(), "fine");
        bundle.start();
        eventually("the output", || bundle.output() == "fine\n");
    }
}

#[test]
fn the_version_is_found_by_both_flags() {
    let bundle = Bundle::new("true");
    let out = bundle.command(&["--version"]).ok();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines, [concat!("skiff version ", env!("CARGO_PKG_VERSION")), "spec: 1.2.0"]);
    assert_eq!(bundle.command(&["-v"]).ok(), out);
}

#[test]
fn a_file_does_not_go_onto_a_directory() {
    let mut bundle = Bundle::new("true");
    bundle.add(
        "/mounts",
        json!({"destination": "/tmp", "type": "bind", "source": "config.json", "options": ["bind"]}),
    );
    bundle.run().refused("mount: /tmp: not a directory");
    bundle.spec["mounts"].as_array_mut().unwrap().pop();
    bundle.add(
        "/mounts",
        json!({"destination": "/bin/busybox", "type": "bind", "source": "rootfs", "options": ["bind"]}),
    );
    bundle.run().refused("not a directory");
}

#[test]
fn descriptors_that_are_not_there_cannot_be_preserved() {
    let bundle = Bundle::new("true");
    bundle.run_with(&["--preserve-fds", "40"]).refused("preserved descriptor");
}
