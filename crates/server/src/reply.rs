//! Answers: JSON, streams, nothing, or the connection itself.

use std::{convert::Infallible, pin::Pin};

use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use serde::Serialize;
use skiff_api::{ApiVersion, ErrorBody};

use crate::{failure::Failure, hijack::Hijack};

/// Why a body ends early: the connection is cut so that the client knows.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Body = UnsyncBoxBody<Bytes, BodyError>;

/// What a route answers with.
pub(crate) enum Reply {
    Http(Response<Body>),
    /// The connection is taken over after this request.
    Hijack(Hijack),
}

/// The name that the `Server` header and `info` give.
const SERVER: &str = concat!("Skiff/", env!("CARGO_PKG_VERSION"), " (linux)");

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync()
}

impl Reply {
    /// A status without a body.
    pub(crate) fn empty(status: StatusCode) -> Self {
        let mut response = Response::new(full(Bytes::new()));
        *response.status_mut() = status;
        Self::Http(response)
    }

    /// 204.
    pub(crate) fn done() -> Self {
        Self::empty(StatusCode::NO_CONTENT)
    }

    /// JSON and a line end, as Go's encoder writes them.
    pub(crate) fn json<T: Serialize>(status: StatusCode, value: &T) -> Self {
        let mut text = serde_json::to_vec(value).expect("wire types have string keys only");
        text.push(b'\n');
        let mut response = Response::new(full(text.into()));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self::Http(response)
    }

    /// 200 and JSON.
    pub(crate) fn ok<T: Serialize>(value: &T) -> Self {
        Self::json(StatusCode::OK, value)
    }

    /// 200 and plain text.
    pub(crate) fn text(text: &'static str) -> Self {
        let mut response = Response::new(full(Bytes::from_static(text.as_bytes())));
        let kind = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        Self::Http(response)
    }

    /// 200 and whatever the stream gives, each piece sent at once. The headers go out before the first piece is there.
    pub(crate) fn stream<S>(content_type: &'static str, stream: S) -> Self
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
    {
        let mut response = Response::new(StreamBody(Box::pin(stream)).boxed_unsync());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self::Http(response)
    }

    /// The error body, as text for clients so old that they do not read JSON.
    pub(crate) fn failure(failure: &Failure, plain: bool) -> Self {
        let status = failure.status();
        if plain {
            let mut response = Response::new(full(format!("{}\n", failure.message).into()));
            *response.status_mut() = status;
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            return Self::Http(response);
        }
        match status {
            StatusCode::NOT_MODIFIED => Self::empty(status),
            _ => Self::json(status, &ErrorBody { message: failure.message.clone() }),
        }
    }

    /// Adds a header.
    pub(crate) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        if let Self::Http(response) = &mut self {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        self
    }

    /// Adds a header whose value is made here.
    pub(crate) fn with_value(mut self, name: HeaderName, value: &str) -> Self {
        if let (Self::Http(response), Ok(value)) = (&mut self, value.try_into()) {
            response.headers_mut().insert(name, value);
        }
        self
    }

    /// Adds the headers of every answer to a path that exists.
    pub(crate) fn with_common_headers(mut self) -> Self {
        if let Self::Http(response) = &mut self {
            for (name, value) in common_headers() {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        self
    }
}

/// The headers of every answer to a path that exists.
pub(crate) fn common_headers() -> [(&'static str, HeaderValue); 4] {
    let version = HeaderValue::try_from(ApiVersion::MAX.to_string()).expect("digits and a dot");
    [
        ("api-version", version),
        ("docker-experimental", HeaderValue::from_static("false")),
        ("ostype", HeaderValue::from_static("linux")),
        ("server", HeaderValue::from_static(SERVER)),
    ]
}

struct StreamBody<S>(Pin<Box<S>>);

impl<S: Stream<Item = Result<Bytes, BodyError>>> hyper::body::Body for StreamBody<S> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.as_mut().poll_next(cx).map(|item| item.map(|bytes| bytes.map(Frame::data)))
    }
}
