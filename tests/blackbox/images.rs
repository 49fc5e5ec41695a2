//! Images in, out, named and removed, without a registry.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use skiff_testkit::{http::Body, image::Tar};

use crate::Test;

fn small_tar() -> Vec<u8> {
    let mut tar = Tar::default();
    tar.entry("etc/", b'5', 0o755, "", b"");
    tar.entry("etc/motd", b'0', 0o644, "", b"ahoy\n");
    tar.finish()
}

fn import(test: &mut Test, query: &str, tar: &[u8]) -> Result<String> {
    let path = format!("/images/create?fromSrc=-&{query}");
    let answer = test.client.request("POST", &path, &Body::Bytes("application/x-tar", tar))?.ok()?;
    let text = answer.text();
    let last = text.lines().rfind(|l| !l.trim().is_empty()).context("no progress")?;
    let last: Value = serde_json::from_str(last)?;
    last["status"].as_str().map(str::to_owned).with_context(|| text.clone())
}

#[test]
fn an_import_has_the_digest_of_its_tar_as_layer() -> Result<()> {
    let mut test = Test::new()?;
    let name = test.name("imp");
    let query = format!("repo={name}&tag=one&changes=CMD%20%5B%22x%22%5D&changes=ENV%20A%3Db&message=hello");
    let id = import(&mut test, &query, &small_tar())?;
    test.images.push(format!("{name}:one"));
    let seen = test.client.get(&format!("/images/{name}:one/json"))?.ok()?.json()?;
    assert_eq!(seen["Id"], id);
    let tar_digest = "sha256:".to_owned() + &sha256sum(&small_tar())?;
    assert_eq!(seen["RootFS"]["Layers"], json!([tar_digest]));
    assert_eq!(seen["Config"]["Cmd"], json!(["x"]));
    assert_eq!(seen["Config"]["Env"], json!(["A=b"]));
    assert_eq!(seen["Comment"], "hello");
    let history = test.client.get(&format!("/images/{name}:one/history"))?.ok()?.json()?;
    assert_eq!(history[0]["Comment"], "hello");
    assert_eq!(history[0]["Tags"], json!([format!("{name}:one")]));
    Ok(())
}

fn sha256sum(bytes: &[u8]) -> Result<String> {
    use std::io::Write;
    let mut child = std::process::Command::new("sha256sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    child.stdin.take().context("piped")?.write_all(bytes)?;
    let text = String::from_utf8(child.wait_with_output()?.stdout)?;
    Ok(text[..64].to_owned())
}

#[test]
fn tags_are_names_and_the_last_one_takes_the_image_with_it() -> Result<()> {
    let mut test = Test::new()?;
    let name = test.name("tag");
    let id = import(&mut test, &format!("repo={name}"), &small_tar())?;
    assert_eq!(
        test.client.post(&format!("/images/{name}/tag?repo={name}&tag=two"), &Value::Null)?.status,
        201
    );
    let removed = test.client.delete(&format!("/images/{name}:latest"))?.ok()?.json()?;
    assert_eq!(removed, json!([{ "Untagged": format!("{name}:latest") }]));
    let removed = test.client.delete(&format!("/images/{name}:two"))?.ok()?.json()?;
    assert_eq!(removed[0], json!({ "Untagged": format!("{name}:two") }));
    assert_eq!(removed[1], json!({ "Deleted": id }));
    let gone = test.client.get(&format!("/images/{name}:two/json"))?;
    assert_eq!((gone.status, gone.message()), (404, format!("No such image: {name}:two")));
    Ok(())
}

#[test]
fn an_image_in_use_stays() -> Result<()> {
    let mut test = Test::new()?;
    let name = test.name("used");
    import(&mut test, &format!("repo={name}"), &small_tar())?;
    test.images.push(name.clone());
    let container = test.create(&json!({ "Image": name, "Cmd": ["x"] }))?;
    let refused = test.client.delete(&format!("/images/{name}"))?;
    assert_eq!(refused.status, 409);
    assert!(refused.message().contains("container"), "{}", refused.message());
    assert!(refused.message().contains(&container[..12]), "{}", refused.message());
    Ok(())
}

#[test]
fn what_is_saved_loads_again_with_the_same_id() -> Result<()> {
    let mut test = Test::new()?;
    let name = test.name("save");
    let id = import(&mut test, &format!("repo={name}&changes=CMD%20%5B%22x%22%5D"), &small_tar())?;
    test.images.push(name.clone());
    let saved = test.client.get(&format!("/images/{name}/get"))?.ok()?;
    assert_eq!(saved.header("content-type"), Some("application/x-tar"));
    test.client.delete(&format!("/images/{name}"))?.ok()?;
    let loaded =
        test.client.request("POST", "/images/load", &Body::Bytes("application/x-tar", &saved.body))?.ok()?;
    assert!(loaded.text().contains(&format!("Loaded image: {name}:latest")), "{}", loaded.text());
    let seen = test.client.get(&format!("/images/{name}/json"))?.ok()?.json()?;
    assert_eq!(seen["Id"], id);
    Ok(())
}

#[test]
fn a_broken_archive_leaves_nothing() -> Result<()> {
    let mut test = Test::new()?;
    let before = test.client.get("/images/json?all=1")?.ok()?.json()?.as_array().map_or(0, Vec::len);
    let mut tar = small_tar();
    tar.truncate(700);
    let answer = test.client.request("POST", "/images/load", &Body::Bytes("application/x-tar", &tar))?;
    assert!(answer.status >= 400 || answer.text().contains("error"), "{}", answer.text());
    let path = "/images/create?fromSrc=-&repo=broken";
    let answer = test.client.request("POST", path, &Body::Bytes("application/x-tar", &tar))?;
    assert!(answer.status >= 400 || answer.text().contains("error"), "{}", answer.text());
    let after = test.client.get("/images/json?all=1")?.ok()?.json()?.as_array().map_or(0, Vec::len);
    assert_eq!(before, after);
    Ok(())
}

#[test]
fn an_inspected_image_begins_with_its_id_and_ends_with_its_configuration() -> Result<()> {
    let mut test = Test::new()?;
    let text = String::from_utf8(test.client.get("/images/busybox/json")?.ok()?.body)?;
    assert!(text.starts_with(r#"{"Id":"sha256:"#), "{text}");
    let mut last = 0;
    for key in
        ["RepoTags", "Comment", "Architecture", "Os", "Size", "GraphDriver", "RootFS", "Metadata", "Config"]
    {
        let at = text.find(&format!("\"{key}\":")).with_context(|| format!("no {key} in {text}"))?;
        assert!(at > last, "{key} in {text}");
        last = at;
    }
    assert!(text.contains(r#""Config":{"Cmd":null,"Entrypoint":null,"#), "{text}");
    Ok(())
}

#[test]
fn a_load_tells_how_far_it_is_unless_it_is_to_be_quiet() -> Result<()> {
    let mut test = Test::new()?;
    let name = test.name("progress");
    let mut tar = Tar::default();
    // Unlike any other layer, so that none of it is there already.
    tar.entry(&name, b'0', 0o644, "", &name.as_bytes().repeat(100_000));
    let tar = tar.finish();
    for (query, told) in [("quiet=0", true), ("quiet=1", false)] {
        import(&mut test, &format!("repo={name}"), &tar)?;
        let saved = test.client.get(&format!("/images/{name}/get"))?.ok()?.body;
        test.client.delete(&format!("/images/{name}"))?.ok()?;
        let body = Body::Bytes("application/x-tar", &saved);
        let loaded = test.client.request("POST", &format!("/images/load?{query}"), &body)?.ok()?;
        test.client.delete(&format!("/images/{name}"))?.ok()?;
        let lines: Vec<Value> =
            loaded.text().lines().map(serde_json::from_str).collect::<Result<_, serde_json::Error>>()?;
        let progress: Vec<&Value> = lines.iter().filter(|line| line["status"] == "Loading layer").collect();
        assert_eq!(!progress.is_empty(), told, "{query}: {lines:?}");
        if let Some(last) = progress.last() {
            let total = tar.len();
            assert_eq!(last["progressDetail"], json!({ "current": total, "total": total }), "{last}");
            assert_eq!(last["id"], sha256sum(&tar)?[..12]);
            assert!(last["progress"].as_str().is_some_and(|bar| bar.starts_with('[')), "{last}");
        }
        assert_eq!(lines.last(), Some(&json!({ "stream": format!("Loaded image: {name}:latest\n") })));
    }
    Ok(())
}

#[test]
fn an_image_of_another_platform_is_not_the_one_that_was_asked_for() -> Result<()> {
    let mut test = Test::new()?;
    let platform = |text: &str| text.replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
    let other = platform(r#"{"os":"linux","architecture":"mips64le"}"#);
    let have = test.client.get("/images/busybox/json")?.ok()?.json()?["Architecture"].clone();
    let have = have.as_str().context("no Architecture")?;
    let own = platform(&json!({ "os": "linux", "architecture": have }).to_string());
    let mismatch = format!(
        "image with reference busybox was found but its platform (linux/{have}) does not match the specified platform (linux/mips64le)"
    );
    for (path, status, message) in [
        ("/images/busybox/json", 404, mismatch.as_str()),
        ("/images/busybox/history", 404, mismatch.as_str()),
        ("/images/busybox/get", 500, "no suitable export target found for platform linux/mips64le"),
    ] {
        assert_eq!(test.client.get(&format!("{path}?platform={own}"))?.status, 200, "{path}");
        let refused = test.client.get(&format!("{path}?platform={other}"))?;
        assert_eq!((refused.status, refused.message().as_str()), (status, message), "{path}");
        let incomplete = test.client.get(&format!("{path}?platform={}", platform("{}")))?;
        assert_eq!(
            (incomplete.status, incomplete.message().as_str()),
            (400, "both OS and Architecture must be provided")
        );
    }
    Ok(())
}
