//! Asking a token server (distribution-spec: "Token Authentication", "OAuth2 Token Authentication").

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use http::{Method, StatusCode, header};
use serde::Deserialize;

use crate::{
    Credentials, Error, Result, Secret,
    endpoint::Endpoint,
    error::{RegistryErrors, RequestError, status_text},
    exchange::{Answer, Body, Exchange, Request},
    url::{Scheme, Url, escape},
};

/// How long a token counts whose server does not say.
const DEFAULT_LIFE: u64 = 60;
/// A token is not used when so little of its life is left.
const MARGIN: Duration = Duration::from_secs(5);
/// How we call ourselves to token servers.
const CLIENT: &str = "skiff";

/// A token and until when it counts.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) token: Secret,
    pub(crate) refresh: Secret,
    until: Instant,
}

impl Token {
    pub(crate) fn is_fresh(&self) -> bool {
        self.until.checked_duration_since(Instant::now()).is_some_and(|left| left > MARGIN)
    }
}

/// What the server leaves out it may call `null` as well.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Given {
    token: Option<String>,
    access_token: Option<String>,
    refresh_token: Option<String>,
    /// Seconds; some servers say -1.
    expires_in: Option<i64>,
}

/// What is asked of a token server.
pub(crate) struct Wanted<'a> {
    pub(crate) realm: &'a str,
    pub(crate) service: &'a str,
    pub(crate) scopes: &'a [String],
    /// A refresh token too, so that the password need not be kept.
    pub(crate) offline: bool,
}

/// Gets a token. `request` is the request that it is for, which its failure is told of.
pub(crate) async fn fetch(
    exchange: &Exchange,
    endpoint: &Endpoint,
    credentials: &Credentials,
    wanted: &Wanted<'_>,
    request: &Request,
) -> Result<Token> {
    let failed =
        |text: String, unauthorized: bool| request.failed(RequestError::Token { text, unauthorized });
    let realm: Url = wanted.realm.parse().map_err(|e| failed(format!("token realm: {e}"), false))?;
    let known = credentials.basic().is_some() || !credentials.identity_token.is_empty();
    if known && let Err(why) = may_know(endpoint, &realm) {
        return Err(failed(why, false));
    }
    // The token server's certificate is its own matter, unless it is the registry itself.
    let trust =
        if realm.origin.host == endpoint.origin.host { endpoint.trust.clone() } else { Default::default() };
    let asked = match credentials.identity_token.is_empty() {
        true => get(&realm, credentials, wanted),
        false => post(
            &realm,
            wanted,
            &[("grant_type", "refresh_token"), ("refresh_token", credentials.identity_token.reveal())],
        ),
    };
    let mut answer = exchange.send(asked, &trust).await?;
    if answer.status() == StatusCode::METHOD_NOT_ALLOWED && !credentials.password.is_empty() {
        let form = [
            ("grant_type", "password"),
            ("username", credentials.username.as_str()),
            ("password", credentials.password.reveal()),
        ];
        answer = exchange.send(post(&realm, wanted, &form), &trust).await?;
    }
    if !answer.status().is_success() {
        let unauthorized = answer.status() == StatusCode::UNAUTHORIZED;
        let text = refusal(answer, exchange.config.limits.small_body).await;
        return Err(failed(text, unauthorized));
    }
    let body = answer.bytes("the token", exchange.config.limits.small_body).await?;
    let given: Given = serde_json::from_slice(&body)
        .map_err(|e| failed(format!("unable to decode token response: {e}"), false))?;
    let Some(token) = [given.token, given.access_token].into_iter().flatten().find(|t| !t.is_empty()) else {
        return Err(failed("authorization server did not include a token in the response".to_owned(), false));
    };
    let life = u64::try_from(given.expires_in.unwrap_or_default()).unwrap_or_default();
    let life = Duration::from_secs(life.clamp(DEFAULT_LIFE, 24 * 3600));
    let (token, refresh) = (Secret::new(token), Secret::new(given.refresh_token.unwrap_or_default()));
    Ok(Token { token, refresh, until: Instant::now() + life })
}

fn get(realm: &Url, credentials: &Credentials, wanted: &Wanted<'_>) -> Request {
    let mut url = realm.clone();
    if !wanted.service.is_empty() {
        url = url.with_query("service", wanted.service);
    }
    for scope in wanted.scopes {
        url = url.with_query("scope", scope);
    }
    if wanted.offline {
        url = url.with_query("offline_token", "true").with_query("client_id", CLIENT);
    }
    if !credentials.username.is_empty() {
        url = url.with_query("account", &credentials.username);
    }
    let request = Request::get(url);
    match credentials.basic() {
        Some(basic) => request.header(header::AUTHORIZATION, &basic),
        None => request,
    }
}

fn post(realm: &Url, wanted: &Wanted<'_>, form: &[(&str, &str)]) -> Request {
    let scope = wanted.scopes.join(" ");
    let access = if wanted.offline { "offline" } else { "online" };
    let own =
        [("service", wanted.service), ("client_id", CLIENT), ("scope", &scope), ("access_type", access)];
    let fields = form.iter().chain(&own).filter(|(_, value)| !value.is_empty());
    let text: Vec<String> = fields.map(|(name, value)| format!("{name}={}", escape(value))).collect();
    let mut request = Request::new(Method::POST, realm.clone());
    request.body = Body::Bytes(text.join("&").into(), "application/x-www-form-urlencoded");
    request
}

/// Why a token server refused, as Docker tells it.
async fn refusal(answer: Answer, most: usize) -> String {
    #[derive(Deserialize)]
    struct Details {
        details: String,
    }
    let status = answer.status();
    let body = match answer.bytes("the error", most).await {
        Ok(body) => body,
        Err(error) => return error.to_string(),
    };
    if let Ok(errors) = serde_json::from_slice::<RegistryErrors>(&body)
        && !errors.errors.is_empty()
    {
        return errors.to_string();
    }
    match (status, serde_json::from_slice::<Details>(&body)) {
        (StatusCode::UNAUTHORIZED, Ok(Details { details })) => format!("unauthorized: {details}"),
        (StatusCode::UNAUTHORIZED, Err(_)) => "unauthorized: authentication required".to_owned(),
        _ => Error::Token(format!("failed to fetch oauth token: unexpected status: {}", status_text(status)))
            .to_string(),
    }
}

/// Whether a token server may be told a registry's password: it is the same host, or one of the same domain, or listed, and
/// hears it in the clear only if the registry does.
fn may_know(endpoint: &Endpoint, realm: &Url) -> Result<(), String> {
    let (registry, server) = (&endpoint.origin, &realm.origin);
    let host = server.host.as_str();
    if endpoint.realms.iter().any(|listed| listed.eq_ignore_ascii_case(host)) {
        return Ok(());
    }
    let refused = |why: &str| {
        Err(format!(
            "the registry {} wants our credentials sent to {realm}, {why}: refused (list the host in auth_realms of \
             this registry's hosts.toml to allow it)",
            registry.authority()
        ))
    };
    if server.scheme == Scheme::Http && registry.scheme == Scheme::Https {
        return refused("which has no TLS");
    }
    if host == registry.host || same_domain(&registry.host, host) || both_near(&registry.host, host) {
        return Ok(());
    }
    refused("which is another host")
}

/// Whether a host is the domain that another one is directly in, or is itself below that domain.
fn same_domain(registry: &str, host: &str) -> bool {
    if registry.parse::<IpAddr>().is_ok() || host.parse::<IpAddr>().is_ok() {
        return false;
    }
    let below = |name: &str, domain: &str| name == domain || name.ends_with(&format!(".{domain}"));
    // What is in `registry.example` is in no domain of its own.
    let parent = registry.split_once('.').map(|(_, parent)| parent).filter(|parent| parent.contains('.'));
    below(host, registry) || parent.is_some_and(|parent| below(host, parent))
}

/// Both are this very machine.
fn both_near(registry: &str, host: &str) -> bool {
    let near = |name: &str| name == "localhost" || name.parse::<IpAddr>().is_ok_and(|a| a.is_loopback());
    near(registry) && near(host)
}

#[cfg(test)]
mod tests {
    use super::same_domain;

    #[test]
    fn a_token_server_belongs_to_the_registry_by_its_name() {
        for (registry, host, belongs) in [
            ("registry-1.docker.io", "auth.docker.io", true),
            ("registry.gitlab.com", "gitlab.com", true),
            ("reg.example.com", "login.auth.example.com", true),
            ("example.com", "auth.example.com", true),
            ("example.com", "evil.com", false),
            ("reg.example.com", "example.com.evil.net", false),
            ("reg.example.com", "badexample.com", false),
            ("10.0.0.1", "10.0.0.2", false),
            ("registry", "auth", false),
        ] {
            assert_eq!(same_domain(registry, host), belongs, "{registry} {host}");
        }
    }
}
