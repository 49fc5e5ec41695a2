//! Commands that meet, are killed half-way, or find their files spoilt: never more than one container, and nothing left.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::bundle::Bundle;

/// Starts a command and does not wait for it; its output goes nowhere, since a container may inherit it.
fn spawn(bundle: &Bundle, args: &[&str]) -> Child {
    let mut command = bundle.runtime(args);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn succeeded(children: Vec<Child>) -> usize {
    let ended = children.into_iter().map(|mut child| child.wait().unwrap());
    ended.filter(std::process::ExitStatus::success).count()
}

fn directory(bundle: &Bundle) -> String {
    bundle.path("").display().to_string()
}

#[test]
fn of_many_creations_and_starts_one_succeeds() {
    let bundle = Bundle::new("exec sleep 60");
    bundle.write();
    let directory = directory(&bundle);
    let create = |_| spawn(&bundle, &["create", "--bundle", &directory, &bundle.id]);
    assert_eq!(succeeded((0..8).map(create).collect()), 1);
    assert_eq!(bundle.state("status"), "created");
    let start = |_| spawn(&bundle, &["start", &bundle.id]);
    assert_eq!(succeeded((0..8).map(start).collect()), 1);
    assert_eq!(bundle.state("status"), "running");
}

#[test]
fn a_deletion_by_force_may_meet_a_creation_and_a_start() {
    let bundle = Bundle::new("exec sleep 60");
    bundle.write();
    let directory = directory(&bundle);
    for _ in 0..10 {
        let mut run = spawn(&bundle, &["run", "--detach", "--bundle", &directory, &bundle.id]);
        let mut delete = spawn(&bundle, &["delete", "--force", &bundle.id]);
        // Whoever comes first, both come to an end.
        run.wait().unwrap();
        delete.wait().unwrap();
        bundle.command(&["delete", "--force", &bundle.id]).ok();
        assert_eq!(bundle.left_overs(), Vec::<String>::new());
    }
}

#[test]
fn a_runtime_killed_at_any_moment_leaves_what_a_deletion_by_force_removes() {
    let bundle = Bundle::new("exec sleep 60");
    bundle.write();
    let directory = directory(&bundle);
    let mut killed = 0;
    for step in 0..30 {
        let mut create = spawn(&bundle, &["create", "--bundle", &directory, &bundle.id]);
        std::thread::sleep(Duration::from_millis(step));
        create.kill().unwrap();
        killed += usize::from(create.wait().unwrap().signal().is_some());
        bundle.command(&["delete", "--force", &bundle.id]).ok();
        assert_eq!(bundle.left_overs(), Vec::<String>::new(), "after {step} ms");
    }
    assert!(killed > 0, "every creation was done before it could be killed");
}

#[test]
fn a_record_that_cannot_be_read_hides_no_other_and_can_be_deleted() {
    let bundle = Bundle::new("exec sleep 60");
    bundle.start();
    let state = bundle.path("state");
    let spoilt = format!("{}-spoilt", bundle.id);
    fs_err::create_dir(state.join(&spoilt)).unwrap();
    fs_err::write(state.join(&spoilt).join("state.json"), "{\"id\":").unwrap();
    let answer = bundle.command(&["list", "--quiet"]);
    assert!(answer.err.contains("state.json"), "{answer:?}");
    assert_eq!(answer.ok(), bundle.id);
    bundle.command(&["state", &spoilt]).refused("state.json");
    bundle.command(&["delete", &spoilt]).refused("state.json");
    bundle.command(&["delete", "--force", &spoilt]).ok();
    assert!(!state.join(&spoilt).exists());
    // One whose processes run still.
    fs_err::write(state.join(&bundle.id).join("state.json"), "").unwrap();
    bundle.command(&["delete", "--force", &bundle.id]).ok();
    assert_eq!(bundle.left_overs(), Vec::<String>::new());
}

#[test]
fn on_a_full_disk_nothing_is_left() {
    let bundle = Bundle::new("exec sleep 60");
    bundle.write();
    let directory = directory(&bundle);
    let state = bundle.path("state");
    fs_err::create_dir(&state).unwrap();
    // For this thread and the commands that it starts.
    skiff_sys::clone::unshare_mounts().unwrap();
    rustix::mount::mount_change(
        "/",
        rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC,
    )
    .unwrap();
    rustix::mount::mount("tmpfs", &state, "tmpfs", rustix::mount::MountFlags::empty(), c"size=4k").unwrap();
    fs_err::write(state.join("filler"), [0; 4096]).unwrap();
    bundle.command(&["create", "--bundle", &directory, &bundle.id]).refused("o space left on device");
    bundle.command(&["run", "--bundle", &directory, &bundle.id]).refused("o space left on device");
    let there: Vec<_> = fs_err::read_dir(&state).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(there, ["filler"]);
    rustix::mount::unmount(&state, rustix::mount::UnmountFlags::empty()).unwrap();
}

#[test]
fn a_thousand_mounts_and_a_great_specification_are_no_trouble() {
    let mut bundle = Bundle::new("grep -c /many/ /proc/mounts");
    for number in 0..1000 {
        let mount = json!({"destination": format!("/many/{number}"), "type": "bind", "source": "rootfs/etc", "options": ["bind", "ro"]});
        bundle.add("/mounts", mount);
    }
    bundle.set("/annotations/great", json!("x".repeat(4 << 20)));
    assert_eq!(bundle.run().ok(), "1000");
    bundle.set("/process/env", json!([format!("PATH=/bin"), format!("GREAT={}", "x".repeat(200 << 10))]));
    bundle.run().refused("argument list too long");
}

#[test]
fn cycles_of_creation_and_deletion_leave_nothing() {
    let bundle = Bundle::new("true");
    bundle.write();
    let directory = directory(&bundle);
    for _ in 0..50 {
        assert!(spawn(&bundle, &["create", "--bundle", &directory, &bundle.id]).wait().unwrap().success());
        bundle.command(&["delete", &bundle.id]).ok();
    }
    assert_eq!(bundle.left_overs(), Vec::<String>::new());
    assert_eq!(fs_err::read_dir(bundle.path("state")).unwrap().count(), 0);
}
