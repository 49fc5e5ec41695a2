//! The engine itself: ping, version, info, events; networks.

use std::borrow::Cow;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::{Client, Error, JsonLines, Query, Request, Response, query};

/// What an engine says of itself in the headers of a ping.
#[derive(Clone, Debug, Default)]
pub struct Ping {
    /// The newest version it speaks.
    pub api_version: Option<String>,
    /// `linux`.
    pub os_type: Option<String>,
    /// Whether it offers experimental features.
    pub experimental: bool,
}

impl Ping {
    pub(crate) fn from_response(response: &Response) -> Self {
        let text = |name| response.header(name).map(str::to_owned);
        Self {
            api_version: text("api-version"),
            os_type: text("ostype"),
            experimental: response.header("docker-experimental") == Some("true"),
        }
    }
}

/// A name or id as a part of a path.
pub fn escape(name: &str) -> Cow<'_, str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~:@/".contains(&b);
    if name.bytes().all(plain) && name != "." && name != ".." {
        return Cow::Borrowed(name);
    }
    let mut escaped = String::new();
    for part in name.split_inclusive(['/', ':', '@']) {
        let (body, separator) = match part.char_indices().next_back() {
            Some((at, c @ ('/' | ':' | '@'))) => (&part[..at], Some(c)),
            _ => (part, None),
        };
        query::encode(body, &mut escaped);
        escaped.extend(separator);
    }
    Cow::Owned(escaped)
}

impl Client {
    /// The answer to a GET, as it came.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn get_bytes(&self, path: impl Into<String>, query: Query) -> Result<Bytes, Error> {
        self.send(Request::get(path).query(query)).await?.bytes().await
    }

    /// `GET /version`.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn engine_version(&self) -> Result<Bytes, Error> {
        self.get_bytes("/version", Query::new()).await
    }

    /// `GET /info`.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn engine_info(&self) -> Result<Bytes, Error> {
        self.get_bytes("/info", Query::new()).await
    }

    /// `GET /events`; times as the API takes them, filters as JSON.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn events(
        &self,
        since: Option<&str>,
        until: Option<&str>,
        filters: Option<&str>,
    ) -> Result<JsonLines, Error> {
        let query = Query::new().maybe("since", since).maybe("until", until).maybe("filters", filters);
        Ok(self.send(Request::get("/events").query(query)).await?.json_lines())
    }

    /// `GET /system/df`.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn disk_usage(&self) -> Result<Bytes, Error> {
        self.get_bytes("/system/df", Query::new()).await
    }

    /// `POST /{kind}/prune` (`containers`, `images`, `networks`, `volumes`, `build`); filters as JSON.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn prune<T: DeserializeOwned>(&self, kind: &str, filters: Option<&str>) -> Result<T, Error> {
        let query = Query::new().maybe("filters", filters);
        self.json(Request::post(format!("/{kind}/prune")).query(query)).await
    }

    /// `POST /build/prune`; with `all`, also what is in use by nothing but other records.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn prune_build<T: DeserializeOwned>(
        &self,
        all: bool,
        filters: Option<&str>,
    ) -> Result<T, Error> {
        let query = Query::new().flag("all", all).maybe("filters", filters);
        self.json(Request::post("/build/prune").query(query)).await
    }

    /// `GET /networks`.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn networks(&self, filters: Option<&str>) -> Result<Bytes, Error> {
        self.get_bytes("/networks", Query::new().maybe("filters", filters)).await
    }

    /// `GET /networks/{id}`.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn network_inspect(&self, name: &str, verbose: bool) -> Result<Bytes, Error> {
        let query = if verbose { Query::new().with("verbose", "true") } else { Query::new() };
        self.get_bytes(format!("/networks/{}", escape(name)), query).await
    }
}
