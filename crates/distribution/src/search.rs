//! Searching an index for repositories (the v1 search API of Docker's index).

use http::{StatusCode, header};
use serde::Deserialize;

use crate::{
    Credentials, Error, Registries, Result,
    endpoint::DOCKER,
    exchange::{Exchange, Request},
    login::index_host,
    url::Url,
};

/// The largest answer that is read.
const MOST: usize = 8 << 20;

/// A repository that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// What it is, in its owner's words.
    pub description: Option<String>,
    /// How many people like it.
    pub star_count: i64,
    /// It is one of Docker's own.
    pub is_official: bool,
    /// It is built automatically.
    pub is_automated: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Results {
    results: Option<Vec<Found>>,
}

impl Registries {
    /// Searches the index of a registry (`docker.io` or a host) for a term; at most `limit` results.
    ///
    /// # Errors
    /// Those of asking.
    pub async fn search(
        &self,
        registry: &str,
        term: &str,
        limit: u32,
        credentials: &Credentials,
    ) -> Result<Vec<Found>> {
        let candidate = self.host(index_host(registry)).await?;
        let mut last = Error::Settings("no endpoints".to_owned());
        for endpoint in &candidate.endpoints {
            let exchange = Exchange::new(self.config());
            let url = Url { origin: endpoint.origin.clone(), path: "/v1/search".to_owned() };
            let url = url.with_query("q", term).with_query("n", &limit.to_string());
            let mut request =
                Request::get(url).header(header::HeaderName::from_static("x-docker-token"), "true");
            if let Some(basic) = credentials.basic().filter(|_| registry != DOCKER) {
                request = request.header(header::AUTHORIZATION, &basic);
            }
            match exchange.send(request, &endpoint.trust).await {
                Ok(answer) if answer.status() == StatusCode::OK => {
                    let body = answer.bytes("the answer", MOST).await?;
                    let results: Results = serde_json::from_slice(&body)
                        .map_err(|e| Error::Untrue(format!("error decoding registry search results: {e}")))?;
                    return Ok(results.results.unwrap_or_default());
                }
                Ok(answer) => {
                    return Err(Error::Untrue(format!(
                        "Unexpected status code {}",
                        answer.status().as_u16()
                    )));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}
