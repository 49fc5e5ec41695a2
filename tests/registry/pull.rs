//! What goes out: whole, in parts, only if it changed.

use anyhow::{Context, Result};

use super::{OCI, Test, digest, noise};

#[test]
fn a_manifest_comes_by_tag_and_by_digest() -> Result<()> {
    let mut test = Test::any()?;
    let name = test.name("pull");
    let manifest = test.push_image(&name, "v1", &noise(100))?;
    let digest = digest(&manifest);
    for reference in ["v1", &digest] {
        let path = format!("/v2/{name}/manifests/{reference}");
        let got = test.client.request("GET", &path, &[("Accept", OCI)], b"")?.expect(200)?;
        assert_eq!(got.body, manifest);
        assert_eq!(got.header("content-type"), Some(OCI));
        assert_eq!(got.header("docker-content-digest"), Some(digest.as_str()));
        let head = test.client.request("HEAD", &path, &[("Accept", OCI)], b"")?.expect(200)?;
        assert_eq!(head.header("content-length"), Some(manifest.len().to_string().as_str()));
        assert_eq!(head.header("docker-content-digest"), Some(digest.as_str()));
        let etag = got.header("etag").context("no ETag")?.to_owned();
        let headers = [("Accept", OCI), ("If-None-Match", etag.as_str())];
        test.client.request("GET", &path, &headers, b"")?.expect(304)?;
    }
    Ok(())
}

#[test]
fn what_is_not_there_is_not_found() -> Result<()> {
    let mut test = Test::any()?;
    let name = test.name("none");
    let unknown = digest(b"nothing");
    for (path, code) in [
        (format!("/v2/{name}/blobs/{unknown}"), "BLOB_UNKNOWN"),
        (format!("/v2/{name}/tags/list"), "NAME_UNKNOWN"),
        (format!("/v2/{name}/blobs/uploads/00000000000000000000000000000000"), "BLOB_UPLOAD_UNKNOWN"),
    ] {
        let answer = test.client.get(&path)?;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        if test.is_ours() {
            assert_eq!(answer.code(), code, "{path}");
        }
        let head = test.client.request("HEAD", &path, &[], b"")?;
        assert!(head.status == 404 || head.status == 405, "{path}: {}", head.status);
    }
    test.push_image(&name, "v1", b"x")?;
    let answer = test.client.get(&format!("/v2/{name}/manifests/nope"))?;
    assert_eq!((answer.status, answer.code().as_str()), (404, "MANIFEST_UNKNOWN"));
    Ok(())
}

#[test]
fn ranges_are_parts_of_a_blob() -> Result<()> {
    let mut test = Test::any()?;
    // Small and large ones take different ways out.
    for size in [1000, 1 << 20] {
        let (name, bytes) = (test.name("range"), noise(size));
        let digest = test.push_blob(&name, &bytes)?;
        let path = format!("/v2/{name}/blobs/{digest}");
        for (range, from, to) in [
            ("bytes=0-99", 0, 100),
            ("bytes=100-", 100, size),
            ("bytes=-7", size - 7, size),
            ("bytes=900-99999999", 900, size),
        ] {
            let part = test.client.request("GET", &path, &[("Range", range)], b"")?.expect(206)?;
            assert_eq!(part.body, bytes[from..to], "{range}");
            let said = format!("bytes {from}-{}/{size}", to - 1);
            assert_eq!(part.header("content-range"), Some(said.as_str()));
        }
        // Docker's registry answers with the length of the blob, and without its bytes.
        if test.is_ours() {
            let outside = test.client.request("GET", &path, &[("Range", "bytes=99999999-")], b"")?;
            assert_eq!(outside.status, 416);
        }
        let all = test.client.get(&path)?.expect(200)?;
        assert_eq!(all.body, bytes);
        let etag = all.header("etag").context("no ETag")?.to_owned();
        test.client.request("GET", &path, &[("If-None-Match", &etag)], b"")?.expect(304)?;
    }
    Ok(())
}

#[test]
fn one_connection_serves_large_and_small_answers_in_turn() -> Result<()> {
    let mut test = Test::any()?;
    let (name, bytes) = (test.name("turns"), noise(3 << 20));
    let digest = test.push_blob(&name, &bytes)?;
    let path = format!("/v2/{name}/blobs/{digest}");
    use std::io::{BufReader, Write};
    let mut connection = BufReader::new(test.client.connect()?);
    // Pipelined: all requests are there before the first answer is read.
    for target in [&path, "/v2/", &path, &path, "/v2/"] {
        write!(connection.get_mut(), "GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")?;
    }
    for large in [true, false, true, true, false] {
        let answer = super::client::read(&mut connection, "GET")?.expect(200)?;
        assert_eq!(answer.body == bytes, large);
    }
    Ok(())
}
