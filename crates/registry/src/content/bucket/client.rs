//! Requests to the store, tried again while that may help. Each is signed when it is sent, with the keys of that time.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;
use rusty_s3::{S3Action, UrlStyle, signing};
use skiff_aws::{Keys, NoKeys};
use skiff_distribution::{Answer, Config, Direct, Limits, Proxies, Registries};
use url::{Position, Url};

use super::{
    keys::{Credentials, credentials},
    settings::BucketSettings,
};
use crate::{Error, digest::Digest, service::chain};

/// How long a request may wait to be begun.
const VALID: Duration = Duration::from_secs(5 * 60);
/// How often one is sent at most, to a store that has no time and to any other, and the pause before the second time; it doubles.
const ATTEMPTS_WHEN_BUSY: u32 = 6;
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a body that a store takes in a second at least.
const SLOWEST: u64 = 32 << 10;
/// Bytes of an answer that is a document.
const DOCUMENT: usize = 8 << 20;
/// What is said of temporary keys that were good once.
const ENDED: [&str; 4] = ["ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "TokenRefreshRequired"];

/// Speaks to the store.
pub(super) struct Client {
    pub(super) bucket: rusty_s3::Bucket,
    credentials: Credentials,
    direct: Direct,
    /// How long the store may be silent.
    timeout: Duration,
    /// When it last answered anybody.
    answered: Mutex<Instant>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.bucket.base_url())
    }
}

/// A request that nobody has signed.
struct Plain {
    method: rusty_s3::Method,
    /// Without its query.
    url: Url,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
}

impl Plain {
    /// Of an action without credentials.
    fn new<'a, A: S3Action<'a>>(action: &mut A) -> Self {
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let headers = action.headers_mut().iter().map(own).collect();
        let mut url = action.sign(VALID);
        let query = url.query_pairs().into_owned().collect();
        url.set_query(None);
        Self { method: A::METHOD, url, query, headers }
    }
}

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// There is no such object.
    #[error("it is not there")]
    Missing,
    /// It said no.
    #[error("the store refuses: {status} {code} {message}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// `AccessDenied`; empty if it gave none.
        code: String,
        /// For people.
        message: String,
    },
    /// It was not asked: there is nobody to sign.
    #[error(transparent)]
    Keys(#[from] NoKeys),
    /// It was not asked: there is no connection.
    #[error("the store cannot be reached: {0}")]
    Unreached(String),
    /// It did not answer, or not to the end.
    #[error("the store does not answer: {0}")]
    Silent(String),
}

impl Failure {
    /// Whether the store may have done it all the same, or may still do it.
    pub(super) fn is_uncertain(&self) -> bool {
        match self {
            Self::Missing | Self::Keys(_) | Self::Unreached(_) => false,
            Self::Refused { status, .. } => {
                status.is_server_error() && *status != StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Silent(_) => true,
        }
    }

    fn may_pass(&self) -> bool {
        match self {
            Self::Missing | Self::Keys(_) => false,
            Self::Refused { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::Unreached(_) | Self::Silent(_) => true,
        }
    }

    fn attempts(&self) -> u32 {
        match self {
            Self::Refused {
                status: StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS, ..
            } => ATTEMPTS_WHEN_BUSY,
            _ => ATTEMPTS,
        }
    }

    /// Whether temporary keys that are no longer good are a reason. What is answered to `HEAD` has no code.
    fn may_be_of_ended_keys(&self) -> bool {
        match self {
            Self::Refused { status, code, .. } if code.is_empty() => status.is_client_error(),
            Self::Refused { code, .. } => ENDED.contains(&code.as_str()),
            _ => false,
        }
    }

    /// As what happened to a blob that must be there.
    pub(super) fn of(self, digest: &Digest) -> Error {
        match self {
            Self::Missing => Error::Internal { reason: format!("{digest} is missing in the bucket") },
            other => other.into(),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Storage { reason: failure.to_string() }
    }
}

impl From<skiff_distribution::Error> for Failure {
    fn from(error: skiff_distribution::Error) -> Self {
        use skiff_distribution::{Error, RequestError};
        // The address is signed: it is told to nobody.
        match error {
            Error::Request { source, .. } => match source {
                RequestError::Timeout(_) | RequestError::Broken(_) => Self::Silent(source.to_string()),
                _ => Self::Unreached(source.to_string()),
            },
            other => Self::Silent(other.to_string()),
        }
    }
}

/// The answer is not the document that it should be.
pub(super) fn unreadable(error: impl std::error::Error) -> Error {
    Error::Storage { reason: format!("the store's answer is not understood: {}", chain(&error)) }
}

/// What a document with an error says.
pub(super) fn refusal(status: StatusCode, document: &str) -> Failure {
    let text = |name| element(document, name).unwrap_or_default().chars().take(200).collect();
    Failure::Refused { status, code: text("Code"), message: text("Message") }
}

/// The text of the first element of this name.
pub(super) fn element<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = document.split_once(&format!("<{name}>"))?;
    rest.split_once("</").map(|(text, _)| text)
}

/// What `Content-Length` says.
pub(super) fn length(answer: &Answer) -> Option<u64> {
    answer.header(header::CONTENT_LENGTH)?.parse().ok()
}

impl Client {
    /// Reads certificates. Blocks.
    pub(super) fn new(settings: &BucketSettings) -> Result<Self, Error> {
        let bad = |reason: String| Error::Invalid { reason: format!("storage.s3.regionendpoint: {reason}") };
        let style = if settings.path_style { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let endpoint =
            settings.endpoint.parse::<Url>().map_err(|e| bad(format!("{}: {e}", settings.endpoint)))?;
        let (name, region) = (settings.bucket.clone(), settings.region.clone());
        let bucket = rusty_s3::Bucket::new(endpoint, style, name, region)
            .map_err(|e| bad(format!("{}: {e}", settings.endpoint)))?;
        let url = bucket.base_url();
        let host =
            url.port_or_known_default().map(|port| format!("{}:{port}", url.host_str().unwrap_or_default()));
        let insecure = host.filter(|_| settings.skip_verify).into_iter().collect();
        let timeout = settings.timeout;
        let limits = Limits {
            connect: timeout,
            silence: timeout,
            storing: timeout * 2,
            pace: timeout * 2,
            ..Limits::default()
        };
        let proxies = Proxies::from_environment();
        let registries = Registries::new(Config { insecure, proxies, limits, ..Config::default() });
        let direct = registries.direct(url.as_str()).map_err(|e| bad(e.to_string()))?;
        Ok(Self {
            bucket,
            credentials: credentials(settings.keys.as_ref()),
            direct,
            timeout,
            answered: Mutex::new(Instant::now()),
        })
    }

    /// When the store last answered anybody, with whatever.
    pub(super) fn answered(&self) -> Instant {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request until it is answered, as often as it may help.
    pub(super) async fn send<'a>(&self, action: impl S3Action<'a>, body: Bytes) -> Result<Answer, Failure> {
        self.send_within(action, body, VALID).await
    }

    /// The same; the store begins none of them later than `valid` after this has returned.
    pub(super) async fn send_within<'a, A: S3Action<'a>>(
        &self,
        mut action: A,
        body: Bytes,
        valid: Duration,
    ) -> Result<Answer, Failure> {
        let plain = Plain::new(&mut action);
        let mut headers = HeaderMap::new();
        for (name, value) in &plain.headers {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
                headers.append(name, value);
            }
        }
        let (mut pause, begun) = (PAUSE, Instant::now());
        for attempt in 1.. {
            let keys = self.credentials.keys().await?;
            let url = self.sign(&plain, &keys, valid);
            match self.once(plain.method, &url, headers.clone(), body.clone()).await {
                Err(failure)
                    if attempt < ATTEMPTS && keys.token.is_some() && failure.may_be_of_ended_keys() =>
                {
                    self.credentials.forget(&keys);
                }
                Err(failure)
                    if failure.may_pass()
                        && attempt < failure.attempts()
                        && begun.elapsed() < self.timeout * 3 =>
                {
                    tracing::debug!(%failure, attempt, "a request to the store is sent again");
                    // Not all at the same time.
                    tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
                    pause *= 2;
                }
                outcome => return outcome,
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Sends a request and reads the document that is the answer.
    pub(super) async fn text<'a>(&self, action: impl S3Action<'a>, body: Bytes) -> Result<String, Failure> {
        document(self.send(action, body).await?).await
    }

    /// An address at which everybody may do this, for so long.
    pub(super) async fn address<'a>(
        &self,
        mut action: impl S3Action<'a>,
        valid: Duration,
    ) -> Result<Url, Failure> {
        Ok(self.sign(&Plain::new(&mut action), &self.credentials.keys().await?, valid))
    }

    fn sign(&self, plain: &Plain, keys: &Keys, valid: Duration) -> Url {
        fn pairs(map: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> + Clone {
            map.iter().map(|(name, value)| (name.as_str(), value.as_str()))
        }
        signing::sign(
            &Timestamp::now(),
            plain.method,
            plain.url.clone(),
            &keys.id,
            &keys.secret,
            keys.token.as_deref(),
            self.bucket.region(),
            valid.as_secs(),
            pairs(&plain.query),
            pairs(&plain.headers),
        )
    }

    async fn once(
        &self,
        method: rusty_s3::Method,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let method = Method::from_bytes(method.to_str().as_bytes()).expect("it is one of five");
        let path = &url[Position::BeforePath..];
        // Silence is noticed below; this is for a store that takes a body in drops.
        let longest = self.timeout * 3 + Duration::from_secs(body.len() as u64 / SLOWEST);
        let sent = tokio::time::timeout(longest, self.direct.send(method, path, headers, body)).await;
        let answer = sent.map_err(|_| Failure::Silent("it takes what is sent too slowly".into()))??;
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        match answer.status() {
            StatusCode::NOT_FOUND => {
                let text = document(answer).await.unwrap_or_default();
                match element(&text, "Code") {
                    None | Some("NoSuchKey" | "NoSuchUpload" | "NotFound") => Err(Failure::Missing),
                    Some(_) => Err(refusal(StatusCode::NOT_FOUND, &text)),
                }
            }
            status if status.is_success() => Ok(answer),
            status => Err(refusal(status, &document(answer).await.unwrap_or_default())),
        }
    }
}

async fn document(answer: Answer) -> Result<String, Failure> {
    let bytes = answer.bytes("the answer", DOCUMENT).await?;
    // A store that takes long sends blanks first.
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}
