//! What happened, and what happens: events as they come, and those of the past, over restarts of the daemon.
//!
//! A listener that falls behind reads what it missed from the journal and goes on; only what is not kept any more is
//! missed, and then it is told: an event `missed` of the daemon, with the times between which nothing was told.

mod journal;

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::broadcast;

use crate::{
    Result,
    containers::blocking,
    model::{Actor, Event, EventKind, Filters, Timestamp},
};
use journal::{From, Journal, Reader};

/// How far a listener may fall behind before it reads from the journal.
const BEHIND: usize = 1024;
/// How many events are read from the journal at once.
const BATCH: usize = 1024;

/// The service.
#[derive(Clone)]
pub struct Events {
    inner: Arc<Inner>,
}

struct Inner {
    written: Mutex<Written>,
    reader: Reader,
    live: broadcast::Sender<Arc<Event>>,
}

struct Written {
    journal: Journal,
    last: Timestamp,
    count: u64,
}

/// Events from the past asked for, then those that come.
pub struct EventStream {
    inner: Arc<Inner>,
    /// The part of the past that is still to be read.
    unread: Option<Unread>,
    past: VecDeque<Event>,
    live: broadcast::Receiver<Arc<Event>>,
    /// The time of the last event that was seen, chosen or not.
    seen: Timestamp,
    until: Option<Timestamp>,
    filters: Filters,
}

#[derive(Clone, Copy)]
struct Unread {
    from: From,
    to: Timestamp,
}

impl Events {
    /// Goes on where the last daemon ended. Blocks.
    pub(crate) fn open(root: &Path) -> Self {
        let journal = Journal::open(root);
        let reader = journal.reader();
        let last = reader.last().unwrap_or(Timestamp::UNIX_EPOCH);
        let (live, _) = broadcast::channel(BEHIND);
        let written = Written { journal, last, count: 0 };
        Self { inner: Arc::new(Inner { written: Mutex::new(written), reader, live }) }
    }

    /// Tells everybody, and keeps it.
    pub(crate) fn publish(&self, kind: EventKind, action: impl Into<String>, actor: Actor) {
        let action = action.into();
        let mut written = self.inner.written.lock().expect("no panic under this lock");
        let time = Timestamp::now().max(next(written.last));
        let event = Event { kind, action, actor, time };
        written.journal.append(&event);
        written.last = time;
        written.count += 1;
        // Nobody listening is no error. Sent under the lock, so that a new listener sees each event exactly once.
        let _ = self.inner.live.send(Arc::new(event));
    }

    /// How many clients listen.
    pub(crate) fn listeners(&self) -> usize {
        self.inner.live.receiver_count()
    }

    /// How many events there were since the daemon started.
    pub fn count(&self) -> u64 {
        self.inner.written.lock().expect("no panic under this lock").count
    }

    /// Listens from now on. With `since`, first what is kept from then on; with `until`, the stream ends then.
    ///
    /// # Errors
    /// None so far: like Docker, unknown filters match nothing.
    pub fn subscribe(
        &self,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
        filters: Filters,
    ) -> Result<EventStream> {
        let written = self.inner.written.lock().expect("no panic under this lock");
        let (live, seen) = (self.inner.live.subscribe(), written.last);
        drop(written);
        // An `until` in the past without `since` shows everything that is kept up to it.
        let all = until.is_some_and(|until| until <= Timestamp::now()).then_some(Timestamp::UNIX_EPOCH);
        let unread = since.or(all).map(|since| Unread { from: From::At(since), to: seen });
        let (inner, past) = (self.inner.clone(), VecDeque::new());
        Ok(EventStream { inner, unread, past, live, seen, until, filters })
    }
}

/// The earliest moment after another.
fn next(time: Timestamp) -> Timestamp {
    time.checked_add(jiff::SignedDuration::from_nanos(1)).unwrap_or(time)
}

impl EventStream {
    /// The next event; none at the `until` moment.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let event = match self.past.pop_front() {
                Some(event) => event,
                None if self.unread.is_some() => {
                    self.read().await;
                    continue;
                }
                None => match self.coming().await? {
                    Coming::Event(event) => event,
                    Coming::Behind => continue,
                },
            };
            if self.until.is_some_and(|until| event.time > until) {
                return None;
            }
            if event.action == MISSED || matches(&self.filters, &event) {
                return Some(event);
            }
        }
    }

    /// Reads a part of the journal.
    async fn read(&mut self) {
        let Some(Unread { from, to }) = self.unread else { return };
        let reader = self.inner.reader.clone();
        let read = blocking(move || reader.read(from, Some(to), BATCH)).await;
        let (events, cut) = read.unwrap_or_default();
        if let (From::After(seen), true, Some(first)) = (from, cut, events.first()) {
            self.past.push_back(missed(seen, first.time));
        }
        self.unread = match events.last() {
            Some(last) if events.len() == BATCH => Some(Unread { from: From::After(last.time), to }),
            _ => None,
        };
        self.past.extend(events);
    }

    async fn coming(&mut self) -> Option<Coming> {
        let until = self
            .until
            .map(|until| Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default());
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
                    // It was read from the journal already.
                    Ok(event) if event.time <= self.seen => {}
                    Ok(event) => {
                        self.seen = event.time;
                        return Some(Coming::Event(Event::clone(&event)));
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        let from = From::After(self.seen);
                        self.seen = self.inner.written.lock().expect("no panic under this lock").last;
                        self.unread = Some(Unread { from, to: self.seen });
                        return Some(Coming::Behind);
                    }
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
            }
        }
    }
}

enum Coming {
    Event(Event),
    /// The journal has what comes next.
    Behind,
}

/// The action of an event that stands for others.
const MISSED: &str = "missed";

/// Tells a listener that it was too slow.
fn missed(seen: Timestamp, next: Timestamp) -> Event {
    let attributes = [("since".to_owned(), seen.to_string()), ("until".to_owned(), next.to_string())].into();
    Event {
        kind: EventKind::Daemon,
        action: MISSED.to_owned(),
        actor: Actor { id: String::new(), attributes },
        time: next,
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
        let dir = tempfile::tempdir().unwrap();
        let events = Events::open(dir.path());
        let began = Timestamp::now();
        events.publish(EventKind::Container, "create", actor("a", &[]));
        let until = Timestamp::now() + jiff::SignedDuration::from_secs(3);
        let mut stream = events.subscribe(Some(began), Some(until), Filters::none()).unwrap();
        let mut only_new = events.subscribe(None, None, Filters::none()).unwrap();
        events.publish(EventKind::Container, "start", actor("a", &[]));
        assert_eq!(stream.next().await.unwrap().action, "create");
        assert_eq!(stream.next().await.unwrap().action, "start");
        assert_eq!(stream.next().await, None);
        assert_eq!(only_new.next().await.unwrap().action, "start");
    }

    #[tokio::test]
    async fn a_slow_listener_misses_nothing_and_another_daemon_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let events = Events::open(dir.path());
        let began = Timestamp::now();
        let mut slow = events.subscribe(None, None, Filters::none()).unwrap();
        let count = BEHIND * 3 + 7;
        for n in 0..count {
            events.publish(EventKind::Container, format!("act {n}"), actor("a", &[]));
        }
        let mut times = Vec::new();
        for n in 0..count {
            let event = slow.next().await.unwrap();
            assert_eq!(event.action, format!("act {n}"));
            times.push(event.time);
        }
        assert!(times.is_sorted_by(|a, b| a < b), "no two have the same time");
        drop(events);
        let again = Events::open(dir.path());
        let mut stream = again.subscribe(Some(began), Some(Timestamp::now()), Filters::none()).unwrap();
        for n in 0..count {
            assert_eq!(stream.next().await.unwrap().action, format!("act {n}"));
        }
        assert_eq!(stream.next().await, None);
    }
}
