//! The walk through Docker's specification: every field of every request is sent, and does what it should or is refused by name;
//! every field of every answer is there, with its type. What is not so stands in `exceptions.tsv` with its reason, and
//! `docs/compatibility.md` is made of all that: `SKIFF_COMPATIBILITY=write` writes it, otherwise it must be as it would be written.
//!
//! Run against a Docker (`SKIFF_TEST_SOCKET`) this shows that the walk is right.

mod answers;
mod create;
mod effects;
mod images;
mod page;
mod requests;
mod table;
mod update;
mod versions;
mod websocket;

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use create::{Expect, Probe};
use serde_json::{Value, json};
use skiff_testkit::Engine;
use table::{Row, Whose};

use crate::Test;

/// Where a request that is checked stands in the table.
fn is_checked(row: &Row) -> bool {
    let made = row.endpoint == "POST /containers/create";
    match row.part {
        "body" if made => create::probes().iter().any(|probe| !table::at(&probe.body, row.field).is_empty()),
        "endpoint" => requests::checks().any(|(endpoint, ..)| *endpoint == row.endpoint),
        _ => requests::checks()
            .any(|(endpoint, fields, _)| *endpoint == row.endpoint && fields.contains(&row.field)),
    }
}

#[test]
fn every_field_of_a_request_is_checked_or_has_its_reason() {
    let exceptions = table::exceptions();
    for row in table::rows().iter().filter(|row| !row.is_answer()) {
        let excepted = exceptions.iter().any(|exception| exception.is_about(row));
        assert!(is_checked(row) != excepted, "{row:?}: checked {}, excepted {excepted}", is_checked(row));
    }
    let rows = table::rows();
    for exception in exceptions {
        assert!(rows.iter().any(|row| exception.is_about(row)), "about nothing: {exception:?}");
    }
    for (endpoint, fields, _) in requests::checks() {
        for field in *fields {
            assert!(rows.iter().any(|r| r.endpoint == *endpoint && r.field == *field), "{endpoint} {field}");
        }
    }
}

#[test]
fn requests_do_what_their_fields_say() -> Result<()> {
    let mut done: Vec<fn(&mut Test) -> Result<()>> = Vec::new();
    let mut test = Test::new()?;
    for (endpoint, _, check) in requests::checks() {
        if !done.iter().any(|other| std::ptr::fn_addr_eq(*other, *check)) {
            check(&mut test).context(*endpoint)?;
            done.push(*check);
        }
    }
    Ok(())
}

/// What the bodies of the walk refer to.
struct Setting {
    /// The beginnings of the network's addresses.
    v4: String,
    v6: String,
    network: String,
    volume: String,
    other: String,
    bridged: String,
    scratch: tempfile::TempDir,
    cgroup: String,
    /// A disk of the host, and its number.
    disk: (String, String),
}

impl Setting {
    /// `nth` keeps the networks of tests apart that run at once on the same engine.
    fn new(test: &mut Test, nth: u8) -> Result<Self> {
        let network = test.name("walked");
        let (v4, v6) = (format!("10.197.{nth}"), format!("fd97:{nth}"));
        let subnets = [format!("{v4}.0/24"), format!("{v6}::/64")];
        let config = subnets.map(|subnet| json!({ "Subnet": subnet }));
        let body = json!({ "Name": network, "EnableIPv6": true, "IPAM": { "Config": config } });
        test.client.post("/networks/create", &body)?.ok()?;
        test.networks.push(network.clone());
        let volume = test.name("walked");
        test.volumes.push(volume.clone());
        test.shell_with(
            "mkdir -p /v/sub; echo >/v/sub/inside",
            &json!({ "Binds": [format!("{volume}:/v")] }),
        )?;
        let mut body = Test::body(&["sleep", "600"]);
        body["Volumes"] = json!({ "/shared": {} });
        body["HostConfig"]["NetworkMode"] = json!(network);
        let other = test.up(&body)?;
        body["HostConfig"]["NetworkMode"] = json!("bridge");
        let bridged = test.up(&body)?;
        let cgroup = format!("/skiff/walk-{}-{nth}", std::process::id());
        let scratch = tempfile::tempdir()?;
        Ok(Self { v4, v6, network, volume, other, bridged, scratch, cgroup, disk: disk()? })
    }

    fn put_in(&self, text: &str) -> String {
        let host = fs_err::read_to_string("/proc/sys/kernel/hostname").expect("every machine has a name");
        [
            ("{net}", self.network.as_str()),
            ("{volume}", &self.volume),
            ("{other}", &self.other),
            ("{bridged}", &self.bridged),
            ("{scratch}", &self.scratch.path().to_string_lossy()),
            ("{v4}", &self.v4),
            ("{v6}", &self.v6),
            ("{cgroup}", &self.cgroup),
            ("{disk}", &self.disk.0),
            ("{number}", &self.disk.1),
            ("{host}", host.trim()),
        ]
        .iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    fn named(&self, value: &Value) -> Value {
        serde_json::from_str(&self.put_in(&value.to_string())).expect("names need no escapes")
    }

    /// The whole body of a probe, which runs a line of shell.
    fn body(&self, probe: &Probe, line: &str) -> Value {
        let mut body = Test::body(&["sh", "-c", line]);
        merge(&mut body, &self.named(&probe.body));
        body
    }
}

impl Drop for Setting {
    /// The engine makes the parent of a container's control group, and leaves it.
    fn drop(&mut self) {
        let hierarchies = fs_err::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        for hierarchy in hierarchies.map(|entry| entry.path()).chain(["/sys/fs/cgroup".into()]) {
            let _ = fs_err::remove_dir(hierarchy.join(self.cgroup.trim_start_matches('/')));
        }
    }
}

/// A disk that rates can be set for: its device and its number.
fn disk() -> Result<(String, String)> {
    for entry in fs_err::read_dir("/sys/block")? {
        let entry = entry?;
        let device = format!("/dev/{}", entry.file_name().to_string_lossy());
        if std::path::Path::new(&device).exists() {
            let number = fs_err::read_to_string(entry.path().join("dev"))?;
            return Ok((device, number.trim().to_owned()));
        }
    }
    anyhow::bail!("there is no disk")
}

/// What lines of shell begin with.
const CG: &str = r#"cg() {
    [ "$(cat /sys/fs/cgroup/$1 2>/dev/null)" = "$2" ] || [ "$(cat /sys/fs/cgroup/$3 2>/dev/null)" = "$4" ]
}
"#;

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// Whether everything of `part` is in `whole`.
fn holds(whole: &Value, part: &Value, path: &str) -> Result<()> {
    if let (Value::Object(whole), Value::Object(part)) = (whole, part) {
        for (key, value) in part {
            holds(whole.get(key).unwrap_or(&Value::Null), value, &format!("{path}.{key}"))?;
        }
        return Ok(());
    }
    if part.is_null() {
        return Ok(());
    }
    if let (Value::Array(whole), Value::Array(part)) = (whole, part)
        && whole.len() == part.len()
    {
        return whole.iter().zip(part).try_for_each(|(whole, part)| holds(whole, part, path));
    }
    ensure!(whole == part, "{path} is {whole}, not {part}");
    Ok(())
}

fn is_shown(test: &mut Test, id: &str, body: &Value) -> Result<()> {
    let seen = test.inspect(id)?;
    let mut config = body.clone();
    let config = config.as_object_mut().context("a body is an object")?;
    let host = config.remove("HostConfig").unwrap_or_default();
    let networks = config.remove("NetworkingConfig").unwrap_or_default();
    holds(&seen["Config"], &Value::Object(config.clone()), "")?;
    holds(&seen["HostConfig"], &host, "HostConfig")?;
    match &networks["EndpointsConfig"] {
        Value::Null => Ok(()),
        endpoints => holds(&seen["NetworkSettings"]["Networks"], endpoints, "EndpointsConfig"),
    }
}

fn try_probe(test: &mut Test, setting: &Setting, probe: &Probe) -> Result<()> {
    let line = match probe.expect {
        Expect::Seen(line) | Expect::Done(line) | Expect::SeenOr(_, line) | Expect::Checked(line, _) => {
            format!("{CG}{}", setting.put_in(line))
        }
        _ => "true".to_owned(),
    };
    let body = setting.body(probe, &line);
    let answer = test.client.post("/containers/create", &body)?;
    let said = answer.text();
    match probe.expect {
        Expect::Refused(words) => {
            ensure!(answer.status >= 400 && said.contains(words), "not refused: {said}");
            return Ok(());
        }
        Expect::ShownOr(words) | Expect::SeenOr(words, _) if said.contains(words) => return Ok(()),
        Expect::Warned(words) => ensure!(said.contains(words), "not warned: {said}"),
        _ => {}
    }
    let id = answer.ok()?.json()?["Id"].as_str().context("no Id")?.to_owned();
    test.made.push(id.clone());
    if !matches!(probe.expect, Expect::Warned(_) | Expect::Done(_)) {
        is_shown(test, &id, &setting.named(&probe.body))?;
    }
    match probe.expect {
        Expect::Checked(_, check) => check(test, &id)?,
        Expect::Unstartable(words) => {
            let refused = test.act(&id, "start")?;
            ensure!(refused.status >= 400 && refused.message().contains(words), "{}", refused.message());
        }
        Expect::Seen(_) | Expect::Done(_) | Expect::SeenOr(..) => {
            let started = test.act(&id, "start")?;
            if !matches!(probe.expect, Expect::SeenOr(words, _) if started.message().contains(words)) {
                started.ok()?;
                let code = test.wait(&id)?;
                ensure!(code == 0, "{line}: {code}");
            }
        }
        _ => {}
    }
    let removed = test.client.delete(&format!("/containers/{id}?v=1&force=1"))?;
    ensure!(matches!(removed.status, 204 | 404), "{}", removed.message());
    Ok(())
}

#[test]
fn a_container_is_what_its_request_says() -> Result<()> {
    let mut test = Test::new()?;
    let setting = Setting::new(&mut test, 1)?;
    let mut failures = Vec::new();
    for probe in create::probes() {
        if let Err(error) = try_probe(&mut test, &setting, &probe) {
            failures.push(format!("{}: {error:#}", probe.body));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

#[test]
fn answers_have_every_field_or_its_reason() -> Result<()> {
    let mut test = Test::new()?;
    let ours = matches!(test.engine, Engine::Ours(_));
    let samples = answers::collect(&mut test)?;
    let exceptions = table::exceptions();
    let mut filled = BTreeSet::new();
    let mut wrong = Vec::new();
    for row in table::rows().into_iter().filter(Row::is_answer) {
        let header = row.part == "answer header";
        let field = if header { format!(".{}", row.field.to_lowercase()) } else { row.field.to_owned() };
        // A header is text whatever it stands for.
        let kind = if header { "string" } else { row.kind };
        let answers = samples.get(&(row.endpoint, row.part)).into_iter().flatten();
        if answers.flat_map(|answer| table::at(answer, &field)).any(|value| table::is_of(kind, value)) {
            filled.insert(row);
        } else if !exceptions.iter().any(|e| e.is_about(&row) && !(ours && e.whose == Whose::Docker)) {
            wrong.push(format!("not there: {}\t{}\t{}", row.endpoint, row.part, row.field));
        }
    }
    for exception in
        exceptions.iter().filter(|e| ours && !matches!(e.whose, Whose::Sometimes | Whose::Docker))
    {
        let stale: Vec<_> = filled.iter().filter(|row| exception.is_about(row)).collect();
        wrong.extend(stale.iter().map(|row| format!("there after all: {} {}", row.endpoint, row.field)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn the_page_about_compatibility_is_what_the_tests_say() -> Result<()> {
    let page = page::render(&table::rows(), &table::exceptions());
    if std::env::var_os("SKIFF_COMPATIBILITY").is_some_and(|what| what == "write") {
        fs_err::write(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/compatibility.md"), &page)?;
        return Ok(());
    }
    // As it was built in: tests also run where the sources are not.
    let written = include_str!("../../../docs/compatibility.md");
    assert_eq!(written, page, "SKIFF_COMPATIBILITY=write writes it");
    Ok(())
}
