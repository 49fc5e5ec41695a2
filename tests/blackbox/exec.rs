//! Processes started in running containers.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use skiff_testkit::http::Body;

use crate::Test;

fn exec(test: &mut Test, id: &str, body: &Value) -> Result<String> {
    let made = test.client.post(&format!("/containers/{id}/exec"), body)?.ok()?;
    assert_eq!(made.status, 201);
    made.json()?["Id"].as_str().map(str::to_owned).context("no Id")
}

/// Runs a command to its end; its standard output.
pub(crate) fn output(test: &mut Test, id: &str, command: &[&str]) -> Result<String> {
    let exec_id = exec(test, id, &json!({ "AttachStdout": true, "Cmd": command }))?;
    let start = json!({ "Detach": false, "Tty": false });
    let mut stream = test.client.hijack(&format!("/exec/{exec_id}/start"), &Body::Json(&start))?;
    Ok(String::from_utf8(stream.read_frames()?.0)?)
}

fn sleeping(test: &mut Test) -> Result<String> {
    test.up(&Test::body(&["sleep", "1000"]))
}

#[test]
fn an_exec_has_its_own_streams_and_exit_code() -> Result<()> {
    let mut test = Test::new()?;
    let id = sleeping(&mut test)?;
    let body = json!({
        "AttachStdout": true, "AttachStderr": true, "Env": ["A=b"], "WorkingDir": "/tmp", "User": "app",
        "Cmd": ["sh", "-c", "echo $A $(pwd) $(id -un); echo no >&2; exit 9"],
    });
    let exec_id = exec(&mut test, &id, &body)?;
    let start = json!({ "Detach": false, "Tty": false });
    let mut stream = test.client.hijack(&format!("/exec/{exec_id}/start"), &Body::Json(&start))?;
    assert_eq!(stream.read_frames()?, (b"b /tmp app\n".to_vec(), b"no\n".to_vec()));
    let seen = test.client.get(&format!("/exec/{exec_id}/json"))?.ok()?.json()?;
    assert_eq!((&seen["ExitCode"], &seen["Running"]), (&json!(9), &json!(false)));
    assert_eq!(seen["ContainerID"], id);
    assert_eq!(test.inspect(&id)?["State"]["Running"], true);
    Ok(())
}

#[test]
fn the_end_of_standard_input_reaches_the_process() -> Result<()> {
    let mut test = Test::new()?;
    let id = sleeping(&mut test)?;
    let body = json!({ "AttachStdin": true, "AttachStdout": true, "Cmd": ["cat"] });
    let exec_id = exec(&mut test, &id, &body)?;
    let start = json!({ "Detach": false, "Tty": false });
    let mut stream = test.client.hijack(&format!("/exec/{exec_id}/start"), &Body::Json(&start))?;
    let long = vec![b'x'; 300_000];
    stream.send(&long)?;
    stream.close_stdin()?;
    assert_eq!(stream.read_frames()?.0.len(), long.len());
    Ok(())
}

#[test]
fn a_privileged_exec_may_call_no_more_than_its_container() -> Result<()> {
    let mut test = Test::new()?;
    let id = sleeping(&mut test)?;
    let mount = "grep ^Seccomp: /proc/self/status; mount -t tmpfs x /mnt && echo mounted";
    let body = json!({ "AttachStdout": true, "Privileged": true, "Cmd": ["sh", "-c", mount] });
    let exec_id = exec(&mut test, &id, &body)?;
    let start = json!({ "Detach": false, "Tty": false });
    let mut stream = test.client.hijack(&format!("/exec/{exec_id}/start"), &Body::Json(&start))?;
    assert_eq!(stream.read_frames()?.0, b"Seccomp:\t2\n");
    Ok(())
}

#[test]
fn a_tty_is_one() -> Result<()> {
    let mut test = Test::new()?;
    let id = sleeping(&mut test)?;
    let body = json!({ "AttachStdout": true, "Tty": true, "Cmd": ["sh", "-c", "tty; stty size"] });
    let exec_id = exec(&mut test, &id, &body)?;
    let start = json!({ "Detach": false, "Tty": true, "ConsoleSize": [33, 99] });
    let mut stream = test.client.hijack(&format!("/exec/{exec_id}/start"), &Body::Json(&start))?;
    let out = String::from_utf8(stream.read_raw()?)?;
    assert!(out.starts_with("/dev/pts/"), "{out}");
    assert!(out.ends_with("33 99\r\n"), "{out}");
    Ok(())
}

#[test]
fn a_detached_exec_answers_at_once() -> Result<()> {
    let mut test = Test::new()?;
    let id = sleeping(&mut test)?;
    let exec_id = exec(&mut test, &id, &json!({ "Cmd": ["sh", "-c", "sleep 1000"] }))?;
    let start = test.client.post(&format!("/exec/{exec_id}/start"), &json!({ "Detach": true }))?;
    assert_eq!(start.status, 200);
    assert_eq!(test.client.get(&format!("/exec/{exec_id}/json"))?.ok()?.json()?["Running"], true);
    Ok(())
}

#[test]
fn what_cannot_be_executed_says_so() -> Result<()> {
    let mut test = Test::new()?;
    let id = sleeping(&mut test)?;
    let missing = test.client.post(&format!("/containers/{id}/exec"), &json!({ "Cmd": [] }))?;
    assert_eq!((missing.status, missing.message().as_str()), (400, "No exec command specified"));
    let unknown = test.client.get("/exec/0123456789abcdef/json")?;
    assert_eq!(
        (unknown.status, unknown.message().as_str()),
        (404, "No such exec instance: 0123456789abcdef")
    );

    let exec_id = exec(&mut test, &id, &json!({ "Cmd": ["nowhere"], "AttachStdout": true }))?;
    let start = json!({ "Detach": false, "Tty": false });
    let _ =
        test.client.hijack(&format!("/exec/{exec_id}/start"), &Body::Json(&start)).map(|mut s| s.read_raw());
    let seen = test.client.get(&format!("/exec/{exec_id}/json"))?.ok()?.json()?;
    assert_eq!(seen["ExitCode"], 127);

    test.act(&id, "kill")?.ok()?;
    test.wait(&id)?;
    let stopped = test.client.post(&format!("/containers/{id}/exec"), &json!({ "Cmd": ["true"] }))?;
    assert_eq!((stopped.status, stopped.message()), (409, format!("container {id} is not running")));
    Ok(())
}

#[test]
fn whoever_hears_of_the_start_can_set_the_size_at_once() -> Result<()> {
    let mut test = Test::new()?;
    let id = sleeping(&mut test)?;
    let body = json!({ "AttachStdin": true, "AttachStdout": true, "Tty": true, "Cmd": ["cat"] });
    for _ in 0..20 {
        let exec_id = exec(&mut test, &id, &body)?;
        let start = json!({ "Detach": false, "Tty": true });
        let _stream = test.client.hijack(&format!("/exec/{exec_id}/start"), &Body::Json(&start))?;
        let resized =
            test.engine.client().post(&format!("/exec/{exec_id}/resize?h=33&w=77"), &Value::Null)?;
        assert_eq!((resized.status, resized.message().as_str()), (200, ""));
    }
    Ok(())
}

#[test]
fn a_paused_container_is_called_as_it_was_asked_for() -> Result<()> {
    let mut test = Test::new()?;
    let id = sleeping(&mut test)?;
    test.act(&id, "pause")?.ok()?;
    for name in [&id, &id[..12]] {
        let refused = test.client.post(&format!("/containers/{name}/exec"), &json!({ "Cmd": ["true"] }))?;
        let message = format!("Container {name} is paused, unpause the container before exec");
        assert_eq!((refused.status, refused.message()), (409, message));
    }
    test.act(&id, "unpause")?.ok()?;
    Ok(())
}

#[test]
fn the_home_directory_comes_last() -> Result<()> {
    let mut test = Test::new()?;
    let id = sleeping(&mut test)?;
    let body = json!({ "AttachStdout": true, "Env": ["A=b"], "User": "app", "Cmd": ["env"] });
    let exec_id = exec(&mut test, &id, &body)?;
    let start = json!({ "Detach": false, "Tty": false });
    let mut stream = test.client.hijack(&format!("/exec/{exec_id}/start"), &Body::Json(&start))?;
    let out = String::from_utf8(stream.read_frames()?.0)?;
    assert!(out.ends_with("\nA=b\nHOME=/tmp\n"), "{out}");
    Ok(())
}
