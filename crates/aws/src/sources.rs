//! Where keys come from, in the order of Amazon's tools.
//!
//! A source that is named but cannot give any is an error: who has set a variable does not want the keys of something else. Only the
//! machine is asked without being named.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use url::{Host, Url, form_urlencoded};

use crate::{
    Answer, Ask, Environment, Keys, NoKeys, Request,
    credentials::Found,
    profile::{self, Profile},
};

/// Where the agent of a container service answers.
const CONTAINER_SERVICE: &str = "http://169.254.170.2";
/// Further hosts to which a container's token may go without TLS: this service's, and EKS's.
const CONTAINER_HOSTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];
/// Where a machine's metadata are.
const METADATA: &str = "http://169.254.169.254";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
/// For one request.
const LIMIT: Duration = Duration::from_secs(5);

/// All that may have keys.
pub(crate) struct Sources<A> {
    /// The container service's path that an option names.
    pub(crate) container: Option<String>,
    pub(crate) fixed: Option<Keys>,
    pub(crate) environment: Environment,
    pub(crate) ask: A,
}

/// What services answer that speak JSON.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Temporary {
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    token: Option<String>,
    expiration: Option<Timestamp>,
    /// `Success`, or what is wrong.
    code: Option<String>,
    message: Option<String>,
}

impl<A: Ask> Sources<A> {
    fn get(&self, name: &str) -> Option<String> {
        (self.environment)(name)
    }

    pub(crate) async fn find(&self) -> Result<Found, NoKeys> {
        if let Some(keys) = &self.fixed {
            return Ok(Found::new(keys.clone(), None));
        }
        if let Some(path) = &self.container {
            return self.of_container(CONTAINER_SERVICE, path).await;
        }
        match (self.get("AWS_ACCESS_KEY_ID"), self.get("AWS_SECRET_ACCESS_KEY")) {
            (Some(id), Some(secret)) => {
                return Ok(Found::new(Keys { id, secret, token: self.get("AWS_SESSION_TOKEN") }, None));
            }
            (None, None) => {}
            _ => {
                return Err(no_keys(
                    "the environment",
                    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are needed together",
                ));
            }
        }
        if let Some(file) = self.get("AWS_WEB_IDENTITY_TOKEN_FILE") {
            let role = self.get("AWS_ROLE_ARN");
            let role =
                role.ok_or_else(|| no_keys("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN is missing"))?;
            return self.of_web_identity(&file, &role).await;
        }
        match profile::find(&self.environment).await? {
            Some(Profile::Keys(keys)) => return Ok(Found::new(keys, None)),
            Some(Profile::WebIdentity { token, role }) => return self.of_web_identity(&token, &role).await,
            None => {}
        }
        if let Some(path) = self.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
            return self.of_container(CONTAINER_SERVICE, &path).await;
        }
        if let Some(address) = self.get("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
            let (service, path) =
                trusted(&address).map_err(|reason| no_keys("AWS_CONTAINER_CREDENTIALS_FULL_URI", reason))?;
            return self.of_container(&service, &path).await;
        }
        self.of_machine().await
    }

    /// Those of the role of a token that somebody else has written to a file. It is read each time: its writer renews it.
    async fn of_web_identity(&self, file: &str, role: &str) -> Result<Found, NoKeys> {
        let token = read(file).await?;
        let service = self.get("AWS_ENDPOINT_URL_STS").unwrap_or_else(|| match self.region() {
            Some(region) if region.starts_with("cn-") => format!("https://sts.{region}.amazonaws.com.cn"),
            Some(region) => format!("https://sts.{region}.amazonaws.com"),
            None => "https://sts.amazonaws.com".to_owned(),
        });
        let session = self.get("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| "skiff".to_owned());
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", "AssumeRoleWithWebIdentity")
            .append_pair("Version", "2011-06-15")
            .append_pair("RoleArn", role)
            .append_pair("RoleSessionName", &session)
            .append_pair("WebIdentityToken", &token)
            .finish();
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let service = service.trim_end_matches('/');
        let answer = self
            .answer(Request { method: "POST", service, path: "/", headers: &headers, body: &body })
            .await?;
        let text = |name| element(&answer.body, name).map(str::to_owned);
        if answer.status != 200 {
            let reason = match (text("Code"), text("Message")) {
                (Some(code), message) => format!("{code} {}", message.unwrap_or_default()),
                _ => said(&answer),
            };
            return Err(no_keys(service, reason.trim()));
        }
        let end = text("Expiration").and_then(|end| end.parse().ok());
        match (text("AccessKeyId"), text("SecretAccessKey"), text("SessionToken"), end) {
            (Some(id), Some(secret), token @ Some(_), end @ Some(_)) => {
                Ok(Found::new(Keys { id, secret, token }, end))
            }
            _ => Err(no_keys(service, "its answer has none")),
        }
    }

    /// Those of the role of the container that this runs in.
    async fn of_container(&self, service: &str, path: &str) -> Result<Found, NoKeys> {
        let token = match self.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some(file) => Some(read(&file).await?),
            None => self.get("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
        };
        let header = token.as_deref().map(|token| ("authorization", token));
        self.temporary(service, path, header.as_slice()).await
    }

    /// Those of the role of the machine.
    async fn of_machine(&self) -> Result<Found, NoKeys> {
        let found = match self.get("AWS_EC2_METADATA_DISABLED") {
            Some(disabled) if disabled.eq_ignore_ascii_case("true") => {
                Err(no_keys("the machine", "AWS_EC2_METADATA_DISABLED is set"))
            }
            _ => self.of_metadata().await,
        };
        // It was asked because nothing else was there.
        found.map_err(|NoKeys { place, reason }| {
            no_keys(
                "the environment, the user's files, a container's role or the machine's",
                format!("{place}: {reason}"),
            )
        })
    }

    async fn of_metadata(&self) -> Result<Found, NoKeys> {
        let (service, token) = self.metadata().await?;
        let roles = self.of_metadata_at(&service, &token, ROLES).await?;
        let Some(role) = roles.lines().map(str::trim).find(|role| !role.is_empty()) else {
            return Err(no_keys(&service, "the machine has no role"));
        };
        self.temporary(&service, &format!("{ROLES}{role}"), &[(TOKEN, &token)]).await
    }

    /// The region that the environment names.
    pub(crate) fn region(&self) -> Option<String> {
        self.get("AWS_REGION").or_else(|| self.get("AWS_DEFAULT_REGION"))
    }

    pub(crate) async fn region_of_machine(&self) -> Result<String, NoKeys> {
        let (service, token) = self.metadata().await?;
        self.of_metadata_at(&service, &token, "/latest/meta-data/placement/region").await
    }

    /// The machine's metadata service, second version, and the token that it wants to see.
    async fn metadata(&self) -> Result<(String, String), NoKeys> {
        let service = self.get("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| METADATA.to_owned());
        let service = service.trim_end_matches('/').to_owned();
        let headers = [("x-aws-ec2-metadata-token-ttl-seconds", "300")];
        let path = "/latest/api/token";
        let token =
            self.text(Request { method: "PUT", service: &service, path, headers: &headers, body: "" });
        let token = token.await?.trim().to_owned();
        Ok((service, token))
    }

    async fn of_metadata_at(&self, service: &str, token: &str, path: &str) -> Result<String, NoKeys> {
        let headers = [(TOKEN, token)];
        let text = self.text(Request { method: "GET", service, path, headers: &headers, body: "" }).await?;
        Ok(text.trim().to_owned())
    }

    async fn temporary(
        &self,
        service: &str,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Found, NoKeys> {
        let text = self.text(Request { method: "GET", service, path, headers, body: "" }).await?;
        let found: Temporary = serde_json::from_str(&text).map_err(|e| no_keys(service, e.to_string()))?;
        match (found.access_key_id, found.secret_access_key) {
            (Some(id), Some(secret)) => {
                Ok(Found::new(Keys { id, secret, token: found.token }, found.expiration))
            }
            _ => {
                let code = found.code.unwrap_or_else(|| "its answer has none".to_owned());
                Err(no_keys(service, format!("{code} {}", found.message.unwrap_or_default()).trim()))
            }
        }
    }

    /// What a service says to a request that it must take.
    async fn text(&self, request: Request<'_>) -> Result<String, NoKeys> {
        let answer = self.answer(request).await?;
        match answer.status {
            200 => Ok(answer.body),
            _ => Err(no_keys(
                request.service,
                format!("{} {}: {}", request.method, request.path, said(&answer)),
            )),
        }
    }

    async fn answer(&self, request: Request<'_>) -> Result<Answer, NoKeys> {
        let answer = match tokio::time::timeout(LIMIT, self.ask.ask(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} seconds", LIMIT.as_secs())),
        };
        answer.map_err(|reason| no_keys(request.service, reason))
    }
}

/// The header with the token of a machine's metadata service.
const TOKEN: &str = "x-aws-ec2-metadata-token";

fn no_keys(place: &str, reason: impl Into<String>) -> NoKeys {
    NoKeys { place: place.to_owned(), reason: reason.into() }
}

async fn read(file: &str) -> Result<String, NoKeys> {
    let text = tokio::fs::read_to_string(file).await.map_err(|error| no_keys(file, error.to_string()))?;
    Ok(text.trim().to_owned())
}

/// An answer that is none, for people: its beginning, in one line.
fn said(answer: &Answer) -> String {
    let text: String = answer.body.chars().take(200).collect();
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("status {} {line}", answer.status).trim_end().to_owned()
}

/// The text of the first element of this name. Keys need no escapes.
fn element<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = document.split_once(&format!("<{name}>"))?;
    rest.split_once("</").map(|(text, _)| text.trim()).filter(|text| !text.is_empty())
}

/// Service and path of an address to which a token may be sent: with TLS, or on this machine.
fn trusted(address: &str) -> Result<(String, String), String> {
    let url: Url = address.parse().map_err(|e| format!("{address}: {e}"))?;
    let near = match url.host() {
        Some(Host::Ipv4(host)) => host.is_loopback() || CONTAINER_HOSTS.contains(&host.to_string().as_str()),
        Some(Host::Ipv6(host)) => host.is_loopback() || CONTAINER_HOSTS.contains(&host.to_string().as_str()),
        Some(Host::Domain(host)) => host == "localhost",
        None => false,
    };
    if url.scheme() == "https" || (url.scheme() == "http" && near) {
        let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
        return Ok((url[..url::Position::BeforePath].to_owned(), path.to_owned()));
    }
    Err(format!("{address} is neither https nor on this machine"))
}
