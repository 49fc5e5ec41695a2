//! Garbage collection while others push.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::Command,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use anyhow::{Result, anyhow, ensure};

use serde_json::{Value, json};

use super::{Client, OCI, Test, digest, noise, replicate::project};

fn files(root: &std::path::Path) -> usize {
    let mut count = 0;
    let mut dirs = vec![root.join("blobs")];
    while let Some(dir) = dirs.pop() {
        for entry in fs_err::read_dir(dir).into_iter().flatten().flatten() {
            match entry.path() {
                path if path.is_dir() => dirs.push(path),
                _ => count += 1,
            }
        }
    }
    count
}

pub(super) fn collect(root: &std::path::Path) -> Result<String> {
    let out =
        Command::new(env!("CARGO_BIN_EXE_skiff")).args(["registry", "gc", "--root"]).arg(root).output()?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Ok(String::from_utf8(out.stdout)?)
}

#[test]
fn what_no_image_names_goes_and_the_rest_stays() -> Result<()> {
    let mut test = Test::ours(&["--auth", "none", "--gc-grace", "0", "--gc-interval", "0"])?;
    let root = test.server().root();
    let kept = test.push_image("a", "v1", b"kept")?;
    let gone = test.push_image("a", "v2", b"gone")?;
    let unused = test.push_blob("b", b"unused")?;
    assert_eq!(files(&root), 6);
    test.client.request("DELETE", &format!("/v2/a/manifests/{}", digest(&gone)), &[], b"")?.expect(202)?;
    let said = collect(&root)?;
    assert!(said.starts_with("links removed: 2\nblobs removed: 2\n"), "{said}");
    test.client.get(&format!("/v2/b/blobs/{unused}"))?.expect(404)?;
    assert_eq!(test.client.get("/v2/a/manifests/v1")?.expect(200)?.body, kept);
    test.client.get(&format!("/v2/a/blobs/{}", digest(b"kept")))?.expect(200)?;
    // The files go behind the answer.
    for _ in 0..6000 {
        if files(&root) == 3 {
            break;
        }
        thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(files(&root), 3);
    Ok(())
}

#[test]
fn a_stopped_registry_is_collected_as_dockers_is() -> Result<()> {
    use std::os::unix::process::CommandExt;
    let mut test = Test::ours(&["--auth", "none"])?;
    let root = test.server().root();
    let kept = test.push_image("a", "v1", b"kept")?;
    test.push_blob("b", b"unused")?;
    let config = test.server().dir.path().join("config.yml");
    fs_err::write(
        &config,
        format!("version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\n", root.display()),
    )?;
    let collect = || -> Result<String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skiff"));
        super::alone(&mut command);
        let out = command.arg0("registry").arg("garbage-collect").arg(&config).output()?;
        ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        Ok(String::from_utf8(out.stdout)?)
    };
    // While it runs, it does that itself, and waits for who may be in the middle of a push.
    assert!(collect()?.starts_with("links removed: 0\n"));
    test.server().kill()?;
    assert!(collect()?.starts_with("links removed: 1\nblobs removed: 1\n"));
    test.server().start_again()?;
    test.client = Client::new(&test.server().address.clone());
    assert_eq!(test.client.get("/v2/a/manifests/v1")?.expect(200)?.body, kept);
    assert_eq!(files(&root), 3);
    Ok(())
}

#[test]
fn a_push_under_way_is_left_alone() -> Result<()> {
    let mut test = Test::ours(&["--auth", "none", "--gc-interval", "0"])?;
    let root = test.server().root();
    let blob = test.push_blob("a", b"early")?;
    assert!(collect(&root)?.starts_with("links removed: 0\n"));
    test.client.get(&format!("/v2/a/blobs/{blob}"))?.expect(200)?;
    Ok(())
}

/// Without any grace, a manifest may be refused because its blobs were collected; but one that was accepted is whole.
#[test]
fn whatever_is_collected_when_an_accepted_image_is_whole() -> Result<()> {
    collect_while_others_push(&mut Test::ours(&["--auth", "none", "--gc-grace", "0", "--gc-interval", "0"])?)
        .map(drop)
}

/// Answers the accepted images that are still there: repository, manifest, digest of the layer.
pub(super) fn collect_while_others_push(test: &mut Test) -> Result<Vec<(String, Vec<u8>, String)>> {
    let (root, address) = (test.server().root(), test.server().address.clone());
    let stop = AtomicBool::new(false);
    let accepted = thread::scope(|scope| -> Result<Vec<(String, Vec<u8>, String)>> {
        let pushers: Vec<_> = (0..4)
            .map(|n| {
                let (address, stop) = (&address, &stop);
                scope.spawn(move || {
                    let mut test = Test { client: Client::new(address), server: None };
                    let mut accepted = Vec::new();
                    for i in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        let (name, layer) = (format!("p{n}/i{}", i % 3), noise(1000 + i % 5));
                        if let Ok(manifest) = test.push_image(&name, "v1", &layer) {
                            let path = format!("/v2/{name}/manifests/{}", digest(&manifest));
                            match i % 2 {
                                0 => drop(test.client.request("DELETE", &path, &[], b"")),
                                _ => accepted.push((name, manifest, digest(&layer))),
                            }
                        }
                    }
                    accepted
                })
            })
            .collect();
        for _ in 0..25 {
            collect(&root)?;
        }
        test.server().kill()?;
        stop.store(true, Ordering::Relaxed);
        test.server().start_again()?;
        let mut all = Vec::new();
        for pusher in pushers {
            all.extend(pusher.join().map_err(|_| anyhow!("a client panicked"))?);
        }
        Ok(all)
    })?;
    test.client = Client::new(&address);
    let mut whole = Vec::new();
    for (name, manifest, layer) in accepted {
        // A later round may have removed it again.
        let got = test.client.get(&format!("/v2/{name}/manifests/{}", digest(&manifest)))?;
        if got.status == 200 {
            let blob = test.client.get(&format!("/v2/{name}/blobs/{layer}"))?.expect(200)?;
            assert_eq!(digest(&blob.body), layer);
            whole.push((name, manifest, layer));
        }
    }
    ensure!(!whole.is_empty(), "nothing was accepted");
    Ok(whole)
}

#[test]
fn rules_keep_the_newest_tags() -> Result<()> {
    let mut test = Test::ours(&["--auth", "none", "--gc-interval", "0"])?;
    let root = test.server().root();
    let run = |args: &[&str]| -> Result<()> {
        let out = Command::new(env!("CARGO_BIN_EXE_skiff"))
            .arg("registry")
            .args(args)
            .arg("--root")
            .arg(&root)
            .output()?;
        ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        Ok(())
    };
    run(&["project", "add", "team"])?;
    for tag in ["v4", "v2", "fixed-1", "v3"] {
        test.push_image("team/app", tag, tag.as_bytes())?;
    }
    test.push_image("other/app", "v1", b"x")?;
    run(&["project", "set", "--keep-last", "0", "--keep-days", "0", "--untagged-days", "0", "team"])?;
    assert!(collect(&root)?.contains("tags and manifests expired: 0\n"));
    run(&["project", "set", "--immutable", "fixed-*", "--keep-last", "1", "team"])?;
    assert!(collect(&root)?.contains("tags and manifests expired: 2\n"));
    let tags = test.client.get("/v2/team/app/tags/list")?.expect(200)?.json()?;
    assert_eq!(tags["tags"], serde_json::json!(["fixed-1", "v3"]));
    test.client.get("/v2/other/app/manifests/v1")?.expect(200)?;
    Ok(())
}

/// A server that is told: answers these statuses one after the other, and then 200. Heads and bodies come out.
fn told(statuses: &'static [&'static str]) -> Result<(String, mpsc::Receiver<(String, String)>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/hook?x=1", listener.local_addr()?);
    let (sender, told) = mpsc::channel();
    thread::spawn(move || -> Result<()> {
        let mut statuses = statuses.iter();
        loop {
            let mut stream = BufReader::new(listener.accept()?.0);
            let (mut head, mut length) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") {
                let at = head.len();
                stream.read_line(&mut head)?;
                if let Some(n) = head[at..].to_ascii_lowercase().strip_prefix("content-length: ") {
                    length = n.trim().parse()?;
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body)?;
            let status = statuses.next().unwrap_or(&"200 OK");
            write!(stream.get_mut(), "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")?;
            sender.send((head, String::from_utf8(body)?))?;
        }
    });
    Ok((url, told))
}

fn event(told: &mpsc::Receiver<(String, String)>) -> Result<Value> {
    let (_, body) = told.recv_timeout(Duration::from_secs(60))?;
    Ok(serde_json::from_str::<Value>(&body)?["events"][0].clone())
}

#[test]
fn webhooks_are_told_and_signed() -> Result<()> {
    // The first attempt fails, and is made again.
    let (url, told) = told(&["500 Oh"])?;
    let mut test = Test::ours(&["--auth", "none", "--gc-interval", "0"])?;
    let root = test.server().root();
    project(&root, &["add", "team"], "")?;
    project(&root, &["set", "--webhook", &url, "--webhook-secret", "s3cret", "team"], "")?;
    let manifest = test.push_image("team/app", "v1", b"x")?;
    let failed = told.recv_timeout(Duration::from_secs(60))?;
    let (head, body) = told.recv_timeout(Duration::from_secs(60))?;
    assert_eq!(failed.1, body);
    assert!(head.starts_with("POST /hook?x=1 HTTP/1.1\r\n"), "{head}");
    assert!(head.to_lowercase().contains("x-skiff-signature: sha256="), "{head}");
    let event = serde_json::from_str::<Value>(&body)?["events"][0].clone();
    assert_eq!(event["action"], "push");
    let target = json!({
        "mediaType": OCI,
        "digest": digest(&manifest),
        "size": manifest.len(),
        "length": manifest.len(),
        "repository": "team/app",
        "tag": "v1",
        "url": format!("http://{}/v2/team/app/manifests/{}", test.server().address, digest(&manifest)),
    });
    assert_eq!(event["target"], target);
    let request = &event["request"];
    assert_eq!((&request["method"], &request["host"]), (&json!("PUT"), &json!(test.server().address)));
    assert!(request["addr"].as_str().is_some_and(|a| a.starts_with("127.0.0.1:")), "{request}");
    let source = event["source"]["addr"].as_str().unwrap_or_default();
    assert!(test.server().address.ends_with(&source[source.find(':').unwrap_or(0)..]), "{source}");
    Ok(())
}

#[test]
fn webhooks_are_told_whatever_removes_something() -> Result<()> {
    let (url, told) = told(&[])?;
    let mut test = Test::ours(&["--auth", "none", "--gc-interval", "0"])?;
    let root = test.server().root();
    let old = test.push_image("team/app", "v1", b"old")?;
    test.push_image("team/app", "v2", b"new")?;
    test.push_image("team/app", "v3", b"third")?;
    project(&root, &["add", "team"], "")?;
    project(&root, &["set", "--webhook", &url, "--keep-last", "1", "team"], "")?;
    // Whoever removes, and whatever.
    test.client.request("DELETE", "/v2/team/app/manifests/v3", &[("User-Agent", "me")], b"")?.expect(202)?;
    let removed = event(&told)?;
    assert_eq!((&removed["action"], &removed["target"]["tag"]), (&json!("delete"), &json!("v3")));
    assert_eq!(
        (&removed["request"]["method"], &removed["request"]["useragent"]),
        (&json!("DELETE"), &json!("me"))
    );
    // A rule.
    collect(&root)?;
    let removed = event(&told)?;
    let kept = test.client.get("/v2/team/app/tags/list")?.expect(200)?.json()?["tags"].clone();
    assert!([json!(["v1"]), json!(["v2"])].contains(&kept), "{kept}");
    let gone = if kept == json!(["v1"]) { "v2" } else { "v1" };
    assert_eq!((&removed["action"], &removed["target"]["tag"]), (&json!("delete"), &json!(gone)));
    assert_eq!(removed["actor"]["name"], "retention");
    // A blob, and the whole repository.
    let path = format!("/v2/team/app/manifests/{}", digest(&old));
    test.client.request("DELETE", &path, &[], b"")?.expect(202)?;
    assert_eq!(event(&told)?["target"], json!({ "repository": "team/app", "digest": digest(&old) }));
    test.client
        .request("DELETE", &format!("/v2/team/app/blobs/{}", digest(b"old")), &[], b"")?
        .expect(202)?;
    assert_eq!(event(&told)?["target"]["digest"], digest(b"old"));
    let page = test.client.get("/ui/delete/team/app")?.expect(200)?;
    let body = format!("token={}", super::pages::token(&page)?);
    let form = [super::pages::FORM];
    test.client.request("POST", "/ui/delete/team/app", &form, body.as_bytes())?.expect(303)?;
    assert_eq!(event(&told)?["target"], json!({ "repository": "team/app" }));
    Ok(())
}
