//! Webhooks: what happened, told to other servers, in the form of distribution's notifications
//! (`application/vnd.docker.distribution.events.v1+json`), signed in `X-Skiff-Signature`.
//!
//! Telling is behind the change and never delays it. A server that does not answer is tried again for half an hour; what
//! waits is in memory, bounded, and lost when the registry ends.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use ring::hmac;
use serde_json::json;
use tokio::sync::Semaphore;

use super::Registry;
use crate::{
    accounts::records::Webhook,
    auth::{Caller, passwords},
    clock,
    digest::Digest,
    name::Name,
    remote::{Address, Wire},
};

/// Pauses before the next attempt.
const AGAIN: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(5 * 60),
    Duration::from_secs(25 * 60),
];
/// Messages that wait or are under way; more are dropped, and the log says so.
const WAITING: usize = 4096;

const SIGNATURE: HeaderName = HeaderName::from_static("x-skiff-signature");
const EVENTS: &str = "application/vnd.docker.distribution.events.v1+json";

/// Tells.
#[derive(Debug)]
pub(crate) struct Teller {
    wire: Wire,
    places: Arc<Semaphore>,
}

impl Teller {
    pub(crate) fn new() -> Result<Self, String> {
        Ok(Self { wire: Wire::new(false)?, places: Arc::new(Semaphore::new(WAITING)) })
    }
}

impl Registry {
    /// Tells the project's webhooks of a push or a removal.
    pub(super) fn tell(
        self: &Arc<Self>,
        caller: &Caller,
        action: &str,
        name: &Name,
        tag: Option<&str>,
        digest: Option<&Digest>,
    ) {
        let hooks =
            self.accounts.read().projects.get(name.project()).map(|p| p.webhooks.clone()).unwrap_or_default();
        if hooks.is_empty() {
            return;
        }
        let mut target = json!({ "repository": name.as_str() });
        if let Some(tag) = tag {
            target["tag"] = json!(tag);
        }
        if let Some(digest) = digest {
            target["digest"] = json!(digest);
        }
        let event = json!({
            "id": passwords::random(24),
            "timestamp": clock::rfc3339(clock::now()),
            "action": action,
            "target": target,
            "request": { "addr": caller.address.map(|address| address.to_string()) },
            "actor": { "name": &*caller.name },
        });
        let body = json!({ "events": [event] }).to_string();
        for hook in hooks {
            let Ok(place) = self.teller.places.clone().try_acquire_owned() else {
                tracing::error!(url = hook.url, "too many webhooks wait: this one is dropped");
                continue;
            };
            let (this, body) = (self.clone(), body.clone());
            tokio::spawn(async move {
                this.deliver(&hook, body).await;
                drop(place);
            });
        }
    }

    async fn deliver(&self, hook: &Webhook, body: String) {
        for pause in AGAIN.map(Some).into_iter().chain([None]) {
            let reason = match self.attempt(hook, &body).await {
                Ok(()) => return,
                Err(reason) => reason,
            };
            match pause {
                Some(pause) => {
                    tracing::debug!(url = hook.url, reason, "a webhook is tried again");
                    tokio::time::sleep(pause).await;
                }
                None => tracing::error!(url = hook.url, reason, "a webhook was given up"),
            }
        }
    }

    async fn attempt(&self, hook: &Webhook, body: &str) -> Result<(), String> {
        let (address, path) = Address::split(&hook.url).ok_or("its address is none")?;
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENTS));
        if !hook.secret.is_empty() {
            let key = hmac::Key::new(hmac::HMAC_SHA256, hook.secret.as_bytes());
            let tag = format!("sha256={}", skiff_types::hex(hmac::sign(&key, body.as_bytes()).as_ref()));
            headers.insert(SIGNATURE, HeaderValue::from_str(&tag).map_err(|error| error.to_string())?);
        }
        let answer = self.teller.wire.send(&address, Method::POST, &path, headers, body.to_owned()).await?;
        if answer.status().is_success() { Ok(()) } else { Err(format!("it answers {}", answer.status())) }
    }
}
