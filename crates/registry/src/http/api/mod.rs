//! The administrators' JSON API, `/api/v1/…`: accounts, projects, robots. `skiff registry …` speaks it through the
//! operator's socket; over TCP it wants the password of an administrator.

mod projects;
mod system;
mod users;

use std::sync::Arc;

use http::{Method, Request, StatusCode, header};
use serde::de::DeserializeOwned;

use super::{
    query::{Query, decode},
    receive::{self, Content},
    reply::{Answer, Reply},
    route::{self, Peer},
};
use crate::{Error, Registry, auth::Caller};

/// Bytes of the longest body.
const MAX_BODY: usize = 256 << 10;

/// Everything a route needs.
struct Call {
    registry: Arc<Registry>,
    caller: Caller,
    method: Method,
    query: Query,
    body: Vec<u8>,
}

impl Call {
    fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| Error::Invalid { reason: error.to_string() })
    }
}

/// Answers a request below `/api/v1/`.
pub(super) async fn answer(registry: &Arc<Registry>, peer: &Peer, request: Request<Content>) -> Answer {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let reply = dispatch(registry.clone(), peer, request).await.unwrap_or_else(|error| {
        route::log(&error, &method, &path);
        Reply::error(&error)
    });
    reply.with(header::CACHE_CONTROL, "no-store").with(header::X_CONTENT_TYPE_OPTIONS, "nosniff").into()
}

async fn dispatch(registry: Arc<Registry>, peer: &Peer, request: Request<Content>) -> Result<Reply, Error> {
    let caller = registry.identify(peer, request.headers()).await?;
    registry.enter(&caller)?;
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let path = request.uri().path().trim_start_matches("/api/v1/").to_owned();
    let method = request.method().clone();
    // A form of another site could send anything but this type.
    let json = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if method != Method::GET && !json {
        return Err(Error::Invalid { reason: "the Content-Type must be application/json".into() });
    }
    let body = receive::whole(&mut request.into_body(), MAX_BODY).await?;
    let body = body.ok_or_else(|| Error::Invalid { reason: "the body is too long".into() })?.to_vec();
    let call = Call { registry, caller, method, query, body };
    let parts: Vec<String> = path.split('/').map(|part| decode(part, false)).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["users", rest @ ..] => users::answer(&call, rest).await,
        ["projects", rest @ ..] => projects::answer(&call, rest).await,
        ["gc" | "audit" | "storage"] => system::answer(&call, &path).await,
        _ => Err(Error::NotFound { what: "page", name: path }),
    }
}

/// 204.
fn done() -> Reply {
    Reply::empty(StatusCode::NO_CONTENT)
}
