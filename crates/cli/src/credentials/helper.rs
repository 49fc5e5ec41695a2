//! Programs that keep secrets: `docker-credential-<name>` with `get`, `store` or `erase`, speaking through standard input and
//! output (docker/docker-credential-helpers).

use std::{
    collections::BTreeMap,
    io::Write,
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};

use super::Credentials;
use crate::failure::{Failure, Outcome};

/// The name under which a refresh token is kept.
const TOKEN: &str = "<token>";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Kept {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// What a helper knows of a registry.
pub(super) fn get(helper: &str, server: &str) -> Result<Option<Credentials>, Failure> {
    let (good, out) = run(helper, "get", server.as_bytes())?;
    if !good {
        return match out.contains("credentials not found") {
            true => Ok(None),
            false => Err(failed("get", helper, &out)),
        };
    }
    let kept: Kept = serde_json::from_str(&out).map_err(|e| failed("get", helper, &e.to_string()))?;
    let mut found = Credentials::default();
    match kept.username.as_str() {
        TOKEN => found.identity_token = kept.secret,
        _ => (found.username, found.password) = (kept.username, kept.secret),
    }
    Ok(Some(found))
}

/// The registries that a helper knows.
pub(super) fn list(helper: &str) -> Result<Vec<String>, Failure> {
    match run(helper, "list", b"")? {
        (true, out) => {
            let users: BTreeMap<String, String> =
                serde_json::from_str(&out).map_err(|e| failed("list", helper, &e.to_string()))?;
            Ok(users.into_keys().collect())
        }
        (false, out) => Err(failed("list", helper, &out)),
    }
}

/// Gives a helper credentials to keep.
pub(super) fn store(helper: &str, credentials: &Credentials) -> Outcome {
    let token = !credentials.identity_token.is_empty();
    let (username, secret) = match token {
        true => (TOKEN, &credentials.identity_token),
        false => (credentials.username.as_str(), &credentials.password),
    };
    let kept = Kept {
        server_url: credentials.server.clone(),
        username: username.to_owned(),
        secret: secret.clone(),
    };
    let json = serde_json::to_vec(&kept).map_err(|e| failed("store", helper, &e.to_string()))?;
    match run(helper, "store", &json)? {
        (true, _) => Ok(()),
        (false, out) => Err(failed("store", helper, &out)),
    }
}

/// Has a helper forget a registry.
pub(super) fn erase(helper: &str, server: &str) -> Outcome {
    match run(helper, "erase", server.as_bytes())? {
        (true, _) => Ok(()),
        (false, out) if out.contains("credentials not found") => Ok(()),
        (false, out) => Err(failed("erase", helper, &out)),
    }
}

fn failed(action: &str, helper: &str, why: &str) -> Failure {
    let doing = doing(action);
    Failure::new(format!("error {doing} credentials - err: {}, out: `{why}`", program(helper)))
}

fn doing(action: &str) -> &str {
    match action {
        "list" => "listing",
        "store" => "storing",
        "erase" => "erasing",
        _ => "getting",
    }
}

fn program(helper: &str) -> String {
    match helper.contains('/') {
        true => helper.to_owned(),
        false => format!("docker-credential-{helper}"),
    }
}

/// Whether it went well, and what it said.
fn run(helper: &str, action: &str, input: &[u8]) -> Result<(bool, String), Failure> {
    let program = program(helper);
    let mut child = Command::new(&program)
        .arg(action)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|e| {
            let why = match e.kind() {
                std::io::ErrorKind::NotFound => "executable file not found in $PATH".to_owned(),
                _ => e.to_string(),
            };
            let doing = doing(action);
            Failure::new(format!("error {doing} credentials - err: exec: {program:?}: {why}, out: ``"))
        })?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that reads nothing has said what it has to say.
        let _ = stdin.write_all(input);
    }
    let output = child.wait_with_output()?;
    Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).trim().to_owned()))
}
