//! Servers of HTTP whose addresses are URLs, and what the daemon's environment says of them.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, header};
use tokio_rustls::rustls::{ClientConfig, pki_types::ServerName};

use super::{
    SendError,
    connection::Address,
    http::{Answer, Http},
};
use crate::{OptionError, url::Url};

pub(super) use skiff_aws::{Environment, environment};

/// A server at a URL.
pub(super) struct Endpoint {
    http: Http,
    authority: String,
    /// Where its paths begin; empty or with a leading slash, none at the end.
    base: String,
    /// Scheme and authority, for people.
    name: String,
}

impl Endpoint {
    /// The server at a URL.
    ///
    /// # Errors
    /// It is no URL of HTTP.
    pub(super) fn new(text: &str, trust: &Arc<ClientConfig>) -> Result<Self, String> {
        let url = Url::parse(text)?;
        let host = url.host().to_owned();
        let secure = url.scheme == "https";
        if host.is_empty() || !(secure || url.scheme == "http") || url.has_more {
            return Err(format!("{text:?} is not http:// or https:// with a host"));
        }
        let port = url.http_port().map_err(|_| format!("invalid port in {text:?}"))?;
        let address = match secure {
            false => Address::Tcp { host, port },
            true => {
                let name = ServerName::try_from(host.clone()).map_err(|e| format!("{host:?}: {e}"))?;
                Address::Tls { host, port, config: trust.clone(), name }
            }
        };
        Ok(Self {
            http: Http::new(address),
            name: format!("{}://{}", url.scheme, url.authority),
            base: url.path.trim_end_matches('/').to_owned(),
            authority: url.authority,
        })
    }

    /// As [`new`](Self::new), of an option.
    ///
    /// # Errors
    /// As that.
    pub(super) fn of(
        option: &'static str,
        text: &str,
        trust: &Arc<ClientConfig>,
    ) -> Result<Self, OptionError> {
        Self::new(text, trust).map_err(|e| OptionError::value(option, e))
    }

    /// Host and port, as they stand in the URL.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// The whole path of one below the URL's.
    pub(super) fn path(&self, below: &str) -> String {
        match format!("{}{below}", self.base) {
            path if path.is_empty() => "/".to_owned(),
            path => path,
        }
    }

    /// Sends a request for a path below the URL's.
    pub(super) async fn ask(
        &mut self,
        method: &str,
        below: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, SendError> {
        let mut request = Request::builder()
            .method(method)
            .uri(self.path(below))
            .header(header::HOST, &self.authority)
            .header(header::USER_AGENT, concat!("skiff/", env!("CARGO_PKG_VERSION")));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::<Bytes>::from(body)).map_err(|e| self.protocol(e.to_string()))?;
        self.http.ask(request).await
    }

    /// As [`ask`](Self::ask), for something that has to be there; its text.
    pub(super) async fn get(&mut self, below: &str, headers: &[(&str, &str)]) -> Result<String, SendError> {
        let answer = self.ask("GET", below, headers, Vec::new()).await?;
        self.text(answer)
    }

    /// What a good answer says.
    pub(super) fn text(&self, answer: Answer) -> Result<String, SendError> {
        match answer.status.is_success() {
            true => String::from_utf8(answer.body.to_vec()).map_err(|e| self.protocol(e.to_string())),
            false => Err(self.protocol(answer.reason())),
        }
    }

    /// Not what the protocol has at this place.
    pub(super) fn protocol(&self, reason: String) -> SendError {
        SendError::Protocol { address: self.name.clone(), reason }
    }

    /// It will never take these lines.
    pub(super) fn refused(&self, reason: String) -> SendError {
        SendError::Refused { address: self.name.clone(), reason }
    }
}
