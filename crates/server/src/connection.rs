//! One connection: requests one after the other until the client leaves or an attached stream takes it over.
//!
//! hyper gives connections away only to requests with an `Upgrade` header. Docker's protocol also takes one over after
//! a plain `POST`, so both ways are ours: the route hands its plan to [`serve`], which takes hyper apart (keeping what
//! it has read ahead) and writes the head of the answer itself.

use std::{
    convert::Infallible,
    io,
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    task::{Context as Task, Poll},
};

use http::{Response, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    sync::mpsc,
};
use tracing::{debug, error};

use crate::{
    body::RequestBody,
    failure::Failure,
    hijack::{self, Hijack},
    reply::{Body, Reply},
    request::{Context, Path, Request, decode_path, negotiate, split_version},
    request_line::RequestLine,
    routes,
};

/// A client's connection.
#[derive(Debug)]
pub enum Socket {
    /// A Unix stream.
    Unix(UnixStream),
    /// TCP.
    Tcp(TcpStream),
    /// TCP with TLS.
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

/// Answers the requests of one connection; returns when it is closed. Dropping the future closes it.
pub async fn serve(context: Context, socket: Socket) {
    let (hand_over, mut handed_over) = mpsc::channel::<Hijack>(1);
    let service = service_fn(move |request| answer(context.clone(), request, hand_over.clone()));
    // Go writes header names so, and people search for them.
    let mut connection = http1::Builder::new()
        .title_case_headers(true)
        .serve_connection(TokioIo::new(RequestLine::new(socket)), service);
    let hijack = tokio::select! {
        biased;
        hijack = handed_over.recv() => hijack,
        result = Pin::new(&mut connection) => {
            if let Err(error) = result {
                debug!(%error, "connection ended");
            }
            return;
        }
    };
    if let Some(hijack) = hijack {
        let parts = connection.into_parts();
        let (socket, ahead) = parts.io.into_inner().into_parts();
        let read = [parts.read_buf, ahead.freeze()].concat();
        hijack::run(hijack, socket, read.into()).await;
    }
}

async fn answer(
    context: Context,
    request: http::Request<Incoming>,
    hand_over: mpsc::Sender<Hijack>,
) -> Result<Response<Body>, Infallible> {
    context.activity.note();
    match route(context, request.map(RequestBody::new)).await {
        Reply::Http(response) => Ok(response),
        Reply::Hijack(hijack) => {
            // `serve` drops this future with the connection's HTTP half.
            let _ = hand_over.send(hijack).await;
            std::future::pending().await
        }
    }
}

async fn route(context: Context, request: http::Request<RequestBody>) -> Reply {
    let uri = request.uri().clone();
    let Path { version: text, rest } = split_version(uri.path());
    if let Some(location) = cleaned(&uri) {
        return routes::moved(&location);
    }
    if !routes::known(request.method().as_str(), rest) {
        return Reply::failure(&Failure::page_not_found(), false);
    }
    let method = request.method().clone();
    let version = negotiate(text);
    let old = version.is_err() && text.is_some_and(|v| matches!(v.split('.').next(), Some("0" | "1")));
    let outcome = async {
        let (version, path) = (version?, decode_path(rest)?);
        routes::dispatch(context, Request::new(request, version, path)?).await
    };
    match outcome.await {
        Ok(reply) => reply.with_common_headers(),
        Err(failure) => {
            if failure.status() == StatusCode::INTERNAL_SERVER_ERROR {
                error!(%method, path = uri.path(), error = failure.message, "request failed");
            }
            let plain = old && failure.message.contains("too old");
            Reply::failure(&failure, plain).with_common_headers()
        }
    }
}

/// Where a path with doubled slashes, `.` or `..` should have gone.
fn cleaned(uri: &http::Uri) -> Option<String> {
    let path = uri.path();
    let mut parts: Vec<&str> = Vec::new();
    let mut clean = true;
    let all: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    for (i, part) in all.iter().enumerate() {
        match *part {
            // A slash at the end stays.
            "" if i + 1 == all.len() => continue,
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => {
                parts.push(part);
                continue;
            }
        }
        clean = false;
    }
    if clean {
        return None;
    }
    let mut location = format!("/{}", parts.join("/"));
    if path.ends_with('/') && !parts.is_empty() {
        location.push('/');
    }
    location.retain(|c| c.is_ascii_graphic());
    if let Some(query) = uri.query() {
        location.push('?');
        location.push_str(query);
    }
    Some(location)
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(stream) => stream.as_fd(),
            Self::Tcp(stream) => stream.as_fd(),
            Self::Tls(stream) => stream.get_ref().0.as_fd(),
        }
    }
}

macro_rules! delegate {
    ($self:ident, $method:ident($($argument:expr),*)) => {
        match $self.get_mut() {
            Socket::Unix(stream) => Pin::new(stream).$method($($argument),*),
            Socket::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            Socket::Tls(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Task<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Task<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Task<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Unix(stream) => stream.is_write_vectored(),
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
