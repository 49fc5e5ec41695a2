//! Containers of somebody without privileges.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use serde_json::{Value, json};

use crate::bundle::{Answer, Bundle, answer, eventually, give_to};

/// `nobody`: on every Debian, and without any rights.
const USER: u32 = 65_534;

/// A command of the runtime, by that user.
fn command(bundle: &Bundle, args: &[&str]) -> Answer {
    answer(&mut as_user(bundle, args))
}

fn as_user(bundle: &Bundle, args: &[&str]) -> Command {
    let mut command = bundle.runtime(args);
    command.uid(USER).gid(USER);
    command
}

/// The bundle that `runc spec --rootless` (1.3.6) writes, but for the program.
fn bundle(script: &str) -> Bundle {
    let mut bundle = Bundle::new("");
    bundle.spec = serde_json::from_str(include_str!("data/runc-spec-rootless.json")).unwrap();
    bundle.set("/process/args", json!(["sh", "-c", script])).set("/process/terminal", json!(false));
    bundle.write();
    give_to(&bundle.path(""), USER);
    bundle
}

#[test]
fn a_container_without_privileges_runs() {
    let bundle = bundle("id -u; hostname; cat /proc/self/setgroups; echo $$");
    let directory = bundle.path("").display().to_string();
    let out = command(&bundle, &["run", "--bundle", &directory, &bundle.id]).ok();
    assert_eq!(out, "0\nrunc\ndeny\n1");
}

#[test]
fn it_goes_through_its_states_and_takes_further_processes() {
    let bundle = bundle("exec sleep 60");
    let directory = bundle.path("").display().to_string();
    let id = bundle.id.as_str();
    let status = || {
        let text = command(&bundle, &["state", id]).ok();
        serde_json::from_str::<Value>(&text).unwrap()["status"].clone()
    };
    let mut create = as_user(&bundle, &["create", "--bundle", &directory, id]);
    // The container outlives the command and must not keep its output open.
    create.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    assert!(create.status().unwrap().success());
    assert_eq!(status(), "created");
    command(&bundle, &["start", id]).ok();
    assert_eq!(status(), "running");
    let own = command(&bundle, &["exec", id, "sh", "-c", "id -u; readlink /proc/self/ns/pid"]).ok();
    let first = command(&bundle, &["exec", id, "readlink", "/proc/1/ns/pid"]).ok();
    assert_eq!(own, format!("0\n{first}"));
    command(&bundle, &["pause", id]).refused("");
    command(&bundle, &["ps", id]).refused("without a cgroup");
    command(&bundle, &["kill", id, "KILL"]).ok();
    eventually("the end", || status() == "stopped");
    command(&bundle, &["delete", id]).ok();
}

/// Without a cgroup nobody else knows of the process that a killed creation has left waiting.
#[test]
fn a_killed_creation_leaves_no_process() {
    let bundle = bundle("exec sleep 60");
    let directory = bundle.path("").display().to_string();
    let id = bundle.id.as_str();
    for step in 0..20 {
        let mut create = as_user(&bundle, &["create", "--bundle", &directory, id]);
        let mut create =
            create.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(5 * step));
        create.kill().unwrap();
        create.wait().unwrap();
        command(&bundle, &["delete", "--force", id]).ok();
        eventually("no process with its root there", || !lives(&bundle));
    }
}

/// Whether a process of that bundle is there: each has the directory among its mounts.
fn lives(bundle: &Bundle) -> bool {
    let directory = bundle.path("rootfs").display().to_string();
    let processes = fs_err::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    processes
        .filter_map(|process| fs_err::read_to_string(process.join("mountinfo")).ok())
        .any(|mounts| mounts.contains(&directory))
}

#[test]
fn limits_and_foreign_ids_take_privileges() {
    let mut bundle = bundle("true");
    let directory = bundle.path("").display().to_string();
    let run = |bundle: &Bundle| command(bundle, &["run", "--bundle", &directory, &bundle.id]);
    bundle.set("/linux/resources", json!({"pids": {"limit": 10}}));
    bundle.write();
    run(&bundle).refused("cannot create cgroup");
    bundle.set("/linux/resources", json!({}));
    bundle.set("/linux/uidMappings", json!([{"containerID": 0, "hostID": 0, "size": 1}]));
    bundle.write();
    run(&bundle).refused("only one's own id can be mapped");
}
