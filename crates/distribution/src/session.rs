//! A registry as one operation sees it: found, asked who it is, and asked again when it fails on the way.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{StatusCode, header};

use crate::{
    Config, Credentials, Error, Result,
    auth::{Authority, Scopes},
    certificates::Trust,
    endpoint::{self, Endpoint},
    exchange::{Answer, Exchange, Request},
};

/// The client of all registries.
pub struct Registries {
    config: Arc<Config>,
    /// Hosts that were found to have no TLS, so that they are not asked for it each time.
    clear: Mutex<HashSet<String>>,
}

/// What a registry is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Reading; mirrors will do.
    Pull,
    /// Writing.
    Push,
}

/// A place where a registry's images may be had: an address, or the same with TLS and without.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub(crate) endpoints: Vec<Endpoint>,
}

impl Candidate {
    /// It stands for another registry: if it fails, the next candidate is to be asked.
    pub fn is_mirror(&self) -> bool {
        self.endpoints.iter().any(|e| e.mirror)
    }
}

impl Registries {
    /// A client with these settings; nothing is read or connected yet.
    pub fn new(config: Config) -> Self {
        Self { config: Arc::new(config), clear: Mutex::default() }
    }

    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config)
    }

    /// Where the registry of this name (as references have it) is, in the order of asking: mirrors first.
    ///
    /// # Errors
    /// [`Error::Settings`] for files that cannot be used and names that are no hosts.
    pub async fn candidates(&self, registry: &str, purpose: Purpose) -> Result<Vec<Candidate>> {
        let (config, name) = (Arc::clone(&self.config), registry.to_owned());
        let endpoints = off_thread(move || endpoint::endpoints(&config, &name)).await?;
        let fits = |e: &Endpoint| match purpose {
            Purpose::Pull => e.may.pull,
            Purpose::Push => e.may.push,
        };
        Ok(grouped(endpoints.into_iter().filter(fits)))
    }

    /// The host of this address alone, without mirrors: for signing in and searching.
    pub(crate) async fn host(&self, host: &str) -> Result<Candidate> {
        let (config, name) = (Arc::clone(&self.config), host.to_owned());
        let endpoints = off_thread(move || endpoint::single(&config, &name)).await?;
        Ok(Candidate { endpoints })
    }

    /// Connects to a candidate and learns how it wants to be asked.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn open(&self, candidate: &Candidate, credentials: &Credentials) -> Result<Session> {
        let known_clear = |e: &Endpoint| {
            self.clear.lock().unwrap_or_else(PoisonError::into_inner).contains(&e.origin.address())
        };
        let skip_tls = candidate.endpoints.len() > 1 && candidate.endpoints.iter().any(known_clear);
        let mut last = Error::Settings("no endpoints".to_owned());
        for (number, endpoint) in candidate.endpoints.iter().enumerate() {
            if skip_tls && number == 0 {
                continue;
            }
            // A mirror is somebody else.
            let credentials = if endpoint.mirror { Credentials::default() } else { credentials.clone() };
            let session = Session {
                exchange: Exchange::new(Arc::clone(&self.config)),
                endpoint: endpoint.clone(),
                credentials,
                authority: Authority::default(),
            };
            match session.ping().await {
                Ok(()) => {
                    let mut clear = self.clear.lock().unwrap_or_else(PoisonError::into_inner);
                    match number {
                        0 => clear.remove(&endpoint.origin.address()),
                        _ => clear.insert(endpoint.origin.address()),
                    };
                    return Ok(session);
                }
                Err(error) => last = error,
            }
        }
        if skip_tls {
            // It may have TLS by now.
            let mut clear = self.clear.lock().unwrap_or_else(PoisonError::into_inner);
            candidate.endpoints.iter().for_each(|e| {
                clear.remove(&e.origin.address());
            });
        }
        Err(last)
    }
}

/// An address with TLS and the same without are one candidate.
fn grouped(endpoints: impl Iterator<Item = Endpoint>) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = Vec::new();
    for endpoint in endpoints {
        let same = |c: &&mut Candidate| {
            let first = &c.endpoints[0];
            first.origin.host == endpoint.origin.host
                && first.base == endpoint.base
                && first.trust.anybody
                && first.mirror == endpoint.mirror
                && c.endpoints.len() == 1
                && first.origin.scheme != endpoint.origin.scheme
        };
        match candidates.last_mut().filter(same) {
            Some(candidate) => candidate.endpoints.push(endpoint),
            None => candidates.push(Candidate { endpoints: vec![endpoint] }),
        }
    }
    candidates
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::Settings(format!("internal failure: {e}")))?
}

/// One registry, for one operation, by one set of credentials.
pub struct Session {
    pub(crate) exchange: Exchange,
    pub(crate) endpoint: Endpoint,
    pub(crate) credentials: Credentials,
    pub(crate) authority: Authority,
}

impl Session {
    /// It stands for another registry.
    pub fn is_mirror(&self) -> bool {
        self.endpoint.mirror
    }

    /// Whether it may say what a tag is.
    pub fn resolves(&self) -> bool {
        self.endpoint.may.resolve
    }

    /// Adds what every request to the registry carries.
    fn headers(&self, mut request: Request) -> Request {
        if request.url.origin != self.endpoint.origin {
            return request;
        }
        for (name, value) in &self.endpoint.headers {
            if let Ok(name) = name.parse() {
                request = request.header(name, value);
            }
        }
        request
    }

    async fn ping(&self) -> Result<()> {
        let request = self.headers(Request::get(self.endpoint.url("/")));
        let answer = self.exchange.send(request, &self.endpoint.trust).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            self.authority.learn(answer.headers());
        }
        answer.discard().await;
        Ok(())
    }

    /// Sends a request, as often as it takes, as who we are. The answer may be a refusal.
    pub(crate) async fn send(&self, request: Request, scopes: &Scopes) -> Result<Answer> {
        let limits = self.exchange.config.limits;
        let mut request = self.headers(request);
        let mut pause = limits.pause;
        for attempt in 1.. {
            let Some(next) = request.again().filter(|_| attempt < limits.attempts) else { break };
            let wait = match self.authorized(request, scopes).await {
                Ok(answer) => match self.may_retry(&answer, pause) {
                    Some(wait) => wait,
                    None => return Ok(answer),
                },
                Err(error) if error.is_passing() => pause,
                Err(error) => return Err(error),
            };
            tokio::time::sleep(wait).await;
            pause *= 2;
            request = next;
        }
        self.authorized(request, scopes).await
    }

    /// How long to wait until asking again may help.
    fn may_retry(&self, answer: &Answer, pause: Duration) -> Option<Duration> {
        let asked =
            answer.header(header::RETRY_AFTER).and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let bounded = |wait: &Duration| *wait <= self.exchange.config.limits.longest_pause;
        match answer.status() {
            // Quotas last longer than anybody waits, unless the registry says otherwise.
            StatusCode::TOO_MANY_REQUESTS => asked.filter(bounded),
            StatusCode::NOT_IMPLEMENTED => None,
            status if status.is_server_error() => Some(asked.unwrap_or(pause)).filter(bounded),
            _ => None,
        }
    }

    async fn authorized(&self, request: Request, scopes: &Scopes) -> Result<Answer> {
        let second = request.again();
        let first = self.apply(request, scopes, false).await?;
        let said = first.headers.contains_key(header::AUTHORIZATION);
        // An upload may go on at another host, which is trusted as any other.
        let elsewhere = Trust::default();
        let trust = if first.url.origin == self.endpoint.origin { &self.endpoint.trust } else { &elsewhere };
        let answer = self.exchange.send(first, trust).await?;
        // Another host that we were sent on to does not get to ask.
        let own = *answer.origin() == self.endpoint.origin;
        let Some(second) = second.filter(|_| own && answer.status() == StatusCode::UNAUTHORIZED) else {
            return Ok(answer);
        };
        let asks = self.authority.learn(answer.headers());
        if !asks || (said && self.authority.wants_password()) {
            return Ok(answer);
        }
        self.authority.forget(scopes);
        answer.discard().await;
        let second = self.apply(second, scopes, false).await?;
        self.exchange.send(second, trust).await
    }

    pub(crate) async fn apply(&self, request: Request, scopes: &Scopes, offline: bool) -> Result<Request> {
        if request.url.origin != self.endpoint.origin {
            return Ok(request);
        }
        let (exchange, credentials) = (&self.exchange, &self.credentials);
        self.authority.apply(exchange, &self.endpoint, credentials, scopes, offline, request).await
    }
}
