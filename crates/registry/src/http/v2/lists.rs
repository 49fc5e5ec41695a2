//! Lists: repositories, tags, referrers.

use http::{HeaderName, StatusCode, header};
use serde_json::{Value, json};

use super::Call;
use crate::{
    Error,
    auth::Action,
    catalog::Referrer,
    digest::Digest,
    http::{
        query::encode,
        reply::{Answer, Reply},
    },
    manifest::MediaType,
    name::Name,
};

const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");

/// Names in one answer when the client names no number.
const PAGE: usize = 10_000;

/// How many are wanted.
fn wanted(call: &Call) -> Result<usize, Error> {
    match call.query.get("n") {
        None => Ok(PAGE),
        Some(n) => n.parse::<u32>().map(|n| n as usize).map_err(|_| Error::PageInvalid),
    }
}

fn page(call: &Call, value: &Value, last: Option<&str>, more: bool, n: usize) -> Answer {
    let reply = Reply::json(value);
    match last {
        Some(last) if more => {
            let path = call.request.uri().path();
            reply.with(header::LINK, format!("<{path}?n={n}&last={}>; rel=\"next\"", encode(last)))
        }
        _ => reply,
    }
    .into()
}

pub(super) fn catalog(call: &Call) -> Result<Answer, Error> {
    call.registry.enter(&call.caller)?;
    let n = wanted(call)?;
    let visible = call.registry.visible(&call.caller);
    let (names, more) =
        call.registry.catalog.repositories(call.query.get("last").unwrap_or_default(), n, visible);
    let list: Vec<&str> = names.iter().map(Name::as_str).collect();
    Ok(page(call, &json!({ "repositories": list }), list.last().copied(), more, n))
}

/// A list of the registry that this one is a cache of, as it is.
async fn elsewhere(
    call: &Call,
    name: &Name,
    which: &str,
    kind: &'static str,
) -> Result<Option<Reply>, Error> {
    let uri = call.request.uri();
    let Some(list) = call.registry.list_elsewhere(name, which, uri.query()).await? else { return Ok(None) };
    let mut reply = Reply::bytes(StatusCode::OK, kind, list.bytes);
    if let Some(query) = list.next {
        reply = reply.with(header::LINK, format!("<{}?{query}>; rel=\"next\"", uri.path()));
    }
    if let Some(filters) = list.filters {
        reply = reply.with(FILTERS, filters);
    }
    Ok(Some(reply))
}

pub(super) async fn tags(call: &Call, name: &Name) -> Result<Answer, Error> {
    call.allow(name, Action::Pull)?;
    let n = wanted(call)?;
    if let Some(reply) = elsewhere(call, name, "tags/list", "application/json").await? {
        return Ok(reply.into());
    }
    let (tags, more) = call.registry.catalog.tags(name, call.query.get("last").unwrap_or_default(), n)?;
    let list: Vec<&str> = tags.iter().map(crate::name::Tag::as_str).collect();
    Ok(page(call, &json!({ "name": name.as_str(), "tags": list }), list.last().copied(), more, n))
}

pub(super) async fn referrers(call: &Call, name: &Name, digest: &Digest) -> Result<Answer, Error> {
    call.allow(name, Action::Pull)?;
    let which = format!("referrers/{digest}");
    if let Some(reply) = elsewhere(call, name, &which, MediaType::OciIndex.as_str()).await? {
        return Ok(reply.into());
    }
    let wanted = call.query.get("artifactType");
    let all = call.registry.catalog.referrers(name, digest);
    let picked =
        all.iter().filter(|r| wanted.is_none_or(|wanted| r.artifact_type.as_deref() == Some(wanted)));
    let manifests: Vec<Value> = picked.map(descriptor).collect();
    let index = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OciIndex.as_str(),
        "manifests": manifests,
    });
    let reply = Reply::bytes(StatusCode::OK, MediaType::OciIndex.as_str(), index.to_string());
    Ok(match wanted {
        Some(_) => reply.with(FILTERS, "artifactType"),
        None => reply,
    }
    .into())
}

fn descriptor(referrer: &Referrer) -> Value {
    let mut descriptor = json!({
        "mediaType": referrer.found.media_type.as_str(),
        "digest": referrer.found.digest,
        "size": referrer.found.size,
    });
    if let Some(kind) = &referrer.artifact_type {
        descriptor["artifactType"] = json!(kind);
    }
    if !referrer.annotations.is_empty() {
        descriptor["annotations"] = json!(referrer.annotations);
    }
    descriptor
}
