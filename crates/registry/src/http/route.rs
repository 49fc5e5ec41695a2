//! Which part of the registry a request is for.

use std::{net::SocketAddr, sync::Arc};

use http::{HeaderMap, Method, Request, StatusCode, header};

use super::{
    api, pages,
    receive::Content,
    reply::{Answer, Reply},
    search, token, v2,
};
use crate::{Error, Registry};

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// None for the operator's socket.
    pub(crate) address: Option<SocketAddr>,
    /// Whether the connection is TLS.
    pub(crate) secure: bool,
    /// Whether the connection comes from this machine, as far as its addresses tell.
    pub(crate) local: bool,
}

impl Peer {
    /// Where the client believes to be, to build addresses from: what a proxy in front says counts.
    pub(crate) fn base(&self, headers: &HeaderMap) -> String {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let secure = text("x-forwarded-proto").map_or(self.secure, |proto| proto == "https");
        let good = |host: &&str| {
            !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".:-[]_".contains(&b))
        };
        let host = text("x-forwarded-host").filter(good).or_else(|| text(header::HOST.as_str()).filter(good));
        format!("{}://{}", if secure { "https" } else { "http" }, host.unwrap_or("localhost"))
    }
}

/// A request that may change something, as those hear of it who are told of the change.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) agent: Option<String>,
}

impl Asked {
    /// None for a request that only looks.
    pub(crate) fn read(peer: &Peer, method: &Method, headers: &HeaderMap) -> Option<Arc<Self>> {
        if method.is_safe() {
            return None;
        }
        let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Some(Arc::new(Self { method: method.clone(), address: peer.address, agent }))
    }
}

/// Answers one request.
pub(super) async fn answer(registry: &Arc<Registry>, peer: &Peer, request: Request<Content>) -> Answer {
    let path = request.uri().path();
    if path == "/v2" || path.starts_with("/v2/") {
        return v2::answer(registry, peer, request).await;
    }
    if path == "/auth/token" {
        return token::answer(registry, peer, request).await;
    }
    if path.starts_with("/api/v1/") {
        return api::answer(registry, peer, request).await;
    }
    if path == "/v1/search" || path == "/v1/_ping" {
        return search::answer(registry, peer, request).await;
    }
    if path == "/healthz" {
        return Reply::empty(StatusCode::OK).into();
    }
    if path == "/" || path == "/ui" || path.starts_with("/ui/") {
        return pages::answer(registry, peer, request).await;
    }
    let unknown = Error::NotFound { what: "page", name: path.to_owned() };
    Reply::error(&unknown).with(header::X_CONTENT_TYPE_OPTIONS, "nosniff").into()
}

/// Writes a fault of ours to the log; everything else is the client's business.
pub(crate) fn log(error: &Error, method: &Method, path: &str) {
    use skiff_types::ErrorKind;
    let ours = matches!(error.kind(), ErrorKind::Internal | ErrorKind::OutOfSpace);
    if ours || matches!(error, Error::Storage { .. }) {
        tracing::error!(%method, path, %error, "request failed");
    } else {
        tracing::debug!(%method, path, %error, "request refused");
    }
}

/// 405, with what would have been allowed.
pub(crate) fn wrong_method(allowed: &str) -> Reply {
    let error = Error::Unsupported { reason: format!("use one of {allowed}") };
    Reply::error(&error).with(header::ALLOW, allowed)
}
