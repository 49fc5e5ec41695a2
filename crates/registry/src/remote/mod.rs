//! A client of other registries: what a cache needs. Manifests whole, blobs as streams; basic and token authentication;
//! redirects, which credentials do not follow to another host. It remembers for a moment that the other registry is away.

mod address;
mod wire;

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, Method, StatusCode, header};
use hyper::{Response, body::Incoming};
use serde::Deserialize;

use crate::{
    Error,
    digest::{Algorithm, Digest},
    http::{query::encode, receive},
    manifest::{MAX_MANIFEST, MediaType},
    name::{Name, Reference},
};

pub(crate) use address::Address;
pub(crate) use wire::Wire;

/// Redirects of the longest chain.
const REDIRECTS: usize = 5;
/// Bytes of the longest answer with a token.
const MAX_TOKEN: usize = 256 << 10;
/// Bytes of the longest list of tags or referrers.
const MAX_LIST: usize = 16 << 20;
/// How long a registry may take to answer about what a copy of is here.
const BRIEF: Duration = Duration::from_secs(5);
/// How long one that did not answer is not asked about such things.
const AWAY: Duration = Duration::from_secs(30);

/// Another registry.
#[derive(Debug)]
pub(crate) struct Remote {
    address: Address,
    credentials: Option<Credentials>,
    wire: Wire,
    /// By scope.
    tokens: Mutex<HashMap<String, (String, Instant)>>,
    /// Since when it has not answered.
    away: Mutex<Option<Instant>>,
}

/// A user's name and password; never printed.
struct Credentials {
    user: String,
    password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:***", self.user)
    }
}

impl Credentials {
    fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user, self.password)))
    }
}

/// A list that came from there.
pub(crate) struct RemoteList {
    /// JSON.
    pub(crate) bytes: bytes::Bytes,
    /// The query that the next part of it has, if there is one.
    pub(crate) next: Option<String>,
    /// What it says to have picked by.
    pub(crate) filters: Option<String>,
}

/// A manifest that came from there.
pub(crate) struct RemoteManifest {
    pub(crate) digest: Digest,
    pub(crate) content_type: String,
    /// Empty if only the head was asked for.
    pub(crate) bytes: bytes::Bytes,
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Remote {
    /// A client of the registry at this address, `https://registry.example.com`.
    pub(crate) fn new(url: &str, user: Option<&str>, password: Option<&str>) -> Result<Self, String> {
        let address =
            Address::parse(url).ok_or_else(|| format!("{url:?} is not the address of a registry"))?;
        let credentials = match (user, password) {
            (Some(user), Some(password)) => {
                Some(Credentials { user: user.into(), password: password.into() })
            }
            (None, None) => None,
            _ => return Err("proxy.username and proxy.password are needed together".to_owned()),
        };
        Ok(Self {
            wire: Wire::new(address.secure)?,
            address,
            credentials,
            tokens: Mutex::default(),
            away: Mutex::default(),
        })
    }

    pub(crate) fn host(&self) -> &str {
        &self.address.host
    }

    fn fault(&self, reason: impl Into<String>) -> Error {
        Error::Upstream { host: self.address.host.clone(), reason: reason.into() }
    }

    /// A manifest, or its head; `None` if there is none.
    pub(crate) async fn manifest(
        &self,
        name: &Name,
        reference: &Reference,
        head: bool,
    ) -> Result<Option<RemoteManifest>, Error> {
        let method = if head { Method::HEAD } else { Method::GET };
        let path = format!("/v2/{name}/manifests/{reference}");
        let Some(answer) = self.ask(method, &path, name).await? else { return Ok(None) };
        let text =
            |key: &str| answer.headers().get(key).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let said: Option<Digest> = text("docker-content-digest").and_then(|text| text.parse().ok());
        let content_type = text("content-type").unwrap_or_default();
        let bytes = match head {
            true => bytes::Bytes::new(),
            false => receive::whole(&mut answer.into_body(), MAX_MANIFEST)
                .await
                .map_err(|_| self.fault("the manifest ended early"))?
                .ok_or_else(|| self.fault("the manifest is too long"))?,
        };
        let wanted = match reference {
            Reference::Digest(digest) => Some(digest.clone()),
            Reference::Tag(_) => said.clone(),
        };
        let digest = match (head, wanted) {
            (true, Some(digest)) => digest,
            (true, None) => return Err(self.fault("the answer has no digest")),
            (false, wanted) => {
                let algorithm = wanted.as_ref().map_or(Algorithm::Sha256, Digest::algorithm);
                let digest = Digest::of(algorithm, &bytes);
                if wanted.is_some_and(|wanted| wanted != digest) {
                    return Err(
                        self.fault(format!("the manifest of {name} has another digest than it should"))
                    );
                }
                digest
            }
        };
        Ok(Some(RemoteManifest { digest, content_type, bytes }))
    }

    /// Asks about what a copy of is here: not for long, and not at all while the other registry is away.
    pub(crate) async fn briefly<T>(&self, asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let away = *self.away.lock().expect("no panic under this lock");
        if away.is_some_and(|since| since.elapsed() < AWAY) {
            return Err(self.fault("it did not answer a moment ago"));
        }
        tokio::time::timeout(BRIEF, asked).await.unwrap_or_else(|_| {
            self.answered(false);
            Err(self.fault("it does not answer in time"))
        })
    }

    fn answered(&self, answered: bool) {
        *self.away.lock().expect("no panic under this lock") = (!answered).then(Instant::now);
    }

    /// A list (`tags/list`, `referrers/…`) or the part of it that the query asks for; `None` if there is none.
    pub(crate) async fn list(
        &self,
        name: &Name,
        which: &str,
        query: Option<&str>,
    ) -> Result<Option<RemoteList>, Error> {
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let path = format!("/v2/{name}/{which}{query}");
        let Some(answer) = self.ask(Method::GET, &path, name).await? else { return Ok(None) };
        let text = |key: &str| answer.headers().get(key).and_then(|value| value.to_str().ok());
        let (next, filters) =
            (text("link").and_then(next).map(str::to_owned), text("oci-filters-applied").map(str::to_owned));
        let bytes = receive::whole(&mut answer.into_body(), MAX_LIST)
            .await
            .map_err(|_| self.fault("the list ended early"))?
            .ok_or_else(|| self.fault("the list is too long"))?;
        if serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_err() {
            return Err(self.fault("the list is not JSON"));
        }
        Ok(Some(RemoteList { bytes, next, filters }))
    }

    /// The size of a blob; `None` if there is none or it is not said.
    pub(crate) async fn blob_size(&self, name: &Name, digest: &Digest) -> Result<Option<u64>, Error> {
        let answer = self.ask(Method::HEAD, &format!("/v2/{name}/blobs/{digest}"), name).await?;
        let length = answer.as_ref().and_then(|answer| answer.headers().get(header::CONTENT_LENGTH));
        Ok(length.and_then(|length| length.to_str().ok()?.parse().ok()))
    }

    /// A blob as a stream; `None` if there is none. Whoever reads it verifies it.
    pub(crate) async fn blob(&self, name: &Name, digest: &Digest) -> Result<Option<Incoming>, Error> {
        let answer = self.ask(Method::GET, &format!("/v2/{name}/blobs/{digest}"), name).await?;
        Ok(answer.map(Response::into_body))
    }

    /// One request, authenticated if it must be; `None` for 404.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        name: &Name,
    ) -> Result<Option<Response<Incoming>>, Error> {
        let scope = format!("repository:{name}:pull");
        let mut authorization = self.token(&scope);
        for attempt in 0.. {
            let answer = self.send(method.clone(), path, authorization.as_deref()).await?;
            match answer.status() {
                StatusCode::UNAUTHORIZED if attempt == 0 => {
                    authorization = Some(self.authenticate(answer.headers(), &scope).await?);
                }
                StatusCode::NOT_FOUND => return Ok(None),
                status if status.is_success() => return Ok(Some(answer)),
                StatusCode::TOO_MANY_REQUESTS => return Err(self.fault("its rate limit is reached")),
                status => return Err(self.fault(format!("it answers {status}"))),
            }
        }
        unreachable!("the second answer returns")
    }

    /// Sends, and follows redirects. The authorization goes to this registry's host only.
    async fn send(
        &self,
        method: Method,
        path: &str,
        authorization: Option<&str>,
    ) -> Result<Response<Incoming>, Error> {
        let (mut address, mut path) = (self.address.clone(), path.to_owned());
        for _ in 0..=REDIRECTS {
            let own = address == self.address;
            let mut headers = HeaderMap::new();
            if let Some(value) = authorization.filter(|_| own).and_then(|text| text.parse().ok()) {
                headers.insert(header::AUTHORIZATION, value);
            }
            for kind in [
                MediaType::OciManifest,
                MediaType::OciIndex,
                MediaType::DockerManifest,
                MediaType::DockerList,
            ] {
                headers.append(header::ACCEPT, http::HeaderValue::from_static(kind.as_str()));
            }
            let answer = self
                .wire
                .send(&address, method.clone(), &path, headers, String::new())
                .await
                .map_err(|e| self.fault(e));
            if own {
                self.answered(answer.is_ok());
            }
            let answer = answer?;
            if !answer.status().is_redirection() {
                return Ok(answer);
            }
            let location = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            let next = location.and_then(|location| address.join(location));
            (address, path) = next.ok_or_else(|| self.fault("it redirects to nowhere"))?;
            if self.address.secure && !address.secure {
                return Err(self.fault("it redirects from https to http"));
            }
        }
        Err(self.fault("it redirects in circles"))
    }

    fn token(&self, scope: &str) -> Option<String> {
        let tokens = self.tokens.lock().expect("no panic under this lock");
        tokens.get(scope).filter(|(_, until)| Instant::now() < *until).map(|(token, _)| token.clone())
    }

    /// What a challenge asks for.
    async fn authenticate(&self, headers: &HeaderMap, scope: &str) -> Result<String, Error> {
        let challenge =
            headers.get(header::WWW_AUTHENTICATE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let basic = self.credentials.as_ref().map(Credentials::basic);
        if challenge.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic ")) {
            return basic.ok_or_else(|| self.fault("it wants a user name and a password"));
        }
        let realm =
            parameter(challenge, "realm").ok_or_else(|| self.fault("its challenge names no realm"))?;
        let (address, path) =
            self.address.join(realm).ok_or_else(|| self.fault("its realm is no address"))?;
        // A password may go to the registry's own host, or to its token server over TLS.
        if basic.is_some() && address != self.address && !address.secure {
            return Err(self
                .fault(format!("its token server {} is not https: the password stays here", address.host)));
        }
        let service = parameter(challenge, "service").unwrap_or_default();
        let joint = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{joint}service={}&scope={}", encode(service), encode(scope));
        let mut headers = HeaderMap::new();
        if let Some(value) = basic.and_then(|text| text.parse().ok()) {
            headers.insert(header::AUTHORIZATION, value);
        }
        let answer = self
            .wire
            .send(&address, Method::GET, &path, headers, String::new())
            .await
            .map_err(|e| self.fault(e))?;
        if !answer.status().is_success() {
            return Err(self.fault(format!("its token server answers {}", answer.status())));
        }
        let body =
            receive::whole(&mut answer.into_body(), MAX_TOKEN).await.ok().flatten().unwrap_or_default();
        let token: Token =
            serde_json::from_slice(&body).map_err(|_| self.fault("its token server gives no token"))?;
        let text = token
            .token
            .or(token.access_token)
            .ok_or_else(|| self.fault("its token server gives no token"))?;
        let text = format!("Bearer {text}");
        let seconds = token.expires_in.unwrap_or(60).saturating_sub(10).min(3600);
        let until = Instant::now() + std::time::Duration::from_secs(seconds);
        let mut tokens = self.tokens.lock().expect("no panic under this lock");
        tokens.retain(|_, (_, until)| Instant::now() < *until);
        tokens.insert(scope.to_owned(), (text.clone(), until));
        Ok(text)
    }
}

/// The query of the next part, of a `Link` header.
fn next(link: &str) -> Option<&str> {
    let (target, parameters) = link.strip_prefix('<')?.split_once('>')?;
    let (_, query) = target.split_once('?')?;
    parameters.contains("next").then_some(query)
}

/// A parameter of a challenge: `key="value"`.
fn parameter<'a>(challenge: &'a str, key: &str) -> Option<&'a str> {
    let start = format!("{key}=\"");
    let at = challenge.find(&start)? + start.len();
    challenge[at..].split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_have_parameters() {
        let challenge = "Bearer realm=\"https://a/t\",service=\"s\"";
        assert_eq!(parameter(challenge, "realm"), Some("https://a/t"));
        assert_eq!(parameter(challenge, "service"), Some("s"));
        assert_eq!(parameter(challenge, "scope"), None);
        assert_eq!(parameter("Bearer realm=\"x", "realm"), Some("x"));
    }

    #[test]
    fn links_lead_to_the_next_part() {
        assert_eq!(next("</v2/a/tags/list?n=2&last=b>; rel=\"next\""), Some("n=2&last=b"));
        assert_eq!(next("<https://x/v2/a/tags/list?last=b>;rel=next"), Some("last=b"));
        assert_eq!(next("</v2/a/tags/list?n=2>; rel=\"prev\""), None);
        assert_eq!(next("x"), None);
    }

    #[test]
    fn a_password_is_not_printed() {
        let remote = Remote::new("http://x", Some("me"), Some("secret")).unwrap();
        assert!(!format!("{remote:?}").contains("secret"));
    }
}
