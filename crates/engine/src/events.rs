//! What happened: the last 256 events, and those to come.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use tokio::sync::broadcast;

use crate::{
    Result,
    model::{Actor, Event, EventKind, Filters, Timestamp},
};

/// How many events are remembered.
const REMEMBERED: usize = 256;
/// How far a listener may fall behind before it misses events.
const BEHIND: usize = 1024;

/// The service.
#[derive(Clone)]
pub struct Events {
    inner: Arc<Inner>,
}

struct Inner {
    past: Mutex<VecDeque<Arc<Event>>>,
    live: broadcast::Sender<Arc<Event>>,
}

/// Events from the past asked for, then those that come.
pub struct EventStream {
    past: VecDeque<Arc<Event>>,
    live: broadcast::Receiver<Arc<Event>>,
    until: Option<Timestamp>,
    filters: Filters,
}

impl Events {
    pub(crate) fn new() -> Self {
        let (live, _) = broadcast::channel(BEHIND);
        Self { inner: Arc::new(Inner { past: Mutex::default(), live }) }
    }

    /// Tells everybody, and remembers it.
    pub(crate) fn publish(&self, kind: EventKind, action: impl Into<String>, actor: Actor) {
        let event = Arc::new(Event { kind, action: action.into(), actor, time: Timestamp::now() });
        let mut past = self.inner.past.lock().expect("no panic under this lock");
        if past.len() == REMEMBERED {
            past.pop_front();
        }
        past.push_back(event.clone());
        // Nobody listening is no error. Sent under the lock, so that a new listener sees each event exactly once.
        let _ = self.inner.live.send(event);
    }

    /// How many clients listen.
    pub(crate) fn listeners(&self) -> usize {
        self.inner.live.receiver_count()
    }

    /// Listens from now on. With `since`, first what is remembered from then on; with `until`, the stream ends then.
    ///
    /// # Errors
    /// None so far: like Docker, unknown filters match nothing.
    pub fn subscribe(
        &self,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
        filters: Filters,
    ) -> Result<EventStream> {
        let remembered = self.inner.past.lock().expect("no panic under this lock");
        let past = match since {
            // An `until` in the past without `since` shows everything that is remembered up to it.
            None if until.is_none_or(|u| u > Timestamp::now()) => VecDeque::new(),
            None => remembered.clone(),
            Some(since) => remembered.iter().filter(|e| e.time >= since).cloned().collect(),
        };
        Ok(EventStream { past, live: self.inner.live.subscribe(), until, filters })
    }
}

impl EventStream {
    /// The next event; none at the `until` moment. Safe to drop at any time.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let event = match self.past.pop_front() {
                Some(event) => event,
                None => self.coming().await?,
            };
            if self.until.is_some_and(|until| event.time > until) {
                return None;
            }
            if matches(&self.filters, &event) {
                return Some(Event::clone(&event));
            }
        }
    }

    async fn coming(&mut self) -> Option<Arc<Event>> {
        let until = self.until.map(|until| {
            std::time::Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default()
        });
        let end = async {
            match until {
                Some(left) => tokio::time::sleep(left).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return None,
                event = self.live.recv() => match event {
                    Ok(event) => return Some(event),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
            }
        }
    }
}

/// Docker's rules (daemon/events): ids and names match by their beginning, `event` also by what is before a colon.
fn matches(filters: &Filters, event: &Event) -> bool {
    let attribute = |name: &str| event.actor.attributes.get(name).map_or("", String::as_str);
    let of = |kind: EventKind| {
        filters.any(kind.as_str(), |v| event.actor.id.starts_with(v) || attribute("name").starts_with(v))
    };
    let action = event.action.split(':').next().unwrap_or_default();
    filters.any("event", |v| v == event.action || v == action)
        && filters.exact("type", event.kind.as_str())
        && filters.exact("scope", "local")
        && of(EventKind::Container)
        && of(EventKind::Network)
        && of(EventKind::Volume)
        && of(EventKind::Daemon)
        && filters.any("image", |v| {
            let (id, name) = match event.kind {
                EventKind::Image => (event.actor.id.as_str(), attribute("name")),
                _ => ("", attribute("image")),
            };
            let untagged = |s: &str| s.rsplit_once(':').map_or(s, |(name, _)| name).to_owned();
            v == id || v == name || v == untagged(name)
        })
        && filters.labels("label", &event.actor.attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(id: &str, pairs: &[(&str, &str)]) -> Actor {
        let attributes = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Actor { id: id.to_owned(), attributes }
    }

    fn filters(pairs: &[(&str, &str)]) -> Filters {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn filters_match_as_dockers_do() {
        let event = Event {
            kind: EventKind::Container,
            action: "exec_create: sh -c true".into(),
            actor: actor("abc123", &[("name", "web"), ("image", "nginx:1"), ("tier", "front")]),
            time: Timestamp::now(),
        };
        for good in [
            &[][..],
            &[("event", "exec_create")],
            &[("container", "abc")],
            &[("container", "web"), ("type", "container")],
            &[("container", "nope"), ("container", "we")],
            &[("image", "nginx")],
            &[("image", "nginx:1"), ("label", "tier=front"), ("label", "tier")],
        ] {
            assert!(matches(&filters(good), &event), "{good:?}");
        }
        for bad in [
            &[("event", "exec")][..],
            &[("type", "image")],
            &[("container", "abd")],
            &[("network", "web2")],
            &[("image", "ngin")],
            &[("label", "tier=back")],
            &[("label", "tier=front"), ("label", "other")],
        ] {
            assert!(!matches(&filters(bad), &event), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn a_listener_gets_the_past_it_asked_for_and_what_comes_then_ends() {
        let events = Events::new();
        let began = Timestamp::now();
        events.publish(EventKind::Container, "create", actor("a", &[]));
        let until = Timestamp::now() + jiff::SignedDuration::from_millis(200);
        let mut stream = events.subscribe(Some(began), Some(until), Filters::none()).unwrap();
        let mut only_new = events.subscribe(None, None, Filters::none()).unwrap();
        events.publish(EventKind::Container, "start", actor("a", &[]));
        assert_eq!(stream.next().await.unwrap().action, "create");
        assert_eq!(stream.next().await.unwrap().action, "start");
        assert_eq!(stream.next().await, None);
        assert_eq!(only_new.next().await.unwrap().action, "start");
    }
}
