//! Garbage collection while others push.

use std::{
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Result, anyhow, ensure};

use super::{Client, Test, digest, noise};

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
    for tag in ["v1", "v2", "fixed-1", "v3"] {
        test.push_image("team/app", tag, tag.as_bytes())?;
        // Times are whole seconds.
        thread::sleep(std::time::Duration::from_millis(1100));
    }
    test.push_image("other/app", "v1", b"x")?;
    run(&["project", "set", "--immutable", "fixed-*", "--keep-last", "1", "team"])?;
    assert!(collect(&root)?.contains("tags and manifests expired: 2\n"));
    let tags = test.client.get("/v2/team/app/tags/list")?.expect(200)?.json()?;
    assert_eq!(tags["tags"], serde_json::json!(["fixed-1", "v3"]));
    test.client.get("/v2/other/app/manifests/v1")?.expect(200)?;
    Ok(())
}

#[test]
fn webhooks_are_told_and_signed() -> Result<()> {
    use std::io::{BufRead, BufReader, Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/hook?x=1", listener.local_addr()?);
    let mut test = Test::ours(&["--auth", "none", "--gc-interval", "0"])?;
    let root = test.server().root();
    for args in [
        vec!["project", "add", "team"],
        vec!["project", "set", "--webhook", &url, "--webhook-secret", "s3cret", "team"],
    ] {
        let out = Command::new(env!("CARGO_BIN_EXE_skiff"))
            .arg("registry")
            .args(args)
            .arg("--root")
            .arg(&root)
            .output()?;
        ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
    let told = thread::spawn(move || -> Result<Vec<(String, String)>> {
        let mut told = Vec::new();
        // The first attempt fails, and is made again.
        for status in ["500 Oh", "200 OK"] {
            let (stream, _) = listener.accept()?;
            let mut stream = BufReader::new(stream);
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                stream.read_line(&mut line)?;
                if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                    length = n.trim().parse()?;
                }
                head.push_str(&line);
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body)?;
            write!(stream.get_mut(), "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")?;
            told.push((head, String::from_utf8(body)?));
        }
        Ok(told)
    });
    let manifest = test.push_image("team/app", "v1", b"x")?;
    let told = told.join().map_err(|_| anyhow!("the listener panicked"))??;
    assert_eq!(told[0].1, told[1].1);
    let (head, body) = &told[1];
    assert!(head.starts_with("POST /hook?x=1 HTTP/1.1\r\n"), "{head}");
    assert!(head.to_lowercase().contains("x-skiff-signature: sha256="), "{head}");
    let event = serde_json::from_str::<serde_json::Value>(body)?["events"][0].clone();
    assert_eq!((event["action"].as_str(), event["target"]["tag"].as_str()), (Some("push"), Some("v1")));
    assert_eq!(event["target"]["digest"], digest(&manifest));
    Ok(())
}
