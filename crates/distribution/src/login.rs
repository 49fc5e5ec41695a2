//! Signing in: are these credentials good?

use http::StatusCode;

use crate::{
    Credentials, Error, Registries, Result, Secret, auth::Scopes, endpoint::DOCKER, exchange::Request,
    session::Session,
};

/// Addresses by which people call Docker's own registry when they sign in.
const DOCKER_NAMES: [&str; 4] = ["", "docker.io", "index.docker.io", "registry-1.docker.io"];

impl Registries {
    /// Tries credentials at a registry, whose address may be written as people do. Answers a refresh token if its token server
    /// gives one, to be kept instead of the password.
    ///
    /// # Errors
    /// [`Error::Login`] and [`RequestError::Token`](crate::RequestError::Token) for wrong credentials; those of the connection.
    pub async fn login(&self, address: &str, credentials: &Credentials) -> Result<Option<Secret>> {
        let host = address.split_once("://").map_or(address, |(_, rest)| rest);
        let host = host.split('/').next().unwrap_or_default();
        let candidate = match DOCKER_NAMES.contains(&host) {
            true => self.host("registry-1.docker.io").await?,
            false => self.host(host).await?,
        };
        let session = self.open(&candidate, credentials).await?;
        session.sign_in().await
    }
}

impl Session {
    async fn sign_in(&self) -> Result<Option<Secret>> {
        let url = self.endpoint.url("/");
        let scopes = Scopes::default();
        let request = self.apply(Request::get(url.clone()), &scopes, true).await?;
        let answer = self.exchange.send(request, &self.endpoint.trust).await?;
        match answer.status() {
            StatusCode::OK => {
                answer.discard().await;
                Ok(self.authority.refresh_token())
            }
            status => Err(Error::Login { url: url.to_string(), status }),
        }
    }
}

/// The host of the v1 search of a registry's name.
pub(crate) fn index_host(registry: &str) -> &str {
    if registry == DOCKER { "index.docker.io" } else { registry }
}
