//! The pages in a real browser: what a person sees, types and presses. `SKIFF_TEST_SCREENSHOTS=DIR` keeps pictures of all of them.

mod content;
mod driver;

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use self::{
    content::{HOSTILE, PASSWORD, TAGS},
    driver::{Browser, ENTER, SPACE, TAB},
};
use super::Test;

/// A registry with content and a browser on it. The browser ends first.
fn open() -> Result<(Browser, Test)> {
    let mut test = content::registry()?;
    let address = test.server().address.clone();
    Ok((Browser::open(&address)?, test))
}

fn sign_in(browser: &mut Browser, user: &str, password: &str) -> Result<()> {
    browser.go("/ui/login")?;
    browser.fill("[name=user]", user)?;
    browser.fill("[name=password]", password)?;
    browser.click("main button")
}

/// As the administrator.
fn signed_in() -> Result<(Browser, Test)> {
    let (mut browser, test) = open()?;
    sign_in(&mut browser, "root", PASSWORD)?;
    browser.arrives("/ui/")?;
    Ok((browser, test))
}

fn lines(browser: &mut Browser, check: &str) -> Result<Vec<String>> {
    Ok(serde_json::from_value(browser.ask(check)?)?)
}

/// Nothing is wrong with this page, as it is now.
fn sound(browser: &mut Browser, when: &str) -> Result<()> {
    for check in ["faint()", "wide()", "cramped()", "nameless()"] {
        let wrong = lines(browser, check)?;
        ensure!(wrong.is_empty(), "{when}: {check}: {wrong:#?}");
    }
    let complaints = browser.complaints()?;
    ensure!(complaints.is_empty(), "{when}: {complaints:#?}");
    let scripts =
        browser.ask("document.scripts.length + document.querySelectorAll('style, [style]').length")?;
    ensure!(scripts == 1, "{when}: {scripts} scripts and styles");
    Ok(())
}

/// The digest that a page of an index has for a platform.
fn platform(browser: &mut Browser, text: &str) -> Result<String> {
    let rows =
        format!("[...document.querySelectorAll('tr')].find(r => r.cells[0].innerText.startsWith('{text}'))");
    let link = browser.ask(&format!("{rows}.querySelector('a').getAttribute('href')"))?;
    Ok(link.as_str().context("no link")?.to_owned())
}

#[test]
fn who_knows_the_password_comes_in() -> Result<()> {
    let (mut browser, _test) = open()?;
    browser.go("/")?;
    browser.arrives("/ui/")?;
    let text = browser.text()?;
    assert!(text.contains("tools") && !text.contains("shop") && !text.contains("Storage"), "{text}");
    sign_in(&mut browser, "root", "wrong")?;
    browser.sees("The user name or the password is wrong.")?;
    assert_eq!(
        browser.ask("document.querySelector('[role=alert]').innerText")?,
        "The user name or the password is wrong."
    );
    // The name is still there, so that only the password has to be typed again.
    assert_eq!(browser.ask("document.querySelector('[name=user]').value")?, "root");
    sign_in(&mut browser, "root", PASSWORD)?;
    browser.arrives("/ui/")?;
    let text = browser.text()?;
    assert!(text.contains("root") && text.contains("shop") && text.contains("Storage"), "{text}");
    assert_eq!(browser.ask("document.cookie")?, "", "scripts see the session");
    browser.click("header form[action='/ui/logout'] button")?;
    browser.sees("Sign in")?;
    // Who is sent to the sign-in comes back to what was wanted.
    let wanted = "/ui/image/shop/web?ref=1.2";
    browser.go(wanted)?;
    browser.sees("Password")?;
    assert!(!browser.text()?.contains("shop/web"));
    browser.fill("[name=user]", "root")?;
    browser.fill("[name=password]", "wrong")?;
    browser.press(ENTER)?;
    browser.sees("is wrong")?;
    browser.fill("[name=password]", PASSWORD)?;
    browser.press(ENTER)?;
    browser.arrives(wanted)?;
    browser.sees("Layers")?;
    // But not to another place.
    browser.go("/ui/login?to=//evil.example/ui/")?;
    browser.fill("[name=user]", "root")?;
    browser.fill("[name=password]", PASSWORD)?;
    browser.press(ENTER)?;
    browser.arrives("/ui/")?;
    Ok(())
}

#[test]
fn people_change_their_password_and_administrators_change_people() -> Result<()> {
    let (mut browser, mut test) = open()?;
    let address = test.server().address.clone();
    sign_in(&mut browser, "eve", PASSWORD)?;
    browser.arrives("/ui/")?;
    browser.click("header a[href='/ui/account']")?;
    browser.sees("Your account")?;
    browser.fill("[name=current]", "not this")?;
    browser.fill("[name=password]", "another password")?;
    browser.press(ENTER)?;
    browser.sees("the password until now is wrong")?;
    browser.go("/ui/account")?;
    browser.fill("[name=current]", PASSWORD)?;
    browser.fill("[name=password]", "another password")?;
    browser.press(ENTER)?;
    browser.sees("The password is changed.")?;
    let mut root = Browser::open(&address)?;
    sign_in(&mut root, "eve", PASSWORD)?;
    root.sees("is wrong")?;
    sign_in(&mut root, "root", PASSWORD)?;
    root.arrives("/ui/")?;
    root.click("a[href='/ui/users']")?;
    root.sees("Since")?;
    root.click("a[href='/ui/users/eve']")?;
    root.sees("Member of no project.")?;
    root.click("form.row[action='/ui/user-set/eve'] button")?;
    root.arrives("/ui/users")?;
    browser.go("/ui/storage")?;
    browser.sees("By project")?;
    // Locked out is out at once.
    root.click("[aria-label='Lock out eve']")?;
    root.sees("locked out")?;
    browser.go("/ui/")?;
    assert!(!browser.text()?.contains("Sign out"));
    root.click("a[href='/ui/users/eve']")?;
    root.sees("Remove this user")?;
    root.click("summary")?;
    root.sees("It cannot be undone.")?;
    root.click("form[action='/ui/user-remove/eve'] button")?;
    root.arrives("/ui/users")?;
    assert!(!root.text()?.contains("eve"));
    Ok(())
}

#[test]
fn a_project_is_made_set_and_removed() -> Result<()> {
    let (mut browser, mut test) = signed_in()?;
    browser.click("summary")?;
    browser.fill("[name=name]", "New")?;
    browser.click("form[action='/ui/project-add'] button")?;
    // The browser itself refuses what is no name.
    assert_eq!(browser.ask("document.querySelector('[name=name]').matches(':invalid')")?, true);
    assert_eq!(browser.at()?, "/ui/");
    browser.fill("[name=name]", "new")?;
    browser.click("form[action='/ui/project-add'] button")?;
    browser.sees("Nothing has been pushed yet.")?;
    for (field, text) in
        [("quota", "1536m"), ("immutable", "v* stable"), ("keep_last", "5"), ("untagged_days", "7")]
    {
        browser.fill(&format!("[name={field}]"), text)?;
    }
    browser.click("form[action='/ui/project-set/new'] button")?;
    browser.sees("0B of 1.61GB")?;
    let project = test.client.get("/api/v1/projects/new")?.json()?;
    assert_eq!(
        json!([project["quota"], project["immutable"], project["retention"]]),
        json!([1536 << 20, ["v*", "stable"], { "keep_last": 5, "untagged_days": 7 }])
    );
    assert_eq!(browser.ask("document.querySelector('[name=quota]').value")?, "1536m");
    browser.fill("[name=quota]", "much")?;
    browser.click("form[action='/ui/project-set/new'] button")?;
    browser.sees("is no size like")?;
    browser.go("/ui/projects/new")?;
    browser.click("summary")?;
    browser.click("form[action='/ui/project-remove/new'] button")?;
    browser.arrives("/ui/")?;
    assert!(!browser.text()?.contains("new\t"));
    test.client.get("/api/v1/projects/new")?.expect(404)?;
    Ok(())
}

#[test]
fn long_lists_come_in_parts() -> Result<()> {
    let (mut browser, mut test) = signed_in()?;
    let manifest = test.push_image("tools/lint", "latest", b"layer")?;
    for n in 0..120 {
        test.put_manifest("tools/lint", &format!("t{n:03}"), crate::OCI, &manifest)?.expect(201)?;
    }
    let shown = "document.querySelectorAll('tbody tr').length";
    browser.go("/ui/repositories/tools/lint")?;
    browser.sees("1–100 of 121")?;
    assert_eq!(browser.ask(shown)?, 100);
    browser.click("[rel=next]")?;
    browser.sees("101–121 of 121")?;
    assert_eq!(browser.ask(shown)?, 21);
    browser.fill("[name=filter]", "t11")?;
    browser.press(ENTER)?;
    browser.until("ten rows", |b| Ok(b.ask(shown)? == 10))?;
    browser.go("/ui/repositories/tools/lint?from=500")?;
    browser.click("main p a")?;
    browser.sees("1–100 of 121")?;
    Ok(())
}

#[test]
fn every_page_can_be_read_light_dark_and_narrow() -> Result<()> {
    let (mut browser, _test) = signed_in()?;
    browser.go("/ui/image/shop/api?ref=latest")?;
    let (amd64, attestation) =
        (platform(&mut browser, "linux/amd64")?, platform(&mut browser, "Attestation")?);
    let signature = browser.ask("document.querySelector('#referrers ~ table a').getAttribute('href')")?;
    let signature = signature.as_str().context("no link")?.to_owned();
    let hostile = format!("/ui/search?q={}", HOSTILE.replace('<', "%3C").replace('>', "%3E"));
    let pages = [
        ("projects", "/ui/", "tools"),
        ("project", "/ui/projects/shop", "shop/web"),
        ("tags", "/ui/repositories/shop/web", "1.11"),
        ("index", "/ui/image/shop/api?ref=latest", "linux/arm64/v8"),
        ("image", &amd64, "Healthcheck"),
        ("attestation", &attestation, "in-toto"),
        ("signature", &signature, HOSTILE),
        ("delete", "/ui/delete/shop/web?ref=1.1", "cannot be undone"),
        ("search", "/ui/search?q=sh", "shop/api"),
        ("nothing-found", &hostile, HOSTILE),
        ("users", "/ui/users", "eve"),
        ("user", "/ui/users/eve", "Member of no project."),
        ("account", "/ui/account", "docker login"),
        ("missing", "/ui/projects/none", "That did not work"),
        ("storage", "/ui/storage", "Repositories"),
        ("audit", "/ui/audit", "project.add"),
        ("login", "/ui/login", "Password"),
    ];
    let mut grounds = BTreeSet::new();
    for (name, path, part) in pages {
        for (look, width) in [("light", 1200), ("dark", 1200), ("light", 400), ("dark", 400)] {
            browser.scheme(look)?;
            browser.resize(width, 900)?;
            browser.go(path)?;
            let when = format!("{name}-{look}-{width}");
            browser.picture(&when)?;
            let text = browser.text()?;
            ensure!(text.contains(part), "{when}: no {part:?} in {text}");
            ensure!(browser.ask("document.title")? != "owned", "{when}: a script ran");
            if name == "missing" {
                let said = browser.complaints()?;
                ensure!(said.len() == 1 && said[0].contains("404"), "{said:#?}");
            }
            sound(&mut browser, &when)?;
            let ground = browser.ask("getComputedStyle(document.body).backgroundColor")?;
            grounds.insert((look, ground.to_string()));
        }
    }
    // One for light, another for dark.
    let colors: BTreeSet<&str> = grounds.iter().map(|(_, ground)| ground.as_str()).collect();
    ensure!(grounds.len() == 2 && colors.len() == 2, "{grounds:?}");
    Ok(())
}

#[test]
fn an_image_is_found_and_shown_with_all_that_is_in_it() -> Result<()> {
    let (mut browser, mut test) = signed_in()?;
    let host = test.server().address.clone();
    browser.click("a[href='/ui/projects/shop']")?;
    browser.sees("shop/api")?;
    browser.click("a[href='/ui/repositories/shop/api']")?;
    browser.sees(&format!("docker pull {host}/shop/api:"))?;
    browser.click("a[href='/ui/image/shop/api?ref=1.4.2']")?;
    browser.sees(&format!("docker pull {host}/shop/api:1.4.2"))?;
    let text = browser.text()?;
    // Sizes are those of the platforms' layers, not of their manifests.
    for part in [
        "linux/amd64",
        "205kB",
        "linux/arm64/v8",
        "191kB",
        "Attestation",
        "application/vnd.example.signature",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    let arm64 = platform(&mut browser, "linux/arm64/v8")?;
    browser.click(&format!("a[href='{arm64}']"))?;
    browser.sees("History")?;
    let text = browser.text()?;
    for part in [
        "linux/arm64/v8",
        "2026-11-20T10:00:00Z",
        "/usr/local/bin/api --listen 0.0.0.0:8080",
        "serve",
        "app:app",
        "/srv",
        "8080/tcp",
        "/data",
        "SIGTERM",
        "api ping",
        &format!("{HOSTILE}={HOSTILE}"),
        &format!("MOTTO={HOSTILE}"),
        "3 layers",
        "140kB",
        "46.7kB",
        "COPY target/release/api",
        "debuerreotype 0.15",
        "empty",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    // The command can be copied.
    let command = browser.ask("document.querySelector('.command code').innerText")?;
    let granted = json!({ "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] });
    browser.cdp("Browser.grantPermissions", granted)?;
    browser.click("[data-copy]")?;
    browser.sees("Copied")?;
    assert_eq!(browser.ask("navigator.clipboard.readText()")?, command);
    // Many tags are filtered.
    browser.go("/ui/repositories/shop/web")?;
    let shown = "[...document.querySelectorAll('tbody tr')].filter(visible).length";
    assert_eq!(browser.ask(shown)?, TAGS);
    browser.fill("[name=filter]", "1.1")?;
    browser.press(ENTER)?;
    browser.arrives("/ui/repositories/shop/web?filter=1.1")?;
    assert_eq!(browser.ask(shown)?, 3, "1.1, 1.10, 1.11");
    // And repositories found.
    browser.fill("header [type=search]", "API")?;
    browser.press(ENTER)?;
    browser.arrives("/ui/search?q=API")?;
    let text = browser.text()?;
    assert!(text.contains("shop/api") && !text.contains("shop/web"), "{text}");
    Ok(())
}

#[test]
fn members_and_robots_come_and_go() -> Result<()> {
    let (mut browser, mut test) = signed_in()?;
    browser.go("/ui/projects/shop")?;
    browser
        .ask("document.querySelector('form[action=\"/ui/member/shop\"] select[name=user]').value = 'bob'")?;
    browser.ask(
        "document.querySelector('form[action=\"/ui/member/shop\"] select[name=role]').value = 'developer'",
    )?;
    browser.click("form.row[action='/ui/member/shop'] button")?;
    browser.until("bob is a member", |b| {
        Ok(lines(b, "[...document.querySelectorAll('#members ~ table td')].map(c => c.innerText)")?
            .contains(&"developer".into()))
    })?;
    browser.fill("[name=robot]:not([type=hidden])", "ci")?;
    browser.click("form[action='/ui/robot-add/shop'] button")?;
    browser.sees("The token is shown only now.")?;
    let token = browser.ask("document.querySelectorAll('dd code')[1].innerText")?;
    let token = token.as_str().context("no token")?.to_owned();
    let login = format!("shop+ci:{token}");
    let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, login);
    test.client.authorization = Some(format!("Basic {basic}"));
    test.client.get("/v2/shop/api/tags/list")?.expect(200)?;
    browser.go("/ui/projects/shop")?;
    assert!(!browser.text()?.contains(&token));
    browser.click("[aria-label='Remove robot shop+ci']")?;
    browser.until("the robot is gone", |b| Ok(!b.text()?.contains("shop+ci")))?;
    test.client.get("/v2/shop/api/tags/list")?.expect(401)?;
    browser.click("[aria-label='Remove member bob']")?;
    browser.until("bob is gone", |b| {
        Ok(b.ask("document.querySelector('[aria-label=\"Remove member bob\"]')")?.is_null())
    })?;
    Ok(())
}

#[test]
fn nothing_is_removed_that_was_not_confirmed() -> Result<()> {
    let (mut browser, mut test) = signed_in()?;
    let path = "/v2/shop/web/manifests/1.3";
    browser.go("/ui/repositories/shop/web")?;
    browser.click("[aria-label='Remove tag 1.3']")?;
    browser.sees("This removes shop/web:1.3. It cannot be undone.")?;
    browser.click("form[action='/ui/delete/shop/web'] a")?;
    browser.arrives("/ui/repositories/shop/web")?;
    test.client.get(path)?.expect(200)?;
    browser.click("[aria-label='Remove tag 1.3']")?;
    browser.sees("cannot be undone")?;
    browser.click("form[action='/ui/delete/shop/web'] button")?;
    browser.arrives("/ui/repositories/shop/web")?;
    let tags =
        lines(&mut browser, "[...document.querySelectorAll('tbody tr')].map(r => r.cells[0].innerText)")?;
    assert!(tags.len() == TAGS - 1 && !tags.contains(&"1.3".into()), "{tags:?}");
    test.client.get(path)?.expect(404)?;
    browser.click("a[href='/ui/delete/shop/web']")?;
    browser.sees("This removes the repository shop/web with all its images")?;
    browser.click("form[action='/ui/delete/shop/web'] button")?;
    browser.arrives("/ui/projects/shop")?;
    assert!(!browser.text()?.contains("shop/web"));
    // Who may only look is not asked.
    browser.go("/ui/repositories/tools/lint")?;
    browser.click("header form[action='/ui/logout'] button")?;
    browser.sees("Sign in")?;
    browser.go("/ui/repositories/tools/lint")?;
    browser.sees("latest")?;
    assert!(!browser.text()?.contains("Remove"));
    Ok(())
}

#[test]
fn administrators_see_what_is_stored_and_what_was_done() -> Result<()> {
    let (mut browser, _test) = open()?;
    sign_in(&mut browser, HOSTILE, "wrong")?;
    browser.sees("is wrong")?;
    sign_in(&mut browser, "root", PASSWORD)?;
    browser.arrives("/ui/")?;
    browser.go("/ui/storage")?;
    let figures = lines(&mut browser, "[...document.querySelectorAll('.figures dd')].map(c => c.innerText)")?;
    assert_eq!(&figures[2..], ["4", "19", "16"], "repositories, manifests, tags");
    // A line from the start of the registry, when nothing was there, to now.
    let curve = browser
        .ask("(box => [box.width, box.height])(document.querySelector('.curve').getBoundingClientRect())")?;
    assert!(curve[0].as_f64() > Some(300.0) && curve[1].as_f64() > Some(50.0), "{curve}");
    browser.click("form[action='/ui/collect'] button")?;
    browser.sees("Collected: 0 files")?;
    browser.go("/ui/audit")?;
    let text = browser.text()?;
    for part in ["gc", "login.failed", HOSTILE, "push", "shop/api", "127.0.0.1"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    browser.fill("[name=about]", "tools")?;
    browser.press(ENTER)?;
    browser.arrives("/ui/audit?about=tools")?;
    let text = browser.text()?;
    assert!(text.contains("project.add") && !text.contains("shop"), "{text}");
    // Who is no administrator gets none of it.
    browser.click("header form[action='/ui/logout'] button")?;
    browser.sees("Sign in")?;
    for page in ["storage", "audit", "users"] {
        browser.go(&format!("/ui/{page}"))?;
        assert!(browser.at()?.starts_with("/ui/login"), "{page}");
    }
    Ok(())
}

/// Presses Tab until the focus is there; it must be seen at each stop.
fn tab_to(browser: &mut Browser, css: &str) -> Result<()> {
    for _ in 0..100 {
        browser.press(TAB)?;
        let focus = browser.ask("focus()")?;
        ensure!(
            focus["name"] == "" || (focus["outlined"] == true && focus["onScreen"] == true),
            "not seen: {focus}"
        );
        if browser.ask(&format!("document.activeElement.matches(`{css}`)"))? == true {
            return Ok(());
        }
    }
    anyhow::bail!("{css} is not reached by the Tab key; there is {}", browser.ask("stops()")?)
}

#[test]
fn the_keyboard_is_enough() -> Result<()> {
    let (mut browser, mut test) = open()?;
    browser.resize(1200, 900)?;
    browser.go("/ui/login")?;
    // The field for the name has the focus from the start, once the page is drawn.
    browser.until("the field has the focus", |b| Ok(b.ask("document.activeElement.name")? == "user"))?;
    browser.press("root")?;
    tab_to(&mut browser, "[name=password]")?;
    browser.press(PASSWORD)?;
    browser.press(ENTER)?;
    browser.arrives("/ui/")?;
    // A new project.
    tab_to(&mut browser, "summary")?;
    browser.press(ENTER)?;
    tab_to(&mut browser, "[name=name]")?;
    browser.press("keys")?;
    tab_to(&mut browser, "[name=public]")?;
    browser.press(SPACE)?;
    tab_to(&mut browser, "form[action='/ui/project-add'] button")?;
    browser.press(ENTER)?;
    browser.arrives("/ui/projects/keys")?;
    browser.sees("Public")?;
    // A member: choices are made by their first letters.
    tab_to(&mut browser, "select[name=user]")?;
    browser.press("eve")?;
    tab_to(&mut browser, "select[name=role]")?;
    browser.press("main")?;
    tab_to(&mut browser, "form.row[action='/ui/member/keys'] button")?;
    browser.press(ENTER)?;
    browser.until("eve is a maintainer", |b| {
        Ok(lines(b, "[...document.querySelectorAll('#members ~ table td')].map(c => c.innerText)")?
            .contains(&"maintainer".into()))
    })?;
    // Everything on the page is reached, in its order.
    let stops = lines(&mut browser, "stops()")?;
    browser.go("/ui/projects/keys")?;
    let mut reached = Vec::new();
    for _ in 0..stops.len() {
        browser.press(TAB)?;
        let focus = browser.ask("focus()")?;
        ensure!(focus["outlined"] == true && focus["onScreen"] == true, "not seen: {focus}");
        reached.push(focus["name"].as_str().unwrap_or_default().to_owned());
    }
    assert_eq!(reached, stops);
    // The first stop leads past the head of the page, to what is asked before something goes.
    browser.go("/ui/repositories/shop/web")?;
    tab_to(&mut browser, ".skip")?;
    browser.press(ENTER)?;
    browser.press(TAB)?;
    assert_eq!(browser.ask("document.activeElement.closest('main') !== null")?, true);
    tab_to(&mut browser, "[aria-label='Remove tag 1.5']")?;
    browser.press(ENTER)?;
    browser.sees("cannot be undone")?;
    tab_to(&mut browser, "form[action='/ui/delete/shop/web'] button")?;
    browser.press(ENTER)?;
    browser.arrives("/ui/repositories/shop/web")?;
    test.client.get("/v2/shop/web/manifests/1.5")?.expect(404)?;
    Ok(())
}
