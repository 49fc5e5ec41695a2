//! Blobs: given whole or in part, and removed.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::{CONTENT_DIGEST, Call};
use crate::{
    Error,
    auth::Action,
    digest::Digest,
    http::reply::{Answer, Reply, Source},
    name::Name,
    range::{Span, Wanted, wanted},
};

pub(super) async fn get(call: &Call, name: &Name, digest: &Digest) -> Result<Answer, Error> {
    call.allow(name, Action::Pull)?;
    let plain = call.request.method() == http::Method::GET && call.header(header::RANGE).is_none();
    if plain && let Some(passing) = call.registry.passing(name, digest).await? {
        let (parts, ()) = head(digest, passing.size).into_parts();
        return Ok(Answer::Whole(Response::from_parts(parts, passing.into_body())));
    }
    if call.request.method() == http::Method::HEAD
        && let Some(size) = call.registry.size_elsewhere(name, digest).await?
    {
        let (parts, ()) = head(digest, size).into_parts();
        return Ok(Answer::Whole(Response::from_parts(parts, crate::http::reply::full(""))));
    }
    let size = call.registry.blob(name, digest).await?;
    let etag = format!("\"{digest}\"");
    if matches_etag(call.header(header::IF_NONE_MATCH), &etag) {
        return Ok(Reply::empty(StatusCode::NOT_MODIFIED).with(header::ETAG, etag).into());
    }
    let wanted = match call.header(header::RANGE) {
        // A range of something else is not wanted.
        Some(range) if call.header(header::IF_RANGE).is_none_or(|tag| tag == etag) => wanted(range, size),
        _ => Wanted::All,
    };
    let span = match wanted {
        Wanted::All => Span { from: 0, to: size },
        Wanted::Part(span) => span,
        Wanted::Outside => {
            let reply = Reply::error(&Error::Invalid { reason: format!("the blob has {size} bytes") });
            let Answer::Whole(mut response) =
                reply.with(header::CONTENT_RANGE, format!("bytes */{size}")).into()
            else {
                unreachable!("an error is no file")
            };
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            return Ok(Answer::Whole(response));
        }
    };
    let mut head = head(digest, span.len());
    let headers = head.headers_mut();
    if matches!(wanted, Wanted::Part(_)) {
        set(headers, header::CONTENT_RANGE, &format!("bytes {}-{}/{size}", span.from, span.to - 1));
        *head.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    if call.request.method() == http::Method::HEAD {
        if let Some(socket) = call.handover()
            && let Some(ticket) = call.registry.ticket(digest)
        {
            set(head.headers_mut(), http::HeaderName::from_static(skiff_handover::HEADER), &socket);
            set(head.headers_mut(), http::HeaderName::from_static(skiff_handover::TICKET), &ticket);
        }
        let (parts, ()) = head.into_parts();
        return Ok(Answer::Whole(Response::from_parts(parts, crate::http::reply::full(""))));
    }
    if let Some(elsewhere) = call.registry.blob_elsewhere(digest).await? {
        let reply = Reply::empty(StatusCode::TEMPORARY_REDIRECT).with(header::LOCATION, elsewhere);
        return Ok(reply.with(CONTENT_DIGEST, digest.to_string()).into());
    }
    Ok(match call.registry.open_blob(digest, span).await? {
        Source::File(part) => Answer::File(head, part),
        Source::Stream(body) => {
            let (parts, ()) = head.into_parts();
            Answer::Whole(Response::from_parts(parts, body))
        }
    })
}

/// What is said of a blob before so many bytes of it.
fn head(digest: &Digest, length: u64) -> Response<()> {
    let mut head = Response::new(());
    let headers = head.headers_mut();
    set(headers, header::CONTENT_TYPE, "application/octet-stream");
    set(headers, header::CONTENT_LENGTH, &length.to_string());
    set(headers, header::ETAG, &format!("\"{digest}\""));
    set(headers, header::ACCEPT_RANGES, "bytes");
    set(headers, header::CACHE_CONTROL, "max-age=31536000");
    set(headers, CONTENT_DIGEST, &digest.to_string());
    head
}

fn set(headers: &mut HeaderMap, name: http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Whether `If-None-Match` names this entity; weak comparison, as RFC 9110 has it.
pub(super) fn matches_etag(header: Option<&str>, etag: &str) -> bool {
    let Some(header) = header else { return false };
    header.split(',').map(str::trim).any(|tag| {
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        // Docker's registry takes digests without quotation marks.
        tag == "*" || tag == etag || tag == etag.trim_matches('"')
    })
}

pub(super) async fn delete(call: &Call, name: &Name, digest: &Digest) -> Result<Answer, Error> {
    call.allow(name, Action::Delete)?;
    call.registry.clone().delete_blob(&call.caller, name, digest).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED).with(CONTENT_DIGEST, digest.to_string()).into())
}
