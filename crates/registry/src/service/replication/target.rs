//! How it goes with a target.
//!
//! A tag that could not be sent is kept back by itself, for a pause that doubles: what the target does not want must not
//! stop the others. Only a target that is away, or that lets nobody in, is left alone as a whole.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{Failure, Item};
use crate::name::{Name, Tag};

/// The first pause after a failure, and the longest.
pub(super) const PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// Failures of the target itself, one after the other, until it is left alone for a while.
const PATIENCE: usize = 3;

/// A target of a project.
#[derive(Debug, Default)]
pub(super) struct Target {
    pub(super) busy: bool,
    /// When everything was last sent; seconds since 1970.
    pub(super) last: Option<u64>,
    /// When everything was last asked for again.
    pub(super) looked: Option<Instant>,
    held: HashMap<(Name, Tag), Held>,
    /// Failures of the target itself since it last answered.
    failures: usize,
    pause: Duration,
    /// Not before.
    due: Option<Instant>,
}

/// A tag that could not be sent.
#[derive(Debug)]
struct Held {
    item: Item,
    reason: String,
    at: Instant,
    pause: Duration,
}

impl Held {
    fn due(&self) -> Instant {
        self.at + self.pause
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).clamp(PAUSE, LONGEST_PAUSE)
}

impl Target {
    /// Whether something may be sent to it.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        !self.busy && self.due.is_none_or(|due| due <= now)
    }

    /// Of what is missing there, what is to be sent now: what never failed comes first.
    pub(super) fn pick(&mut self, missing: Vec<Item>, now: Instant) -> Vec<Item> {
        self.due = None;
        let mut held = std::mem::take(&mut self.held);
        let (mut items, mut again) = (Vec::new(), Vec::new());
        for item in missing {
            match held.remove(&item.key()).filter(|held| held.item == item) {
                None => items.push(item),
                Some(held) => {
                    if held.due() <= now {
                        again.push(item.clone());
                    }
                    self.held.insert(item.key(), held);
                }
            }
        }
        items.append(&mut again);
        items
    }

    /// A tag is there.
    pub(super) fn sent(&mut self, item: &Item) {
        self.held.remove(&item.key());
        self.answered();
    }

    fn answered(&mut self) {
        (self.failures, self.pause) = (0, Duration::ZERO);
    }

    /// A tag could not be sent. Whether others should be tried.
    pub(super) fn failed(&mut self, item: Item, failure: Failure, now: Instant) -> bool {
        let pause = self.held.remove(&item.key()).map_or(Duration::ZERO, |held| held.pause);
        let Failure { reason, of_the_target } = failure;
        self.held.insert(item.key(), Held { item, reason, at: now, pause: longer(pause) });
        if !of_the_target {
            self.answered();
            return true;
        }
        self.failures += 1;
        if self.failures < PATIENCE {
            return true;
        }
        self.failures = 0;
        self.pause = longer(self.pause);
        self.due = Some(now + self.pause);
        false
    }

    /// Tries everything again as soon as possible.
    pub(super) fn forgive(&mut self) {
        self.held.clear();
        self.answered();
        self.due = None;
    }

    pub(super) fn has_failed(&self) -> bool {
        !self.held.is_empty()
    }

    /// What went wrong last, of what still does.
    pub(super) fn error(&self) -> Option<String> {
        let last = self.held.values().max_by_key(|held| held.at)?;
        Some(format!("{}:{}: {}", last.item.name, last.item.tag, last.reason))
    }

    /// When something that failed is to be tried again.
    pub(super) fn next(&self) -> Option<Instant> {
        let first = self.held.values().map(Held::due).min()?;
        Some(self.due.map_or(first, |due| due.max(first)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{Algorithm, Digest};

    fn item(tag: &str, content: &str) -> Item {
        Item {
            name: "team/app".parse().unwrap(),
            tag: tag.parse().unwrap(),
            digest: Digest::of(Algorithm::Sha256, content.as_bytes()),
            state: Digest::of(Algorithm::Sha256, content.as_bytes()),
        }
    }

    fn items(tags: &[&str]) -> Vec<Item> {
        tags.iter().map(|tag| item(tag, "x")).collect()
    }

    fn failure(of_the_target: bool) -> Failure {
        Failure { reason: "no".to_owned(), of_the_target }
    }

    #[test]
    fn what_is_not_wanted_keeps_nothing_else_back() {
        let (mut target, now) = (Target::default(), Instant::now());
        for tag in ["v1", "v2", "v3", "v4"] {
            assert!(target.failed(item(tag, "x"), failure(false), now));
        }
        assert!(target.is_ready(now) && target.has_failed());
        // What is new goes at once, also if it is another image of the same tag.
        let missing = || [items(&["v1", "v2", "v3", "v5"]), vec![item("v4", "y")]].concat();
        assert_eq!(target.pick(missing(), now), [item("v5", "x"), item("v4", "y")]);
        // The rest has its pause, and comes last. That of v4 is over.
        let later = now + PAUSE;
        assert_eq!(target.next(), Some(later));
        let tags: Vec<_> = target.pick(missing(), later).iter().map(|item| item.tag.to_string()).collect();
        assert_eq!(tags, ["v5", "v4", "v1", "v2", "v3"]);
        target.failed(item("v1", "x"), failure(false), later);
        assert_eq!(target.pick(items(&["v1"]), later), []);
        assert_eq!(target.next(), Some(later + 2 * PAUSE));
        target.sent(&item("v1", "x"));
        assert_eq!((target.error(), target.next()), (None, None));
    }

    #[test]
    fn a_target_that_is_away_is_left_alone() {
        let (mut target, now) = (Target::default(), Instant::now());
        assert!(target.failed(item("v1", "x"), failure(true), now));
        assert!(target.failed(item("v2", "x"), failure(true), now));
        assert!(target.is_ready(now));
        // An answer, whatever it is.
        assert!(target.failed(item("v3", "x"), failure(false), now));
        assert!(target.failed(item("v4", "x"), failure(true), now));
        assert!(target.failed(item("v5", "x"), failure(true), now));
        assert!(!target.failed(item("v6", "x"), failure(true), now));
        assert!(!target.is_ready(now) && target.is_ready(now + PAUSE));
        // Those that were not tried yet go before those that were.
        let all = target.pick(items(&["v4", "v5", "v6", "v7"]), now + PAUSE);
        assert_eq!(all.first(), Some(&item("v7", "x")));
        assert_eq!(all.len(), 4);
        for tag in ["v7", "v4", "v5"] {
            target.failed(item(tag, "x"), failure(true), now + PAUSE);
        }
        assert!(!target.is_ready(now + PAUSE) && target.is_ready(now + 3 * PAUSE));
        target.forgive();
        assert!(target.is_ready(now) && !target.has_failed());
        // What is gone is no failure any more.
        target.failed(item("v1", "x"), failure(false), now);
        assert_eq!(target.pick(Vec::new(), now), []);
        assert_eq!((target.error(), target.next()), (None, None));
    }
}
