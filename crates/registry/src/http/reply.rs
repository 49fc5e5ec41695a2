//! Answers: bodies, error documents, files.

use std::{convert::Infallible, fs::File, os::unix::fs::FileExt, sync::Arc};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use serde::Serialize;
use serde_json::{Value, json};
use skiff_types::ErrorKind;

use crate::{Error, range::Span};

pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Body = UnsyncBoxBody<Bytes, BodyError>;

/// What a route answers with.
pub(crate) enum Answer {
    /// Everything goes through hyper.
    Whole(Response<Body>),
    /// The head, then bytes of a file. The head has the length.
    File(Response<()>, Part),
}

/// Bytes of a file.
pub(crate) struct Part {
    pub(crate) file: File,
    pub(crate) span: Span,
}

/// Bytes of a blob.
pub(crate) enum Source {
    /// In a file.
    File(Part),
    /// As they come from somewhere else.
    Stream(Body),
}

impl Source {
    /// The bytes as a body, which is cut off if not all of them can be had.
    pub(crate) fn into_body(self) -> Body {
        match self {
            Self::File(part) => part.into_body(),
            Self::Stream(body) => body,
        }
    }
}

/// Bytes that are read at once.
const PIECE: u64 = 256 << 10;

impl Part {
    /// The bytes as a body. A file that is too short cuts the answer off.
    pub(super) fn into_body(self) -> Body {
        let file = Arc::new(self.file);
        let pieces = stream::try_unfold(self.span, move |span| {
            let file = file.clone();
            async move {
                if span.from == span.to {
                    return Ok::<_, BodyError>(None);
                }
                let n = span.len().min(PIECE);
                let piece = tokio::task::spawn_blocking(move || {
                    let mut piece = vec![0; n as usize];
                    file.read_exact_at(&mut piece, span.from).map(|()| Bytes::from(piece))
                });
                let piece = piece.await??;
                Ok(Some((Frame::data(piece), Span { from: span.from + n, to: span.to })))
            }
        });
        StreamBody::new(Box::pin(pieces)).boxed_unsync()
    }
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// A response under construction.
pub(crate) struct Reply(Response<Body>);

impl Reply {
    /// A status without a body.
    pub(crate) fn empty(status: StatusCode) -> Self {
        let mut response = Response::new(full(Bytes::new()));
        *response.status_mut() = status;
        Self(response)
    }

    /// A status and a body of this type.
    pub(crate) fn bytes(status: StatusCode, content_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        let mut response = Response::new(full(bytes));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self(response)
    }

    /// 200 and JSON.
    pub(crate) fn json(value: &impl Serialize) -> Self {
        Self::json_with(StatusCode::OK, value)
    }

    /// A status and JSON.
    pub(crate) fn json_with(status: StatusCode, value: &impl Serialize) -> Self {
        let text = serde_json::to_vec(value).expect("wire types have string keys only");
        Self::bytes(status, "application/json", text)
    }

    /// Adds a header. Values are made of digests, names and numbers; one that cannot be a header is left out.
    pub(crate) fn with(mut self, name: HeaderName, value: impl AsRef<str>) -> Self {
        if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
            self.0.headers_mut().append(name, value);
        }
        self
    }

    /// The error document of the specification.
    pub(crate) fn error(error: &Error) -> Self {
        let body =
            json!({ "errors": [{ "code": error.code(), "message": error.told(), "detail": detail(error) }] });
        let reply = Self::json_with(status(error), &body);
        match error {
            Error::Unauthorized { challenge } => reply.with(header::WWW_AUTHENTICATE, challenge),
            Error::RangeInvalid { held, location } => {
                reply.with(header::RANGE, held_range(*held)).with(header::LOCATION, location)
            }
            Error::TooMany { .. } => reply.with(header::RETRY_AFTER, "5"),
            _ => reply,
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.0.status()
    }

    pub(crate) fn into_answer(self) -> Answer {
        Answer::Whole(self.0)
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        reply.into_answer()
    }
}

/// The `Range` of an upload that holds this many bytes, as docker's registry writes it.
pub(crate) fn held_range(held: u64) -> String {
    format!("0-{}", held.saturating_sub(1))
}

fn status(error: &Error) -> StatusCode {
    match error {
        Error::RangeInvalid { .. } => return StatusCode::RANGE_NOT_SATISFIABLE,
        Error::ManifestTooLarge { .. } => return StatusCode::PAYLOAD_TOO_LARGE,
        Error::TooMany { .. } => return StatusCode::TOO_MANY_REQUESTS,
        Error::Upstream { .. } => return StatusCode::BAD_GATEWAY,
        _ => {}
    }
    match error.kind() {
        ErrorKind::InvalidArgument | ErrorKind::Cancelled => StatusCode::BAD_REQUEST,
        ErrorKind::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::NotModified => StatusCode::NOT_MODIFIED,
        // What the specification answers to a method that is switched off.
        ErrorKind::NotImplemented => StatusCode::METHOD_NOT_ALLOWED,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::OutOfSpace => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn detail(error: &Error) -> Value {
    match error {
        Error::BlobUnknown { digest } => json!({ "digest": digest }),
        Error::ManifestBlobUnknown { digests } => json!({ "digests": digests }),
        Error::ManifestUnknown { name, reference } => {
            json!({ "name": name.as_str(), "reference": reference })
        }
        Error::NameUnknown { name } => json!({ "name": name.as_str() }),
        Error::NameInvalid { name } => json!({ "name": name }),
        _ => Value::Null,
    }
}
