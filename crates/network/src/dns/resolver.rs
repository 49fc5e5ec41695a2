//! One container's resolver: what becomes of the messages that its programs send.

use std::{
    collections::HashMap,
    net::IpAddr,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
    time::Instant,
};

use rand::seq::SliceRandom;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::opener::Opener;

use super::{
    book::Book,
    cache::Cache,
    forward::{self, Errand, From, Outcome, SULK, Transport},
    host::HostServers,
    lookup::{NameServers, ResolverConfig, Verdict, decide},
    query::{Code, Query},
    reply::{self, Data},
    response,
};

/// How many questions of one container are under way at once; one more is refused.
const MOST_OF_ONE: usize = 128;
/// How many of all containers.
const MOST_OF_ALL: usize = 1024;
/// How many servers are remembered as silent.
const MOST_SILENT: usize = 256;
/// The longest message over TCP.
const LONGEST: usize = u16::MAX as usize;

/// Servers, and until when they are asked last.
type Silent = HashMap<IpAddr, Instant>;

/// What all resolvers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) book: RwLock<Book>,
    pub(super) host: HostServers,
    pub(super) opener: Arc<Opener>,
    slots: Arc<Semaphore>,
    /// The host's servers that were silent lately, and until when they are asked last.
    silent: Mutex<Silent>,
}

impl Shared {
    pub(super) fn new(host: HostServers) -> Self {
        Self {
            book: RwLock::default(),
            host,
            opener: Arc::new(Opener::default()),
            slots: Arc::new(Semaphore::new(MOST_OF_ALL)),
            silent: Mutex::default(),
        }
    }

    pub(super) fn book(&self) -> RwLockReadGuard<'_, Book> {
        self.book.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One container's.
#[derive(Debug)]
pub(super) struct Resolver {
    shared: Arc<Shared>,
    netns: Arc<OwnedFd>,
    config: RwLock<Arc<ResolverConfig>>,
    cache: Mutex<Cache>,
    slots: Arc<Semaphore>,
    /// The container's own servers that were silent lately.
    silent: Mutex<Silent>,
}

/// What becomes of a message.
#[derive(Debug)]
pub(super) enum Step {
    /// It gets no answer.
    Nothing,
    /// This one.
    Answer(Vec<u8>),
    /// One that must be waited for.
    Ask(Question),
}

/// A question that others are asked, and the right to ask it.
#[derive(Debug)]
pub(super) struct Question {
    message: Box<[u8]>,
    transport: Transport,
    servers: Vec<IpAddr>,
    from: From,
    generation: u64,
    _slots: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl Resolver {
    pub(super) fn new(shared: Arc<Shared>, config: ResolverConfig, netns: OwnedFd) -> Self {
        Self {
            shared,
            netns: Arc::new(netns),
            config: RwLock::new(Arc::new(config)),
            cache: Mutex::default(),
            slots: Arc::new(Semaphore::new(MOST_OF_ONE)),
            silent: Mutex::default(),
        }
    }

    /// Goes by another configuration from now on.
    pub(super) fn change(&self, config: ResolverConfig) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        *self.cache() = Cache::default();
    }

    /// Answers at once or says whom to wait for. Never blocks.
    pub(super) fn take(&self, message: &[u8], transport: Transport) -> Step {
        let query = match Query::read(message) {
            Ok(query) => query,
            Err(bad) => return reply::bad(bad).map_or(Step::Nothing, Step::Answer),
        };
        if query.is_of_a_later_edns() {
            return Step::Answer(reply::no_data(&query));
        }
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner).clone();
        let verdict = decide(&query.question, &config, &self.shared.book());
        Step::Answer(match verdict {
            Verdict::Answer(mut data) => {
                if let Data::Addresses(addresses) = &mut data {
                    addresses.shuffle(&mut rand::rng());
                }
                reply::answer(&query, &data, limit(&query, transport))
            }
            Verdict::NoData => reply::no_data(&query),
            Verdict::Fail => reply::failure(&query, Code::ServerFailure),
            Verdict::Forward => return self.forward(message, &query, &config, transport),
        })
    }

    fn forward(
        &self,
        message: &[u8],
        query: &Query<'_>,
        config: &ResolverConfig,
        transport: Transport,
    ) -> Step {
        let now = Instant::now();
        let (servers, from, generation) = self.servers(config, now);
        if servers.is_empty() {
            return Step::Answer(reply::failure(query, Code::ServerFailure));
        }
        if let Some(known) = self.cache().get(query, generation, now) {
            return Step::Answer(fitted(known, query, transport));
        }
        let slots = self.slots.clone().try_acquire_owned();
        let Ok(slots) = slots.and_then(|own| Ok((own, self.shared.slots.clone().try_acquire_owned()?)))
        else {
            return Step::Answer(reply::failure(query, Code::Refused));
        };
        Step::Ask(Question { message: message.into(), transport, servers, from, generation, _slots: slots })
    }

    /// Asks others.
    pub(super) async fn ask(&self, question: Question) -> Option<Vec<u8>> {
        let Question { message, transport, servers, from, generation, _slots } = question;
        let of_host = matches!(from, From::Host);
        let errand = Arc::new(Errand { message, transport, from, opener: self.shared.opener.clone() });
        let Outcome { answer, silent } = forward::ask(errand.clone(), &servers).await;
        let now = Instant::now();
        remember(&mut self.silent(of_host), &servers, &silent, now);
        let query = Query::read(&errand.message).ok()?;
        let Some((mut message, response)) = answer else {
            return Some(reply::failure(&query, Code::ServerFailure));
        };
        response::address(&mut message, query.id, &query.question);
        self.cache().put(&query, generation, &message, &response, now);
        Some(fitted(message, &query, transport))
    }

    /// Whom to ask, from where, and the state of that list.
    fn servers(&self, config: &ResolverConfig, now: Instant) -> (Vec<IpAddr>, From, u64) {
        let (mut servers, from, generation) = match &config.servers {
            NameServers::Given(servers) => (servers.clone(), From::Container(self.netns.clone()), 0),
            NameServers::Host => {
                let (servers, generation) = self.shared.host.current(now);
                (servers.to_vec(), From::Host, generation)
            }
        };
        servers.truncate(forward::MOST_SERVERS);
        let silent = self.silent(matches!(from, From::Host));
        servers.sort_by_key(|server| silent.get(server).is_some_and(|until| *until > now));
        drop(silent);
        (servers, from, generation)
    }

    fn silent(&self, of_host: bool) -> MutexGuard<'_, Silent> {
        let silent = if of_host { &self.shared.silent } else { &self.silent };
        silent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes who of those that were asked did not answer, and who did.
fn remember(silent: &mut Silent, asked: &[IpAddr], not_answered: &[IpAddr], now: Instant) {
    for server in asked {
        if not_answered.contains(server) && silent.len() < MOST_SILENT {
            silent.insert(*server, now + SULK);
        }
    }
    silent.retain(|_, until| *until > now);
}

fn limit(query: &Query<'_>, transport: Transport) -> usize {
    match transport {
        Transport::Udp => query.udp_limit(),
        Transport::Tcp => LONGEST,
    }
}

/// The answer, or a shorter one that tells the client to ask over TCP.
fn fitted(message: Vec<u8>, query: &Query<'_>, transport: Transport) -> Vec<u8> {
    match message.len() <= limit(query, transport) {
        true => message,
        false => reply::truncated(query),
    }
}
