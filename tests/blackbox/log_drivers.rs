//! Log drivers: which options they take, and what their receivers get. Receivers listen on the engine's host.

use std::{
    io::Read,
    net::{TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::Test;

/// For what never comes.
const PATIENCE: Duration = Duration::from_secs(60);

fn options(options: &[(&str, &str)]) -> Value {
    options
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn body(driver: &str, log_options: &[(&str, &str)], script: &str) -> Value {
    let mut body = Test::body(&["sh", "-c", script]);
    body["HostConfig"]["LogConfig"] = json!({ "Type": driver, "Config": options(log_options) });
    body
}

/// Reads from a connection until `enough` is satisfied with what has come. The receiver stays: Docker calls it again when it reads
/// the log of a container that has ended.
fn receive(
    listener: TcpListener,
    enough: impl Fn(&[u8]) -> bool,
) -> Result<(Vec<u8>, (TcpListener, TcpStream))> {
    let (mut socket, _) = listener.accept()?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut got = Vec::new();
    let mut space = [0; 4096];
    while !enough(&got) {
        match socket.read(&mut space).context("the receiver waits in vain")? {
            0 => break,
            len => got.extend_from_slice(&space[..len]),
        }
    }
    Ok((got, (listener, socket)))
}

fn count(bytes: &[u8], byte: u8) -> usize {
    bytes.iter().filter(|b| **b == byte).count()
}

#[test]
fn wrong_options_are_refused_at_creation() -> Result<()> {
    let mut test = Test::new()?;
    for (driver, options, words) in [
        ("nope", &[][..], "error looking up logging plugin nope: plugin \"nope\" not found"),
        ("etwlogs", &[], "error looking up logging plugin etwlogs: plugin \"etwlogs\" not found"),
        ("json-file", &[("mode", "x")], "logger: logging mode not supported: x"),
        ("json-file", &[("foo", "1")], "unknown log opt 'foo' for json-file log driver"),
        ("json-file", &[("cache-disabled", "x")], "invalid value for option cache-disabled: x"),
        ("local", &[("labels", "a")], "unknown log opt 'labels' for log driver local"),
        ("syslog", &[("max-size", "1m")], "unknown log opt 'max-size' for syslog log driver"),
        ("syslog", &[("syslog-address", "foo://x")], "unsupported scheme: 'foo'"),
        (
            "syslog",
            &[("syslog-address", "127.0.0.1:514")],
            r#"parse "127.0.0.1:514": first path segment in URL cannot contain colon"#,
        ),
        ("syslog", &[("syslog-address", "unix:///nope/x")], "stat /nope/x: no such file or directory"),
        ("syslog", &[("syslog-facility", "24")], "invalid syslog facility"),
        ("syslog", &[("syslog-format", "x")], "Invalid syslog format"),
        (
            "fluentd",
            &[("fluentd-address", "a:1/x")],
            "invalid fluentd-address (a:1/x): should not contain a path element",
        ),
        ("fluentd", &[("fluentd-retry-wait", "x")], r#"time: invalid duration "x""#),
        ("fluentd", &[("fluentd-max-retries", "-1")], r#"strconv.ParseUint: parsing "-1": invalid syntax"#),
        ("gelf", &[], "gelf-address is a required parameter"),
        ("gelf", &[("gelf-address", "udp://h")], "gelf: please provide gelf-address as proto://host:port"),
        (
            "gelf",
            &[("gelf-address", "tcp://h:1"), ("gelf-compression-type", "gzip")],
            "compression is only supported on UDP",
        ),
        (
            "gelf",
            &[("gelf-address", "udp://h:1"), ("foo", "1")],
            r#"unknown log opt "foo" for gelf log driver"#,
        ),
        ("journald", &[("foo", "1")], "unknown log opt 'foo' for journald log driver"),
    ] {
        let answer = test.client.post("/containers/create", &body(driver, options, "true"))?;
        assert_eq!((answer.status, answer.message().as_str()), (400, words), "{driver} {options:?}");
    }
    Ok(())
}

#[test]
fn wrong_values_are_told_at_the_start() -> Result<()> {
    let mut test = Test::new()?;
    let prefix = "failed to create task for container: failed to initialize logging driver: ";
    let tls = ("syslog-address", "tcp+tls://127.0.0.1:1");
    for (driver, options, status, words) in [
        ("json-file", &[("max-size", "x")][..], 500, "invalid size: 'x'"),
        ("json-file", &[("max-size", "0")], 500, "max-size must be a positive number"),
        ("json-file", &[("max-file", "0")], 500, "max-file cannot be less than 1"),
        ("json-file", &[("compress", "x")], 500, r#"strconv.ParseBool: parsing "x": invalid syntax"#),
        ("json-file", &[("labels-regex", "(")], 500, "error parsing regexp: missing closing ): `(`"),
        (
            "json-file",
            &[("tag", "{{.Foo}}")],
            500,
            r#"template: log-tag:1:2: executing "log-tag" at <.Foo>: can't evaluate field Foo in type *logger.Info"#,
        ),
        ("json-file", &[("tag", "{{")], 500, "template: log-tag:1: unclosed action"),
        ("local", &[("max-size", "x")], 500, "invalid value for max-size: x: invalid size: 'x'"),
        ("local", &[("max-file", "1")], 500, "compression cannot be enabled when max file count is 1"),
        (
            "syslog",
            &[tls, ("syslog-tls-ca-cert", "/nope")],
            400,
            r#"could not read CA certificate "/nope": open /nope: no such file or directory"#,
        ),
        (
            "syslog",
            &[tls, ("syslog-tls-cert", "/nope")],
            400,
            "Could not load X509 key pair: open /nope: no such file or directory",
        ),
        (
            "syslog",
            &[("syslog-address", "udp://127.0.0.1"), ("tag", "{{.Name.Foo}}")],
            500,
            r#"template: log-tag:1:7: executing "log-tag" at <.Name.Foo>: can't evaluate field Foo in type string"#,
        ),
    ] {
        let id = test.create(&body(driver, options, "true"))?;
        let answer = test.act(&id, "start")?;
        let expected = format!("{prefix}{words}");
        assert_eq!((answer.status, answer.message()), (status, expected), "{driver} {options:?}");
    }
    Ok(())
}

#[test]
fn the_driver_local_keeps_what_it_was_told_to() -> Result<()> {
    let mut test = Test::new()?;
    let script = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done";
    let ran = test.run(&body("local", &[("max-size", "20k"), ("max-file", "3")], script))?;
    assert!(ran.out.ends_with("line 2998\nline 2999\n"));
    let lines = ran.out.lines().count();
    assert!((100..2900).contains(&lines), "{lines} lines are left");
    let id = test.made[0].clone();
    assert_eq!(test.logs(&id, "stdout=1&tail=2")?.0, "line 2998\nline 2999\n");
    assert_eq!(test.inspect(&id)?["LogPath"], "");
    Ok(())
}

#[test]
fn labels_variables_and_tags_are_kept_beside_the_lines() -> Result<()> {
    let mut test = Test::new()?;
    let log_options = [
        ("labels", "app"),
        ("labels-regex", "^com\\."),
        ("env", "A"),
        ("env-regex", "^B"),
        ("tag", "{{.ImageName}}/{{upper .Name}}"),
    ];
    let mut body = body("json-file", &log_options, "echo hi");
    body["Labels"] = json!({ "app": "shop", "com.x": "y", "other": "z" });
    body["Env"] = json!(["A=1", "BB=2", "C=3"]);
    let name = test.name("tagged");
    let id = test.create_named(&name, &body)?;
    test.start(&id)?;
    test.wait(&id)?;
    let tag = format!("busybox%2F{}", name.to_uppercase());
    let expected = format!("A=1,BB=2,app=shop,com.x=y,tag={tag} hi\n");
    assert_eq!(test.logs(&id, "stdout=1&details=1")?.0, expected);
    Ok(())
}

#[test]
fn syslog_gets_messages_over_tcp() -> Result<()> {
    let mut test = Test::new()?;
    for (format, between) in [("rfc3164", " "), ("rfc5424micro", " ")] {
        let listener = test.engine.listen()?;
        let address = format!("tcp://{}", listener.local_addr()?);
        let log_options = [
            ("syslog-address", address.as_str()),
            ("syslog-facility", "local0"),
            ("syslog-format", format),
            ("tag", "{{.Name}}"),
        ];
        let name = test.name("syslog");
        let id = test
            .create_named(&name, &body("syslog", &log_options, "echo out; echo; sleep 0.2; echo err >&2"))?;
        let receiving = std::thread::spawn(move || receive(listener, |got| count(got, b'\n') == 2));
        test.start(&id)?;
        let (got, _stays) = receiving.join().expect("no panic")?;
        let text = String::from_utf8(got)?;
        let lines: Vec<&str> = text.lines().collect();
        // local0 is 16: 16 * 8 + 6 for what is printed, + 3 for errors. Empty lines are not sent.
        assert!(lines[0].starts_with("<134>") && lines[0].ends_with(&format!("{between}out")), "{text}");
        assert!(lines[1].starts_with("<131>") && lines[1].ends_with(&format!("{between}err")), "{text}");
        let head = if format == "rfc3164" { format!(" {name}[") } else { format!(" {name} - out") };
        assert!(lines[0].contains(&head), "{text}");
        test.wait(&id)?;
        assert_eq!(test.logs(&id, "stdout=1&stderr=1")?, ("out\n\n".into(), "err\n".into()));
        assert_eq!(test.inspect(&id)?["LogPath"], "");
    }
    Ok(())
}

#[test]
fn syslog_gets_messages_over_a_unix_socket() -> Result<()> {
    let mut test = Test::new()?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("log");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let address = format!("unixgram://{}", path.display());
    let id = test.up(&body("syslog", &[("syslog-address", &address), ("tag", "t")], "echo hello"))?;
    let mut space = [0; 1024];
    let len = socket.recv(&mut space)?;
    let text = std::str::from_utf8(&space[..len])?;
    assert!(text.starts_with("<30>") && text.contains(" t[") && text.ends_with("]: hello\n"), "{text:?}");
    test.wait(&id)?;
    Ok(())
}

#[test]
fn fluentd_gets_records() -> Result<()> {
    let mut test = Test::new()?;
    let listener = test.engine.listen()?;
    let address = listener.local_addr()?.to_string();
    let log_options = [("fluentd-address", address.as_str()), ("tag", "the.tag"), ("labels", "app")];
    let mut body = body("fluentd", &log_options, "echo hello");
    body["Labels"] = json!({ "app": "shop" });
    let name = test.name("fluentd");
    let id = test.create_named(&name, &body)?;
    let has = |got: &[u8], part: &[u8]| got.windows(part.len()).any(|window| window == part);
    // All of one record is there when all its strings are.
    let strings = [
        b"\xa7the.tag".to_vec(),
        b"\xa3log\xa5hello".to_vec(),
        b"\xa6source\xa6stdout".to_vec(),
        b"\xa3app\xa4shop".to_vec(),
        [b"\xaccontainer_id\xd9\x40", id.as_bytes()].concat(),
        [b"\xaecontainer_name", &[0xa0 + name.len() as u8 + 1, b'/'][..], name.as_bytes()].concat(),
    ];
    assert!(name.len() < 31);
    let receiving = {
        let strings = strings.clone();
        std::thread::spawn(move || receive(listener, |got| strings.iter().all(|part| has(got, part))))
    };
    test.start(&id)?;
    let (got, _stays) = receiving.join().expect("no panic")?;
    for part in &strings {
        assert!(has(&got, part), "{} is not in {}", part.escape_ascii(), got.escape_ascii());
    }
    test.wait(&id)?;
    assert_eq!(test.logs(&id, "stdout=1")?.0, "hello\n");
    Ok(())
}

#[test]
fn gelf_gets_objects_over_tcp() -> Result<()> {
    let mut test = Test::new()?;
    let listener = test.engine.listen()?;
    let address = format!("tcp://{}", listener.local_addr()?);
    let log_options = [("gelf-address", address.as_str()), ("labels", "app"), ("env", "A")];
    let mut body = body("gelf", &log_options, "echo hello; echo '{\"a\": \"é\"}'");
    body["Labels"] = json!({ "app": "shop" });
    body["Env"] = json!(["A=1"]);
    let name = test.name("gelf");
    let id = test.create_named(&name, &body)?;
    let receiving = std::thread::spawn(move || receive(listener, |got| count(got, 0) == 2));
    test.start(&id)?;
    let (got, _stays) = receiving.join().expect("no panic")?;
    let objects: Vec<Value> = got
        .split(|b| *b == 0)
        .filter(|o| !o.is_empty())
        .map(serde_json::from_slice)
        .collect::<Result<_, _>>()?;
    assert_eq!(objects[0]["short_message"], "hello");
    assert_eq!(objects[1]["short_message"], "{\"a\": \"é\"}");
    let inspected = test.inspect(&id)?;
    for (key, value) in [
        ("version", json!("1.1")),
        ("level", json!(6)),
        ("_app", json!("shop")),
        ("_A", json!("1")),
        ("_container_id", json!(id)),
        ("_container_name", json!(name)),
        ("_command", json!("sh -c echo hello; echo '{\"a\": \"é\"}'")),
        ("_image_name", json!("busybox")),
        ("_image_id", inspected["Image"].clone()),
        ("_tag", json!(id[..12])),
    ] {
        assert_eq!(objects[0][key], value, "{key}: {}", objects[0]);
    }
    assert!(
        objects[0]["timestamp"].is_f64()
            && objects[0]["host"].is_string()
            && objects[0]["_created"].is_string()
    );
    test.wait(&id)?;
    Ok(())
}

#[test]
fn a_log_that_is_not_kept_cannot_be_read() -> Result<()> {
    let mut test = Test::new()?;
    let log_options = [("syslog-address", "udp://127.0.0.1:9"), ("cache-disabled", "true")];
    let id = test.up(&body("syslog", &log_options, "echo hello"))?;
    test.wait(&id)?;
    let answer = test.client.get(&format!("/containers/{id}/logs?stdout=1"))?;
    let words = "configured logging driver does not support reading";
    assert_eq!((answer.status, answer.message().as_str()), (501, words));
    Ok(())
}

#[test]
fn info_lists_the_drivers() -> Result<()> {
    let mut test = Test::new()?;
    let info = test.client.get("/info")?.ok()?.json()?;
    let drivers = info["Plugins"]["Log"].as_array().context("a list")?;
    for driver in ["fluentd", "gelf", "journald", "json-file", "local", "syslog"] {
        assert!(drivers.iter().any(|d| d == driver), "{driver} is not among {drivers:?}");
    }
    Ok(())
}
