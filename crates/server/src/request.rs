//! A request, taken apart: version, path, query, body.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use serde_json::Value;
use skiff_api::{ApiVersion, Filters, decode};
use skiff_engine::{Engine, model};

use crate::{
    activity::Activity,
    failure::{Failure, Outcome},
    query::{Query, unescape},
};

/// What every request may use.
#[derive(Clone)]
pub struct Context {
    /// The engine.
    pub engine: Engine,
    /// Told of every request.
    pub activity: Arc<Activity>,
}

/// No JSON body is longer: a container with thousands of variables has a hundredth of it.
const MAX_JSON: usize = 16 << 20;

pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) version: ApiVersion,
    /// The path without its version.
    pub(crate) path: String,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Incoming,
}

/// A path with the version taken off.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Path<'a> {
    /// As written, without the `v`.
    pub(crate) version: Option<&'a str>,
    pub(crate) rest: &'a str,
}

/// `/v1.51/info` is `/info` in version 1.51; `/vx/info` and `/v1.51` have no version.
pub(crate) fn split_version(path: &str) -> Path<'_> {
    if let Some((version, _)) = path.strip_prefix("/v").and_then(|p| p.split_once('/'))
        && !version.is_empty()
        && version.bytes().all(|c| c.is_ascii_digit() || c == b'.')
    {
        return Path { version: Some(version), rest: &path[2 + version.len()..] };
    }
    Path { version: None, rest: path }
}

/// Numbers compare as numbers, whatever is missing counts as nothing: Docker accepts `/v1.44.0` and `/v2`.
pub(crate) fn negotiate(version: Option<&str>) -> Outcome<ApiVersion> {
    let Some(text) = version else { return Ok(ApiVersion::MAX) };
    let mut numbers = text.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
    let version = ApiVersion::new(numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < ApiVersion::MIN {
        let min = ApiVersion::MIN;
        return Err(Failure::invalid(format!(
            "client version {text} is too old. Minimum supported API version is {min}, please upgrade your client \
             to a newer version"
        )));
    }
    if version > ApiVersion::MAX || (version == ApiVersion::MAX && numbers.any(|n| n > 0)) {
        let max = ApiVersion::MAX;
        return Err(Failure::invalid(format!(
            "client version {text} is too new. Maximum supported API version is {max}"
        )));
    }
    Ok(version)
}

impl Request {
    /// Takes a request apart whose path (decoded) begins after its version.
    pub(crate) fn new(request: http::Request<Incoming>, version: ApiVersion, path: String) -> Outcome<Self> {
        let (head, body) = request.into_parts();
        let query = Query::parse(head.uri.query().unwrap_or_default())?;
        Ok(Self { method: head.method, version, path, query, headers: head.headers, body })
    }

    /// Whether this has an `Upgrade` header: attached streams then begin with 101.
    pub(crate) fn wants_upgrade(&self) -> bool {
        self.headers.contains_key(header::UPGRADE)
    }

    pub(crate) fn filters(&self) -> Outcome<Filters> {
        Filters::parse(self.query.get("filters")).map_err(|e| Failure::invalid(e.to_string()))
    }

    pub(crate) fn engine_filters(&self) -> Outcome<model::Filters> {
        let filters = self.filters()?;
        Ok(filters.iter().flat_map(|(k, vs)| vs.map(move |v| (k.to_owned(), v.to_owned()))).collect())
    }

    /// A JSON body; the empty value if there is no body.
    pub(crate) async fn json<T: DeserializeOwned + Default>(&mut self) -> Outcome<T> {
        self.check_json()?;
        if self.content_length() == Some(0) {
            return Ok(T::default());
        }
        let body = self.bytes().await?;
        Ok(decode::from_slice(&body)?)
    }

    /// A JSON body that must be there.
    pub(crate) async fn json_value(&mut self) -> Outcome<Value> {
        self.check_json()?;
        let body = self.bytes().await?;
        Ok(decode::value(&body)?)
    }

    /// Length of the body if it is known; none for a chunked one.
    pub(crate) fn content_length(&self) -> Option<u64> {
        hyper::body::Body::size_hint(&self.body).exact()
    }

    async fn bytes(&mut self) -> Outcome<Bytes> {
        match Limited::new(&mut self.body, MAX_JSON).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(Failure::invalid("invalid JSON: http: request body too large"))
            }
            Err(_) => Err(Failure::invalid("invalid JSON: unexpected EOF")),
        }
    }

    fn check_json(&self) -> Outcome<()> {
        let kind = self.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if kind.is_empty() {
            return match self.content_length() {
                Some(0) => Ok(()),
                _ => Err(Failure::invalid("malformed Content-Type header (): mime: no media type")),
            };
        }
        let media = kind.split(';').next().unwrap_or_default().trim();
        match media.eq_ignore_ascii_case("application/json") {
            true => Ok(()),
            false => Err(Failure::invalid(format!(
                "unsupported Content-Type header ({kind}): must be 'application/json'"
            ))),
        }
    }
}

/// The path, decoded.
pub(crate) fn decode_path(path: &str) -> Outcome<String> {
    unescape(path, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_taken_off_the_path() {
        let split = |path| {
            let Path { version, rest } = split_version(path);
            (version, rest)
        };
        assert_eq!(split("/v1.51/info"), (Some("1.51"), "/info"));
        assert_eq!(split("/v1/info"), (Some("1"), "/info"));
        assert_eq!(split("/info"), (None, "/info"));
        for path in ["/vx/info", "/v1.51x/info", "/v/info", "/version", "/v1.51", "/volumes/x"] {
            assert_eq!(split(path), (None, path));
        }
    }

    /// Recorded from Docker 28.5.2.
    #[test]
    fn versions_that_are_not_served_are_refused_in_dockers_words() {
        assert_eq!(negotiate(None).unwrap(), ApiVersion::MAX);
        assert_eq!(negotiate(Some("1.24")).unwrap(), ApiVersion::MIN);
        assert_eq!(negotiate(Some("1.44.0")).unwrap(), ApiVersion::new(1, 44));
        assert_eq!(
            negotiate(Some("1.99")).unwrap_err().message,
            "client version 1.99 is too new. Maximum supported API version is 1.51"
        );
        assert_eq!(
            negotiate(Some("1.12")).unwrap_err().message,
            "client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"
        );
    }
}
