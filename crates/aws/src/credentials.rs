//! Keys that are held, and when others take their place.
//!
//! One task at a time fetches; others go on with what is held while it is good. A service that does not answer costs each of its
//! waits once: the failure is told to all who came meanwhile.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

use crate::{Ask, Environment, Keys, NoKeys, sources::Sources};

/// So long before their end keys are renewed, if they live longer than twice that.
const EARLY: SignedDuration = SignedDuration::from_mins(5);
/// After a failure, nobody is asked for so long.
const PAUSE: Duration = Duration::from_secs(5);

/// Keys, and where they come from.
pub struct Credentials<A> {
    sources: Sources<A>,
    held: Mutex<Held>,
    /// The right to fetch.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Held {
    found: Option<Found>,
    failed: Option<(Instant, NoKeys)>,
}

/// Keys of some source.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) keys: Keys,
    /// They are good until then.
    end: Option<Timestamp>,
    /// Others are fetched from then on.
    renew: Option<Timestamp>,
}

impl Found {
    pub(crate) fn new(keys: Keys, end: Option<Timestamp>) -> Self {
        let now = Timestamp::now();
        // What lives for a short time is renewed after half of it.
        let renew = end.map(|end| (end - EARLY).max(now + end.duration_since(now) / 2));
        Self { keys, end, renew }
    }
}

/// What can be done with what is held.
enum Now {
    Good(Keys),
    /// Good, but not for long.
    Ending(Keys),
    Failed(NoKeys),
    Nothing,
}

impl<A: Ask> Credentials<A> {
    /// Keys as this environment has them. Asks nobody yet.
    pub fn new(environment: Environment, ask: A) -> Self {
        Self::of(Sources { container: None, fixed: None, environment, ask })
    }

    /// Keys of the container service's role at this path, wherever the environment has others.
    pub fn of_container(path: String, environment: Environment, ask: A) -> Self {
        Self::of(Sources { container: Some(path), fixed: None, environment, ask })
    }

    /// These.
    pub fn fixed(keys: Keys, ask: A) -> Self {
        Self::of(Sources { container: None, fixed: Some(keys), environment: Arc::new(|_| None), ask })
    }

    fn of(sources: Sources<A>) -> Self {
        Self { sources, held: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Any state of it is a good one.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Now {
        let (held, now) = (self.held(), Timestamp::now());
        match (&held.found, &held.failed) {
            (Some(found), _) if found.renew.is_none_or(|renew| now < renew) => Now::Good(found.keys.clone()),
            (Some(found), _) if found.end.is_none_or(|end| now < end) => Now::Ending(found.keys.clone()),
            (_, Some((at, error))) if at.elapsed() < PAUSE => Now::Failed(error.clone()),
            _ => Now::Nothing,
        }
    }

    /// Keys that are good now, and for minutes if their source gives such.
    ///
    /// # Errors
    /// No source has any.
    pub async fn keys(&self) -> Result<Keys, NoKeys> {
        let _turn = match self.now() {
            Now::Good(keys) => return Ok(keys),
            Now::Failed(error) => return Err(error),
            Now::Ending(keys) => match self.turn.try_lock() {
                Ok(turn) => turn,
                // Somebody fetches others already.
                Err(_) => return Ok(keys),
            },
            Now::Nothing => self.turn.lock().await,
        };
        // Whoever had the turn before has done it for all.
        let ending = match self.now() {
            Now::Good(keys) => return Ok(keys),
            Now::Failed(error) => return Err(error),
            Now::Ending(keys) => Some(keys),
            Now::Nothing => None,
        };
        let outcome = self.sources.find().await;
        let mut held = self.held();
        match (outcome, ending) {
            (Ok(found), _) => {
                held.failed = None;
                Ok(held.found.insert(found).keys.clone())
            }
            (Err(error), Some(keys)) => {
                tracing::warn!(%error, "keys are not renewed yet");
                if let Some(found) = &mut held.found {
                    found.renew = Some(Timestamp::now() + PAUSE);
                }
                Ok(keys)
            }
            (Err(error), None) => {
                held.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// A service says that these are not good: they are fetched again, unless there are others already.
    pub fn forget(&self, keys: &Keys) {
        let mut held = self.held();
        if held.found.as_ref().is_some_and(|found| found.keys == *keys) {
            held.found = None;
        }
    }

    /// The region that the environment names, or that the machine is in.
    ///
    /// # Errors
    /// The machine does not say.
    pub async fn region(&self) -> Result<String, NoKeys> {
        match self.sources.region() {
            Some(region) => Ok(region),
            None => self.sources.region_of_machine().await,
        }
    }
}

#[cfg(test)]
mod tests;
