//! Who may do what: password files, accounts, roles, robots, tokens.

use std::{
    io::{BufReader, Write},
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{Client, OCI, Test, client, image};

/// Runs `skiff registry …` with something on standard input.
fn skiff(args: &[&str], input: &str) -> Result<Output> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_skiff"))
        .arg("registry")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // A command that refuses its arguments does not read.
    match child.stdin.take().context("piped")?.write_all(input.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => return Err(e.into()),
        _ => {}
    }
    Ok(child.wait_with_output()?)
}

fn ok(output: Output) -> Result<String> {
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// The token that a challenge asks for.
fn token(client: &mut Client, challenge: &str, user: Option<(&str, &str)>) -> Result<String> {
    let value = |key: &str| {
        let at = challenge.find(&format!("{key}=\"")).map(|at| at + key.len() + 2)?;
        challenge[at..].split('"').next()
    };
    let realm = value("realm").context("no realm")?;
    let path = realm
        .split_once("://")
        .and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]))
        .context("no path")?;
    let scope = value("scope").map(|scope| format!("&scope={scope}")).unwrap_or_default();
    let path = format!("{path}?service={}{scope}", value("service").context("no service")?);
    let old =
        std::mem::replace(&mut client.authorization, user.map(|(user, password)| basic(user, password)));
    let answer = client.get(&path);
    client.authorization = old;
    let answer = answer?.expect(200)?.json()?;
    Ok(format!("Bearer {}", answer["token"].as_str().context("no token")?))
}

#[test]
fn a_password_file_lets_in_who_is_in_it() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("htpasswd");
    let line = ok(skiff(&["htpasswd", "-Bbn", "-C", "4", "bob", "secret"], "")?)?;
    assert!(line.starts_with("bob:$2y$04$") && line.ends_with('\n'), "{line}");
    fs_err::write(&path, line)?;
    let mut test =
        Test::ours(&["--auth", "htpasswd", "--htpasswd", path.to_str().context("text")?, "--realm", "Here"])?;
    let refused = test.client.get("/v2/")?.expect(401)?;
    assert_eq!(refused.header("www-authenticate"), Some("Basic realm=\"Here\""));
    assert_eq!(refused.code(), "UNAUTHORIZED");
    for path in ["/v2/_catalog", "/v2/a/tags/list", "/v2/a/manifests/x", "/v2/a/blobs/uploads/x"] {
        assert!(matches!(test.client.get(path)?.status, 401 | 404), "{path}");
    }
    for (user, password) in [("bob", "wrong"), ("eve", "secret"), ("", ""), ("bob", "")] {
        test.client.authorization = Some(basic(user, password));
        test.client.get("/v2/")?.expect(401)?;
    }
    test.client.authorization = Some("Basic !!!".to_owned());
    test.client.get("/v2/")?.expect(401)?;
    test.client.authorization = Some(basic("bob", "secret"));
    test.client.get("/v2/")?.expect(200)?;
    test.push_image("a/b", "v1", b"x")?;
    // A user who is added is let in without a restart.
    ok(skiff(&["htpasswd", "-i", "-C", "4", path.to_str().context("text")?, "eve"], "pass\n")?)?;
    test.client.authorization = Some(basic("eve", "pass"));
    test.client.get("/v2/a/b/tags/list")?.expect(200)?;
    Ok(())
}

#[test]
fn the_first_start_makes_an_administrator_and_says_the_password_once() -> Result<()> {
    let mut test = Test::ours(&[])?;
    let log = test.server().log();
    let password = log.split("with the password \"").nth(1).and_then(|rest| rest.split('"').next());
    let password = password.with_context(|| format!("no password in {log}"))?.to_owned();
    test.server().kill()?;
    test.server().start_again()?;
    assert_eq!(test.server().log().matches("with the password").count(), 1);
    test.client = Client::new(&test.server().address.clone());
    test.client.authorization = Some(basic("admin", &password));
    test.client.get("/v2/")?.expect(200)?;
    test.client.get("/api/v1/users")?.expect(200)?;
    Ok(())
}

#[test]
fn who_searches_finds_what_is_theirs_to_see() -> Result<()> {
    let mut test = Test::ours(&[])?;
    let root = test.server().root().display().to_string();
    let run = |args: &[&str], input: &str| skiff(&[args, &["--root", &root]].concat(), input).and_then(ok);
    run(&["user", "add", "--password-stdin", "bob"], "bobs password\n")?;
    run(&["project", "member", "library", "bob", "developer"], "")?;
    run(&["project", "add", "secret"], "")?;
    run(&["project", "member", "secret", "bob", "developer"], "")?;
    test.client.authorization = Some(basic("bob", "bobs password"));
    test.push_image("secret/app", "v1", b"layer")?;
    test.push_image("app", "v1", b"layer")?;
    let found = test.client.get("/v1/search?q=app")?.expect(200)?.json()?;
    assert_eq!(found["num_results"], 2);
    run(&["user", "add", "--password-stdin", "eve"], "eves password\n")?;
    test.client.authorization = Some(basic("eve", "eves password"));
    let found = test.client.get("/v1/search?q=app")?.expect(200)?.json()?;
    assert!(!found.to_string().contains("secret"), "{found}");
    test.client.authorization = Some(basic("eve", "wrong"));
    test.client.get("/v1/search?q=app")?.expect(401)?;
    Ok(())
}

#[test]
fn tokens_give_what_the_role_allows_and_no_more() -> Result<()> {
    let mut test = Test::ours(&[])?;
    let root = test.server().root().display().to_string();
    let run = |args: &[&str], input: &str| skiff(&[args, &["--root", &root]].concat(), input).and_then(ok);
    run(&["user", "add", "--password-stdin", "bob"], "bobs password\n")?;
    run(&["user", "add", "--password-stdin", "eve"], "eves password\n")?;
    run(&["project", "add", "team"], "")?;
    run(&["project", "member", "team", "bob", "developer"], "")?;
    run(&["project", "member", "team", "eve", "guest"], "")?;
    let challenge = |answer: super::Response| -> Result<String> {
        Ok(answer.expect(401)?.header("www-authenticate").context("no challenge")?.to_owned())
    };
    // docker login.
    let base = challenge(test.client.get("/v2/")?)?;
    assert!(base.starts_with("Bearer realm=\"http://127.0.0.1:"), "{base}");
    assert!(token(&mut test.client, &base, Some(("bob", "wrong"))).is_err());
    test.client.authorization = Some(token(&mut test.client, &base, Some(("bob", "bobs password")))?);
    test.client.get("/v2/")?.expect(200)?;
    // docker push: a token for nothing is not enough, the challenge says for what.
    let begin = |client: &mut Client, name: &str| {
        client.request("POST", &format!("/v2/{name}/blobs/uploads/"), &[], b"")
    };
    let push = challenge(begin(&mut test.client, "team/app")?)?;
    assert!(push.contains("scope=\"repository:team/app:pull,push\""), "{push}");
    test.client.authorization = Some(token(&mut test.client, &push, Some(("bob", "bobs password")))?);
    test.push_image("team/app", "v1", b"layer")?;
    // It is for this repository only.
    begin(&mut test.client, "team/other")?.expect(401)?;
    // A guest asks for the same and may only pull.
    test.client.authorization = Some(token(&mut test.client, &push, Some(("eve", "eves password")))?);
    test.client.get("/v2/team/app/manifests/v1")?.expect(200)?;
    let refused = begin(&mut test.client, "team/app")?;
    assert_eq!((refused.status, refused.code().as_str()), (403, "DENIED"));
    test.client.authorization = Some(basic("eve", "eves password"));
    let refused = begin(&mut test.client, "team/app")?;
    assert_eq!((refused.status, refused.code().as_str()), (403, "DENIED"));
    let removed = test.client.request("DELETE", "/v2/team/app/manifests/v1", &[], b"")?;
    assert_eq!(removed.status, 403);
    // Nobody sees nothing of it, until it is public.
    test.client.authorization = None;
    test.client.get("/v2/team/app/manifests/v1")?.expect(401)?;
    run(&["project", "set", "--public", "team"], "")?;
    test.client.get("/v2/team/app/manifests/v1")?.expect(200)?;
    begin(&mut test.client, "team/app")?.expect(401)?;
    // Rights that are taken away end at once, tokens or not.
    let bobs = token(&mut test.client, &push, Some(("bob", "bobs password")))?;
    run(&["project", "member", "team", "bob", "none"], "")?;
    test.client.authorization = Some(bobs);
    begin(&mut test.client, "team/app")?.expect(403)?;
    Ok(())
}

#[test]
fn a_token_makes_no_tokens_and_is_good_for_one_registry() -> Result<()> {
    let secret = [("REGISTRY_HTTP_SECRET", "shared")];
    let mut test = Test::ours_in(&[], &secret)?;
    let mut other = Test::ours_in(&[], &secret)?;
    for test in [&mut test, &mut other] {
        let root = test.server().root().display().to_string();
        let run =
            |args: &[&str], input: &str| skiff(&[args, &["--root", &root]].concat(), input).and_then(ok);
        run(&["user", "add", "--password-stdin", "bob"], "bobs password")?;
        run(&["project", "add", "team"], "")?;
        run(&["project", "member", "team", "bob", "developer"], "")?;
    }
    let refused = test.client.get("/v2/team/app/tags/list")?.expect(401)?;
    let challenge = refused.header("www-authenticate").context("no challenge")?.to_owned();
    let narrow = token(&mut test.client, &challenge, Some(("bob", "bobs password")))?;
    test.client.authorization = Some(narrow.clone());
    let wide = "/auth/token?scope=repository:team/app:pull,push";
    let refused = test.client.get(wide)?.expect(401)?;
    assert!(refused.header("www-authenticate").is_some_and(|text| text.starts_with("Basic ")));
    // The other registry has the same users and the same secret.
    test.client.get("/v2/")?.expect(200)?;
    other.client.authorization = Some(narrow);
    other.client.get("/v2/")?.expect(401)?;
    Ok(())
}

#[test]
fn what_only_the_operator_may_know_nobody_else_reads() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut test = Test::ours(&[])?;
    let root = test.server().root();
    let mode =
        |path: &std::path::Path| Ok::<_, anyhow::Error>(fs_err::metadata(path)?.permissions().mode() & 0o777);
    let files = ["registry.redb", "audit.jsonl"];
    for name in files {
        assert_eq!(mode(&root.join(name))?, 0o600, "{name}");
        // As an earlier version made them.
        fs_err::set_permissions(root.join(name), std::fs::Permissions::from_mode(0o644))?;
    }
    test.server().kill()?;
    test.server().start_again()?;
    for name in files {
        assert_eq!(mode(&root.join(name))?, 0o600, "{name}");
    }
    Ok(())
}

#[test]
fn a_robot_pushes_until_it_is_removed() -> Result<()> {
    let mut test = Test::ours(&[])?;
    let root = test.server().root().display().to_string();
    let run = |args: &[&str]| skiff(&[args, &["--root", &root]].concat(), "").and_then(ok);
    run(&["project", "add", "team"])?;
    let made = run(&["robot", "add", "--expires", "30", "team", "ci"])?;
    let password = made.split("Password: ").nth(1).context("no password")?.trim().to_owned();
    test.client.authorization = Some(basic("team+ci", &password));
    test.push_image("team/app", "v1", b"layer")?;
    test.client.request("POST", "/v2/other/app/blobs/uploads/", &[], b"")?.expect(403)?;
    assert!(run(&["robot", "ls", "team"])?.contains("team+ci"));
    run(&["robot", "rm", "team", "ci"])?;
    test.client.get("/v2/")?.expect(401)?;
    Ok(())
}

#[test]
fn administration_wants_an_administrator() -> Result<()> {
    let mut test = Test::ours(&[])?;
    let root = test.server().root().display().to_string();
    ok(skiff(&["user", "add", "--password-stdin", "bob", "--root", &root], "bobs password")?)?;
    let json = [("Content-Type", "application/json")];
    for authorization in [None, Some(basic("bob", "bobs password"))] {
        test.client.authorization = authorization;
        for (method, path) in [
            ("GET", "/api/v1/users"),
            ("POST", "/api/v1/users"),
            ("POST", "/api/v1/projects"),
            ("PATCH", "/api/v1/users/bob"),
            ("DELETE", "/api/v1/projects/library"),
            ("PATCH", "/api/v1/projects/library"),
            ("PUT", "/api/v1/projects/library/members/bob"),
            ("GET", "/api/v1/projects/library/robots"),
            ("POST", "/api/v1/gc"),
            ("GET", "/api/v1/audit"),
        ] {
            let answer = test.client.request(method, path, &json, b"{}")?;
            assert!(matches!(answer.status, 401 | 403), "{method} {path}: {}", answer.status);
        }
    }
    // Who may pull is not told who else may, nor whom the registry talks to.
    ok(skiff(&["project", "member", "library", "bob", "developer", "--root", &root], "")?)?;
    let hook = "http://127.0.0.1:9/secret-path";
    ok(skiff(&["project", "set", "--webhook", hook, "library", "--root", &root], "")?)?;
    let project = test.client.get("/api/v1/projects/library")?.expect(200)?.json()?;
    assert_eq!(project["public"], json!(true));
    for key in ["members", "webhooks", "replications"] {
        assert!(project.get(key).is_none(), "{project}");
    }
    ok(skiff(&["project", "member", "library", "bob", "admin", "--root", &root], "")?)?;
    let project = test.client.get("/api/v1/projects/library")?.expect(200)?.json()?;
    assert_eq!((&project["members"], &project["webhooks"]), (&json!({ "bob": "admin" }), &json!([hook])));
    // The operator's socket is for who may use the directory.
    let refused = skiff(&["user", "add", "--password-stdin", "x+y", "--root", &root], "long password")?;
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr)?.contains("not a user name"));
    Ok(())
}

#[test]
fn a_refusal_leaves_the_connection_usable_when_the_body_comes_late() -> Result<()> {
    let test = Test::ours(&[])?;
    let mut connection = BufReader::new(test.client.connect()?);
    for length in [2, 200_000] {
        write!(
            connection.get_mut(),
            "POST /api/v1/users HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
        )?;
        assert_eq!(client::read(&mut connection, "POST")?.status, 401);
        connection.get_mut().write_all(&vec![b' '; length])?;
    }
    write!(connection.get_mut(), "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")?;
    assert_eq!(client::read(&mut connection, "GET")?.status, 200);
    Ok(())
}

#[test]
fn quotas_and_immutable_tags_are_kept() -> Result<()> {
    let mut test = Test::ours(&[])?;
    let root = test.server().root().display().to_string();
    let run = |args: &[&str]| skiff(&[args, &["--root", &root]].concat(), "long password").and_then(ok);
    run(&["user", "add", "--admin", "--password-stdin", "root"])?;
    run(&["project", "add", "team"])?;
    run(&["project", "set", "--quota", "10k", "--immutable", "v*", "team"])?;
    test.client.authorization = Some(basic("root", "long password"));
    test.push_image("team/app", "v1", &[1; 3000])?;
    let blob = test.client.request("POST", "/v2/team/app/blobs/uploads/", &[], b"")?.expect(202)?;
    let answer = test.client.request("PATCH", &blob.location()?, &[], &[2; 20_000])?;
    assert_eq!((answer.status, answer.code().as_str()), (403, "DENIED"));
    assert!(answer.text().contains("quota"), "{}", answer.text());
    // Nobody will go on with it.
    let uploads = test.server().root().join("uploads");
    assert_eq!(fs_err::read_dir(&uploads)?.count(), 0);
    test.client.get(&blob.location()?)?.expect(404)?;
    // Without a length, nobody knows before.
    let blob = test.client.request("POST", "/v2/team/app/blobs/uploads/", &[], b"")?.expect(202)?;
    let mut stream = test.client.connect()?;
    let authorization = test.client.authorization.clone().context("signed in")?;
    write!(
        stream,
        "PATCH {} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nTransfer-Encoding: chunked\r\n\r\n",
        blob.location()?
    )?;
    let piece = [b"4000\r\n".as_slice(), &[3; 0x4000], b"\r\n"].concat();
    let sent = (0..10_000).take_while(|_| stream.write_all(&piece).is_ok()).count();
    assert!(sent < 10_000, "160 MB were taken");
    drop(stream);
    // What is under way has its part of the room, until it is given up.
    let mut begin = |repository: &str| -> Result<String> {
        let path = format!("/v2/team/{repository}/blobs/uploads/");
        test.client.request("POST", &path, &[], b"")?.expect(202)?.location()
    };
    let (first, second, third) = (begin("app")?, begin("other")?, begin("other")?);
    test.client.request("PATCH", &first, &[], &[4; 4000])?.expect(202)?;
    test.client.request("PATCH", &second, &[], &[5; 4000])?.expect(403)?;
    test.client.request("DELETE", &first, &[], b"")?.expect(204)?;
    test.client.request("PATCH", &third, &[], &[5; 4000])?.expect(202)?;
    test.client.request("DELETE", &third, &[], b"")?.expect(204)?;
    // What another repository of the project has costs nothing.
    test.push_blob("team/app", &[6; 3000])?;
    test.push_blob("team/other", &[6; 3000])?;
    // An immutable tag takes the same image, and no other.
    let config = test.push_blob("team/app", b"{}")?;
    let layer = test.push_blob("team/app", b"other")?;
    let other = image(&config, &layer, 5, None).to_string();
    let answer = test.put_manifest("team/app", "v1", OCI, other.as_bytes())?;
    assert_eq!((answer.status, answer.code().as_str()), (403, "DENIED"));
    test.put_manifest("team/app", "latest", OCI, other.as_bytes())?.expect(201)?;
    let answer = test.client.request("DELETE", "/v2/team/app/manifests/v1", &[], b"")?;
    assert_eq!(answer.status, 403);
    let project = test.client.get("/api/v1/projects/team")?.expect(200)?.json()?;
    assert_eq!((project["quota"].clone(), project["immutable"].clone()), (json!(10240), json!(["v*"])));
    Ok(())
}

/// Who broke off may go on; if somebody else needs the room, for an hour.
#[test]
fn an_upload_that_nobody_goes_on_with_gives_its_room_back() -> Result<()> {
    let mut test = Test::ours(&[])?;
    let root = test.server().root().display().to_string();
    ok(skiff(&["user", "add", "--admin", "--password-stdin", "root", "--root", &root], "long password")?)?;
    test.client.authorization = Some(basic("root", "long password"));
    ok(skiff(&["project", "set", "--quota", "10000", "library", "--root", &root], "")?)?;
    let begun = test.client.request("POST", "/v2/a/blobs/uploads/", &[], b"")?.expect(202)?;
    test.client.request("PATCH", &begun.location()?, &[], &[7; 6000])?.expect(202)?;
    let push = |test: &mut Test| {
        let path = format!("/v2/a/blobs/uploads/?digest={}", super::digest(&[8; 6000]));
        test.client.request("POST", &path, &[], &[8; 6000])
    };
    push(&mut test)?.expect(403)?;
    let uploads = fs_err::read_dir(test.server().root().join("uploads"))?;
    for file in uploads.flatten() {
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(4000);
        fs_err::OpenOptions::new().append(true).open(file.path())?.set_modified(long_ago)?;
    }
    push(&mut test)?.expect(201)?;
    test.client.get(&begun.location()?)?.expect(404)?;
    Ok(())
}

#[test]
fn the_audit_log_says_who_did_what() -> Result<()> {
    let mut test = Test::ours(&[])?;
    let root = test.server().root().display().to_string();
    ok(skiff(&["user", "add", "--admin", "--password-stdin", "root", "--root", &root], "long password")?)?;
    test.client.authorization = Some(basic("root", "long password"));
    test.push_image("library/a", "v1", b"x")?;
    test.client.request("DELETE", "/v2/library/a/manifests/v1", &[], b"")?.expect(202)?;
    let lines = test.client.get("/api/v1/audit?n=3")?.expect(200)?.json()?;
    let seen: Vec<_> =
        lines.as_array().into_iter().flatten().map(|l| (l["who"].clone(), l["action"].clone())).collect();
    assert_eq!(
        seen,
        [
            (json!("root"), json!("remove")),
            (json!("root"), json!("push")),
            (json!("operator"), json!("user.add"))
        ]
    );
    assert_eq!(lines[0]["what"], "library/a:v1");
    assert_eq!(lines[0]["from"], "127.0.0.1");
    // Strangers are heard of, and write only a few lines.
    let right = test.client.authorization.replace(basic("library+nobody", "guess"));
    for _ in 0..100 {
        test.client.get("/v2/")?.expect(401)?;
    }
    test.client.authorization = right;
    let lines = test.client.get("/api/v1/audit?n=50")?.expect(200)?.json()?;
    let failed = |line: &&serde_json::Value| line["action"] == "login.failed";
    let failed = lines.as_array().into_iter().flatten().filter(failed).count();
    // A minute may end meanwhile.
    assert!((10..=21).contains(&failed), "{failed}");
    Ok(())
}
