//! One request and its answer: redirects, silence, bounds. Nothing here knows what is asked.

use std::{io, sync::Arc, time::Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;

use crate::{
    Error, Result,
    certificates::Trust,
    config::Config,
    connect::{Connections, OutgoingBody, Sender},
    error::{RegistryErrors, RequestError},
    outgoing::{Moved, OwnBody, Slices},
    url::{Origin, Url},
};

/// The most redirects that one request follows.
const MOST_REDIRECTS: usize = 8;

/// What is sent along.
pub(crate) enum Body {
    Empty,
    Bytes(Bytes, &'static str),
    Stream(OutgoingBody),
}

/// A request that has not been sent.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

impl Request {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Body::Empty }
    }

    pub(crate) fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    #[must_use]
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.append(name, value);
        }
        self
    }

    /// The same once more; none for a body that can be sent only once.
    pub(crate) fn again(&self) -> Option<Self> {
        let body = match &self.body {
            Body::Empty => Body::Empty,
            Body::Bytes(bytes, kind) => Body::Bytes(bytes.clone(), kind),
            Body::Stream(_) => return None,
        };
        let (method, url, headers) = (self.method.clone(), self.url.clone(), self.headers.clone());
        Some(Self { method, url, headers, body })
    }

    /// An error about this request.
    pub(crate) fn failed(&self, source: RequestError) -> Error {
        Error::Request { method: go_method(&self.method), url: self.url.to_string(), source }
    }
}

/// A method as Go's errors write it.
pub(crate) fn go_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "Get",
        "HEAD" => "Head",
        "POST" => "Post",
        "PUT" => "Put",
        "PATCH" => "Patch",
        _ => "Delete",
    }
}

/// Sends requests of one session.
pub(crate) struct Exchange {
    pub(crate) config: Arc<Config>,
    connections: Arc<Connections>,
}

impl Exchange {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self { connections: Arc::new(Connections::new(Arc::clone(&config))), config }
    }

    /// Sends a request and follows where it is sent on. Only what says what we want goes along when that is another host.
    pub(crate) async fn send(&self, mut request: Request, trust: &Trust) -> Result<Answer> {
        let first = request.url.origin.clone();
        for _ in 0..=MOST_REDIRECTS {
            let next = match request.method {
                Method::GET | Method::HEAD => request.again(),
                _ => None,
            };
            let here = request.url.clone();
            // Another host's certificates are another matter.
            let elsewhere = Trust { anybody: false, ..Trust::default() };
            let trust = if here.origin == first { trust } else { &elsewhere };
            let answer = self.once(request, trust).await?;
            let Some(mut next) = next.filter(|_| answer.status().is_redirection()) else { return Ok(answer) };
            let Some(location) = answer.header(header::LOCATION) else { return Ok(answer) };
            let refused = |why: String| next.failed(RequestError::Redirect(why));
            let url = here.follow(location).map_err(refused)?;
            answer.discard().await;
            if url.origin != next.url.origin {
                let wanted = [header::ACCEPT, header::RANGE];
                next.headers = wanted
                    .into_iter()
                    .filter_map(|name| Some((name.clone(), next.headers.remove(name)?)))
                    .collect();
            }
            next.url = url;
            request = next;
        }
        Err(request.failed(RequestError::Redirect(format!("stopped after {MOST_REDIRECTS} redirects"))))
    }

    /// Sends one request. A kept connection that the other end has closed meanwhile is replaced.
    async fn once(&self, request: Request, trust: &Trust) -> Result<Answer> {
        let again = request.again();
        match self.over(request, trust, false).await {
            Err((_, true)) if again.is_some() => {
                let request = again.expect("it was looked at");
                self.over(request, trust, true).await.map_err(|(e, _)| e)
            }
            answered => answered.map_err(|(e, _)| e),
        }
    }

    /// The error says whether it came from a connection that had been used before.
    async fn over(&self, request: Request, trust: &Trust, fresh: bool) -> Result<Answer, (Error, bool)> {
        let (method, shown) = (go_method(&request.method), request.url.to_string());
        let failed = |source| Error::Request { method, url: shown.clone(), source };
        let origin = request.url.origin.clone();
        let mut connected =
            self.connections.get(&origin, trust, fresh).await.map_err(|e| (failed(e), false))?;
        let used = connected.used;
        let limits = &self.config.limits;
        let is_stored = matches!(request.method, Method::PUT | Method::PATCH);
        let storing = if is_stored { limits.storing } else { limits.silence };
        let moved = Moved::default();
        let http = self.to_http(request, &connected, &moved).map_err(|e| (failed(e), false))?;
        let sending = connected.sender.send_request(http);
        let inner = match moved.or_silence(limits.silence, storing, sending).await {
            Some(Ok(inner)) => inner,
            Some(Err(error)) => return Err((broken(&failed, &error), used)),
            None => {
                return Err((failed(RequestError::Timeout("timeout awaiting response headers")), false));
            }
        };
        let (head, body) = inner.into_parts();
        Ok(Answer {
            head,
            body,
            sender: Some(connected.sender),
            origin,
            method,
            shown,
            connections: Arc::clone(&self.connections),
            config: Arc::clone(&self.config),
        })
    }

    fn to_http(
        &self,
        request: Request,
        connected: &crate::connect::Connected,
        moved: &Moved,
    ) -> Result<http::Request<OutgoingBody>, RequestError> {
        let uri = if connected.absolute { request.url.to_string() } else { request.url.path.clone() };
        let mut builder: request::Builder = http::Request::builder()
            .method(request.method)
            .uri(uri)
            .header(header::HOST, request.url.origin.authority())
            .header(header::USER_AGENT, &self.config.user_agent);
        if let Some(authorization) = &connected.proxy_authorization {
            builder = builder.header(header::PROXY_AUTHORIZATION, authorization.reveal());
        }
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        let body: OutgoingBody = match request.body {
            Body::Empty => Empty::new().map_err(|never| match never {}).boxed(),
            Body::Bytes(bytes, kind) => {
                if !request.headers.contains_key(header::CONTENT_TYPE) {
                    builder = builder.header(header::CONTENT_TYPE, kind);
                }
                Slices(bytes).boxed()
            }
            Body::Stream(body) => {
                builder = builder.header(header::CONTENT_TYPE, "application/octet-stream");
                body
            }
        };
        builder.body(moved.watch(body)).map_err(|e| RequestError::Broken(e.to_string()))
    }
}

/// Errors of a body that we read ourselves are ours; others are the connection's.
fn broken(failed: &dyn Fn(RequestError) -> Error, error: &hyper::Error) -> Error {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            if io.get_ref().is_some_and(|e| e.is::<OwnBody>()) {
                return Error::Body(io::Error::new(io.kind(), io.to_string()));
            }
            return failed(RequestError::Broken(match io.kind() {
                io::ErrorKind::ConnectionReset => "read: connection reset by peer".to_owned(),
                io::ErrorKind::BrokenPipe => "write: broken pipe".to_owned(),
                io::ErrorKind::UnexpectedEof => "unexpected EOF".to_owned(),
                _ => io.to_string(),
            }));
        }
        cause = inner.source();
    }
    failed(RequestError::Broken(match error.is_incomplete_message() {
        true => "EOF".to_owned(),
        false => error.to_string(),
    }))
}

/// An answer whose body has not been read to the end. Its connection is used again after that.
pub struct Answer {
    head: http::response::Parts,
    body: Incoming,
    sender: Option<Sender>,
    origin: Origin,
    method: &'static str,
    shown: String,
    connections: Arc<Connections>,
    config: Arc<Config>,
}

impl Answer {
    /// The host that answered, in the end.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// A header, if it is there and is text.
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    fn failed(&self, source: RequestError) -> Error {
        Error::Request { method: self.method, url: self.shown.clone(), source }
    }

    /// The next piece of the body; none at its end.
    ///
    /// # Errors
    /// [`Error::Request`] for a body that is cut off, and for silence.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        loop {
            let frame = tokio::time::timeout(self.config.limits.silence, self.body.frame()).await;
            match frame {
                Err(_) => return Err(self.failed(RequestError::Timeout("no data came for too long"))),
                Ok(None) => {
                    if let Some(sender) = self.sender.take() {
                        self.connections.put_back(&self.origin, sender);
                    }
                    return Ok(None);
                }
                Ok(Some(Err(error))) => {
                    return Err(broken(&|source| self.failed(source), &error));
                }
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// The whole body, at most so many bytes, in a bounded time. `what` names it in errors.
    ///
    /// # Errors
    /// Those of [`chunk`](Self::chunk), and [`Error::Untrue`] for more bytes.
    pub async fn bytes(mut self, what: &str, most: usize) -> Result<Bytes> {
        let begun = Instant::now();
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            whole.extend_from_slice(&chunk);
            if whole.len() > most {
                return Err(Error::Untrue(format!("{what} of {} is larger than {most} bytes", self.shown)));
            }
            if begun.elapsed() > self.config.limits.pace {
                return Err(self.failed(RequestError::Timeout("the answer takes too long")));
            }
        }
        Ok(whole.freeze())
    }

    /// Reads what little is left, so that the connection can be used again.
    pub async fn discard(self) {
        let most = self.config.limits.small_body.min(64 << 10);
        let _ = self.bytes("the answer", most).await;
    }

    /// The registry's own errors, or the status.
    pub(crate) async fn into_error(self) -> Error {
        let (status, most) = (self.status(), self.config.limits.small_body);
        let json = self.header(header::CONTENT_TYPE).is_none_or(|t| t.contains("json"));
        match self.bytes("the error", most).await {
            Ok(body) if json => match serde_json::from_slice::<RegistryErrors>(&body) {
                Ok(errors) if !errors.errors.is_empty() => Error::Registry { status, errors },
                _ => Error::Status(status),
            },
            Ok(_) => Error::Status(status),
            Err(error) => error,
        }
    }
}
