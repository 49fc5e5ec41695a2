//! Replication: what is pushed to a project goes to other registries too (ADR 34).
//!
//! There is no queue that could be lost. What has to be sent is the difference between the tags that are here, with what refers
//! to them ([`referrers`]), and those that the other registry is known to have ([`REPLICATED`], written after it has said so).
//! So a crash at any point costs a question at most. Each target of each project is served by a task of its own; what fails is tried again after a pause that
//! doubles ([`target`]). Removals are not replicated.

mod copy;
mod referrers;
mod target;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use skiff_state::{Batch, OpenError, Table};
use tokio::sync::Notify;

use self::{
    copy::Failure,
    referrers::Referrers,
    target::{PAUSE, Target},
};
use super::Registry;
use crate::{
    Error,
    accounts::records::Replication,
    catalog::Pattern,
    clock,
    digest::Digest,
    name::{Name, Tag},
    store::Snapshot,
};

/// The state of a tag that the target last had, by `target name tag`.
const REPLICATED: Table<Digest> = Table::new("replicated");
/// How often it is looked whether something is due, if nothing happens.
const LOOK: Duration = Duration::from_secs(60);

/// A target of a project.
type Key = (String, String);

/// One tag that a target does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    name: Name,
    tag: Tag,
    digest: Digest,
    state: Digest,
}

impl Item {
    fn key(&self) -> (Name, Tag) {
        (self.name.clone(), self.tag.clone())
    }
}

/// What is known of all targets.
pub(crate) struct Replicator {
    client: skiff_distribution::Registries,
    done: Mutex<HashMap<String, Digest>>,
    targets: Mutex<BTreeMap<Key, Target>>,
    wake: Notify,
}

impl std::fmt::Debug for Replicator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replicator").finish_non_exhaustive()
    }
}

/// A target as people see it.
pub(crate) struct Figures {
    pub(crate) to: Replication,
    /// Tags that it does not have yet.
    pub(crate) waiting: usize,
    pub(crate) error: Option<String>,
    /// Seconds since 1970.
    pub(crate) last: Option<u64>,
}

impl Replicator {
    pub(super) fn load(snapshot: &Snapshot) -> Result<HashMap<String, Digest>, OpenError> {
        Ok(snapshot.all(&REPLICATED)?.into_iter().collect())
    }

    pub(super) fn new(done: HashMap<String, Digest>) -> Self {
        let config = skiff_distribution::Config {
            proxies: skiff_distribution::Proxies::from_environment(),
            ..Default::default()
        };
        Self {
            client: skiff_distribution::Registries::new(config),
            done: Mutex::new(done),
            targets: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// Something may have to be sent.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    fn done(&self) -> MutexGuard<'_, HashMap<String, Digest>> {
        self.done.lock().expect("no panic under this lock")
    }

    fn targets(&self) -> MutexGuard<'_, BTreeMap<Key, Target>> {
        self.targets.lock().expect("no panic under this lock")
    }
}

fn key(target: &str, name: &Name, tag: &Tag) -> String {
    format!("{target} {name} {tag}")
}

impl Registry {
    /// Sends what has to be sent until it is dropped.
    pub(crate) async fn replicate(self: Arc<Self>) {
        loop {
            self.forget_strangers();
            for (project, to) in self.replications() {
                let items = self.due(&project, &to);
                if !items.is_empty() {
                    tokio::spawn(self.clone().send_all(project, to, items));
                }
            }
            tokio::select! {
                () = self.replicator.wake.notified() => {}
                () = tokio::time::sleep(self.next_look()) => {}
            }
        }
    }

    fn replications(&self) -> Vec<(String, Replication)> {
        let state = self.accounts.read();
        let all = state.projects.iter();
        all.flat_map(|(name, p)| p.replications.iter().map(|to| (name.clone(), to.clone()))).collect()
    }

    /// Targets may have changed.
    pub(crate) fn look_at_replications(&self) {
        self.replicator.wake();
    }

    /// Looks at everything again, as soon as possible.
    pub(crate) fn replicate_now(&self, project: &str) -> Result<(), Error> {
        let targets = self.accounts.project(project)?.replications;
        if targets.is_empty() {
            return Err(Error::Conflict { reason: format!("project {project} is replicated nowhere") });
        }
        for to in &targets {
            self.ask_again(project, to);
            let mut all = self.replicator.targets();
            all.entry((project.to_owned(), to.target())).or_default().forgive();
        }
        self.replicator.wake();
        Ok(())
    }

    /// How it goes with the targets of a project.
    pub(crate) fn replication_figures(&self, project: &str) -> Vec<Figures> {
        let Ok(record) = self.accounts.project(project) else { return Vec::new() };
        let figures = record.replications.into_iter().map(|to| {
            let waiting = self.missing(project, &to).len();
            let targets = self.replicator.targets();
            let target = targets.get(&(project.to_owned(), to.target()));
            let (error, last) = target.map_or((None, None), |target| (target.error(), target.last));
            drop(targets);
            Figures { to, waiting, error, last }
        });
        figures.collect()
    }

    /// Tags that a target is not known to have.
    fn missing(&self, project: &str, to: &Replication) -> Vec<Item> {
        let patterns: Vec<Pattern> = to.tags.iter().cloned().map(Pattern).collect();
        let wanted = |tag: &Tag| patterns.is_empty() || patterns.iter().any(|p| p.matches(tag.as_str()));
        let (contents, done, target) = (self.catalog.read(), self.replicator.done(), to.target());
        let mut items = Vec::new();
        for (name, repository) in contents.of_project(project) {
            let referrers = Referrers::new(repository);
            for (tag, entry) in repository.tags.iter().filter(|(tag, _)| wanted(tag)) {
                let digest = entry.record.digest.clone();
                let state = referrers.state(&digest);
                if done.get(&key(&target, name, tag)) != Some(&state) {
                    items.push(Item { name: name.clone(), tag: tag.clone(), digest, state });
                }
            }
        }
        items
    }

    /// What is to be sent to a target now; it is busy from then on.
    fn due(&self, project: &str, to: &Replication) -> Vec<Item> {
        let id = (project.to_owned(), to.target());
        {
            let mut targets = self.replicator.targets();
            let target = targets.entry(id.clone()).or_default();
            let now = Instant::now();
            if !target.is_ready(now) {
                return Vec::new();
            }
            // When that was before this process, nobody knows: a registry that is started every day compares too.
            let looked = target.looked.filter(|looked| looked.elapsed() < Duration::from_secs(to.every));
            if to.every > 0 && looked.is_none() {
                target.looked = Some(now);
                drop(targets);
                self.ask_again(project, to);
            }
        }
        let missing = self.missing(project, to);
        let mut targets = self.replicator.targets();
        let target = targets.entry(id).or_default();
        let items = target.pick(missing, Instant::now());
        target.busy = !items.is_empty();
        items
    }

    /// Believes nothing of a target any more. After a crash, what was believed before may be believed again.
    fn ask_again(&self, project: &str, to: &Replication) {
        let prefix = format!("{} ", to.target());
        let of = |key: &str| {
            let name =
                key.strip_prefix(&prefix).and_then(|rest| rest.split(' ').next()?.parse::<Name>().ok());
            name.is_some_and(|name| name.project() == project)
        };
        self.forget(of);
    }

    /// Forgets tags that are gone, and targets that are none any more.
    fn forget_strangers(&self) {
        let wanted = self.replications();
        let is_wanted =
            |(project, target): &Key| wanted.iter().any(|(p, to)| p == project && to.target() == *target);
        self.replicator.targets().retain(|id, target| target.busy || is_wanted(id));
        let contents = self.catalog.read();
        let known = |key: &str| -> Option<bool> {
            let mut parts = key.split(' ');
            let (target, name, tag) = (parts.next()?, parts.next()?, parts.next()?);
            let (name, tag): (Name, Tag) = (name.parse().ok()?, tag.parse().ok()?);
            let there = contents.repositories.get(&name).is_some_and(|r| r.tags.contains_key(&tag));
            Some(there && wanted.iter().any(|(p, to)| p == name.project() && to.target() == target))
        };
        self.forget(|key| known(key) != Some(true));
    }

    fn forget(&self, gone: impl Fn(&str) -> bool) {
        let mut done = self.replicator.done();
        let keys: Vec<String> = done.keys().filter(|key| gone(key)).cloned().collect();
        if keys.is_empty() {
            return;
        }
        let mut batch = Batch::new();
        for key in keys {
            done.remove(&key);
            batch = batch.delete(&REPLICATED, key);
        }
        self.store.commit(batch).unhurried().detach();
    }

    /// When something may be due without anybody saying so.
    fn next_look(&self) -> Duration {
        let scheduled = self.replications();
        let targets = self.replicator.targets();
        let again = scheduled.iter().filter(|(_, to)| to.every > 0).filter_map(|(project, to)| {
            let looked = targets.get(&(project.clone(), to.target()))?.looked?;
            looked.checked_add(Duration::from_secs(to.every))
        });
        let waits = targets.values().filter(|t| !t.busy).filter_map(Target::next).chain(again);
        let now = Instant::now();
        waits.map(|due| due.saturating_duration_since(now)).min().unwrap_or(LOOK).clamp(PAUSE / 50, LOOK)
    }

    /// Sends tags to a target, one after the other, and then tells how it went.
    async fn send_all(self: Arc<Self>, project: String, to: Replication, items: Vec<Item>) {
        let id = (project, to.target());
        for item in items {
            let outcome = self.send(&to, &item).await;
            let mut targets = self.replicator.targets();
            let target = targets.entry(id.clone()).or_default();
            match outcome {
                Ok(()) => target.sent(&item),
                Err(failure) => {
                    let (name, tag, reason) = (&item.name, &item.tag, &failure.reason);
                    tracing::warn!(%name, %tag, to = to.target(), reason, "a tag could not be replicated");
                    if !target.failed(item, failure, Instant::now()) {
                        break;
                    }
                }
            }
        }
        let mut targets = self.replicator.targets();
        let target = targets.entry(id).or_default();
        target.busy = false;
        if !target.has_failed() {
            target.last = Some(clock::now());
        }
        drop(targets);
        self.replicator.wake();
    }

    async fn send(self: &Arc<Self>, to: &Replication, item: &Item) -> Result<(), Failure> {
        let state = self.copy(to, &item.name, &item.tag, &item.digest).await?;
        let key = key(&to.target(), &item.name, &item.tag);
        let pending = self.store.commit(Batch::new().put(&REPLICATED, key.clone(), &state));
        self.replicator.done().insert(key, state);
        // If this is lost, the target is asked once more.
        pending.unhurried().detach();
        Ok(())
    }
}
