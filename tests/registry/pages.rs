//! The pages: who sees what, and what other sites cannot do.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use std::io::Write;

use serde_json::json;

use super::{Client, Response, Test};

pub(super) const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

pub(super) fn add_user(test: &mut Test, name: &str, admin: bool) -> Result<()> {
    let root = test.server().root();
    let mut child = Command::new(env!("CARGO_BIN_EXE_skiff"))
        .args(["registry", "user", "add", "--password-stdin", name, &format!("--admin={admin}"), "--root"])
        .arg(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    child.stdin.take().context("piped")?.write_all(b"long password")?;
    ensure!(child.wait()?.success());
    Ok(())
}

/// The token in the page's forms.
pub(super) fn token(page: &Response) -> Result<String> {
    let text = page.text();
    let at = text.find("name=\"token\" value=\"").context("no form")? + 20;
    Ok(text[at..].split('"').next().context("a quoted value")?.to_owned())
}

fn sign_in(client: &mut Client, user: &str, password: &str) -> Result<Option<String>> {
    let page = client.get("/ui/login")?.expect(200)?;
    let body = format!("user={user}&password={password}&token={}", token(&page)?);
    let answer = client.request("POST", "/ui/login", &[FORM], body.as_bytes())?;
    Ok(answer.header("set-cookie").and_then(|cookie| cookie.split(';').next()).map(str::to_owned))
}

#[test]
fn people_sign_in_look_and_remove() -> Result<()> {
    let mut test = Test::ours(&[])?;
    add_user(&mut test, "root", true)?;
    test.client.authorization = Some(format!(
        "Basic {}",
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, "root:long password")
    ));
    test.push_image("library/<b>".replace(['<', '>'], "x").as_str(), "v1", b"layer")?;
    test.client.authorization = None;
    // A public project is for everybody, administration is not.
    let page = test.client.get("/ui/")?.expect(200)?;
    assert!(page.text().contains("library") && !page.text().contains("Audit log"));
    let policy = page.header("content-security-policy").context("no policy")?;
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let text = page.text();
    assert!(
        !text.contains("<style") && !text.contains("style=") && !text.contains(" onclick"),
        "inline style or script"
    );
    assert_eq!(test.client.get("/ui/audit")?.status, 303);
    assert_eq!(sign_in(&mut test.client, "root", "wrong")?, None);
    let cookie = sign_in(&mut test.client, "root", "long+password")?.context("no cookie")?;
    let signed = [("Cookie", cookie.as_str())];
    for (path, part) in [
        ("/ui/", "New project"),
        ("/ui/users", "root"),
        ("/ui/storage", "Stored"),
        ("/ui/audit", "login.failed"),
        ("/ui/search?q=xb", "library/xbx"),
        ("/ui/search?q=%3Cscript%3E", "&lt;script&gt;"),
        ("/ui/projects/library", "Robots"),
        ("/ui/repositories/library/xbx", "docker pull 127.0.0.1:"),
        ("/ui/image/library/xbx?ref=v1", "Layers"),
        ("/ui/delete/library/xbx?ref=v1", "cannot be undone"),
    ] {
        let page = test.client.request("GET", path, &signed, b"")?.expect(200)?;
        assert!(page.text().contains(part), "{path}: no {part:?} in {}", page.text());
        assert!(!page.text().contains("<script>"), "{path}");
    }
    // Removing wants the form of this session, from this site.
    let page = test.client.request("GET", "/ui/delete/library/xbx?ref=v1", &signed, b"")?;
    let body = format!("ref=v1&token={}", token(&page)?);
    let path = "/ui/delete/library/xbx";
    let without = test.client.request("POST", path, &[FORM, signed[0]], b"ref=v1")?;
    assert_eq!(without.status, 403);
    for foreign in [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site"), ("Origin", "null")]
    {
        let answer = test.client.request("POST", path, &[FORM, signed[0], foreign], body.as_bytes())?;
        assert_eq!(answer.status, 403, "{foreign:?}");
    }
    let nobody = test.client.request("POST", path, &[FORM], body.as_bytes())?;
    assert_eq!(nobody.status, 403);
    let removed = test.client.request("POST", path, &[FORM, signed[0]], body.as_bytes())?;
    assert_eq!((removed.status, removed.header("location")), (303, Some("/ui/repositories/library/xbx")));
    test.client.get("/v2/library/xbx/manifests/v1")?.expect(404)?;
    // Who signs out ends this session, also for who kept its cookie, and no other.
    let other = sign_in(&mut test.client, "root", "long+password")?.context("no cookie")?;
    let body = format!("token={}", token(&test.client.request("GET", "/ui/", &signed, b"")?)?);
    let out = test.client.request("POST", "/ui/logout", &[FORM, signed[0]], body.as_bytes())?.expect(303)?;
    assert!(out.header("set-cookie").is_some_and(|cookie| cookie.contains("Max-Age=0")));
    assert_eq!(test.client.request("GET", "/ui/users", &signed, b"")?.status, 303);
    test.client.request("GET", "/ui/users", &[("Cookie", &other)], b"")?.expect(200)?;
    // A cookie that was tampered with is nobody's.
    let forged = other.replace("root", "toor");
    assert_eq!(test.client.request("GET", "/ui/users", &[("Cookie", &forged)], b"")?.status, 303);
    Ok(())
}

#[test]
fn a_user_does_not_see_what_is_not_his() -> Result<()> {
    let mut test = Test::ours(&[])?;
    add_user(&mut test, "root", true)?;
    add_user(&mut test, "bob", false)?;
    let cookie = sign_in(&mut test.client, "root", "long+password")?.context("no cookie")?;
    let page = test.client.request("GET", "/ui/", &[("Cookie", &cookie)], b"")?;
    let body = format!("name=secret&token={}", token(&page)?);
    let made =
        test.client.request("POST", "/ui/project-add", &[FORM, ("Cookie", &cookie)], body.as_bytes())?;
    assert_eq!(made.status, 303);
    let bobs = sign_in(&mut test.client, "bob", "long+password")?.context("no cookie")?;
    let bobs = [("Cookie", bobs.as_str())];
    let page = test.client.request("GET", "/ui/", &bobs, b"")?.expect(200)?;
    assert!(!page.text().contains("secret") && page.text().contains("library"));
    for (path, status) in [
        ("/ui/projects/secret", 404),
        ("/ui/repositories/secret/app", 403),
        ("/ui/users", 403),
        ("/ui/audit", 403),
        ("/ui/storage", 403),
    ] {
        assert_eq!(test.client.request("GET", path, &bobs, b"")?.status, status, "{path}");
    }
    let body = format!("name=mine&token={}", token(&page)?);
    for path in [
        "/ui/project-add",
        "/ui/project-set/library",
        "/ui/project-remove/library",
        "/ui/user-add",
        "/ui/user-set/root",
        "/ui/user-remove/root",
        "/ui/account",
        "/ui/collect",
        "/ui/member/secret",
    ] {
        let answer = test.client.request("POST", path, &[FORM, bobs[0]], body.as_bytes())?;
        assert_eq!(answer.status, 403, "{path}: {}", answer.text());
    }
    // Who looks after a project does not decide how much room it has.
    let roots = [FORM, ("Cookie", cookie.as_str())];
    let root_page = test.client.request("GET", "/ui/", &roots[1..], b"")?;
    let body = format!("user=bob&role=admin&token={}", token(&root_page)?);
    let set = test.client.request("POST", "/ui/member/secret", &roots, body.as_bytes())?;
    assert_eq!(set.status, 303);
    for (fields, status) in [("quota=1g&keep_last=3", 403), ("keep_last=3", 303), ("keep_last=three", 400)] {
        let body = format!("{fields}&token={}", token(&page)?);
        let answer =
            test.client.request("POST", "/ui/project-set/secret", &[FORM, bobs[0]], body.as_bytes())?;
        assert_eq!(answer.status, status, "{fields}: {}", answer.text());
    }
    Ok(())
}

#[test]
fn people_sign_in_behind_a_proxy_that_has_a_name_of_its_own() -> Result<()> {
    let mut test = Test::ours(&["--url", "https://registry.example.com"])?;
    add_user(&mut test, "root", true)?;
    let page = test.client.get("/ui/login")?.expect(200)?;
    let body = format!("user=root&password=long+password&token={}", token(&page)?);
    for (origin, status) in [
        ("https://registry.example.com", 303),
        ("https://registry.example.com.evil.example", 403),
        ("https://evil.example", 403),
        ("null", 403),
    ] {
        let headers = [FORM, ("Origin", origin)];
        let answer = test.client.request("POST", "/ui/login", &headers, body.as_bytes())?;
        assert_eq!(answer.status, status, "{origin}: {}", answer.text());
    }
    Ok(())
}

#[test]
fn a_projects_page_tells_where_it_goes_and_no_password() -> Result<()> {
    let mut test = Test::ours(&[])?;
    add_user(&mut test, "root", true)?;
    // Nobody listens there.
    let target =
        json!([{ "registry": "127.0.0.1:9", "prefix": "copy", "user": "u", "password": "hush-hush" }]);
    let body = json!({ "replications": target }).to_string();
    test.client.authorization = Some(format!(
        "Basic {}",
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, "root:long password")
    ));
    let kind = [("Content-Type", "application/json")];
    test.client.request("PATCH", "/api/v1/projects/library", &kind, body.as_bytes())?.expect(204)?;
    let told = test.client.get("/api/v1/projects/library")?.expect(200)?.text();
    assert!(told.contains("127.0.0.1:9") && !told.contains("hush"), "{told}");
    test.client.authorization = None;
    let told = test.client.get("/api/v1/projects/library")?.text();
    assert!(!told.contains("127.0.0.1:9"), "{told}");
    let cookie = sign_in(&mut test.client, "root", "long+password")?.context("no cookie")?;
    let signed = [("Cookie", cookie.as_str())];
    let page = test.client.request("GET", "/ui/projects/library", &signed, b"")?.expect(200)?;
    assert!(page.text().contains("127.0.0.1:9/copy") && !page.text().contains("hush"), "{}", page.text());
    let body = format!("token={}", token(&page)?);
    let sent = test.client.request("POST", "/ui/replicate/library", &[FORM, signed[0]], body.as_bytes())?;
    assert_eq!((sent.status, sent.header("location")), (303, Some("/ui/projects/library")));
    Ok(())
}
