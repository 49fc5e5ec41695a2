//! Passwords: bcrypt, which is slow by intent, and the memory of what was right, so that it does not slow each request.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex},
};

use ring::hmac;
use tokio::sync::Semaphore;

use crate::{Error, places::owner};

/// Cost of new hashes: 2 to this power rounds.
pub(crate) const COST: u32 = 10;
/// Bytes that bcrypt looks at; longer passwords would be cut silently.
pub(crate) const MAX_PASSWORD: usize = 72;
/// Verifications that run at once: guessing must not take the processors.
const TURNS: usize = 2;
/// Verifications of one address that may wait or run. More are told to come back.
const QUEUE: usize = 256;
/// Right passwords that are remembered.
const REMEMBERED: usize = 4096;

/// Verifies passwords.
#[derive(Debug)]
pub(crate) struct Passwords {
    /// Of this process: nothing that is remembered can be looked up from elsewhere.
    key: hmac::Key,
    right: Mutex<HashMap<[u8; 32], ()>>,
    turns: Semaphore,
    /// One for each address that has somebody waiting, so that who guesses waits behind himself.
    lines: Mutex<HashMap<Option<IpAddr>, Arc<Line>>>,
}

/// Who waits at one address.
#[derive(Debug)]
struct Line {
    places: Semaphore,
    turns: Semaphore,
}

impl Default for Passwords {
    fn default() -> Self {
        let key: [u8; 32] = rand::random();
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            right: Mutex::default(),
            turns: Semaphore::new(TURNS),
            lines: Mutex::default(),
        }
    }
}

impl Passwords {
    /// Whether this is the password of a bcrypt hash.
    pub(crate) async fn verify(
        &self,
        from: Option<IpAddr>,
        password: &str,
        hash: &str,
    ) -> Result<bool, Error> {
        let tag = self.tag(password, hash);
        if self.right.lock().expect("no panic under this lock").contains_key(&tag) {
            return Ok(true);
        }
        let (password, hash) = (password.to_owned(), hash.to_owned());
        let right = self.slowly(from, move || bcrypt::verify(&password, &hash).unwrap_or(false)).await?;
        if right {
            let mut all = self.right.lock().expect("no panic under this lock");
            if all.len() >= REMEMBERED {
                all.clear();
            }
            all.insert(tag, ());
        }
        Ok(right)
    }

    /// Takes as long as a verification of a hash of this cost.
    pub(crate) async fn refuse(&self, from: Option<IpAddr>, password: &str, cost: u32) -> Result<(), Error> {
        let password = password.to_owned();
        self.slowly(from, move || drop(bcrypt::hash(&password, cost))).await
    }

    /// A few at a time, on threads that may block, and addresses by turns.
    async fn slowly<T: Send + 'static>(
        &self,
        from: Option<IpAddr>,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let line = self.line(from);
        let busy = |_| Error::TooMany { reason: "too many sign-ins at once" };
        let _place = line.places.try_acquire().map_err(busy)?;
        let _next = line.turns.acquire().await.expect("it is never closed");
        let _turn = self.turns.acquire().await.expect("it is never closed");
        crate::service::blocking(run).await
    }

    fn line(&self, from: Option<IpAddr>) -> Arc<Line> {
        let mut lines = self.lines.lock().expect("no panic under this lock");
        let from = from.map(owner);
        if let Some(line) = lines.get(&from) {
            return line.clone();
        }
        lines.retain(|_, line| Arc::strong_count(line) > 1);
        let line = Line { places: Semaphore::new(QUEUE), turns: Semaphore::new(TURNS) };
        lines.entry(from).or_insert(Arc::new(line)).clone()
    }

    /// What is remembered: neither the password nor the hash can be read from it.
    fn tag(&self, password: &str, hash: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(hash.as_bytes());
        context.update(b"\0");
        context.update(password.as_bytes());
        context.sign().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

/// The cost of a bcrypt hash; [`COST`] for text that is none.
pub(crate) fn cost(hash: &str) -> u32 {
    hash.split('$').nth(2).and_then(|cost| cost.parse().ok()).unwrap_or(COST)
}

/// The bcrypt hash of a password, as htpasswd writes it. Slow.
pub(crate) fn hash(password: &str, cost: u32) -> Result<String, Error> {
    if password.len() > MAX_PASSWORD || password.contains('\0') {
        return Err(Error::Invalid {
            reason: format!("a password has at most {MAX_PASSWORD} bytes, none of them zero"),
        });
    }
    let parts = bcrypt::hash_with_result(password, cost);
    let parts = parts.map_err(|error| Error::Invalid { reason: error.to_string() })?;
    Ok(parts.format_for_version(bcrypt::Version::TwoY))
}

/// A password that nobody guesses, of letters and digits.
pub(crate) fn random(length: usize) -> String {
    use rand::Rng;
    let mut rng = rand::rng();
    (0..length).map(|_| rng.sample(rand::distr::Alphanumeric) as char).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_guesses_keeps_nobody_else_waiting() {
        let passwords = Arc::new(Passwords::default());
        let guesser: Option<IpAddr> = Some([192, 0, 2, 1].into());
        let mut guesses = tokio::task::JoinSet::new();
        // None is through before all are there.
        let busy = passwords.turns.acquire_many(TURNS as u32).await.unwrap();
        for _ in 0..QUEUE {
            let passwords = passwords.clone();
            guesses.spawn(async move { passwords.refuse(guesser, "guess", 4).await });
        }
        while passwords.line(guesser).places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(passwords.refuse(guesser, "guess", 4).await, Err(Error::TooMany { .. })));
        drop(busy);
        let hash = hash("secret", 4).unwrap();
        let other = Some([192, 0, 2, 2].into());
        assert!(passwords.verify(other, "secret", &hash).await.unwrap());
        assert!(
            passwords.line(guesser).places.available_permits() < QUEUE / 2,
            "before the guesses are through"
        );
        while guesses.join_next().await.is_some() {}
        // Nothing stays of who has gone.
        passwords.line(None);
        assert_eq!(passwords.lines.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_hash_says_its_cost() {
        assert_eq!((cost("$2y$05$abc"), cost("none")), (5, COST));
    }
}
