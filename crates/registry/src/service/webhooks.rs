//! Webhooks: what happened, told to other servers, in the form of distribution's notifications
//! (`application/vnd.docker.distribution.events.v1+json`), signed in `X-Skiff-Signature`.
//!
//! Telling is behind the change and never delays it. A server that does not answer is tried again for half an hour; what
//! waits is in memory, bounded, and lost when the registry ends.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use ring::hmac;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{Registry, manifests::Stored};
use crate::{
    accounts::records::Webhook,
    auth::{Caller, passwords},
    clock,
    name::{Name, Reference},
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
    /// Where the registry listens.
    port: OnceLock<u16>,
    /// Which process this is.
    instance: String,
}

impl Teller {
    pub(crate) fn new() -> Result<Self, String> {
        let places = Arc::new(Semaphore::new(WAITING));
        Ok(Self { wire: Wire::new(false)?, places, port: OnceLock::new(), instance: passwords::random(22) })
    }

    /// Which registry tells this.
    fn source(&self) -> Value {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let address = self.port.get().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
        json!({ "addr": address, "instanceID": self.instance })
    }
}

/// By which request something changed.
fn request(caller: &Caller) -> Value {
    let Some(asked) = &caller.request else { return json!({}) };
    let mut request = json!({
        "id": passwords::random(22),
        "host": caller.base.split_once("://").map_or(&*caller.base, |(_, host)| host),
        "method": asked.method.as_str(),
        "useragent": asked.agent,
    });
    if let Some(address) = asked.address {
        request["addr"] = json!(SocketAddr::new(address.ip().to_canonical(), address.port()));
    }
    request
}

impl Registry {
    /// Remembers where it listens, for who is told.
    pub(crate) fn listens_at(&self, address: SocketAddr) {
        let _ = self.teller.port.set(address.port());
    }

    /// Tells the project's webhooks of a manifest that was pushed.
    pub(super) fn tell_pushed(
        self: &Arc<Self>,
        caller: &Caller,
        name: &Name,
        reference: &Reference,
        stored: &Stored,
    ) {
        let mut target = json!({
            "repository": name.as_str(),
            "mediaType": stored.media_type.as_str(),
            "digest": stored.digest,
            "size": stored.size,
            "length": stored.size,
            "url": format!("{}/v2/{name}/manifests/{}", caller.base, stored.digest),
        });
        if let Reference::Tag(tag) = reference {
            target["tag"] = json!(tag.as_str());
        }
        self.tell(caller, "push", name, &target);
    }

    /// Tells them of a tag, a manifest or a blob that was removed, or of the whole repository.
    pub(super) fn tell_removed(self: &Arc<Self>, caller: &Caller, name: &Name, what: Option<&Reference>) {
        let mut target = json!({ "repository": name.as_str() });
        match what {
            Some(Reference::Tag(tag)) => target["tag"] = json!(tag.as_str()),
            Some(Reference::Digest(digest)) => target["digest"] = json!(digest),
            None => {}
        }
        self.tell(caller, "delete", name, &target);
    }

    fn tell(self: &Arc<Self>, caller: &Caller, action: &str, name: &Name, target: &Value) {
        let hooks =
            self.accounts.read().projects.get(name.project()).map(|p| p.webhooks.clone()).unwrap_or_default();
        if hooks.is_empty() {
            return;
        }
        let event = json!({
            "id": passwords::random(24),
            "timestamp": clock::rfc3339(clock::now()),
            "action": action,
            "target": target,
            "request": request(caller),
            "actor": { "name": &*caller.name },
            "source": self.teller.source(),
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
