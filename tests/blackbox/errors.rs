//! Status and wording of what goes wrong. Each expectation was read off a real Docker.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use skiff_testkit::http::Body;

use crate::Test;

#[test]
fn unknown_things_are_404() -> Result<()> {
    let mut test = Test::new()?;
    for (method, path, message) in [
        ("GET", "/containers/nosuch/json", "No such container: nosuch"),
        ("POST", "/containers/nosuch/start", "No such container: nosuch"),
        ("POST", "/containers/nosuch/stop", "No such container: nosuch"),
        ("POST", "/containers/nosuch/kill", "cannot kill container: nosuch: No such container: nosuch"),
        ("POST", "/containers/nosuch/wait", "No such container: nosuch"),
        ("GET", "/containers/nosuch/logs?stdout=1", "No such container: nosuch"),
        ("DELETE", "/containers/nosuch", "No such container: nosuch"),
        ("GET", "/containers/nosuch/top", "No such container: nosuch"),
        ("POST", "/containers/nosuch/exec", "No such container: nosuch"),
        ("GET", "/images/nosuch/json", "No such image: nosuch:latest"),
        ("GET", "/images/nosuch/history", "No such image: nosuch:latest"),
        ("DELETE", "/images/nosuch", "No such image: nosuch:latest"),
        ("GET", "/networks/nosuch", "network nosuch not found"),
        ("GET", "/nonsense", "page not found"),
    ] {
        let body = json!({ "Cmd": ["x"] });
        let body = if path.ends_with("/exec") { Body::Json(&body) } else { Body::Empty };
        let answer = test.client.request(method, path, &body)?;
        assert_eq!((answer.status, answer.message().as_str()), (404, message), "{method} {path}");
    }
    Ok(())
}

/// Go's client writes the head of a request first: it is still at the body when a refusal comes that nobody needs a body for.
#[test]
fn a_refusal_reaches_who_is_still_sending() -> Result<()> {
    let test = Test::new()?;
    for (method, path, status) in [
        ("POST", "/images/nosuch/push?tag=1", "200"),
        ("POST", "/images/create?fromImage=nosuch&tag=1&platform=no/such/thing/x", "400"),
        ("POST", "/images/load?platform=nonsense", "400"),
        ("POST", "/images/nosuch/tag?repo=a", "404"),
        ("DELETE", "/images/nosuch", "404"),
        ("POST", "/images/prune?filters=nonsense", "400"),
        ("POST", "/containers/nosuch/start", "404"),
        ("POST", "/v1.12/auth", "400"),
        ("POST", "/nonsense", "404"),
    ] {
        let mut connection = UnixStream::connect(test.client.socket())?;
        let typed = "Host: d\r\nContent-Type: application/json";
        write!(connection, "{method} {path} HTTP/1.1\r\n{typed}\r\nContent-Length: 3\r\n\r\n")?;
        // Long enough for an answer; an engine may also wait for the body.
        std::thread::sleep(Duration::from_millis(100));
        connection.write_all(b"{}\n").context(path)?;
        // The connection goes on behind it.
        connection.write_all(b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n").context(path)?;
        let mut answers = String::new();
        connection.read_to_string(&mut answers).context(path)?;
        assert!(answers.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answers}");
        assert!(answers.ends_with("\r\n\r\nOK"), "{path}: {answers}");
    }
    Ok(())
}

#[test]
fn a_create_that_makes_no_sense_is_refused_and_leaves_nothing() -> Result<()> {
    let mut test = Test::new()?;
    let count = |test: &mut Test| -> Result<usize> {
        Ok(test.client.get("/containers/json?all=1")?.ok()?.json()?.as_array().map_or(0, Vec::len))
    };
    let before = count(&mut test)?;
    for (query, body, status, message) in [
        ("", json!({}), 400, "config cannot be empty in order to create a container"),
        ("", json!({ "Image": "nosuch" }), 404, "No such image: nosuch:latest"),
        (
            "",
            json!({ "Image": "UPPER" }),
            400,
            "invalid reference format: repository name (library/UPPER) must be lowercase",
        ),
        (
            "?name=-bad",
            Test::body(&["true"]),
            400,
            "Invalid container name (-bad), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
        ),
        (
            "",
            json!({ "Image": "busybox", "Cmd": ["x"], "HostConfig": { "Binds": ["relative:/x:nonsense"] } }),
            500,
            "invalid mode: nonsense",
        ),
        (
            "",
            json!({ "Image": "busybox", "Cmd": ["x"], "WorkingDir": "relative" }),
            400,
            "the working directory 'relative' is invalid, it needs to be an absolute path",
        ),
        (
            "",
            json!({ "Image": "busybox", "Cmd": ["x"], "StopSignal": "NONSENSE" }),
            400,
            "invalid signal: NONSENSE",
        ),
        (
            "",
            json!({ "Image": "busybox", "Cmd": ["x"], "HostConfig": { "CapAdd": ["NONSENSE"] } }),
            400,
            "invalid CapAdd: unknown capability: \"CAP_NONSENSE\"",
        ),
    ] {
        let answer = test.client.post(&format!("/containers/create{query}"), &body)?;
        assert_eq!((answer.status, answer.message().as_str()), (status, message), "{body}");
    }
    assert_eq!(count(&mut test)?, before);
    Ok(())
}

#[test]
fn malformed_requests_are_told_what_is_wrong() -> Result<()> {
    let mut test = Test::new()?;
    let text = Body::Bytes("text/plain", b"{}");
    let wrong_type = test.client.request("POST", "/containers/create", &text)?;
    assert_eq!(wrong_type.status, 400);
    assert_eq!(
        wrong_type.message(),
        "unsupported Content-Type header (text/plain): must be 'application/json'"
    );
    let cut = test.client.request(
        "POST",
        "/containers/create",
        &Body::Bytes("application/json", b"{\"Image\":"),
    )?;
    assert_eq!(cut.status, 400);
    let empty = test.client.request("POST", "/containers/create", &Body::Bytes("application/json", b""))?;
    assert_eq!(empty.status, 400);
    Ok(())
}

#[test]
fn versions_out_of_range_are_refused() -> Result<()> {
    let mut test = Test::new()?;
    let old = test.client.get("/v1.12/version")?;
    assert_eq!(old.status, 400);
    assert!(old.message().contains("client version 1.12 is too old"), "{}", old.message());
    let new = test.client.get("/v1.99/version")?;
    assert_eq!(new.status, 400);
    assert!(
        new.message().starts_with("client version 1.99 is too new. Maximum supported API version is 1.51")
    );
    Ok(())
}

#[test]
fn ping_says_who_answers() -> Result<()> {
    let mut test = Test::new()?;
    let ping = test.client.get("/_ping")?;
    assert_eq!((ping.status, ping.text().as_str()), (200, "OK"));
    assert_eq!(ping.header("api-version"), Some("1.51"));
    assert_eq!(ping.header("ostype"), Some("linux"));
    assert_eq!(ping.header("docker-experimental"), Some("false"));
    assert_eq!(test.client.request("HEAD", "/_ping", &Body::Empty)?.status, 200);
    let version = test.client.get("/version")?.ok()?.json()?;
    assert_eq!((&version["ApiVersion"], &version["Os"]), (&json!("1.51"), &json!("linux")));
    assert_eq!(version["MinAPIVersion"], "1.24");
    Ok(())
}

#[test]
fn top_lists_the_processes() -> Result<()> {
    let mut test = Test::new()?;
    let id = test.up(&Test::body(&["sleep", "1000"]))?;
    let top = test.client.get(&format!("/containers/{id}/top"))?.ok()?.json()?;
    assert_eq!(top["Titles"], json!(["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]));
    assert_eq!(top["Processes"][0][7], "sleep 1000");
    test.act(&id, "kill")?.ok()?;
    test.wait(&id)?;
    let ended = test.client.get(&format!("/containers/{id}/top"))?;
    assert_eq!((ended.status, ended.message()), (409, format!("container {id} is not running")));
    Ok(())
}

#[test]
fn a_body_of_null_is_no_body() -> Result<()> {
    let mut test = Test::new()?;
    let id = test.up(&Test::body(&["sleep", "1000"]))?;
    let body: Value = json!({ "Cmd": ["true"], "Env": null, "Privileged": null });
    assert_eq!(test.client.post(&format!("/containers/{id}/exec"), &body)?.status, 201);
    Ok(())
}
