//! Whose requests to the store are: the keys of the settings, or those that are found as Amazon's tools find them. Services that
//! give such are asked as the store is.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use skiff_aws::{Answer, Ask, Keys, Request};
use skiff_distribution::{Config, Error, Limits, Proxies, Registries};

/// Bytes of an answer at most.
const MOST: usize = 64 << 10;

/// The keys of a store.
pub(super) type Credentials = skiff_aws::Credentials<Asker>;

pub(super) fn credentials(settings: Option<&Keys>) -> Credentials {
    match settings {
        Some(keys) => Credentials::fixed(keys.clone(), Asker),
        None => Credentials::new(skiff_aws::environment(), Asker),
    }
}

/// Asks on a connection for each request: there are few.
pub(super) struct Asker;

impl Ask for Asker {
    async fn ask(&self, request: Request<'_>) -> Result<Answer, String> {
        let service = request.service.to_owned();
        // A proxy does not lead to the machine's own services, which have no TLS.
        let proxies =
            if service.starts_with("https:") { Proxies::from_environment() } else { Proxies::default() };
        let limits = Limits { connect: Duration::from_secs(5), ..Limits::default() };
        let registries = Registries::new(Config { proxies, limits, ..Config::default() });
        let direct = tokio::task::spawn_blocking(move || registries.direct(&service)).await;
        let direct = direct.map_err(|error| error.to_string())?.map_err(words)?;
        let mut headers = HeaderMap::new();
        for (name, value) in request.headers {
            let value = HeaderValue::from_str(value).map_err(|_| format!("{name} has no text"))?;
            headers.insert(HeaderName::from_static(name), value);
        }
        let method = Method::from_bytes(request.method.as_bytes()).map_err(|error| error.to_string())?;
        let body = Bytes::copy_from_slice(request.body.as_bytes());
        let answer = direct.send(method, request.path, headers, body).await.map_err(words)?;
        let status = answer.status().as_u16();
        let body = answer.bytes("the answer", MOST).await.map_err(words)?;
        Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

/// What went wrong, without the address: the reader knows it.
fn words(error: Error) -> String {
    match error {
        Error::Request { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}
