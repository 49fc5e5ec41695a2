//! Kills in the middle, and many clients at once.

use std::{
    io::{BufRead, BufReader, Read, Write},
    thread,
};

use anyhow::{Result, anyhow};

use super::{Client, OCI, OCTETS, Test, client::read, digest, noise, with_digest};

#[test]
fn an_upload_survives_a_kill() -> Result<()> {
    let mut test = Test::ours(&["--auth", "none"])?;
    let bytes = noise(500_000);
    let begun = test.client.request("POST", "/v2/a/b/blobs/uploads/", &[], b"")?.expect(202)?;
    let location = begun.location()?;
    test.client.request("PATCH", &location, &OCTETS, &bytes[..200_000])?.expect(202)?;
    // And a chunk that is under way.
    let mut stream = test.client.connect()?;
    write!(stream, "PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n")?;
    stream.write_all(&bytes[200_000..300_000])?;
    test.server().kill()?;
    test.server().start_again()?;
    test.client = Client::new(&test.server().address.clone());
    let status = test.client.get(&location)?.expect(204)?;
    let range = status.header("range").unwrap_or_default().to_owned();
    let held = range.rsplit('-').next().and_then(|n| n.parse::<usize>().ok()).map_or(0, |n| n + 1);
    assert!((200_000..=300_000).contains(&held), "{range}");
    let digest = digest(&bytes);
    test.client.request("PUT", &with_digest(&location, &digest), &OCTETS, &bytes[held..])?.expect(201)?;
    assert_eq!(test.client.get(&format!("/v2/a/b/blobs/{digest}"))?.expect(200)?.body, bytes);
    Ok(())
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() -> Result<()> {
    let mut test = Test::ours(&["--auth", "none"])?;
    let address = test.server().address.clone();
    for round in 0..5 {
        let clients: Vec<_> = (0..8)
            .map(|n| {
                let address = address.clone();
                thread::spawn(move || {
                    let mut test = Test { client: Client::new(&address), server: None };
                    let mut acknowledged = Vec::new();
                    for i in 0.. {
                        let name = format!("kill/r{round}-{n}-{i}");
                        match test.push_image(&name, "v1", name.as_bytes()) {
                            Ok(manifest) => acknowledged.push((name, manifest)),
                            Err(_) => break,
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        thread::sleep(std::time::Duration::from_millis(150 + 90 * round));
        test.server().kill()?;
        let acknowledged: Vec<_> = clients.into_iter().flat_map(|c| c.join().unwrap_or_default()).collect();
        test.server().start_again()?;
        test.client = Client::new(&address);
        for (name, manifest) in &acknowledged {
            let got = test.client.get(&format!("/v2/{name}/manifests/v1"))?.expect(200)?;
            assert_eq!(&got.body, manifest);
            let layer =
                test.client.get(&format!("/v2/{name}/blobs/{}", digest(name.as_bytes())))?.expect(200)?;
            assert_eq!(layer.body, name.as_bytes());
        }
    }
    Ok(())
}

#[test]
fn what_is_under_way_at_the_end_is_answered() -> Result<()> {
    let mut test = Test::ours(&["--auth", "none"])?;
    let (bytes, large) = (noise(300_000), noise(24 << 20));
    let blob = test.push_blob("a/b", &large)?;
    let begun = test.client.request("POST", "/v2/a/b/blobs/uploads/", &[], b"")?.expect(202)?;
    let location = begun.location()?;
    let mut sender = BufReader::new(test.client.connect()?);
    write!(
        sender.get_mut(),
        "PATCH {location} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 300000\r\n\r\n"
    )?;
    let mut line = String::new();
    sender.read_line(&mut line)?;
    assert!(line.starts_with("HTTP/1.1 100"), "{line}");
    sender.read_line(&mut line)?;
    let mut taker = BufReader::new(test.client.connect()?);
    write!(taker.get_mut(), "GET /v2/a/b/blobs/{blob} HTTP/1.1\r\nHost: x\r\n\r\n")?;
    taker.read_line(&mut line)?;
    let server = test.server();
    let pid = rustix::process::Pid::from_child(&server.process);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    // Nobody else is let in.
    while std::net::TcpStream::connect(&server.address).is_ok() {
        thread::sleep(std::time::Duration::from_millis(10));
    }
    sender.get_mut().write_all(&bytes)?;
    assert_eq!(read(&mut sender, "PATCH")?.status, 202);
    let mut rest = Vec::new();
    taker.read_to_end(&mut rest)?;
    assert!(rest.ends_with(&large));
    assert!(test.server().process.wait()?.success());
    test.server().start_again()?;
    test.client = Client::new(&test.server().address.clone());
    let held = test.client.get(&location)?.expect(204)?;
    assert_eq!(held.header("range"), Some("0-299999"));
    Ok(())
}

#[test]
fn two_registries_do_not_share_a_directory() -> Result<()> {
    let mut test = Test::ours(&["--auth", "none"])?;
    let root = test.server().root().display().to_string();
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_skiff"))
        .args(["registry", "serve", "--addr", "127.0.0.1:0", "--auth", "none", "--root", &root])
        .output()?;
    assert_eq!(second.status.code(), Some(1));
    let message = String::from_utf8(second.stderr)?;
    assert!(message.contains("is in use"), "{message}");
    Ok(())
}

#[test]
fn thirty_two_clients_push_and_pull_the_same_and_different_images() -> Result<()> {
    let test = Test::any()?;
    let ours = test.is_ours();
    let address = test.server.as_ref().map(|s| s.address.clone());
    let address =
        address.or_else(|| std::env::var("SKIFF_TEST_REGISTRY").ok()).ok_or_else(|| anyhow!("no address"))?;
    let shared = test.name("shared");
    let clients: Vec<_> = (0..32)
        .map(|n| {
            let (address, shared, own) = (address.clone(), shared.clone(), test.name("own"));
            thread::spawn(move || -> Result<()> {
                let mut test = Test { client: Client::new(&address), server: None };
                let layer = noise(100_000);
                // Docker's registry refuses some of what many push to one repository at once.
                let shared = ours.then_some((&shared, format!("t{n}")));
                for (name, tag) in [(&own, "v1".to_owned())].into_iter().chain(shared) {
                    let manifest = test.push_image(name, &tag, &layer)?;
                    assert_eq!(
                        test.client
                            .request("GET", &format!("/v2/{name}/manifests/{tag}"), &[("Accept", OCI)], b"")?
                            .expect(200)?
                            .body,
                        manifest
                    );
                    let blob = format!("/v2/{name}/blobs/{}", digest(&layer));
                    assert_eq!(test.client.get(&blob)?.expect(200)?.body, layer);
                }
                Ok(())
            })
        })
        .collect();
    for client in clients {
        client.join().map_err(|_| anyhow!("a client panicked"))??;
    }
    Ok(())
}
