use std::{
    process::Command,
    sync::{Arc, Mutex},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;

use super::*;
use crate::remote::testing::{block_on, facts, line, options, server, variables};

type Asked = Arc<Mutex<Vec<(String, String)>>>;

/// A service that answers with this status, and what it was asked.
fn service(status: u16) -> (String, Asked) {
    let asked = Asked::default();
    let noting = asked.clone();
    let url = server(move |head, body| {
        noting.lock().unwrap().push((head.to_owned(), body.to_owned()));
        (status, "{}".to_owned())
    });
    (url, asked)
}

/// A machine of Google's.
fn machine() -> String {
    let url = server(|head, _| {
        if !head.contains("metadata-flavor: google") {
            return (403, String::new());
        }
        let path = head.split(' ').nth(1).unwrap().strip_prefix("/computeMetadata/v1/").unwrap().to_owned();
        match path.as_str() {
            "project/project-id" => (200, "shop".to_owned()),
            "instance/id" => (200, "42".to_owned()),
            "instance/zone" => (200, "projects/7/zones/europe-west3-a".to_owned()),
            "instance/name" => (200, "vm".to_owned()),
            "instance/service-accounts/default/token" => (
                200,
                json!({ "access_token": "ya29", "expires_in": 3600, "token_type": "Bearer" }).to_string(),
            ),
            _ => (404, String::new()),
        }
    });
    url.strip_prefix("http://").unwrap().to_owned()
}

#[test]
fn entries_are_what_docker_s_are() {
    let (url, asked) = service(200);
    let environment = variables(&[("GCE_METADATA_HOST", &machine())]);
    let more = options(&[("labels", "app"), ("gcp-log-cmd", "true")]);
    let mut gcp = Gcplogs::open_at(&url, environment, &more, &facts()).unwrap();
    block_on(gcp.send(&[line(1, "hello"), line(2, "there")])).unwrap();
    let (head, body) = asked.lock().unwrap().pop().unwrap();
    assert!(head.starts_with("POST /v2/entries:write HTTP/1.1"), "{head}");
    assert!(head.contains("authorization: bearer ya29"), "{head}");
    let body: Value = serde_json::from_str(&body).unwrap();
    let container = json!({
        "name": "/web", "id": facts().id, "imageName": "nginx:1", "imageId": "sha256:feed",
        "created": "2026-11-26T19:14:45.5Z", "command": "nginx -g", "metadata": { "app": "shop" },
    });
    let instance = json!({ "zone": "europe-west3-a", "name": "vm", "id": "42" });
    assert_eq!(body["logName"], "projects/shop/logs/gcplogs-docker-driver");
    assert_eq!(
        body["resource"],
        json!({
            "type": "gce_instance",
            "labels": { "project_id": "shop", "instance_id": "42", "zone": "europe-west3-a" },
        })
    );
    assert_eq!(
        body["entries"][0],
        json!({
            "insertId": "0123456789abcdef0123456789abcdef-00000000000000000001",
            "timestamp": "2026-11-26T19:34:45.5Z",
            "jsonPayload": { "container": container, "instance": instance, "message": "hello" },
        })
    );
    assert_eq!(body["entries"][1]["jsonPayload"]["message"], "there");
}

#[test]
fn a_service_account_signs_for_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (key, public) = (dir.path().join("key"), dir.path().join("public"));
    let openssl =
        |args: &[&str]| assert!(Command::new("openssl").args(args).output().unwrap().status.success());
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", &path(&key)]);
    openssl(&["pkey", "-in", &path(&key), "-pubout", "-out", &path(&public)]);
    let account = json!({
        "type": "service_account", "client_email": "me@shop", "private_key_id": "k1", "project_id": "shop",
        "private_key": fs_err::read_to_string(&key).unwrap(),
    });
    let file = dir.path().join("account.json");
    fs_err::write(&file, account.to_string()).unwrap();
    let environment =
        variables(&[("GOOGLE_APPLICATION_CREDENTIALS", &path(&file)), ("GCE_METADATA_HOST", "127.0.0.1:1")]);
    let seen = Arc::new(Mutex::new(String::new()));
    let noting = seen.clone();
    let url = server(move |head, body| {
        *noting.lock().unwrap() = body.to_owned();
        (200, head.to_owned())
    });
    let mut gcp =
        Gcplogs::open_at(&url, environment, &options(&[("gcp-meta-name", "box")]), &facts()).unwrap();
    block_on(gcp.send(&[line(1, "hello")])).unwrap();
    let body: Value = serde_json::from_str(&seen.lock().unwrap()).unwrap();
    assert_eq!(body["logName"], "projects/shop/logs/gcplogs-docker-driver");
    assert_eq!(body["resource"]["type"], "global");
    assert_eq!(body["entries"][0]["jsonPayload"]["instance"], json!({ "name": "box" }));
    // Somebody else reads the signature.
    let token = block_on(gcp.tokens.token()).unwrap();
    let (text, signature) = token.rsplit_once('.').unwrap();
    let (signed, signature_file) = (dir.path().join("text"), dir.path().join("signature"));
    fs_err::write(&signed, text).unwrap();
    fs_err::write(&signature_file, BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
    openssl(&[
        "dgst",
        "-sha256",
        "-verify",
        &path(&public),
        "-signature",
        &path(&signature_file),
        &path(&signed),
    ]);
    let claims = BASE64_URL_SAFE_NO_PAD.decode(text.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(
        (&claims["iss"], &claims["aud"]),
        (&json!("me@shop"), &json!("https://logging.googleapis.com/"))
    );
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
}

#[test]
fn a_user_s_consent_is_turned_into_a_token() {
    let tokens = server(|_, body| {
        let asked: Value = serde_json::from_str(body).unwrap();
        assert_eq!(asked["grant_type"], "refresh_token");
        assert_eq!(asked["refresh_token"], "r");
        (200, json!({ "access_token": "user", "expires_in": 3600 }).to_string())
    });
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(".config/gcloud/application_default_credentials.json");
    fs_err::create_dir_all(file.parent().unwrap()).unwrap();
    let account = json!({
        "type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r",
        "quota_project_id": "shop", "token_uri": tokens,
    });
    fs_err::write(&file, account.to_string()).unwrap();
    let home = dir.path().to_str().unwrap();
    let environment = variables(&[("HOME", home), ("GCE_METADATA_HOST", "127.0.0.1:1")]);
    let (url, asked) = service(200);
    let mut gcp = Gcplogs::open_at(&url, environment, &options(&[]), &facts()).unwrap();
    block_on(gcp.send(&[line(1, "x")])).unwrap();
    assert!(asked.lock().unwrap()[0].0.contains("authorization: bearer user"));
}

#[test]
fn only_what_can_never_be_right_is_given_up() {
    for (status, refused) in [(400, true), (401, false), (403, false), (429, false), (503, false)] {
        let (url, _) = service(status);
        let environment = variables(&[("GCE_METADATA_HOST", &machine())]);
        let mut gcp = Gcplogs::open_at(&url, environment, &options(&[]), &facts()).unwrap();
        let error = block_on(gcp.send(&[line(1, "x")])).unwrap_err();
        assert_eq!(matches!(error, SendError::Refused { .. }), refused, "{error}");
    }
    let wrong = options(&[("gcp-log-cmd", "x")]);
    let error = Gcplogs::open_at("http://h", variables(&[]), &wrong, &facts()).map(drop).unwrap_err();
    assert_eq!(error.to_string(), r#"strconv.ParseBool: parsing "x": invalid syntax"#);
}
