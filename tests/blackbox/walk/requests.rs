//! Every parameter of every other request: what it does, seen from outside. A check names what it covers; the walk sees to it that
//! nothing is missing.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use skiff_testkit::{http::Body, image::Tar};

use super::{answers, images, update, websocket};
use crate::{Test, lifecycle::trapping};

/// An endpoint, what of it is covered, and how.
pub(super) type Check = (&'static str, &'static [&'static str], fn(&mut Test) -> Result<()>);

/// Those of this file; images have theirs.
const CHECKS: &[Check] = &[
    ("POST /containers/create", &["name", "platform"], name_and_platform),
    ("GET /containers/json", &["all", "limit", "size", "filters"], list),
    ("GET /containers/{id}/json", &["size"], inspect),
    ("GET /containers/{id}/top", &["ps_args"], top),
    (
        "GET /containers/{id}/logs",
        &["follow", "stdout", "stderr", "since", "until", "timestamps", "tail"],
        logs,
    ),
    ("GET /containers/{id}/changes", &[], changes),
    ("GET /containers/{id}/export", &[], export),
    ("GET /containers/{id}/stats", &["stream", "one-shot"], stats),
    ("POST /containers/{id}/resize", &["h", "w"], resize),
    ("POST /containers/{id}/start", &["detachKeys"], start),
    ("POST /containers/{id}/stop", &["signal", "t"], stop),
    ("POST /containers/{id}/restart", &["signal", "t"], restart),
    ("POST /containers/{id}/kill", &["signal"], kill),
    ("POST /containers/{id}/update", update::UPDATED, update::update),
    ("POST /containers/{id}/rename", &["name"], rename),
    ("POST /containers/{id}/pause", &[], pause),
    ("POST /containers/{id}/unpause", &[], pause),
    ("POST /containers/{id}/attach", &["detachKeys", "logs", "stream", "stdin", "stdout", "stderr"], attach),
    (
        "GET /containers/{id}/attach/ws",
        &["detachKeys", "logs", "stream", "stdin", "stdout", "stderr"],
        websocket::attach,
    ),
    ("POST /containers/{id}/wait", &["condition"], wait),
    ("DELETE /containers/{id}", &["v", "force", "link"], remove),
    ("HEAD /containers/{id}/archive", &["path"], archive),
    ("GET /containers/{id}/archive", &["path"], archive),
    ("PUT /containers/{id}/archive", &["path", "noOverwriteDirNonDir", "copyUIDGID"], archive),
    ("POST /containers/prune", &["filters"], prune),
    ("POST /build/prune", &["filters"], prune_build),
    ("POST /containers/{id}/exec", EXEC, exec),
    ("POST /exec/{id}/start", &[".Detach", ".Tty", ".ConsoleSize[]"], exec),
    ("POST /exec/{id}/resize", &["h", "w"], exec_resize),
    ("GET /exec/{id}/json", &[], exec),
    ("GET /volumes", &["filters"], volumes),
    ("POST /volumes/create", &[".Name", ".Driver", ".DriverOpts.*", ".Labels.*"], volumes),
    ("GET /volumes/{name}", &[], volumes),
    ("DELETE /volumes/{name}", &["force"], volumes),
    ("POST /volumes/prune", &["filters"], volumes),
    ("POST /auth", &[".username", ".password", ".serveraddress"], auth),
    ("GET /events", &["since", "until", "filters"], events),
    ("GET /system/df", &["type"], disk_usage),
    ("GET /info", &[], system),
    ("GET /version", &[], system),
    ("GET /_ping", &[], system),
    ("HEAD /_ping", &[], system),
];

/// Every check.
pub(super) fn checks() -> impl Iterator<Item = &'static Check> {
    CHECKS.iter().chain(images::CHECKS)
}

const EXEC: &[&str] = &[
    ".AttachStdin",
    ".AttachStdout",
    ".AttachStderr",
    ".ConsoleSize[]",
    ".DetachKeys",
    ".Tty",
    ".Env[]",
    ".Cmd[]",
    ".Privileged",
    ".User",
    ".WorkingDir",
];

/// A path with filters, encoded.
pub(super) fn filtered(path: &str, filters: &Value) -> String {
    let escape = |c: char| match c {
        '{' | '}' | '"' | '[' | ']' | ' ' => format!("%{:02X}", c as u32),
        c => c.to_string(),
    };
    format!("{path}filters={}", filters.to_string().chars().map(escape).collect::<String>())
}

pub(super) fn get(test: &mut Test, path: &str) -> Result<Value> {
    test.client.get(path)?.ok()?.json()
}

fn post(test: &mut Test, path: &str) -> Result<u16> {
    Ok(test.client.post(path, &Value::Null)?.status)
}

pub(super) fn length(list: &Value) -> usize {
    list.as_array().map_or(0, Vec::len)
}

pub(super) fn sleeper(test: &mut Test) -> Result<String> {
    trapping(test, "trap 'exit 5' USR1; trap 'exit 6' TERM")
}

fn name_and_platform(test: &mut Test) -> Result<()> {
    let name = test.name("walk");
    let id = test.create_named(&name, &Test::body(&["true"]))?;
    assert_eq!(test.inspect(&id)?["Name"], format!("/{name}"));
    let other = test.client.post("/containers/create?platform=linux/s390x", &Test::body(&["true"]))?;
    assert_eq!(other.status, 404, "{}", other.message());
    Ok(())
}

fn list(test: &mut Test) -> Result<()> {
    let name = test.name("walk");
    let id = test.create_named(&name, &Test::body(&["true"]))?;
    let named = json!({ "name": [name] });
    assert_eq!(length(&get(test, &filtered("/containers/json?", &named))?), 0);
    let all = get(test, &filtered("/containers/json?all=1&size=1&", &named))?;
    assert_eq!((length(&all), &all[0]["Id"]), (1, &json!(id)));
    assert!(all[0]["SizeRootFs"].is_u64());
    assert_eq!(length(&get(test, "/containers/json?limit=1")?), 1);
    Ok(())
}

fn inspect(test: &mut Test) -> Result<()> {
    let id = test.create(&Test::body(&["true"]))?;
    assert!(test.inspect(&id)?.get("SizeRootFs").is_none());
    assert!(get(test, &format!("/containers/{id}/json?size=1"))?["SizeRootFs"].is_u64());
    Ok(())
}

fn top(test: &mut Test) -> Result<()> {
    let id = sleeper(test)?;
    assert_eq!(get(test, &format!("/containers/{id}/top"))?["Titles"][0], "UID");
    assert_eq!(get(test, &format!("/containers/{id}/top?ps_args=aux"))?["Titles"][0], "USER");
    Ok(())
}

fn logs(test: &mut Test) -> Result<()> {
    let id = test.up(&Test::body(&["sh", "-c", "echo one; echo two; echo bad >&2"]))?;
    test.wait(&id)?;
    let (out, err) = ("one\ntwo\n".to_owned(), "bad\n".to_owned());
    let none = String::new;
    for (query, expected) in [
        ("stdout=1&stderr=1&follow=1", (out.clone(), err.clone())),
        ("stdout=1", (out.clone(), none())),
        ("stderr=1", (none(), err)),
        ("stdout=1&tail=0", (none(), none())),
        ("stdout=1&since=4000000000", (none(), none())),
        ("stdout=1&until=1", (none(), none())),
    ] {
        assert_eq!(test.logs(&id, query)?, expected, "{query}");
    }
    assert!(test.logs(&id, "stdout=1&timestamps=1")?.0.ends_with("Z two\n"));
    Ok(())
}

fn changes(test: &mut Test) -> Result<()> {
    let id = test.up(&Test::body(&["touch", "/new"]))?;
    test.wait(&id)?;
    assert_eq!(get(test, &format!("/containers/{id}/changes"))?, json!([{ "Path": "/new", "Kind": 1 }]));
    Ok(())
}

fn export(test: &mut Test) -> Result<()> {
    let id = test.create(&Test::body(&["true"]))?;
    let tar = test.client.get(&format!("/containers/{id}/export"))?.ok()?;
    assert_eq!(&tar.body[257..262], b"ustar");
    Ok(())
}

fn stats(test: &mut Test) -> Result<()> {
    let id = sleeper(test)?;
    let two = get(test, &format!("/containers/{id}/stats?stream=0"))?;
    assert!(two["precpu_stats"]["system_cpu_usage"].is_u64());
    let one = get(test, &format!("/containers/{id}/stats?stream=0&one-shot=1"))?;
    assert!(one["precpu_stats"].get("system_cpu_usage").is_none());
    let mut stream = test.client.stream("GET", &format!("/containers/{id}/stats?stream=1"), &Body::Empty)?;
    for _ in 0..2 {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        assert!(serde_json::from_str::<Value>(&line)?["cpu_stats"].is_object());
    }
    Ok(())
}

fn resize(test: &mut Test) -> Result<()> {
    let mut body = Test::body(&["sh", "-c", "until [ \"`stty size`\" = '31 41' ]; do sleep 0.1; done"]);
    (body["Tty"], body["OpenStdin"]) = (json!(true), json!(true));
    let id = test.up(&body)?;
    assert_eq!(post(test, &format!("/containers/{id}/resize?h=31&w=41"))?, 200);
    assert_eq!(test.wait(&id)?, 0);
    Ok(())
}

/// The keys count for who attaches; a start only reads them.
fn start(test: &mut Test) -> Result<()> {
    let id = test.create(&Test::body(&["true"]))?;
    assert_eq!(post(test, &format!("/containers/{id}/start?detachKeys=ctrl-a"))?, 204);
    assert_eq!(test.wait(&id)?, 0);
    Ok(())
}

fn stop(test: &mut Test) -> Result<()> {
    let id = sleeper(test)?;
    assert_eq!(post(test, &format!("/containers/{id}/stop?signal=USR1&t=60"))?, 204);
    assert_eq!(test.inspect(&id)?["State"]["ExitCode"], 5);
    assert_eq!(post(test, &format!("/containers/{id}/stop"))?, 304);
    let deaf = trapping(test, "trap '' TERM")?;
    assert_eq!(post(test, &format!("/containers/{deaf}/stop?t=0"))?, 204);
    assert_eq!(test.inspect(&deaf)?["State"]["ExitCode"], 137);
    Ok(())
}

fn restart(test: &mut Test) -> Result<()> {
    let id = trapping(test, "trap 'echo usr1; exit' USR1")?;
    assert_eq!(post(test, &format!("/containers/{id}/restart?signal=USR1&t=60"))?, 204);
    test.until("it is up again", |test| Ok(test.logs(&id, "stdout=1")?.0 == "up\nusr1\nup\n"))
}

fn kill(test: &mut Test) -> Result<()> {
    let id = sleeper(test)?;
    assert_eq!(post(test, &format!("/containers/{id}/kill?signal=USR1"))?, 204);
    assert_eq!(test.wait(&id)?, 5);
    Ok(())
}

fn rename(test: &mut Test) -> Result<()> {
    let (id, name) = (test.create(&Test::body(&["true"]))?, test.name("walked"));
    assert_eq!(post(test, &format!("/containers/{id}/rename?name={name}"))?, 204);
    assert_eq!(test.inspect(&id)?["Name"], format!("/{name}"));
    Ok(())
}

fn pause(test: &mut Test) -> Result<()> {
    let id = sleeper(test)?;
    assert_eq!(post(test, &format!("/containers/{id}/pause"))?, 204);
    assert_eq!(test.inspect(&id)?["State"]["Paused"], true);
    assert_eq!(post(test, &format!("/containers/{id}/unpause"))?, 204);
    assert_eq!(test.inspect(&id)?["State"]["Paused"], false);
    Ok(())
}

fn attach(test: &mut Test) -> Result<()> {
    let mut body = Test::body(&["sh", "-c", "echo before; read line; echo got $line; echo bad >&2"]);
    body["OpenStdin"] = json!(true);
    let id = test.up(&body)?;
    test.until("it has spoken", |test| Ok(test.logs(&id, "stdout=1")?.0 == "before\n"))?;
    let path = |query: &str| format!("/containers/{id}/attach?{query}");
    let mut errors = test.client.hijack(&path("stream=1&stderr=1"), &Body::Empty)?;
    let mut both = test.client.hijack(&path("stream=1&logs=1&stdin=1&stdout=1"), &Body::Empty)?;
    both.send(b"this\n")?;
    assert_eq!(both.read_frames()?, (b"before\ngot this\n".to_vec(), Vec::new()));
    assert_eq!(errors.read_frames()?, (Vec::new(), b"bad\n".to_vec()));

    let mut body = Test::body(&["cat"]);
    (body["OpenStdin"], body["Tty"]) = (json!(true), json!(true));
    let id = test.up(&body)?;
    let path = format!("/containers/{id}/attach?stream=1&stdin=1&stdout=1&detachKeys=ctrl-a,q");
    let mut typed = test.client.hijack(&path, &Body::Empty)?;
    typed.send(b"\x01q")?;
    typed.read_raw()?;
    assert_eq!(test.inspect(&id)?["State"]["Running"], true);
    Ok(())
}

fn wait(test: &mut Test) -> Result<()> {
    let id = test.create(&Test::body(&["sh", "-c", "exit 3"]))?;
    let waits = ["next-exit", "removed"].map(|condition| {
        let path = format!("/containers/{id}/wait?condition={condition}");
        test.client.stream("POST", &path, &Body::Empty)
    });
    test.start(&id)?;
    let [next, removed] = waits;
    let code = |stream: Result<Box<dyn std::io::BufRead + Send>>| -> Result<Value> {
        Ok(serde_json::from_reader::<_, Value>(stream?)?["StatusCode"].clone())
    };
    assert_eq!(code(next)?, 3);
    assert_eq!(test.wait(&id)?, 3);
    test.client.delete(&format!("/containers/{id}"))?.ok()?;
    assert_eq!(code(removed)?, 3);
    let refused = test.client.post("/containers/x/wait?condition=never", &Value::Null)?;
    assert_eq!(refused.status, 400);
    Ok(())
}

fn remove(test: &mut Test) -> Result<()> {
    let mut body = Test::body(&["sleep", "60"]);
    body["Volumes"] = json!({ "/v": {} });
    let id = test.up(&body)?;
    let volume = test.inspect(&id)?["Mounts"][0]["Name"].as_str().context("a volume")?.to_owned();
    assert_eq!(test.client.delete(&format!("/containers/{id}"))?.status, 409);
    assert_eq!(test.client.delete(&format!("/containers/{id}?force=1&v=1"))?.status, 204);
    assert_eq!(test.client.get(&format!("/volumes/{volume}"))?.status, 404);
    let id = test.create(&Test::body(&["true"]))?;
    let refused = test.client.delete(&format!("/containers/{id}?link=1"))?;
    assert!(refused.status >= 400, "a container is no link");
    Ok(())
}

fn archive(test: &mut Test) -> Result<()> {
    let id = test.create(&Test::body(&["true"]))?;
    let at = |query: &str| format!("/containers/{id}/archive?{query}");
    let stat = test.client.request("HEAD", &at("path=/etc/passwd"), &Body::Empty)?.ok()?;
    assert!(stat.header("x-docker-container-path-stat").is_some());
    let tar = test.client.get(&at("path=/etc/passwd"))?.ok()?;
    assert!(tar.body.starts_with(b"passwd\0"));
    let mut file = Tar::default();
    file.entry("etc", b'0', 0o644, "", b"not a directory");
    let file = file.finish();
    let put = |test: &mut Test, query: &str| {
        test.client.request("PUT", &at(query), &Body::Bytes("application/x-tar", &file))
    };
    let refused = put(test, "path=/&noOverwriteDirNonDir=1")?;
    assert!(refused.message().contains("cannot overwrite"), "{}", refused.message());
    assert_eq!(put(test, "path=/tmp&copyUIDGID=1")?.status, 200);
    assert_eq!(test.client.get(&at("path=/tmp/etc"))?.status, 200);
    Ok(())
}

fn prune(test: &mut Test) -> Result<()> {
    let label = test.name("label");
    let mut body = Test::body(&["true"]);
    body["Labels"][&label] = json!("");
    let id = test.create(&body)?;
    let path = filtered("/containers/prune?", &json!({ "label": [label] }));
    let pruned = test.client.post(&path, &Value::Null)?.ok()?.json()?;
    assert_eq!(pruned["ContainersDeleted"], json!([id]));
    Ok(())
}

fn prune_build(test: &mut Test) -> Result<()> {
    let path = filtered("/build/prune?", &json!({ "id": ["nosuch"] }));
    let pruned = test.client.post(&path, &Value::Null)?.ok()?.json()?;
    assert_eq!(pruned["SpaceReclaimed"], 0);
    assert_eq!(test.client.post("/build/prune?filters=nonsense", &Value::Null)?.status, 400);
    Ok(())
}

fn exec(test: &mut Test) -> Result<()> {
    let id = sleeper(test)?;
    let line = "[ $A = b ] && [ `pwd` = /tmp ] && [ `id -un` = app ] && stty size && cat && echo bad >&2";
    let body = json!({
        "AttachStdin": true, "AttachStdout": true, "AttachStderr": true, "DetachKeys": "ctrl-a,q", "Tty": true,
        "ConsoleSize": [21, 32], "Env": ["A=b"], "Cmd": ["sh", "-c", line], "User": "app", "WorkingDir": "/tmp",
    });
    let exec = create_exec(test, &id, &body)?;
    let start = json!({ "Detach": false, "Tty": true, "ConsoleSize": [22, 33] });
    let mut stream = test.client.hijack(&format!("/exec/{exec}/start"), &Body::Json(&start))?;
    stream.read_until(b"22 33")?;
    stream.send(b"\x04")?;
    stream.read_until(b"bad")?;
    let seen = get(test, &format!("/exec/{exec}/json"))?;
    assert_eq!(seen["ProcessConfig"]["user"], "app");

    // The capabilities of whatever is not privileged.
    let line = "! grep -q 'CapEff:.00000000a80425fb' /proc/self/status";
    let body = json!({ "Cmd": ["sh", "-c", line], "Privileged": true });
    let exec = create_exec(test, &id, &body)?;
    let started = test.client.post(&format!("/exec/{exec}/start"), &json!({ "Detach": true }))?;
    assert_eq!((started.status, started.body.len()), (200, 0));
    test.until("it has ended", |test| Ok(get(test, &format!("/exec/{exec}/json"))?["ExitCode"] == 0))
}

fn create_exec(test: &mut Test, id: &str, body: &Value) -> Result<String> {
    let created = test.client.post(&format!("/containers/{id}/exec"), body)?.ok()?.json()?;
    Ok(created["Id"].as_str().context("no Id")?.to_owned())
}

fn exec_resize(test: &mut Test) -> Result<()> {
    let id = sleeper(test)?;
    let line = "until [ \"`stty size`\" = '31 41' ]; do sleep 0.1; done; echo resized";
    let exec =
        create_exec(test, &id, &json!({ "AttachStdout": true, "Tty": true, "Cmd": ["sh", "-c", line] }))?;
    let start = json!({ "Tty": true });
    let mut stream = test.client.hijack(&format!("/exec/{exec}/start"), &Body::Json(&start))?;
    test.until(
        "it can be resized",
        |test| Ok(post(test, &format!("/exec/{exec}/resize?h=31&w=41"))? == 200),
    )?;
    stream.read_until(b"resized")?;
    Ok(())
}

fn volumes(test: &mut Test) -> Result<()> {
    let name = test.name("walk");
    let options = json!({ "type": "tmpfs", "device": "tmpfs", "o": "size=1m" });
    let body = json!({ "Name": name, "Driver": "local", "DriverOpts": options, "Labels": { &name: "b" } });
    let made = test.client.post("/volumes/create", &body)?.ok()?.json()?;
    test.volumes.push(name.clone());
    assert_eq!(
        (&made["Name"], &made["Options"], &made["Labels"]),
        (&body["Name"], &options, &body["Labels"])
    );
    assert_eq!(get(test, &format!("/volumes/{name}"))?["Driver"], "local");
    let listed = get(test, &filtered("/volumes?", &json!({ "name": [name] })))?;
    assert_eq!(length(&listed["Volumes"]), 1);
    let plain = test.name("walk");
    test.client.post("/volumes/create", &json!({ "Name": plain, "Labels": { &name: "b" } }))?.ok()?;
    // What options lead to is not pruned.
    let labelled = json!({ "label": [name], "all": ["1"] });
    let pruned = test.client.post(&filtered("/volumes/prune?", &labelled), &Value::Null)?.ok()?.json()?;
    assert_eq!(pruned["VolumesDeleted"], json!([plain]));
    assert_eq!(test.client.delete(&format!("/volumes/{name}"))?.status, 204);
    assert_eq!(test.client.delete(&format!("/volumes/{name}"))?.status, 404);
    assert_eq!(test.client.delete(&format!("/volumes/{name}?force=1"))?.status, 204);
    Ok(())
}

fn auth(test: &mut Test) -> Result<()> {
    let registry = answers::guarded(test)?;
    let with = |password: &str| json!({ "username": "walker", "password": password, "serveraddress": registry.address() });
    assert_eq!(test.client.post("/auth", &with("secret"))?.status, 200);
    let refused = test.client.post("/auth", &with("wrong"))?;
    assert!(refused.message().contains("401 Unauthorized"), "{}", refused.message());
    Ok(())
}

fn events(test: &mut Test) -> Result<()> {
    let id = test.create(&Test::body(&["true"]))?;
    let mine = json!({ "container": [id] });
    let told = |test: &mut Test, span: &str| -> Result<usize> {
        let answer = test.client.get(&filtered(&format!("/events?{span}&"), &mine))?.ok()?;
        Ok(answer.text().lines().count())
    };
    assert_eq!(told(test, "since=1&until=2")?, 0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    assert_eq!(told(test, &format!("since=1&until={}", now + 1))?, 1);
    Ok(())
}

fn disk_usage(test: &mut Test) -> Result<()> {
    let usage = get(test, "/system/df?type=volume")?;
    assert!(usage["Volumes"].is_array() && usage["Containers"].is_null() && usage["Images"].is_null());
    assert_eq!(test.client.get("/system/df?type=nonsense")?.status, 400);
    Ok(())
}

fn system(test: &mut Test) -> Result<()> {
    assert_eq!(get(test, "/info")?["OSType"], "linux");
    assert_eq!(get(test, "/version")?["ApiVersion"], "1.51");
    assert_eq!(test.client.get("/_ping")?.text(), "OK");
    assert_eq!(test.client.request("HEAD", "/_ping", &Body::Empty)?.status, 200);
    Ok(())
}

#[test]
fn filters_are_encoded() {
    assert_eq!(filtered("/x?", &json!({ "a": ["b"] })), "/x?filters=%7B%22a%22:%5B%22b%22%5D%7D");
}
