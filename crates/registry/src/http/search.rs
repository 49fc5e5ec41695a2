//! `/v1/search`: what `docker search HOST/TERM` asks, the only part of the first protocol that is still in use.

use std::sync::Arc;

use http::{HeaderName, Method, Request};
use serde_json::{Value, json};

use super::{
    query::Query,
    receive::Content,
    reply::{Answer, Reply},
    route::{self, Peer},
};
use crate::{Error, Registry, name::Name};

/// Results when the client names no number, as at Docker's index.
const USUAL: usize = 25;
/// The most.
const MOST: usize = 100;
/// That nobody else answers for this registry.
const STANDALONE: HeaderName = HeaderName::from_static("x-docker-registry-standalone");

pub(super) async fn answer(registry: &Arc<Registry>, peer: &Peer, request: Request<Content>) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return route::wrong_method("GET, HEAD").into();
    }
    if request.uri().path() == "/v1/_ping" {
        return Reply::json(&true).with(STANDALONE, "true").into();
    }
    let found = search(registry, peer, &request).await.unwrap_or_else(|error| {
        route::log(&error, request.method(), request.uri().path());
        Reply::error(&error)
    });
    found.into()
}

async fn search(registry: &Registry, peer: &Peer, request: &Request<Content>) -> Result<Reply, Error> {
    let caller = registry.identify(peer, request.headers()).await?;
    registry.enter(&caller)?;
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let wanted = query.get("q").unwrap_or_default();
    let n = match query.get("n") {
        None => USUAL,
        Some(n) => n.parse::<usize>().map_err(|_| Error::PageInvalid)?.clamp(1, MOST),
    };
    let (names, _) = registry.catalog.repositories("", n, registry.found(&caller, wanted));
    let result = |name: &Name| json!({ "name": name.as_str(), "description": "", "star_count": 0, "is_official": false, "is_automated": false });
    let results: Vec<Value> = names.iter().map(result).collect();
    Ok(Reply::json(&json!({
        "query": wanted,
        "num_results": results.len(),
        "num_pages": 1,
        "page": 1,
        "page_size": n,
        "results": results,
    })))
}
