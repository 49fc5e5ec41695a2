//! A request, taken apart: version, path, query, body.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use http_body_util::LengthLimitError;
use serde::de::DeserializeOwned;
use serde_json::Value;
use skiff_api::{ApiVersion, Filters, decode};
use skiff_engine::{Engine, model};

use crate::{
    activity::Activity,
    body::RequestBody,
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
    pub(crate) body: RequestBody,
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
    // A number that is too large is not too small.
    let mut numbers = text.split('.').map(|n| if n.is_empty() { 0 } else { n.parse().unwrap_or(u32::MAX) });
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
    pub(crate) fn new(
        request: http::Request<RequestBody>,
        version: ApiVersion,
        path: String,
    ) -> Outcome<Self> {
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

    /// JSON of whatever type the header says. Docker answers 500 to what it cannot read here.
    pub(crate) async fn json_of_any_type<T: DeserializeOwned>(&mut self) -> Outcome<T> {
        let body = self.bytes().await?;
        if body.is_empty() {
            return Err(Failure::internal("EOF"));
        }
        decode::from_slice(&body).map_err(|e| Failure::internal(e.to_string()))
    }

    /// Length of the body if it is known; none for a chunked one.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.body.content_length()
    }

    async fn bytes(&mut self) -> Outcome<Bytes> {
        match self.body.whole(MAX_JSON).await {
            Ok(body) => Ok(body),
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
        match media_type(kind) {
            Ok(media) if media.eq_ignore_ascii_case("application/json") => Ok(()),
            Ok(_) => Err(Failure::invalid(format!(
                "unsupported Content-Type header ({kind}): must be 'application/json'"
            ))),
            Err(fault) => {
                Err(Failure::invalid(format!("malformed Content-Type header ({kind}): mime: {fault}")))
            }
        }
    }
}

/// The media type of a header, or what is wrong with it, in the words of Go's `mime.ParseMediaType`.
fn media_type(header: &str) -> Result<&str, &'static str> {
    let is_token = |s: &str| {
        let special = |c: u8| b"()<>@,;:\\\"/[]?=".contains(&c);
        !s.is_empty() && s.bytes().all(|c| c.is_ascii_graphic() && !special(c))
    };
    let (media, parameters) = header.split_once(';').unwrap_or((header, ""));
    let media = media.trim();
    match media.split_once('/') {
        None if media.is_empty() => return Err("no media type"),
        None if is_token(media) => {}
        Some((kind, sub)) if is_token(kind) && is_token(sub) => {}
        Some((kind, sub)) if is_token(kind) && sub.starts_with(|c: char| c.is_ascii_alphanumeric()) => {
            return Err("unexpected content after media subtype");
        }
        _ => return Err("expected token after slash"),
    }
    let mut seen = Vec::new();
    for parameter in parameters.split(';').map(str::trim).filter(|p| !p.is_empty()) {
        let (name, value) = parameter.split_once('=').ok_or("invalid media parameter")?;
        if !is_token(name) || !(is_token(value) || value.starts_with('"')) {
            return Err("invalid media parameter");
        }
        let name = name.to_ascii_lowercase();
        if seen.contains(&name) {
            return Err("duplicate parameter name");
        }
        seen.push(name);
    }
    Ok(media)
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
    fn content_types_are_read_as_go_reads_them() {
        for (header, read) in [
            ("application/json", Ok("application/json")),
            ("application/json;", Ok("application/json")),
            ("application/JSON; charset=utf-8", Ok("application/JSON")),
            ("application", Ok("application")),
            ("", Err("no media type")),
            (";", Err("no media type")),
            ("a/b/c", Err("unexpected content after media subtype")),
            ("application/json, text/plain", Err("unexpected content after media subtype")),
            ("application/json; charset", Err("invalid media parameter")),
            ("application/json; a=b; a=c", Err("duplicate parameter name")),
        ] {
            assert_eq!(media_type(header), read, "{header}");
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
        assert!(negotiate(Some("1.9999999999")).unwrap_err().message.contains("too new"));
        assert_eq!(
            negotiate(Some("1.12")).unwrap_err().message,
            "client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"
        );
    }
}
