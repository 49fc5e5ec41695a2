//! The client: connections, versions, errors.

use std::{
    sync::{Mutex, OnceLock},
    time::Duration,
};

use serde::de::DeserializeOwned;
use skiff_api::{ApiVersion, ErrorBody};

use crate::{
    Error, Hijacked, Host, Ping, Request, Response, Tls,
    connect::{self, Sender},
    hijack,
};

/// How to talk to an engine.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Headers that every request carries (`HttpHeaders` of config.json).
    pub headers: Vec<(String, String)>,
    /// For engines over TCP: speak TLS.
    pub tls: Option<Tls>,
    /// The version to use; without one it is negotiated.
    pub version: Option<String>,
}

/// A client of one engine.
#[derive(Debug)]
pub struct Client {
    host: Host,
    options: Options,
    version: OnceLock<String>,
    idle: Mutex<Option<Sender>>,
}

impl Client {
    /// A client; nothing is connected before the first request.
    pub fn new(host: Host, options: Options) -> Self {
        let version = OnceLock::new();
        if let Some(fixed) = &options.version {
            let _ = version.set(fixed.clone());
        }
        Self { host, options, version, idle: Mutex::new(None) }
    }

    /// Where the engine is.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The version in use: fixed, negotiated, or the newest.
    pub fn version(&self) -> String {
        self.version.get().cloned().unwrap_or_else(|| ApiVersion::MAX.to_string())
    }

    /// Whether the version in use is 1.`minor` or later.
    pub fn at_least(&self, minor: u32) -> bool {
        self.version().parse::<ApiVersion>().map_or(true, |v| v.at_least(minor))
    }

    /// Asks the engine who it is, and settles on a version that both know.
    ///
    /// # Errors
    /// An engine that cannot be reached.
    pub async fn ping(&self) -> Result<Ping, Error> {
        let response = self.raw(Request::new(http::Method::HEAD, "/_ping"), false).await?;
        let ping = Ping::from_response(&response);
        self.keep(response).await;
        let theirs = ping.api_version.as_deref().and_then(|v| v.parse().ok());
        let version = theirs.unwrap_or(ApiVersion::MIN).min(ApiVersion::MAX);
        let _ = self.version.set(version.to_string());
        Ok(ping)
    }

    /// Sends a request under the version in use, negotiating it first.
    ///
    /// # Errors
    /// The engine's error, or a broken connection.
    pub async fn send(&self, request: Request) -> Result<Response, Error> {
        if self.version.get().is_none() {
            self.ping().await?;
        }
        self.raw(request, true).await
    }

    /// Sends a request and decodes the answer.
    ///
    /// # Errors
    /// As [`Self::send`], or another shape of JSON.
    pub async fn json<T: DeserializeOwned>(&self, request: Request) -> Result<T, Error> {
        self.send(request).await?.json().await
    }

    /// Sends a request whose answer says nothing more than that it succeeded.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn unit(&self, request: Request) -> Result<(), Error> {
        self.send(request).await?.bytes().await.map(|_| ())
    }

    /// Sends a request that turns its connection into a stream of bytes both ways.
    ///
    /// # Errors
    /// As [`Self::send`], or an engine that keeps speaking HTTP.
    pub async fn hijack(&self, request: Request) -> Result<Hijacked, Error> {
        let request = request.header("Connection", "Upgrade").header("Upgrade", "tcp");
        let response = self.send(request).await?;
        hijack::take_over(response).await
    }

    async fn raw(&self, request: Request, versioned: bool) -> Result<Response, Error> {
        let operation = request.operation();
        let http = self.to_http(request, versioned)?;
        let mut sender = self.connection().await?;
        let answer = sender.send_request(http).await;
        let inner = answer.map_err(|source| Error::Connection { operation: operation.clone(), source })?;
        // Usable again as soon as the answer's body has been read.
        *self.idle.lock().unwrap_or_else(|e| e.into_inner()) = Some(sender);
        let response = Response { operation, inner };
        if response.inner.status().is_client_error() || response.inner.status().is_server_error() {
            return Err(self.failure(response).await);
        }
        Ok(response)
    }

    fn to_http(
        &self,
        request: Request,
        versioned: bool,
    ) -> Result<http::Request<connect::OutgoingBody>, Error> {
        let mut uri = match &self.host {
            Host::Tcp { prefix, .. } => prefix.clone(),
            Host::Unix(_) => String::new(),
        };
        if versioned {
            uri.push_str("/v");
            uri.push_str(&self.version());
        }
        uri.push_str(&request.path);
        if !request.query.as_str().is_empty() {
            uri.push('?');
            uri.push_str(request.query.as_str());
        }
        let authority = match &self.host {
            Host::Tcp { authority, .. } => authority.as_str(),
            Host::Unix(_) => "docker",
        };
        let mut http = http::Request::builder()
            .method(request.method)
            .uri(uri)
            .header("Host", authority)
            .header("User-Agent", concat!("skiff/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &self.options.headers {
            http = http.header(name, value);
        }
        for (name, value) in &request.headers {
            http = http.header(*name, value);
        }
        if let Some(kind) = request.body.content_type() {
            http = http.header("Content-Type", kind);
        }
        Ok(http.body(request.body.into_outgoing())?)
    }

    /// The idle connection if it can be used at once, else a new one.
    async fn connection(&self) -> Result<Sender, Error> {
        let idle = self.idle.lock().unwrap_or_else(|e| e.into_inner()).take();
        if let Some(mut sender) = idle {
            // One that is still busy with a stream never becomes ready soon.
            let ready = tokio::time::timeout(Duration::ZERO, sender.ready()).await;
            if matches!(ready, Ok(Ok(()))) {
                return Ok(sender);
            }
        }
        connect::open(&self.host, self.options.tls.as_ref()).await
    }

    /// Reads an answer to its end so that its connection can be used again.
    async fn keep(&self, mut response: Response) {
        while let Ok(Some(_)) = response.chunk().await {}
        // Lets the connection's task notice.
        tokio::task::yield_now().await;
    }

    async fn failure(&self, mut response: Response) -> Error {
        let status = response.status();
        let body = match response.bytes().await {
            Ok(body) => body,
            Err(error) => return error,
        };
        let message = match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(error) => error.message.trim().to_owned(),
            Err(_) => String::from_utf8_lossy(&body).trim().to_owned(),
        };
        let message = match message.is_empty() {
            true => format!(
                "request returned {} for API route and version {}{}, check if the server supports the requested API \
                 version",
                response.inner.status(),
                self.host,
                response.operation.split(' ').next_back().unwrap_or_default(),
            ),
            false => message,
        };
        Error::Api { status, message }
    }
}
