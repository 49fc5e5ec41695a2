//! `login` and `logout`.

use std::io::{BufRead, IsTerminal, Read, Write};

use serde::Deserialize;

use super::Call;
use crate::{
    credentials::{Credentials, DOCKER, Store, VARIABLE, hostname},
    failure::{Failure, Outcome},
    say,
    streams::terminal,
};

/// The most that is read of a password, in bytes.
const MOST: u64 = 1 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    identity_token: String,
    #[serde(default)]
    status: String,
}

/// The registry that is meant.
fn server(args: &[String]) -> String {
    match args.first().map(String::as_str) {
        None | Some("" | "docker.io" | "index.docker.io" | DOCKER) => DOCKER.to_owned(),
        Some(address) => hostname(address),
    }
}

/// `docker login`.
pub(super) async fn login(call: Call<'_>) -> Outcome {
    let Call { session, matches, args } = call;
    let mut password = matches.text("password").to_owned();
    warn_of_environment();
    if matches.changed("username") && matches.text("username").is_empty() {
        return Err("username is empty".into());
    }
    if matches.changed("password") {
        if matches.on("password-stdin") {
            return Err("conflicting options: cannot specify both --password and --password-stdin".into());
        }
        say::error("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    if matches.on("password-stdin") {
        if matches.text("username").is_empty() {
            return Err("the --password-stdin option requires --username to be set".into());
        }
        password = from_stdin()?;
    }
    let server = server(args);
    let store = session.credentials();
    let username = matches.text("username").to_owned();
    if username.is_empty() && password.is_empty() {
        let known = store.get(&server)?;
        if !known.username.is_empty() || !known.identity_token.is_empty() {
            let user = if known.username.is_empty() { "<token>" } else { &known.username };
            say::error(&format!("Authenticating with existing credentials... [Username: {user}]"));
            say::error(
                "\n Info -> To login with a different account, run 'docker logout' followed by 'docker login'\n\n",
            );
            match sign_in(call, &store, known).await {
                Ok(()) => return Ok(()),
                Err(failure) => say::error(&format!("Login did not succeed, error: {}", failure.message)),
            }
        }
    }
    let (username, password) = match (username.is_empty(), password.is_empty()) {
        (false, false) => (username, password),
        _ => ask(username, password)?,
    };
    sign_in(call, &store, Credentials { username, password, server, ..Default::default() }).await
}

/// What is kept counts only where the environment says nothing.
fn warn_of_environment() {
    if std::env::var_os(VARIABLE).is_some_and(|text| !text.is_empty()) {
        say::error(&format!(
            "\n Warn -> {VARIABLE} is set and takes precedence.\n         Unset {VARIABLE} to restore the CLI auth \
             behaviour.\n         \n"
        ));
    }
}

/// Tries credentials, and keeps them if they are good.
async fn sign_in(call: Call<'_>, store: &Store<'_>, mut credentials: Credentials) -> Outcome {
    let client = call.session.engine().await?;
    let bytes = client.auth(&credentials).await?;
    let answer: Answer = serde_json::from_slice(&bytes).map_err(|e| Failure::new(e.to_string()))?;
    if !answer.identity_token.is_empty() {
        credentials.password = String::new();
        credentials.identity_token = answer.identity_token;
    }
    if let Some(warning) = store.put(&credentials)? {
        say::error(&warning);
    }
    if !answer.status.is_empty() {
        say::line(&answer.status);
    }
    Ok(())
}

fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin().lock().take(MOST).read_to_string(&mut text)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// Asks a person.
fn ask(username: String, password: String) -> Result<(String, String), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err("Error: Cannot perform an interactive login from a non TTY device".into());
    }
    let username = match username.is_empty() {
        true => answer("Username: ")?,
        false => username,
    };
    if username.is_empty() {
        return Err("Error: Non-null Username Required".into());
    }
    let password = match password.is_empty() {
        true => terminal::without_echo(|| answer("Password: "))?,
        false => password,
    };
    if password.is_empty() {
        return Err("Error: Password Required".into());
    }
    Ok((username, password))
}

fn answer(question: &str) -> Result<String, Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(question.as_bytes())?;
    out.flush()?;
    let mut line = String::new();
    std::io::stdin().lock().take(MOST).read_line(&mut line)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// `docker logout`.
pub(super) async fn logout(call: Call<'_>) -> Outcome {
    warn_of_environment();
    let server = server(call.args);
    say::line(&format!("Removing login credentials for {server}"));
    // They are forgotten here in any case: it is the helper that has to be looked after.
    if let Err(failure) = call.session.credentials().remove(&server) {
        say::error(&format!("WARNING: could not erase credentials:\n{server}: {}", failure.message));
    }
    Ok(())
}
