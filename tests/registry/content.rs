//! Manifests: what is accepted, what it means, what is removed.

use anyhow::Result;
use serde_json::json;

use super::{INDEX, OCI, Test, digest, image, noise};

#[test]
fn a_manifest_is_refused_while_its_content_is_missing() -> Result<()> {
    let mut test = Test::any()?;
    let name = test.name("missing");
    let config = test.push_blob(&name, b"{}")?;
    let manifest = image(&config, &digest(b"not there"), 9, None).to_string();
    let refused = test.put_manifest(&name, "v1", OCI, manifest.as_bytes())?;
    // 404 in the specification, 400 in docker's registry.
    assert!(matches!(refused.status, 400 | 404), "{}", refused.status);
    assert_eq!(refused.code(), "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(test.client.get(&format!("/v2/{name}/manifests/v1"))?.status, 404);
    Ok(())
}

#[test]
fn what_is_no_manifest_is_refused() -> Result<()> {
    let mut test = Test::any()?;
    let name = test.name("bad");
    let good = String::from_utf8(test.push_image(&name, "v1", b"x")?)?;
    for (kind, body) in [
        (OCI, "{"),
        (OCI, "[]"),
        (OCI, "null"),
        (OCI, &good.replace("\"schemaVersion\":2", "\"schemaVersion\":7")),
        (INDEX, &good),
        ("text/html", &good),
    ] {
        // Docker's registry looks less closely at what has the form of a manifest.
        if !test.is_ours() && body.len() > 1 {
            continue;
        }
        let answer = test.put_manifest(&name, "bad", kind, body.as_bytes())?;
        assert!((400..500).contains(&answer.status), "{kind} {body}: {}", answer.status);
    }
    // By another digest than its own.
    let path = digest(b"another");
    let answer = test.put_manifest(&name, &path, OCI, good.as_bytes())?;
    assert_eq!((answer.status, answer.code().as_str()), (400, "DIGEST_INVALID"));
    if test.is_ours() {
        let old = json!({ "schemaVersion": 1, "name": name, "tag": "old", "fsLayers": [], "history": [] })
            .to_string();
        let kind = "application/vnd.docker.distribution.manifest.v1+prettyjws";
        let answer = test.put_manifest(&name, "old", kind, old.as_bytes())?;
        assert_eq!((answer.status, answer.code().as_str()), (400, "MANIFEST_INVALID"));
        assert!(answer.text().contains("schema version 1"), "{}", answer.text());
    }
    Ok(())
}

#[test]
fn an_index_needs_its_manifests_and_keeps_them() -> Result<()> {
    let mut test = Test::any()?;
    let name = test.name("index");
    let manifest = test.push_image(&name, "one", &noise(64))?;
    let platform = json!({ "architecture": "amd64", "os": "linux" });
    let entry = |digest: &str, size: usize| json!({ "mediaType": OCI, "digest": digest, "size": size, "platform": platform });
    let index = |entry| json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] }).to_string();
    let refused = test.put_manifest(&name, "multi", INDEX, index(entry(&digest(b"no"), 2)).as_bytes())?;
    assert!(matches!(refused.status, 400 | 404), "{}", refused.status);
    let inner = digest(&manifest);
    let good = index(entry(&inner, manifest.len()));
    test.put_manifest(&name, "multi", INDEX, good.as_bytes())?.expect(201)?;
    let got =
        test.client.request("GET", &format!("/v2/{name}/manifests/multi"), &[("Accept", INDEX)], b"")?;
    assert_eq!(got.expect(200)?.body, good.as_bytes());
    if test.is_ours() {
        let path = format!("/v2/{name}/manifests/{inner}");
        test.client.request("DELETE", &path, &[], b"")?.expect(403)?;
        let path = format!("/v2/{name}/manifests/{}", digest(good.as_bytes()));
        test.client.request("DELETE", &path, &[], b"")?.expect(202)?;
        let path = format!("/v2/{name}/manifests/{inner}");
        test.client.request("DELETE", &path, &[], b"")?.expect(202)?;
    }
    Ok(())
}

#[test]
fn removing_a_manifest_takes_its_tags() -> Result<()> {
    let mut test = Test::any()?;
    let name = test.name("remove");
    let manifest = test.push_image(&name, "one", &noise(32))?;
    test.put_manifest(&name, "two", OCI, &manifest)?.expect(201)?;
    let path = format!("/v2/{name}/manifests/{}", digest(&manifest));
    test.client.request("DELETE", &path, &[], b"")?.expect(202)?;
    for reference in ["one", "two", &digest(&manifest)] {
        test.client.get(&format!("/v2/{name}/manifests/{reference}"))?.expect(404)?;
    }
    test.client.request("DELETE", &path, &[], b"")?.expect(404)?;
    let blob = format!("/v2/{name}/blobs/{}", digest(&noise(32)));
    test.client.request("DELETE", &blob, &[], b"")?.expect(202)?;
    test.client.get(&blob)?.expect(404)?;
    test.client.request("DELETE", &blob, &[], b"")?.expect(404)?;
    Ok(())
}

#[test]
fn a_tag_goes_alone() -> Result<()> {
    let mut test = Test::any()?;
    if !test.is_ours() {
        return Ok(());
    }
    let name = test.name("untag");
    let manifest = test.push_image(&name, "one", b"x")?;
    test.client.request("DELETE", &format!("/v2/{name}/manifests/one"), &[], b"")?.expect(202)?;
    test.client.get(&format!("/v2/{name}/manifests/one"))?.expect(404)?;
    test.client.get(&format!("/v2/{name}/manifests/{}", digest(&manifest)))?.expect(200)?;
    // A blob that a manifest names stays.
    let blob = format!("/v2/{name}/blobs/{}", digest(b"x"));
    test.client.request("DELETE", &blob, &[], b"")?.expect(403)?;
    Ok(())
}

#[test]
fn referrers_are_found_by_their_subject() -> Result<()> {
    let mut test = Test::any()?;
    if !test.is_ours() {
        return Ok(());
    }
    let name = test.name("refer");
    let subject = test.push_image(&name, "v1", b"subject")?;
    let subject_digest = digest(&subject);
    let empty = test.client.get(&format!("/v2/{name}/referrers/{subject_digest}"))?.expect(200)?;
    assert_eq!(empty.json()?["manifests"], json!([]));
    let (config, layer) = (test.push_blob(&name, b"{}")?, test.push_blob(&name, b"sig")?);
    let of = json!({ "mediaType": OCI, "digest": subject_digest, "size": subject.len() });
    let mut signature = image(&config, &layer, 3, Some(of));
    signature["artifactType"] = json!("application/x.signature");
    signature["annotations"] = json!({ "by": "me" });
    let bytes = signature.to_string();
    let stored = test.put_manifest(&name, &digest(bytes.as_bytes()), OCI, bytes.as_bytes())?.expect(201)?;
    assert_eq!(stored.header("oci-subject"), Some(subject_digest.as_str()));
    let path = format!("/v2/{name}/referrers/{subject_digest}");
    let found = test.client.get(&path)?.expect(200)?;
    assert_eq!(found.header("content-type"), Some(INDEX));
    let entry = &found.json()?["manifests"][0];
    assert_eq!(entry["digest"], digest(bytes.as_bytes()));
    assert_eq!(entry["artifactType"], "application/x.signature");
    assert_eq!(entry["annotations"]["by"], "me");
    for (kind, count) in [("application/x.signature", 1), ("application/x.other", 0)] {
        let found = test.client.get(&format!("{path}?artifactType={kind}"))?.expect(200)?;
        assert_eq!(found.header("oci-filters-applied"), Some("artifactType"));
        assert_eq!(found.json()?["manifests"].as_array().map(Vec::len), Some(count));
    }
    // A subject may come later.
    let later = digest(b"later");
    let of = json!({ "mediaType": OCI, "digest": later, "size": 5 });
    let early = image(&config, &layer, 3, Some(of)).to_string();
    test.put_manifest(&name, "early", OCI, early.as_bytes())?.expect(201)?;
    let found = test.client.get(&format!("/v2/{name}/referrers/{later}"))?.expect(200)?;
    assert_eq!(found.json()?["manifests"][0]["artifactType"], "application/vnd.oci.image.config.v1+json");
    test.client.get(&format!("/v2/{name}/referrers/x"))?.expect(400)?;
    Ok(())
}
