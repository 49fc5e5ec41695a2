//! Clients that mean no good, and clients that go away.

use std::{
    io::{BufReader, Read, Write},
    time::Duration,
};

use anyhow::Result;

use super::{OCI, OCTETS, Test, digest, noise, with_digest};

#[test]
fn names_that_walk_are_refused() -> Result<()> {
    let mut test = Test::any()?;
    for path in [
        "/v2/../../etc/passwd",
        "/v2/..%2f..%2fetc/blobs/uploads/",
        "/v2/a/../../b/blobs/uploads/",
        "/v2/UPPER/blobs/uploads/",
        "/v2/a/blobs/sha256:../../../../etc/passwd",
        "/v2/a/blobs/uploads/../../../etc/passwd",
        "/v2/a/manifests/..%2f..%2fx",
        "/v2/%00/tags/list",
        "/v2/a//b/tags/list",
        "//v2//",
    ] {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            let answer = test.client.request(method, path, &[], b"")?;
            let refused = (400..500).contains(&answer.status) || (300..400).contains(&answer.status);
            assert!(refused, "{method} {path}: {}", answer.status);
        }
    }
    Ok(())
}

#[test]
fn an_endless_manifest_is_cut_off() -> Result<()> {
    let mut test = Test::any()?;
    let name = test.name("endless");
    let answer = test.put_manifest(&name, "x", OCI, &vec![b' '; (4 << 20) + 1])?;
    assert!(matches!(answer.status, 400 | 413), "{}", answer.status);
    // Without a length, and without an end.
    let mut stream = test.client.connect()?;
    stream.set_write_timeout(Some(Duration::from_secs(60)))?;
    write!(
        stream,
        "PUT /v2/{name}/manifests/x HTTP/1.1\r\nHost: x\r\nContent-Type: {OCI}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )?;
    let piece = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    let sent = (0..1000).take_while(|_| stream.write_all(&piece).is_ok()).count();
    assert!(sent < 1000, "a manifest of 64 MB was read");
    test.client.get("/v2/")?.expect(200)?;
    Ok(())
}

#[test]
fn a_huge_head_is_refused() -> Result<()> {
    let mut test = Test::any()?;
    let mut stream = test.client.connect()?;
    write!(stream, "GET /v2/ HTTP/1.1\r\nHost: x\r\n")?;
    let line = format!("X-Filler: {}\r\n", "x".repeat(8000));
    let sent = (0..2000).take_while(|_| stream.write_all(line.as_bytes()).is_ok()).count();
    let mut answer = Vec::new();
    let _ = stream.take(4096).read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer);
    assert!(sent < 2000 || text.starts_with("HTTP/1.1 4"), "{text}");
    test.client.get("/v2/")?.expect(200)?;
    Ok(())
}

#[test]
fn a_client_that_leaves_may_come_back_and_go_on() -> Result<()> {
    let mut test = Test::any()?;
    let (name, bytes) = (test.name("leaves"), noise(400_000));
    let begun = test.client.request("POST", &format!("/v2/{name}/blobs/uploads/"), &[], b"")?.expect(202)?;
    let location = begun.location()?;
    let mut stream = test.client.connect()?;
    write!(stream, "PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 400000\r\n\r\n")?;
    stream.write_all(&bytes[..150_000])?;
    stream.shutdown(std::net::Shutdown::Write)?;
    // The answer, or the end: then it has been noticed.
    let _ = BufReader::new(stream).read_to_end(&mut Vec::new());
    let mut held = 0;
    for _ in 0..3000 {
        let status = test.client.get(&location)?;
        let range = status.header("range").unwrap_or("0-0").to_owned();
        held = range.rsplit('-').next().and_then(|n| n.parse::<usize>().ok()).map_or(0, |n| n + 1);
        if held > 1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    if !test.is_ours() {
        // Docker's registry keeps it only if the client said where it wanted to be.
        return Ok(());
    }
    assert_eq!(held, 150_000);
    let last = with_digest(&location, &digest(&bytes));
    test.client.request("PUT", &last, &OCTETS, &bytes[held..])?.expect(201)?;
    Ok(())
}

#[test]
fn what_is_no_http_ends_only_its_connection() -> Result<()> {
    let mut test = Test::any()?;
    for junk in [
        b"\0\xff\xfe\r\n\r\n".as_slice(),
        b"GET\r\n\r\n",
        b"PUT /v2/a/manifests/x HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"PUT /v2/a/manifests/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PATCH /v2/a/blobs/uploads/x HTTP/1.1\r\nHost: x\r\nContent-Range: 18446744073709551615-0\r\nContent-Length: 0\r\n\r\n",
    ] {
        let mut stream = test.client.connect()?;
        stream.write_all(junk)?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    }
    test.client.get("/v2/")?.expect(200)?;
    Ok(())
}
