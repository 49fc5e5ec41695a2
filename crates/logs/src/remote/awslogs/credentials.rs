//! Keys as Amazon's own tools find them; their services are asked as receivers are.

use std::sync::Arc;

use skiff_aws::{Answer, Ask, Environment, NoKeys, Request};
use tokio_rustls::rustls::ClientConfig;

use crate::remote::{SendError, endpoint::Endpoint};

/// The keys of a driver.
pub(super) type Credentials = skiff_aws::Credentials<Asker>;

/// Those of the container service's role at this path, or those that are found.
pub(super) fn credentials(
    path: Option<String>,
    environment: Environment,
    trust: Arc<ClientConfig>,
) -> Credentials {
    match path {
        Some(path) => Credentials::of_container(path, environment, Asker(trust)),
        None => Credentials::new(environment, Asker(trust)),
    }
}

/// Asks on a connection for each request: there are few.
pub(super) struct Asker(Arc<ClientConfig>);

impl Ask for Asker {
    async fn ask(&self, request: Request<'_>) -> Result<Answer, String> {
        let mut service = Endpoint::new(request.service, &self.0)?;
        let body = request.body.as_bytes().to_vec();
        let asked = service.ask(request.method, request.path, request.headers, body).await;
        let answer = asked.map_err(|error| error.to_string())?;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        Ok(Answer { status: answer.status.as_u16(), body })
    }
}

impl From<NoKeys> for SendError {
    fn from(error: NoKeys) -> Self {
        Self::Protocol { address: "credentials".to_owned(), reason: error.to_string() }
    }
}
