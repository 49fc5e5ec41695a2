//! Uploads: begun, continued in chunks, finished, asked about, given up; and blobs mounted from other repositories.

use http::{HeaderName, StatusCode, header};

use super::{CONTENT_DIGEST, Call};
use crate::{
    Error,
    auth::Action,
    content::{UploadId, Writing},
    digest::{Algorithm, Digest},
    http::{
        receive,
        reply::{Answer, Reply, held_range},
    },
    name::Name,
    range,
};

const HANDOVER: HeaderName = HeaderName::from_static(skiff_handover::HEADER);
const UPLOAD: HeaderName = HeaderName::from_static("docker-upload-uuid");

fn location(name: &Name, id: &UploadId) -> String {
    format!("/v2/{name}/blobs/uploads/{id}")
}

fn under_way(status: StatusCode, name: &Name, id: &UploadId, held: u64) -> Reply {
    Reply::empty(status)
        .with(header::LOCATION, location(name, id))
        .with(header::RANGE, held_range(held))
        .with(UPLOAD, id.to_string())
}

fn created(name: &Name, digest: &Digest) -> Answer {
    Reply::empty(StatusCode::CREATED)
        .with(header::LOCATION, format!("/v2/{name}/blobs/{digest}"))
        .with(CONTENT_DIGEST, digest.to_string())
        .into()
}

/// `POST`: mounts, takes the whole blob at once, or begins.
pub(super) async fn begin(call: Call, name: Name) -> Result<Answer, Error> {
    call.allow(&name, Action::Push)?;
    if let Some(mount) = call.query.get("mount") {
        let digest: Digest = mount.parse()?;
        if let Some(from) = call.query.get("from").and_then(|from| from.parse::<Name>().ok()) {
            // Who may not read there is told nothing about it: the client uploads instead.
            let readable = call.allow(&from, Action::Pull).is_ok();
            if readable && call.registry.clone().mount(&from, &name, &digest).await? {
                return Ok(created(&name, &digest));
            }
        }
    }
    let digest = call.query.get("digest").map(str::parse::<Digest>).transpose()?;
    let algorithm = match call.query.get("digest-algorithm") {
        Some("sha512") => Algorithm::Sha512,
        _ => digest.as_ref().map_or(Algorithm::Sha256, Digest::algorithm),
    };
    call.registry.room(&name, digest.as_ref(), call.content_length().unwrap_or(0))?;
    let id = call.registry.begin_upload(&name, algorithm).await?;
    match digest {
        None => {
            let reply = under_way(StatusCode::ACCEPTED, &name, &id, 0);
            Ok(match call.handover() {
                Some(socket) => reply.with(HANDOVER, socket),
                None => reply,
            }
            .into())
        }
        Some(digest) => complete(call, name, id, digest).await,
    }
}

/// `GET`: how far it is.
pub(super) fn status(call: &Call, name: &Name, id: &UploadId) -> Result<Answer, Error> {
    call.allow(name, Action::Push)?;
    let held = call.registry.uploads.size(name, id)?;
    Ok(under_way(StatusCode::NO_CONTENT, name, id, held).into())
}

/// `DELETE`.
pub(super) fn cancel(call: &Call, name: &Name, id: &UploadId) -> Result<Answer, Error> {
    call.allow(name, Action::Push)?;
    call.registry.uploads.cancel(name, id)?;
    Ok(Reply::empty(StatusCode::NO_CONTENT).into())
}

/// `PATCH`: the next chunk, or all that is to come.
pub(super) async fn chunk(call: Call, name: Name, id: UploadId) -> Result<Answer, Error> {
    call.allow(&name, Action::Push)?;
    let writing = append(call, &name, &id, None).await?;
    let held = writing.offset();
    writing.pause();
    Ok(under_way(StatusCode::ACCEPTED, &name, &id, held).into())
}

/// `PUT`: perhaps the last chunk, and the digest of all.
pub(super) async fn finish(call: Call, name: Name, id: UploadId) -> Result<Answer, Error> {
    call.allow(&name, Action::Push)?;
    let digest = call.query.get("digest");
    let digest =
        digest.ok_or_else(|| Error::DigestInvalid { reason: "the query has no digest".into() })?.parse()?;
    complete(call, name, id, digest).await
}

async fn complete(call: Call, name: Name, id: UploadId, digest: Digest) -> Result<Answer, Error> {
    let registry = call.registry.clone();
    let writing = append(call, &name, &id, Some(digest.algorithm())).await?;
    registry.finish_upload(name.clone(), writing, digest.clone()).await?;
    Ok(created(&name, &digest))
}

/// Appends the body, if it belongs where the upload is. What has arrived of one that ends early stays, to be continued.
async fn append(
    call: Call,
    name: &Name,
    id: &UploadId,
    algorithm: Option<Algorithm>,
) -> Result<Writing, Error> {
    let range = call.header(header::CONTENT_RANGE).map(|text| {
        range::chunk(text)
            .ok_or_else(|| Error::UploadInvalid { reason: format!("invalid Content-Range {text:?}") })
    });
    let (range, length) = (range.transpose()?, call.content_length());
    let writing = call.registry.open_upload(name, id, algorithm).await?;
    let held = writing.offset();
    if let Some(span) = range {
        if span.from != held {
            writing.pause();
            return Err(Error::RangeInvalid { held, location: location(name, id) });
        }
        if length.is_some_and(|length| length != span.len()) {
            writing.pause();
            return Err(Error::UploadInvalid { reason: "Content-Range and Content-Length disagree".into() });
        }
    }
    let registry = call.registry.clone();
    if let Err(error) = registry.room(name, None, length.unwrap_or(0)) {
        registry.give_up(writing).await?;
        return Err(error);
    }
    let allowance = registry.allowance(name);
    let (mut body, most) = (call.request.into_body(), range.map_or(u64::MAX, |span| span.len()));
    let (writing, appended) = receive::append(&mut body, writing, &allowance, most).await;
    match (writing, appended) {
        (Some(writing), Ok(())) => Ok(writing),
        (Some(writing), Err(error @ Error::QuotaExceeded { .. })) => {
            registry.give_up(writing).await?;
            Err(error)
        }
        (writing, error) => {
            if let Some(writing) = writing {
                writing.pause();
            }
            Err(error.err().unwrap_or(Error::Cut))
        }
    }
}
