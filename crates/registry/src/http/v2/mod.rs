//! The distribution specification 1.1, and what docker's registry adds (`_catalog`, `Docker-…` headers).

mod blobs;
mod lists;
mod manifests;
mod uploads;

use std::sync::Arc;

use http::{HeaderName, Method, Request, header};

use super::{
    query::{Query, decode},
    receive::Content,
    reply::{Answer, Reply},
    route::{self, Asked, Peer},
};
use crate::{
    Error, Registry,
    auth::{Action, Caller},
    content::UploadId,
    digest::Digest,
    name::{Name, Reference},
};

/// The digest of what was asked for or stored.
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// What a path names.
#[derive(Debug, PartialEq)]
enum Target {
    Base,
    Catalog,
    Manifest(Name, Reference),
    Blob(Name, Digest),
    NewUpload(Name),
    Upload(Name, UploadId),
    Tags(Name),
    Referrers(Name, Digest),
}

/// Everything a route needs.
struct Call {
    registry: Arc<Registry>,
    caller: Caller,
    request: Request<Content>,
    query: Query,
    /// The client is on this machine.
    local: bool,
}

impl Call {
    /// Where the client may hand over files, if it asks and can.
    fn handover(&self) -> Option<String> {
        let asked = self.local && self.request.headers().contains_key(skiff_handover::HEADER);
        self.registry.handover_socket().filter(|_| asked)?.into_os_string().into_string().ok()
    }

    fn header(&self, name: HeaderName) -> Option<&str> {
        self.request.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// Refuses who may not.
    fn allow(&self, name: &Name, action: Action) -> Result<(), Error> {
        self.registry.allow(&self.caller, name, action)
    }

    /// Bytes that the body says it has.
    fn content_length(&self) -> Option<u64> {
        self.header(header::CONTENT_LENGTH).and_then(|text| text.parse().ok())
    }
}

/// Reads the path below `/v2/`. Names may hold anything that looks like a part of it, so it is read from its end.
fn target(path: &str) -> Result<Option<Target>, Error> {
    let Some(rest) = path.strip_prefix("/v2/") else { return Ok(Some(Target::Base)) };
    if rest.is_empty() {
        return Ok(Some(Target::Base));
    }
    if rest == "_catalog" {
        return Ok(Some(Target::Catalog));
    }
    let Some((head, last)) = rest.rsplit_once('/') else { return Ok(None) };
    let last = decode(last, false);
    let of = |suffix: &str| head.strip_suffix(suffix).map(|name| decode(name, false).parse::<Name>());
    Ok(Some(if let Some(name) = of("/blobs/uploads") {
        if last.is_empty() { Target::NewUpload(name?) } else { Target::Upload(name?, last.parse()?) }
    } else if let Some(name) = of("/manifests") {
        Target::Manifest(name?, last.parse()?)
    } else if let Some(name) = of("/blobs") {
        if last == "uploads" { Target::NewUpload(name?) } else { Target::Blob(name?, last.parse()?) }
    } else if let Some(name) = of("/referrers") {
        Target::Referrers(name?, last.parse()?)
    } else if let (Some(name), "list") = (of("/tags"), last.as_str()) {
        Target::Tags(name?)
    } else {
        return Ok(None);
    }))
}

/// Answers a request below `/v2`.
pub(super) async fn answer(registry: &Arc<Registry>, peer: &Peer, request: Request<Content>) -> Answer {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let answer = dispatch(registry.clone(), peer, request).await.unwrap_or_else(|error| {
        route::log(&error, &method, uri.path());
        Reply::error(&error).into()
    });
    let headers = |map: &mut http::HeaderMap| {
        map.insert(API_VERSION, http::HeaderValue::from_static("registry/2.0"));
        map.insert(header::X_CONTENT_TYPE_OPTIONS, http::HeaderValue::from_static("nosniff"));
    };
    match answer {
        Answer::Whole(mut response) => {
            headers(response.headers_mut());
            Answer::Whole(response)
        }
        Answer::File(mut head, part) => {
            headers(head.headers_mut());
            Answer::File(head, part)
        }
    }
}

async fn dispatch(registry: Arc<Registry>, peer: &Peer, request: Request<Content>) -> Result<Answer, Error> {
    let path = request.uri().path();
    let target = target(path)?.ok_or_else(|| Error::NotFound { what: "page", name: path.to_owned() })?;
    let asked = Asked::read(peer, request.method(), request.headers());
    let caller = registry.identify(peer, request.headers()).await?.asking(asked);
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let method = request.method().clone();
    let call = Call { registry, caller, request, query, local: peer.local };
    let get = method == Method::GET || method == Method::HEAD;
    match target {
        Target::Base if get => {
            call.registry.enter(&call.caller)?;
            Ok(Reply::json(&serde_json::json!({})).into())
        }
        Target::Catalog if get => lists::catalog(&call),
        Target::Tags(name) if get => lists::tags(&call, &name).await,
        Target::Referrers(name, digest) if get => lists::referrers(&call, &name, &digest).await,
        Target::Manifest(name, reference) => match method {
            Method::GET | Method::HEAD => manifests::get(&call, &name, &reference).await,
            Method::PUT => manifests::put(call, name, reference).await,
            Method::DELETE => manifests::delete(&call, &name, &reference).await,
            _ => Ok(route::wrong_method("GET, HEAD, PUT, DELETE").into()),
        },
        Target::Blob(name, digest) => match method {
            Method::GET | Method::HEAD => blobs::get(&call, &name, &digest).await,
            Method::DELETE => blobs::delete(&call, &name, &digest).await,
            _ => Ok(route::wrong_method("GET, HEAD, DELETE").into()),
        },
        Target::NewUpload(name) if method == Method::POST => uploads::begin(call, name).await,
        Target::NewUpload(_) => Ok(route::wrong_method("POST").into()),
        Target::Upload(name, id) => match method {
            Method::GET | Method::HEAD => uploads::status(&call, &name, &id),
            Method::PATCH => uploads::chunk(call, name, id).await,
            Method::PUT => uploads::finish(call, name, id).await,
            Method::DELETE => uploads::cancel(&call, &name, &id),
            _ => Ok(route::wrong_method("GET, HEAD, PATCH, PUT, DELETE").into()),
        },
        _ => Ok(route::wrong_method("GET, HEAD").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_from_their_end() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let digest = format!("sha256:{}", "a".repeat(64));
        for (path, found) in [
            ("/v2/", Target::Base),
            ("/v2", Target::Base),
            ("/v2/_catalog", Target::Catalog),
            ("/v2/a/b/tags/list", Target::Tags(name("a/b"))),
            (
                "/v2/manifests/manifests/manifests/v1",
                Target::Manifest(name("manifests/manifests"), "v1".parse().unwrap()),
            ),
            ("/v2/blobs/blobs/uploads/", Target::NewUpload(name("blobs"))),
            (&format!("/v2/a/blobs/{digest}"), Target::Blob(name("a"), digest.parse().unwrap())),
            (
                &format!("/v2/a/blobs/{}", digest.replace(':', "%3A")),
                Target::Blob(name("a"), digest.parse().unwrap()),
            ),
            (&format!("/v2/a/referrers/{digest}"), Target::Referrers(name("a"), digest.parse().unwrap())),
        ] {
            assert_eq!(target(path).unwrap(), Some(found), "{path}");
        }
    }

    #[test]
    fn what_walks_is_no_path() {
        for path in [
            "/v2/../etc/manifests/x",
            "/v2/a%2f..%2fb/tags/list",
            "/v2/A/tags/list",
            "/v2/a/blobs/uploads/../x",
        ] {
            assert!(!matches!(target(path), Ok(Some(_))), "{path}");
        }
        assert_eq!(target("/v2/a").unwrap(), None);
        assert_eq!(target("/v2/a/b").unwrap(), None);
    }
}
