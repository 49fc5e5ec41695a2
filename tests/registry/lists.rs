//! Lists and their pages.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{OCI, Test};

/// The address of the next page.
fn next(link: &str) -> Option<String> {
    let address = link.strip_prefix('<')?.split_once(">; rel=\"next\"")?.0;
    Some(address.to_owned())
}

#[test]
fn tags_come_in_order_and_in_pages() -> Result<()> {
    let mut test = Test::any()?;
    let name = test.name("tags");
    let manifest = test.push_image(&name, "b", b"x")?;
    for tag in ["a", "c", "B", "1.0"] {
        test.put_manifest(&name, tag, OCI, &manifest)?.expect(201)?;
    }
    let all = test.client.get(&format!("/v2/{name}/tags/list"))?.expect(200)?.json()?;
    assert_eq!(all, json!({ "name": name, "tags": ["1.0", "B", "a", "b", "c"] }));
    if !test.is_ours() {
        // This version of docker's registry gives all tags at once.
        return Ok(());
    }
    let first = test.client.get(&format!("/v2/{name}/tags/list?n=2"))?.expect(200)?;
    assert_eq!(first.json()?["tags"], json!(["1.0", "B"]));
    let second = test.client.get(&next(first.header("link").context("no Link")?).context("a link")?)?;
    assert_eq!(second.json()?["tags"], json!(["a", "b"]));
    let third = test.client.get(&next(second.header("link").context("no Link")?).context("a link")?)?;
    assert_eq!((third.json()?["tags"].clone(), third.header("link")), (json!(["c"]), None));
    let after = test.client.get(&format!("/v2/{name}/tags/list?last=a&n=9"))?.expect(200)?;
    assert_eq!(after.json()?["tags"], json!(["b", "c"]));
    let none = test.client.get(&format!("/v2/{name}/tags/list?n=0"))?.expect(200)?;
    assert_eq!((none.json()?["tags"].clone(), none.header("link")), (json!([]), None));
    let bad = test.client.get(&format!("/v2/{name}/tags/list?n=x"))?.expect(400)?;
    assert_eq!(bad.code(), "PAGINATION_NUMBER_INVALID");
    Ok(())
}

#[test]
fn the_catalog_comes_in_pages() -> Result<()> {
    let mut test = Test::any()?;
    let mut names: Vec<String> = (0..5).map(|_| test.name("catalog")).collect();
    names.sort();
    for name in &names {
        test.push_image(name, "v1", b"x")?;
    }
    let (mut found, mut path) = (Vec::<String>::new(), "/v2/_catalog?n=2".to_owned());
    loop {
        let page = test.client.get(&path)?.expect(200)?;
        let list = page.json()?["repositories"].clone();
        let list: Vec<String> = serde_json::from_value::<Option<_>>(list)?.unwrap_or_default();
        assert!(list.len() <= 2);
        found.extend(list);
        match page.header("link").and_then(next) {
            Some(link) => path = link,
            None => break,
        }
    }
    let ours: Vec<&String> = found.iter().filter(|name| names.contains(name)).collect();
    assert_eq!(ours, names.iter().collect::<Vec<_>>());
    let mut sorted = found.clone();
    sorted.dedup();
    assert_eq!(sorted, found, "nothing comes twice");
    Ok(())
}

#[test]
fn repositories_are_searched() -> Result<()> {
    let mut test = Test::ours(&["--auth", "none"])?;
    for name in ["team/web", "team/worker", "other/webs", "api"] {
        test.push_image(name, "v1", b"x")?;
    }
    let mut found = |query: &str| -> Result<Vec<String>> {
        let all = test.client.get(&format!("/v1/search?{query}"))?.expect(200)?.json()?;
        let names = all["results"].as_array().context("results")?.iter();
        assert_eq!(all["num_results"], names.len());
        Ok(names.map(|one| one["name"].as_str().unwrap_or_default().to_owned()).collect())
    };
    assert_eq!(found("q=WEB")?, ["other/webs", "team/web"]);
    assert_eq!(found("q=team%2Fw&n=1")?, ["team/web"]);
    assert_eq!(found("q=nothing")?, [""; 0]);
    assert_eq!(found("n=1000000")?.len(), 4);
    test.client.get("/v1/search?q=a&n=x")?.expect(400)?;
    test.client.request("POST", "/v1/search?q=a", &[], b"")?.expect(405)?;
    test.client.get("/v1/_ping")?.expect(200)?;
    Ok(())
}

#[test]
fn errors_are_documents() -> Result<()> {
    let mut test = Test::any()?;
    let name = test.name("errors");
    let answer = test.client.get(&format!("/v2/{name}/tags/list"))?.expect(404)?;
    let error: Value = answer.json()?["errors"][0].clone();
    assert_eq!(error["code"], "NAME_UNKNOWN");
    assert_eq!(error["detail"]["name"], name);
    assert!(error["message"].is_string());
    Ok(())
}
