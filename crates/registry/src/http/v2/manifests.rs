//! Manifests: given, stored, removed.

use http::{HeaderName, Method, StatusCode, header};

use super::{CONTENT_DIGEST, Call, blobs::matches_etag};
use crate::{
    Error,
    auth::Action,
    http::{
        receive,
        reply::{Answer, Reply},
    },
    manifest::MAX_MANIFEST,
    name::{Name, Reference},
};

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

pub(super) async fn get(call: &Call, name: &Name, reference: &Reference) -> Result<Answer, Error> {
    call.allow(name, Action::Pull)?;
    let head = call.request.method() == Method::HEAD;
    let (found, bytes) = call.registry.clone().get_manifest(name, reference, !head).await?;
    let etag = format!("\"{}\"", found.digest);
    if matches_etag(call.header(header::IF_NONE_MATCH), &etag) {
        return Ok(Reply::empty(StatusCode::NOT_MODIFIED).with(header::ETAG, etag).into());
    }
    let reply = Reply::bytes(StatusCode::OK, found.media_type.as_str(), bytes);
    let reply = if head { reply.with(header::CONTENT_LENGTH, found.size.to_string()) } else { reply };
    Ok(reply.with(header::ETAG, etag).with(CONTENT_DIGEST, found.digest.to_string()).into())
}

pub(super) async fn put(call: Call, name: Name, reference: Reference) -> Result<Answer, Error> {
    call.allow(&name, Action::Push)?;
    if call.content_length().is_some_and(|length| length > MAX_MANIFEST as u64) {
        return Err(Error::ManifestTooLarge { limit: MAX_MANIFEST });
    }
    let content_type = call.header(header::CONTENT_TYPE).map(str::to_owned);
    let Call { registry, caller, request, .. } = call;
    let body = receive::whole(&mut request.into_body(), MAX_MANIFEST).await?;
    let body = body.ok_or(Error::ManifestTooLarge { limit: MAX_MANIFEST })?;
    let location = format!("/v2/{name}/manifests/");
    let stored = registry.put_manifest(caller, name, reference, body, content_type).await?;
    let reply = Reply::empty(StatusCode::CREATED)
        .with(header::LOCATION, format!("{location}{}", stored.digest))
        .with(CONTENT_DIGEST, stored.digest.to_string());
    Ok(match stored.subject {
        Some(subject) => reply.with(SUBJECT, subject.to_string()),
        None => reply,
    }
    .into())
}

pub(super) async fn delete(call: &Call, name: &Name, reference: &Reference) -> Result<Answer, Error> {
    call.allow(name, Action::Delete)?;
    call.registry.clone().delete_manifest(&call.caller, name, reference).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED).into())
}
