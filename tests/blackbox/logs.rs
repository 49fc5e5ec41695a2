//! What containers printed.

use std::io::Read;

use anyhow::Result;
use serde_json::json;
use skiff_testkit::http::{Body, frames};

use crate::Test;

#[test]
fn tail_and_streams_choose_lines() -> Result<()> {
    let mut test = Test::new()?;
    let id =
        test.up(&Test::body(&["sh", "-c", "for i in 1 2 3 4 5; do echo $i; done; sleep 0.1; echo e >&2"]))?;
    test.wait(&id)?;
    assert_eq!(test.logs(&id, "stdout=1&tail=2")?.0, "5\n");
    assert_eq!(test.logs(&id, "stdout=1&tail=3&stderr=1")?, ("4\n5\n".into(), "e\n".into()));
    assert_eq!(test.logs(&id, "stderr=1")?, (String::new(), "e\n".into()));
    assert_eq!(test.logs(&id, "stdout=1&tail=0")?.0, "");
    let neither = test.client.get(&format!("/containers/{id}/logs"))?;
    let wording = "Bad parameters: you must choose at least one stream";
    assert_eq!((neither.status, neither.message().as_str()), (400, wording));
    Ok(())
}

#[test]
fn timestamps_are_rfc3339_with_nanoseconds() -> Result<()> {
    let mut test = Test::new()?;
    let id = test.up(&Test::body(&["echo", "hi"]))?;
    test.wait(&id)?;
    let (out, _) = test.logs(&id, "stdout=1&timestamps=1")?;
    let (stamp, text) = out.split_once(' ').expect("a stamp");
    assert_eq!(text, "hi\n");
    assert_eq!(stamp.len(), "2006-01-02T15:04:05.000000000Z".len(), "{stamp}");
    // Since the stamp's own second finds the line, since the next does not.
    let started = test.inspect(&id)?["State"]["StartedAt"].as_str().unwrap_or_default().to_owned();
    assert!(started[..17] <= stamp[..17]);
    assert_eq!(test.logs(&id, "stdout=1&since=4000000000")?.0, "");
    assert_eq!(test.logs(&id, "stdout=1&until=1")?.0, "");
    Ok(())
}

#[test]
fn follow_ends_with_the_container() -> Result<()> {
    let mut test = Test::new()?;
    let id = test.up(&Test::body(&["sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done"]))?;
    let path = format!("/containers/{id}/logs?stdout=1&follow=1");
    let mut bytes = Vec::new();
    test.client.stream("GET", &path, &Body::Empty)?.read_to_end(&mut bytes)?;
    assert_eq!(frames(&mut bytes.as_slice())?.0, b"1\n2\n3\n");
    Ok(())
}

#[test]
fn bytes_come_back_as_they_were_printed() -> Result<()> {
    let mut test = Test::new()?;
    let line = r#"printf 'quote " back \\ tab \t nul-free \001 bell \007 <&> é €\n'; printf 'no newline'"#;
    let printed = test.shell(line)?;
    assert_eq!(printed, "quote \" back \\ tab \t nul-free \u{1} bell \u{7} <&> é €\nno newline");
    let long = test.shell("head -c 100000 /dev/zero | tr '\\0' x")?;
    assert_eq!(long.len(), 100_000);
    Ok(())
}

#[test]
fn a_terminal_s_log_is_raw() -> Result<()> {
    let mut test = Test::new()?;
    let mut body = Test::body(&["echo", "hi"]);
    body["Tty"] = json!(true);
    let id = test.up(&body)?;
    test.wait(&id)?;
    let answer = test.client.get(&format!("/containers/{id}/logs?stdout=1"))?.ok()?;
    assert_eq!(answer.body, b"hi\r\n");
    assert_eq!(answer.header("content-type"), Some("application/vnd.docker.raw-stream"));
    Ok(())
}

#[test]
fn rotation_keeps_as_much_as_was_asked_for() -> Result<()> {
    let mut test = Test::new()?;
    let mut body = Test::body(&["sh", "-c", "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done"]);
    body["HostConfig"]["LogConfig"] =
        json!({ "Type": "json-file", "Config": { "max-size": "20k", "max-file": "2" } });
    let ran = test.run(&body)?;
    assert!(ran.out.ends_with("line 2999\n"));
    let lines = ran.out.lines().count();
    assert!((100..1500).contains(&lines), "{lines} lines are left");
    Ok(())
}

#[test]
fn the_driver_none_keeps_nothing_and_says_so() -> Result<()> {
    let mut test = Test::new()?;
    let mut body = Test::body(&["echo", "hi"]);
    body["HostConfig"]["LogConfig"] = json!({ "Type": "none", "Config": {} });
    let id = test.up(&body)?;
    test.wait(&id)?;
    let answer = test.client.get(&format!("/containers/{id}/logs?stdout=1"))?;
    let text = answer.text();
    assert!(text.contains("configured logging driver does not support reading"), "{}: {text}", answer.status);
    Ok(())
}
