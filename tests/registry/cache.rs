//! A cache of another registry.

use anyhow::Result;

use super::{INDEX, OCI, OCTETS, Test, digest, image, noise};

#[test]
fn what_is_asked_for_is_fetched_once_and_kept() -> Result<()> {
    let mut origin = Test::ours(&["--auth", "none"])?;
    let layer = noise(700_000);
    let manifest = origin.push_image("a/b", "v1", &layer)?;
    let url = format!("http://{}", origin.server().address);
    let mut cache = Test::ours(&["--auth", "none", "--proxy", &url])?;
    assert_eq!(cache.client.get("/v2/a/b/manifests/v1")?.expect(200)?.body, manifest);
    let blob = format!("/v2/a/b/blobs/{}", digest(&layer));
    assert_eq!(cache.client.get(&blob)?.expect(200)?.body, layer);
    cache.client.get("/v2/a/b/manifests/v2")?.expect(404)?;
    cache.client.get(&format!("/v2/a/b/blobs/{}", digest(b"none")))?.expect(404)?;
    // Nobody pushes here.
    let refused = cache.client.request("POST", "/v2/a/b/blobs/uploads/", &[], b"")?;
    assert_eq!((refused.status, refused.code().as_str()), (405, "UNSUPPORTED"));
    // Without the other one, what is here is served, and the rest says why not.
    origin.server().kill()?;
    assert_eq!(cache.client.get("/v2/a/b/manifests/v1")?.expect(200)?.body, manifest);
    assert_eq!(cache.client.get(&blob)?.expect(200)?.body, layer);
    let missing = cache.client.get("/v2/a/b/manifests/v3")?;
    assert_eq!((missing.status, missing.code().as_str()), (502, "UNAVAILABLE"));
    Ok(())
}

#[test]
fn a_tag_that_moved_is_seen_at_once_when_nothing_is_remembered() -> Result<()> {
    let mut origin = Test::ours(&["--auth", "none"])?;
    let first = origin.push_image("a", "v1", b"one")?;
    let url = format!("http://{}", origin.server().address);
    let file = tempfile::NamedTempFile::new()?;
    fs_err::write(file.path(), format!("proxy:\n  remoteurl: {url}\n  tagttl: 0s\n"))?;
    let config = file.path().display().to_string();
    let mut cache = Test::ours(&["--auth", "none", &config])?;
    assert_eq!(cache.client.get("/v2/a/manifests/v1")?.expect(200)?.body, first);
    let (config, layer) = (origin.push_blob("a", b"{}")?, origin.push_blob("a", b"two")?);
    let second = image(&config, &layer, 3, None).to_string();
    origin.put_manifest("a", "v1", OCI, second.as_bytes())?.expect(201)?;
    assert_eq!(cache.client.get("/v2/a/manifests/v1")?.expect(200)?.body, second.as_bytes());
    Ok(())
}

#[test]
fn lists_are_the_other_registrys() -> Result<()> {
    let mut origin = Test::ours(&["--auth", "none"])?;
    let manifest = origin.push_image("a/b", "v1", b"one")?;
    for tag in ["v2", "v3"] {
        origin.put_manifest("a/b", tag, OCI, &manifest)?.expect(201)?;
    }
    let url = format!("http://{}", origin.server().address);
    let mut cache = Test::ours(&["--auth", "none", "--proxy", &url])?;
    cache.client.get("/v2/a/b/manifests/v1")?.expect(200)?;
    let list = cache.client.get("/v2/a/b/tags/list?n=2")?.expect(200)?;
    assert_eq!(list.json()?["tags"], serde_json::json!(["v1", "v2"]));
    assert_eq!(list.header("link"), Some("</v2/a/b/tags/list?n=2&last=v2>; rel=\"next\""));
    cache.client.get("/v2/a/none/tags/list")?.expect(404)?;
    // What signs an image is seen, whether or not anybody has asked for it here.
    let subject =
        serde_json::json!({ "mediaType": OCI, "digest": digest(&manifest), "size": manifest.len() });
    let signature = image(&digest(b"{}"), &digest(b"one"), 3, Some(subject)).to_string();
    origin.put_manifest("a/b", &digest(signature.as_bytes()), OCI, signature.as_bytes())?.expect(201)?;
    let referrers = format!("/v2/a/b/referrers/{}", digest(&manifest));
    let found = cache.client.get(&referrers)?.expect(200)?;
    assert_eq!(found.header("content-type"), Some(INDEX));
    assert_eq!(found.json()?["manifests"][0]["digest"], digest(signature.as_bytes()));
    // Without the other one, what is here.
    origin.server().kill()?;
    assert_eq!(cache.client.get("/v2/a/b/tags/list")?.json()?["tags"], serde_json::json!(["v1"]));
    assert_eq!(cache.client.get(&referrers)?.json()?["manifests"], serde_json::json!([]));
    Ok(())
}

#[test]
fn a_head_brings_no_blob_here() -> Result<()> {
    let mut origin = Test::ours(&["--auth", "none"])?;
    let blob = origin.push_blob("a", &noise(50_000))?;
    let url = format!("http://{}", origin.server().address);
    let mut cache = Test::ours(&["--auth", "none", "--proxy", &url])?;
    let path = format!("/v2/a/blobs/{blob}");
    let head = cache.client.request("HEAD", &path, &[], b"")?.expect(200)?;
    assert_eq!(head.header("content-length"), Some("50000"));
    cache.client.request("HEAD", &path.replace("/a/", "/b/"), &[], b"")?.expect(404)?;
    origin.server().kill()?;
    cache.client.get(&path)?.expect(502)?;
    Ok(())
}

#[test]
fn one_that_is_silent_is_not_asked_again_for_what_is_here() -> Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let manifest = image(&digest(b"{}"), &digest(b"one"), 3, None).to_string();
    let (first, later) = (manifest.clone(), std::sync::Arc::new(std::sync::Mutex::new(Vec::new())));
    let asked = later.clone();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for (n, stream) in listener.incoming().flatten().enumerate() {
            let mut stream = stream;
            if n == 0 {
                let _ = stream.read(&mut [0; 4096]);
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: {OCI}\r\nContent-Length: {}\r\n\r\n",
                    first.len()
                );
                let _ = stream.write_all(format!("{head}{first}").as_bytes());
            } else {
                // Held open, and never answered.
                asked.lock().expect("no panic under this lock").push(stream);
            }
        }
    });
    let file = tempfile::NamedTempFile::new()?;
    fs_err::write(file.path(), format!("proxy:\n  remoteurl: http://{address}\n  tagttl: 0s\n"))?;
    let mut cache = Test::ours(&["--auth", "none", &file.path().display().to_string()])?;
    for _ in 0..4 {
        assert_eq!(cache.client.get("/v2/a/manifests/v1")?.expect(200)?.body, manifest.as_bytes());
    }
    assert_eq!(cache.client.get("/v2/a/tags/list")?.json()?["tags"], serde_json::json!(["v1"]));
    assert_eq!(later.lock().expect("no panic under this lock").len(), 1);
    Ok(())
}

#[test]
fn what_nobody_asks_for_goes() -> Result<()> {
    let mut origin = Test::ours(&["--auth", "none"])?;
    origin.push_image("a", "v1", b"one")?;
    let file = tempfile::NamedTempFile::new()?;
    let url = format!("http://{}", origin.server().address);
    fs_err::write(file.path(), format!("proxy:\n  remoteurl: {url}\n  ttl: 1s\ngc:\n  grace: 0s\n"))?;
    let mut cache = Test::ours(&["--auth", "none", &file.path().display().to_string()])?;
    cache.client.get("/v2/a/manifests/v1")?.expect(200)?;
    cache.client.get(&format!("/v2/a/blobs/{}", digest(b"one")))?.expect(200)?;
    origin.server().kill()?;
    let root = cache.server().root().display().to_string();
    let blobs = cache.server().root().join("blobs/sha256").join(&digest(b"one")[7..9]);
    for _ in 0..600 {
        let done = std::process::Command::new(env!("CARGO_BIN_EXE_skiff"))
            .args(["registry", "gc", "--root", &root])
            .output()?;
        anyhow::ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        if fs_err::read_dir(&blobs)?.count() == 0 {
            cache.client.get("/v2/a/manifests/v1")?.expect(502)?;
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    anyhow::bail!("it is still here")
}

/// A registry that lies: the answers are its own.
fn liar(answers: Vec<Vec<u8>>) -> Result<String> {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    std::thread::spawn(move || {
        for answer in answers {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(&answer);
        }
    });
    Ok(address)
}

#[test]
fn a_registry_that_lies_leaves_nothing_here() -> Result<()> {
    let ok = |body: &[u8], length: usize| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {OCI}\r\nContent-Length: {length}\r\n\r\n");
        [head.as_bytes(), body].concat()
    };
    let wanted = digest(b"wanted");
    let cases = [
        ("/v2/a/blobs/", ok(b"other!", 6)),
        ("/v2/a/blobs/", ok(b"want", 6)),
        ("/v2/a/manifests/", ok(b"{}", 2)),
        ("/v2/a/manifests/", ok(b"{}", 5 << 20)),
        (
            "/v2/a/manifests/",
            b"HTTP/1.1 302 Found\r\nLocation: gopher://x/\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ),
        (
            "/v2/a/manifests/",
            b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"x\"\r\nContent-Length: 0\r\n\r\n"
                .to_vec(),
        ),
        ("/v2/a/manifests/", b"\0\0\0".to_vec()),
    ];
    for (path, answer) in cases {
        let address = liar(vec![answer.clone()])?;
        let mut cache = Test::ours(&["--auth", "none", "--proxy", &format!("http://{address}")])?;
        let got = cache.client.request("GET", &format!("{path}{wanted}"), &OCTETS, b"")?;
        assert_eq!(
            (got.status, got.code().as_str()),
            (502, "UNAVAILABLE"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        assert_eq!(fs_err::read_dir(cache.server().root().join("uploads"))?.count(), 0);
        assert_eq!(cache.client.get("/v2/_catalog")?.json()?["repositories"], serde_json::json!([]));
    }
    Ok(())
}

#[test]
fn a_password_does_not_follow_to_another_host() -> Result<()> {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let thief = listener.local_addr()?;
    let seen = std::thread::spawn(move || {
        let Ok((mut stream, _)) = listener.accept() else { return String::new() };
        let mut bytes = vec![0; 4096];
        let n = stream.read(&mut bytes).unwrap_or(0);
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        String::from_utf8_lossy(&bytes[..n]).into_owned()
    });
    let challenge =
        b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n"
            .to_vec();
    let redirect =
        format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://{thief}/x\r\nContent-Length: 0\r\n\r\n");
    let address = liar(vec![challenge, redirect.into_bytes()])?;
    let file = tempfile::NamedTempFile::new()?;
    fs_err::write(
        file.path(),
        format!("proxy:\n  remoteurl: http://{address}\n  username: me\n  password: secret\n"),
    )?;
    let mut cache = Test::ours(&["--auth", "none", &file.path().display().to_string()])?;
    cache.client.get("/v2/a/manifests/v1")?.expect(404)?;
    let seen = seen.join().unwrap_or_default();
    assert!(seen.starts_with("GET /x"), "{seen}");
    assert!(!seen.to_lowercase().contains("authorization"), "{seen}");
    // A token server on another host gets it only over TLS.
    let realm = format!(
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://{thief}/t\"\r\nContent-Length: 0\r\n\r\n"
    );
    let address = liar(vec![realm.into_bytes()])?;
    fs_err::write(
        file.path(),
        format!("proxy:\n  remoteurl: http://{address}\n  username: me\n  password: secret\n"),
    )?;
    let mut cache = Test::ours(&["--auth", "none", &file.path().display().to_string()])?;
    let answer = cache.client.get("/v2/a/manifests/v1")?.expect(502)?;
    assert!(answer.text().contains("the password stays here"), "{}", answer.text());
    Ok(())
}

#[test]
fn a_large_blob_is_passed_on_while_it_comes() -> Result<()> {
    use std::io::{BufRead, BufReader, Read, Write};
    let bytes = noise(3 << 20);
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (go, rest) = std::sync::mpsc::channel::<()>();
    let sent = bytes.clone();
    let origin = std::thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        let _ = stream.read(&mut [0; 4096])?;
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", sent.len())?;
        stream.write_all(&sent[..2 << 20])?;
        // The rest goes only when the client has the beginning.
        rest.recv().map_err(std::io::Error::other)?;
        stream.write_all(&sent[2 << 20..])
    });
    let mut cache = Test::ours(&["--auth", "none", "--proxy", &format!("http://{address}")])?;
    let path = format!("/v2/a/blobs/{}", digest(&bytes));
    let mut stream = BufReader::new(cache.client.connect()?);
    write!(stream.get_mut(), "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        anyhow::ensure!(stream.read_line(&mut head)? > 0, "{head}");
    }
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-length: 3145728"), "{head}");
    let mut got = vec![0; bytes.len()];
    stream.read_exact(&mut got[..1 << 20])?;
    go.send(())?;
    stream.read_exact(&mut got[1 << 20..])?;
    assert!(got == bytes);
    origin.join().map_err(|_| anyhow::anyhow!("the origin panicked"))??;
    // It is here now.
    assert_eq!(cache.client.get(&path)?.expect(200)?.body, bytes);
    Ok(())
}

#[test]
fn a_wrong_large_blob_is_cut_short() -> Result<()> {
    let (wanted, other) = (noise(2 << 20), noise((2 << 20) + 8));
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", wanted.len());
    let answer = [head.as_bytes(), &other[..wanted.len()]].concat();
    let address = liar(vec![answer])?;
    let mut cache = Test::ours(&["--auth", "none", "--proxy", &format!("http://{address}")])?;
    let path = format!("/v2/a/blobs/{}", digest(&wanted));
    assert!(cache.client.get(&path).is_err());
    let mut after = super::Client::new(&cache.server().address);
    assert_eq!(after.get(&path)?.status, 502);
    assert_eq!(fs_err::read_dir(cache.server().root().join("uploads"))?.count(), 0);
    Ok(())
}
