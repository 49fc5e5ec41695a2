//! Who we are for Google: the key of a service account, a user's consent, or the machine we run on.
//!
//! A service account signs its token itself; the others ask for one. Tokens are asked for again in time.
//!
//! Source: "How Application Default Credentials works" and "Service account authorization without OAuth" of Google's documentation.

use std::{path::PathBuf, sync::Arc};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::{Timestamp, ToSpan};
use ring::{rand::SystemRandom, rsa, signature};
use serde::Deserialize;
use serde_json::json;
use tokio_rustls::rustls::{
    ClientConfig,
    pki_types::{PrivatePkcs8KeyDer, pem::PemObject},
};

use super::metadata::Metadata;
use crate::remote::{
    SendError,
    endpoint::{Endpoint, Environment},
};

/// Whom a token of a service account is for.
const AUDIENCE: &str = "https://logging.googleapis.com/";
const TOKENS: &str = "https://oauth2.googleapis.com/token";

/// Finds tokens.
pub(super) struct Tokens {
    environment: Environment,
    trust: Arc<ClientConfig>,
    held: Option<(String, Timestamp)>,
}

/// A file of credentials.
#[derive(Deserialize)]
#[serde(tag = "type")]
enum Account {
    #[serde(rename = "service_account")]
    Service {
        client_email: String,
        private_key: String,
        private_key_id: Option<String>,
        project_id: Option<String>,
    },
    #[serde(rename = "authorized_user")]
    User {
        client_id: String,
        client_secret: String,
        refresh_token: String,
        quota_project_id: Option<String>,
        /// Where tokens are, if not at the usual place.
        token_uri: Option<String>,
    },
    /// Of a kind that we do not know.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: i64,
}

impl Tokens {
    pub(super) fn new(environment: Environment, trust: Arc<ClientConfig>) -> Self {
        Self { environment, trust, held: None }
    }

    /// The server says that it is not good.
    pub(super) fn forget(&mut self) {
        self.held = None;
    }

    /// A token that is good for a minute at least.
    pub(super) async fn token(&mut self) -> Result<String, SendError> {
        let soon = Timestamp::now() + 1.minute();
        let old = self.held.take().filter(|(_, end)| *end > soon);
        let found = match old {
            Some(held) => held,
            None => self.find().await?,
        };
        Ok(self.held.insert(found).0.clone())
    }

    /// The project that the account belongs to, or the machine.
    pub(super) async fn project(&self) -> Result<String, SendError> {
        match self.account().await? {
            Some(
                Account::Service { project_id: Some(id), .. }
                | Account::User { quota_project_id: Some(id), .. },
            ) => Ok(id),
            _ => Metadata::open(&self.environment, &self.trust)?.get("project/project-id").await,
        }
    }

    async fn find(&self) -> Result<(String, Timestamp), SendError> {
        let now = Timestamp::now();
        let answer: Answer = match self.account().await? {
            Some(Account::Service { client_email, private_key, private_key_id, .. }) => {
                let end = now + 1.hour();
                let token = sign(&client_email, &private_key, private_key_id.as_deref(), now, end);
                return token.map(|token| (token, end)).map_err(problem);
            }
            Some(Account::User { client_id, client_secret, refresh_token, token_uri, .. }) => {
                let url = token_uri.unwrap_or_else(|| TOKENS.to_owned());
                let mut server = Endpoint::new(&url, &self.trust).map_err(problem)?;
                let body = json!({
                    "grant_type": "refresh_token", "client_id": client_id,
                    "client_secret": client_secret, "refresh_token": refresh_token,
                });
                let headers = [("content-type", "application/json")];
                let answer = server.ask("POST", "", &headers, body.to_string().into_bytes()).await?;
                parse(&server.text(answer)?)?
            }
            Some(Account::Other) => {
                return Err(problem("only files of service_account and authorized_user are supported"));
            }
            None => {
                let mut metadata = Metadata::open(&self.environment, &self.trust)?;
                parse(&metadata.get("instance/service-accounts/default/token").await?)?
            }
        };
        Ok((answer.access_token, now + answer.expires_in.clamp(0, 86_400).seconds()))
    }

    /// What the file of credentials says; none if there is none.
    async fn account(&self) -> Result<Option<Account>, SendError> {
        let named = (self.environment)("GOOGLE_APPLICATION_CREDENTIALS").map(PathBuf::from);
        let usual = || {
            let home = (self.environment)("HOME")?;
            Some(PathBuf::from(home).join(".config/gcloud/application_default_credentials.json"))
        };
        let Some(path) = named.clone().or_else(usual) else { return Ok(None) };
        let wrong = |e: &dyn std::fmt::Display| problem(format!("{}: {e}", path.display()));
        match tokio::fs::read(&path).await {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|e| wrong(&e)),
            Err(e) if named.is_none() && e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(wrong(&e)),
        }
    }
}

fn problem(reason: impl ToString) -> SendError {
    SendError::Protocol { address: "Google credentials".to_owned(), reason: reason.to_string() }
}

fn parse(text: &str) -> Result<Answer, SendError> {
    serde_json::from_str(text).map_err(|e| problem(format!("a token that cannot be read: {e}")))
}

/// A token that a service account signs itself (RFC 7519, with RS256 of RFC 7518).
fn sign(
    email: &str,
    pem: &str,
    key_id: Option<&str>,
    now: Timestamp,
    end: Timestamp,
) -> Result<String, String> {
    let encode = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| format!("private_key: {e}"))?;
    let key = rsa::KeyPair::from_pkcs8(key.secret_pkcs8_der()).map_err(|e| format!("private_key: {e}"))?;
    let head = encode(json!({ "alg": "RS256", "typ": "JWT", "kid": key_id }));
    let claims = encode(json!({
        "iss": email, "sub": email, "aud": AUDIENCE, "iat": now.as_second(), "exp": end.as_second(),
    }));
    let text = format!("{head}.{claims}");
    let mut signed = vec![0; key.public().modulus_len()];
    key.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signed)
        .map_err(|e| format!("private_key: {e}"))?;
    Ok(format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signed)))
}
