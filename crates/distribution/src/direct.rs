//! Requests to a server that is no registry: the object store that holds a registry's content. They have the certificates, proxies
//! and bounds of this client; nothing is added to them, and nothing is asked twice.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};

use crate::{
    Error, Registries, Result,
    certificates::Trust,
    endpoint,
    exchange::{Answer, Body, Exchange, Request},
    url::{Origin, Url},
};

/// A server, with connections that are kept.
pub struct Direct {
    exchange: Exchange,
    origin: Origin,
    trust: Trust,
}

impl Registries {
    /// The server at an absolute address, of which only scheme, host and port count. Reads certificates; nothing is connected
    /// yet. Blocks.
    ///
    /// # Errors
    /// [`Error::Settings`] for what is no such address, and for certificates that cannot be used.
    pub fn direct(&self, address: &str) -> Result<Direct> {
        let url: Url = address.parse().map_err(|e| Error::Settings(format!("{e}")))?;
        let trust = endpoint::trusted(&self.config(), &url.origin)?;
        Ok(Direct { exchange: Exchange::new(self.config()), origin: url.origin, trust })
    }
}

impl Direct {
    /// Sends a request; its body is octets unless the headers say otherwise. `path` begins with a slash and may have a query.
    ///
    /// # Errors
    /// [`Error::Request`] if no answer comes.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer> {
        let url = Url { origin: self.origin.clone(), path: path.to_owned() };
        let body = match body.is_empty() {
            true => {
                if method == Method::PUT || method == Method::POST {
                    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
                }
                Body::Empty
            }
            false => Body::Bytes(body, "application/octet-stream"),
        };
        self.exchange.send(Request { method, url, headers, body }, &self.trust).await
    }
}
