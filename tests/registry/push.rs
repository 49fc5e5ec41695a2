//! Blobs that come in: at once, in chunks, mounted, given up.

use anyhow::Result;
use sha2::{Digest, Sha512};

use super::{OCTETS, Test, digest, noise, with_digest};

#[test]
fn a_blob_comes_with_post_and_put() -> Result<()> {
    let mut test = Test::any()?;
    let name = test.name("mono");
    let bytes = noise(300_000);
    let digest = test.push_blob(&name, &bytes)?;
    let path = format!("/v2/{name}/blobs/{digest}");
    let head = test.client.request("HEAD", &path, &[], b"")?.expect(200)?;
    assert_eq!(head.header("content-length"), Some("300000"));
    assert_eq!(head.header("docker-content-digest"), Some(digest.as_str()));
    assert_eq!(test.client.get(&path)?.expect(200)?.body, bytes);
    // Again: it is there already.
    test.push_blob(&name, &bytes)?;
    Ok(())
}

#[test]
fn a_blob_comes_with_one_post() -> Result<()> {
    let mut test = Test::any()?;
    let (name, bytes) = (test.name("single"), noise(1000));
    let digest = digest(&bytes);
    let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
    let answer = test.client.request("POST", &path, &OCTETS, &bytes)?;
    // The specification lets a registry answer 202 and wait for the PUT; docker's does.
    if test.is_ours() {
        let answer = answer.expect(201)?;
        assert_eq!(answer.location()?, format!("/v2/{name}/blobs/{digest}"));
        assert_eq!(test.client.get(&format!("/v2/{name}/blobs/{digest}"))?.expect(200)?.body, bytes);
    } else {
        answer.expect(202)?;
    }
    Ok(())
}

#[test]
fn chunks_are_appended_in_order() -> Result<()> {
    let mut test = Test::any()?;
    let (name, bytes) = (test.name("chunks"), noise(250_000));
    let begun = test.client.request("POST", &format!("/v2/{name}/blobs/uploads/"), &[], b"")?.expect(202)?;
    assert_eq!(begun.header("range"), Some("0-0"));
    let mut location = begun.location()?;
    for (from, to) in [(0, 100_000), (100_000, 200_000)] {
        let range = format!("{from}-{}", to - 1);
        let headers = [("Content-Range", range.as_str()), OCTETS[0]];
        let answer = test.client.request("PATCH", &location, &headers, &bytes[from..to])?.expect(202)?;
        assert_eq!(answer.header("range"), Some(format!("0-{}", to - 1).as_str()));
        location = answer.location()?;
    }
    // Out of order: refused, and nothing is lost. Docker's registry of this version appends it.
    if test.is_ours() {
        let headers = [("Content-Range", "0-99999"), OCTETS[0]];
        let refused = test.client.request("PATCH", &location, &headers, &bytes[..100_000])?;
        assert_eq!(refused.status, 416, "{}", refused.text());
        // Longer than it says, which no length betrays beforehand.
        let chunked = [("Content-Range", "200000-200003"), ("Transfer-Encoding", "chunked")];
        let refused = test.client.request("PATCH", &location, &chunked, b"5\r\n12345\r\n0\r\n\r\n")?;
        assert_eq!((refused.status, refused.code().as_str()), (400, "BLOB_UPLOAD_INVALID"));
    }
    let status = test.client.get(&location)?.expect(204)?;
    assert_eq!(status.header("range"), Some("0-199999"));
    let digest = digest(&bytes);
    let last = with_digest(&status.location()?, &digest);
    let headers = [("Content-Range", "200000-249999"), OCTETS[0]];
    test.client.request("PUT", &last, &headers, &bytes[200_000..])?.expect(201)?;
    assert_eq!(test.client.get(&format!("/v2/{name}/blobs/{digest}"))?.expect(200)?.body, bytes);
    Ok(())
}

#[test]
fn a_wrong_digest_leaves_nothing() -> Result<()> {
    let mut test = Test::any()?;
    let name = test.name("wrong");
    let wrong = digest(b"something else");
    let begun = test.client.request("POST", &format!("/v2/{name}/blobs/uploads/"), &[], b"")?.expect(202)?;
    let answer = test.client.request("PUT", &with_digest(&begun.location()?, &wrong), &OCTETS, b"hello")?;
    assert_eq!((answer.status, answer.code().as_str()), (400, "DIGEST_INVALID"));
    test.client.get(&format!("/v2/{name}/blobs/{wrong}"))?.expect(404)?;
    test.client.get(&format!("/v2/{name}/blobs/{}", digest(b"hello")))?.expect(404)?;
    let none = test.client.request("POST", &format!("/v2/{name}/blobs/uploads/"), &[], b"")?.expect(202)?;
    let answer = test.client.request("PUT", &none.location()?, &OCTETS, b"hello")?;
    assert_eq!((answer.status, answer.code().as_str()), (400, "DIGEST_INVALID"));
    Ok(())
}

#[test]
fn an_upload_that_is_given_up_is_gone() -> Result<()> {
    let mut test = Test::any()?;
    let name = test.name("cancel");
    let begun = test.client.request("POST", &format!("/v2/{name}/blobs/uploads/"), &[], b"")?.expect(202)?;
    let location = begun.location()?;
    test.client.request("DELETE", &location, &[], b"")?.expect(204)?;
    let gone = test.client.get(&location)?;
    assert_eq!((gone.status, gone.code().as_str()), (404, "BLOB_UPLOAD_UNKNOWN"));
    Ok(())
}

#[test]
fn a_blob_is_mounted_from_where_it_is() -> Result<()> {
    let mut test = Test::any()?;
    let (from, to) = (test.name("from"), test.name("to"));
    let digest = test.push_blob(&from, &noise(5000))?;
    test.client.get(&format!("/v2/{to}/blobs/{digest}"))?.expect(404)?;
    let path = format!("/v2/{to}/blobs/uploads/?mount={digest}&from={from}");
    let mounted = test.client.request("POST", &path, &[], b"")?.expect(201)?;
    assert_eq!(mounted.location()?, format!("/v2/{to}/blobs/{digest}"));
    assert_eq!(test.client.get(&format!("/v2/{to}/blobs/{digest}"))?.expect(200)?.body.len(), 5000);
    // What is not there is uploaded instead.
    let path = format!("/v2/{to}/blobs/uploads/?mount={}&from={from}", super::digest(b"nowhere"));
    test.client.request("POST", &path, &[], b"")?.expect(202)?;
    Ok(())
}

#[test]
fn sha512_is_a_digest_too() -> Result<()> {
    let mut test = Test::any()?;
    if !test.is_ours() {
        return Ok(());
    }
    let (name, bytes) = (test.name("long"), noise(70_000));
    let hex: String = Sha512::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let begun = test.client.request("POST", &format!("/v2/{name}/blobs/uploads/"), &[], b"")?.expect(202)?;
    // The hash becomes known only at the end.
    let patched = test.client.request("PATCH", &begun.location()?, &OCTETS, &bytes[..30_000])?.expect(202)?;
    let last = with_digest(&patched.location()?, &format!("sha512:{hex}"));
    test.client.request("PUT", &last, &OCTETS, &bytes[30_000..])?.expect(201)?;
    assert_eq!(test.client.get(&format!("/v2/{name}/blobs/sha512:{hex}"))?.expect(200)?.body, bytes);
    Ok(())
}
