//! Requests and answers.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::stream;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::mpsc,
};

use crate::{Error, Query, connect::OutgoingBody};

/// What a request carries.
pub enum Body {
    /// Nothing.
    Empty,
    /// JSON.
    Json(Vec<u8>),
    /// A stream of bytes, usually a tar archive.
    Stream(Box<dyn AsyncRead + Send + Unpin>),
    /// The same in pieces, which go out as they are. An error cuts it short.
    Pieces(mpsc::Receiver<io::Result<Bytes>>),
}

impl Body {
    /// `value` as JSON.
    ///
    /// # Panics
    /// If `value` cannot be written as JSON (a map whose keys are not strings).
    pub fn json(value: &impl Serialize) -> Self {
        Self::Json(serde_json::to_vec(value).expect("a request is JSON"))
    }

    pub(crate) fn content_type(&self) -> Option<&'static str> {
        match self {
            Self::Empty => None,
            Self::Json(_) => Some("application/json"),
            Self::Stream(_) | Self::Pieces(_) => Some("application/x-tar"),
        }
    }

    pub(crate) fn into_outgoing(self) -> OutgoingBody {
        match self {
            Self::Empty => Empty::new().map_err(|never| match never {}).boxed_unsync(),
            Self::Json(bytes) => Full::from(bytes).map_err(|never| match never {}).boxed_unsync(),
            Self::Pieces(pieces) => {
                let frames = stream::unfold(pieces, |mut pieces| async move {
                    let piece = pieces.recv().await?;
                    Some((piece.map(Frame::data), pieces))
                });
                StreamBody::new(frames).boxed_unsync()
            }
            Self::Stream(reader) => {
                let frames = stream::try_unfold(reader, |mut reader| async move {
                    let mut chunk = BytesMut::with_capacity(1 << 20);
                    let n = reader.read_buf(&mut chunk).await?;
                    Ok::<_, io::Error>((n > 0).then(|| (Frame::data(chunk.freeze()), reader)))
                });
                StreamBody::new(frames).boxed_unsync()
            }
        }
    }
}

/// One request; its path has no version.
pub struct Request {
    pub(crate) method: http::Method,
    pub(crate) path: String,
    pub(crate) query: Query,
    pub(crate) body: Body,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Request {
    /// A request with an empty body.
    pub fn new(method: http::Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), query: Query::new(), body: Body::Empty, headers: Vec::new() }
    }

    /// A GET request.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(http::Method::GET, path)
    }

    /// A POST request.
    pub fn post(path: impl Into<String>) -> Self {
        Self::new(http::Method::POST, path)
    }

    /// With this query.
    #[must_use]
    pub fn query(mut self, query: Query) -> Self {
        self.query = query;
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn operation(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// A successful answer whose body has not been read.
#[derive(Debug)]
pub struct Response {
    pub(crate) operation: String,
    pub(crate) inner: http::Response<Incoming>,
}

impl Response {
    /// HTTP status, below 400.
    pub fn status(&self) -> u16 {
        self.inner.status().as_u16()
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.inner.headers().get(name)?.to_str().ok()
    }

    /// The next bytes of the body; `None` at its end.
    ///
    /// # Errors
    /// A connection that breaks before the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        while let Some(frame) = self.inner.frame().await {
            let frame = frame.map_err(|e| self.broken(e))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// The whole body.
    ///
    /// # Errors
    /// As [`Self::chunk`].
    pub async fn bytes(&mut self) -> Result<Bytes, Error> {
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        let Some(second) = self.chunk().await? else { return Ok(first) };
        let mut all = BytesMut::from(first);
        all.extend_from_slice(&second);
        while let Some(more) = self.chunk().await? {
            all.extend_from_slice(&more);
        }
        Ok(all.freeze())
    }

    /// The whole body as JSON.
    ///
    /// # Errors
    /// A broken connection, or another shape of JSON.
    pub async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).map_err(|e| self.undecodable(e))
    }

    /// The body as a sequence of JSON values, each as soon as it is complete.
    pub fn json_lines(self) -> JsonLines {
        JsonLines { response: self, buffer: BytesMut::new(), done: false }
    }

    fn broken(&self, source: hyper::Error) -> Error {
        Error::Connection { operation: self.operation.clone(), source }
    }

    fn undecodable(&self, source: serde_json::Error) -> Error {
        Error::Decode { operation: self.operation.clone(), source }
    }
}

/// JSON values that arrive one after another: progress, events.
#[derive(Debug)]
pub struct JsonLines {
    response: Response,
    buffer: BytesMut,
    done: bool,
}

impl JsonLines {
    /// The next value; `None` when the engine has ended the stream.
    ///
    /// # Errors
    /// A broken connection, or another shape of JSON.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        loop {
            let mut values = serde_json::Deserializer::from_slice(&self.buffer).into_iter::<T>();
            match values.next() {
                Some(Ok(value)) => {
                    let used = values.byte_offset();
                    self.buffer.advance(used);
                    return Ok(Some(value));
                }
                Some(Err(error)) if !error.is_eof() || self.done => {
                    return Err(self.response.undecodable(error));
                }
                None if self.done => return Ok(None),
                _ => {}
            }
            match self.response.chunk().await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => self.done = true,
            }
        }
    }
}
