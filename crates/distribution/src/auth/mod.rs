//! Who we are, said as the registry wants to hear it, and no further than it has to go.
//!
//! Nothing is said before the registry asks: the first answer of status 401 names the way. From then on every request to the
//! same endpoint carries it. Tokens are kept by what they allow.

mod challenge;
mod token;

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use http::{HeaderMap, header};

pub(crate) use challenge::Challenge;
use token::{Token, Wanted};

use crate::{
    Credentials, Result,
    endpoint::Endpoint,
    error::RequestError,
    exchange::{Exchange, Request},
};

/// What a request must be allowed: `repository:library/busybox:pull`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Scopes(pub(crate) Vec<String>);

impl Scopes {
    /// Reading a repository.
    pub(crate) fn pull(path: &str) -> Self {
        Self(vec![format!("repository:{path}:pull")])
    }

    /// Writing it.
    pub(crate) fn push(path: &str) -> Self {
        Self(vec![format!("repository:{path}:pull,push")])
    }

    /// And reading another one.
    pub(crate) fn and_pull(mut self, path: &str) -> Self {
        self.0.push(format!("repository:{path}:pull"));
        self
    }
}

/// What is known about the registry's wishes.
#[derive(Default)]
pub(crate) struct Authority {
    challenge: Mutex<Option<Challenge>>,
    tokens: Mutex<HashMap<Scopes, Token>>,
}

impl Authority {
    /// The challenge of an answer with status 401 is to be answered from now on. Whether it asks for anything at all.
    pub(crate) fn learn(&self, headers: &HeaderMap) -> bool {
        let Some(challenge) = challenge::choose(headers) else { return false };
        *self.challenge.lock().unwrap_or_else(PoisonError::into_inner) = Some(challenge);
        true
    }

    fn challenge(&self) -> Option<Challenge> {
        self.challenge.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the registry wants passwords.
    pub(crate) fn wants_password(&self) -> bool {
        self.challenge() == Some(Challenge::Basic)
    }

    /// Forgets a token that was not taken.
    pub(crate) fn forget(&self, scopes: &Scopes) {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(scopes);
    }

    /// A refresh token that came with one of the tokens.
    pub(crate) fn refresh_token(&self) -> Option<crate::Secret> {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.values().map(|t| t.refresh.clone()).find(|t| !t.is_empty())
    }

    /// The request as the registry wants it.
    pub(crate) async fn apply(
        &self,
        exchange: &Exchange,
        endpoint: &Endpoint,
        credentials: &Credentials,
        scopes: &Scopes,
        offline: bool,
        request: Request,
    ) -> Result<Request> {
        let Some(challenge) = self.challenge() else { return Ok(request) };
        let value = match challenge {
            Challenge::Basic => {
                credentials.basic().ok_or_else(|| request.failed(RequestError::NoCredentials))?
            }
            Challenge::Bearer { .. } if !credentials.registry_token.is_empty() => {
                format!("Bearer {}", credentials.registry_token.reveal())
            }
            Challenge::Bearer { realm, service, scope } => {
                let known = self.tokens.lock().unwrap_or_else(PoisonError::into_inner).get(scopes).cloned();
                let token = match known.filter(Token::is_fresh) {
                    Some(token) => token,
                    None => {
                        let mut all = scopes.0.clone();
                        // A registry may want more than we know of.
                        let said = scope.split(' ').filter(|s| !s.is_empty()).map(str::to_owned);
                        if scopes.0.is_empty() {
                            all.extend(said);
                        }
                        let wanted = Wanted { realm: &realm, service: &service, scopes: &all, offline };
                        let token = token::fetch(exchange, endpoint, credentials, &wanted, &request).await?;
                        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
                        tokens.insert(scopes.clone(), token.clone());
                        token
                    }
                };
                format!("Bearer {}", token.token.reveal())
            }
        };
        let mut request = request;
        request.headers.remove(header::AUTHORIZATION);
        Ok(request.header(header::AUTHORIZATION, &value))
    }
}
