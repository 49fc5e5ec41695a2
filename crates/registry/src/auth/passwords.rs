//! Passwords: bcrypt, which is slow by intent, and the memory of what was right, so that it does not slow each request.

use std::{collections::HashMap, sync::Mutex};

use ring::hmac;
use tokio::sync::Semaphore;

use crate::Error;

/// Cost of new hashes: 2 to this power rounds.
pub(crate) const COST: u32 = 10;
/// Bytes that bcrypt looks at; longer passwords would be cut silently.
pub(crate) const MAX_PASSWORD: usize = 72;
/// Verifications that may wait or run at once. More are told to come back: guessing must not take the processors.
const QUEUE: usize = 64;
/// Right passwords that are remembered.
const REMEMBERED: usize = 4096;

/// Verifies passwords.
#[derive(Debug)]
pub(crate) struct Passwords {
    /// Of this process: nothing that is remembered can be looked up from elsewhere.
    key: hmac::Key,
    right: Mutex<HashMap<[u8; 32], ()>>,
    places: Semaphore,
    turns: Semaphore,
}

impl Default for Passwords {
    fn default() -> Self {
        let key: [u8; 32] = rand::random();
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            right: Mutex::default(),
            places: Semaphore::new(QUEUE),
            turns: Semaphore::new(2),
        }
    }
}

impl Passwords {
    /// Whether this is the password of a bcrypt hash.
    pub(crate) async fn verify(&self, password: &str, hash: &str) -> Result<bool, Error> {
        let tag = self.tag(password, hash);
        if self.right.lock().expect("no panic under this lock").contains_key(&tag) {
            return Ok(true);
        }
        let (password, hash) = (password.to_owned(), hash.to_owned());
        let right = self.slowly(move || bcrypt::verify(&password, &hash).unwrap_or(false)).await?;
        if right {
            let mut all = self.right.lock().expect("no panic under this lock");
            if all.len() >= REMEMBERED {
                all.clear();
            }
            all.insert(tag, ());
        }
        Ok(right)
    }

    /// Takes as long as a verification.
    pub(crate) async fn refuse(&self, password: &str) -> Result<(), Error> {
        let password = password.to_owned();
        self.slowly(move || drop(bcrypt::hash(&password, COST))).await
    }

    /// Two at a time, on threads that may block.
    async fn slowly<T: Send + 'static>(&self, run: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let busy = |_| Error::TooMany { reason: "too many sign-ins at once" };
        let _place = self.places.try_acquire().map_err(busy)?;
        let _turn = self.turns.acquire().await.expect("it is never closed");
        crate::service::blocking(run).await
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

/// A password that nobody guesses: 24 letters and digits.
pub(crate) fn random(length: usize) -> String {
    use rand::Rng;
    let mut rng = rand::rng();
    (0..length).map(|_| rng.sample(rand::distr::Alphanumeric) as char).collect()
}
