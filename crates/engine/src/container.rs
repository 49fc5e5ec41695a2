//! One container in memory: its record, what runs, and who waits.

use std::{
    collections::BTreeMap,
    fmt,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use skiff_runtime::monitor::protocol::Streams;
use skiff_state::Pending;
use skiff_types::{ContainerId, ExecId};
use tokio::sync::{oneshot, watch};

use crate::{
    Error, Result,
    containers::{Ahead, Views, WaitOutcome},
    execs::Exec,
    link::Link,
    model::{Actor, ContainerRecord, Status},
};

/// A container. Slow changes are made one after the other by who holds `order`; the record itself is locked only for
/// moments, so that readers never wait for work.
pub(crate) struct Container {
    pub(crate) id: ContainerId,
    /// Held through start, pause, rename, update and removal. Never held while waiting for a program to end.
    pub(crate) order: tokio::sync::Mutex<()>,
    record: RwLock<ContainerRecord>,
    live: Mutex<Option<Arc<Live>>>,
    phase: watch::Sender<Phase>,
    /// Clients that attached before the start.
    early: Mutex<Vec<(Streams, OwnedFd)>>,
    execs: Mutex<BTreeMap<ExecId, Arc<Exec>>>,
    /// Somebody asked for the end: the restart policy does not act.
    pub(crate) stopping: AtomicBool,
    /// It is stopped to be started again: `--rm` does not act.
    pub(crate) restarting: AtomicBool,
    /// It is being ended because its health checks failed.
    pub(crate) unhealthy: AtomicBool,
    /// How many ends in a row came soon after the start.
    quick_ends: Mutex<u32>,
    removing: AtomicBool,
    /// How many would miss it, though it does not run.
    needed_by: AtomicUsize,
    /// Whoever checks its health; dropped, they stop.
    checks: Mutex<Option<oneshot::Sender<()>>>,
    /// Its file system, as those who copy see it at the moment.
    pub(crate) views: Mutex<Views>,
    /// Tidying up after the last run.
    tidying: Mutex<Option<tokio::task::JoinHandle<()>>>,
    ahead: Mutex<Option<Ahead>>,
}

/// What is known of a container while it runs.
pub(crate) struct Live {
    pub(crate) pid: i32,
    /// Process 1: stays this process even when the number is used again.
    pub(crate) pidfd: OwnedFd,
    pub(crate) link: Link,
    /// Path of the control group below each hierarchy.
    pub(crate) cgroup: String,
    /// Another runtime has made it: its monitor has that one do what reaches into it.
    pub(crate) foreign: bool,
}

/// What waiters watch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Phase {
    pub(crate) running: bool,
    /// How many runs have ended since the daemon started.
    pub(crate) ends: u64,
    pub(crate) last: WaitOutcome,
    pub(crate) removed: bool,
    /// How many attached clients may still lack some of the output.
    pub(crate) lacking: usize,
    /// How many attached clients may not have taken all of it from their connections.
    pub(crate) behind: usize,
}

impl Container {
    pub(crate) fn new(record: ContainerRecord) -> Arc<Self> {
        let phase = Phase {
            running: record.state.status.is_running(),
            last: WaitOutcome { exit_code: record.state.exit_code.into(), error: None },
            ..Phase::default()
        };
        Arc::new(Self {
            id: record.id,
            order: tokio::sync::Mutex::new(()),
            record: RwLock::new(record),
            live: Mutex::default(),
            phase: watch::Sender::new(phase),
            early: Mutex::default(),
            execs: Mutex::default(),
            stopping: AtomicBool::new(false),
            restarting: AtomicBool::new(false),
            unhealthy: AtomicBool::new(false),
            quick_ends: Mutex::default(),
            removing: AtomicBool::new(false),
            needed_by: AtomicUsize::new(0),
            checks: Mutex::default(),
            views: Mutex::default(),
            tidying: Mutex::default(),
            ahead: Mutex::default(),
        })
    }

    pub(crate) fn record(&self) -> RwLockReadGuard<'_, ContainerRecord> {
        self.record.read().expect("no panic under this lock")
    }

    /// Changes the record, and answers it as it is then.
    pub(crate) fn change(&self, change: impl FnOnce(&mut ContainerRecord)) -> ContainerRecord {
        let mut record = self.record.write().expect("no panic under this lock");
        change(&mut record);
        record.clone()
    }

    /// Changes the record and queues its commit as one step: whoever sees the change queues behind it.
    pub(crate) fn commit(
        &self,
        change: impl FnOnce(&mut ContainerRecord),
        queue: impl FnOnce(&ContainerRecord) -> Pending,
    ) -> (ContainerRecord, Pending) {
        let mut record = self.record.write().expect("no panic under this lock");
        change(&mut record);
        let pending = queue(&record);
        (record.clone(), pending)
    }

    pub(crate) fn name(&self) -> String {
        self.record().name.clone()
    }

    pub(crate) fn status(&self) -> Status {
        self.record().state.status
    }

    /// What runs.
    ///
    /// # Errors
    /// [`Error::NotRunning`].
    pub(crate) fn live(&self) -> Result<Arc<Live>> {
        let live = self.live.lock().expect("no panic under this lock");
        live.clone().ok_or_else(|| Error::NotRunning(self.id.to_string()))
    }

    /// Says that it runs.
    pub(crate) fn began(&self, live: Arc<Live>) {
        *self.live.lock().expect("no panic under this lock") = Some(live);
        self.phase.send_modify(|phase| phase.running = true);
    }

    /// Says that it has ended. Waiters are told by [`Self::ended`].
    pub(crate) fn take_live(&self) -> Option<Arc<Live>> {
        self.live.lock().expect("no panic under this lock").take()
    }

    /// Tells waiters how it ended.
    pub(crate) fn ended(&self, outcome: WaitOutcome) {
        self.phase.send_modify(|phase| {
            phase.running = false;
            phase.ends += 1;
            phase.last = outcome;
        });
    }

    /// Notes why it did not start, for whoever waits afterwards.
    pub(crate) fn not_started(&self, outcome: WaitOutcome) {
        self.phase.send_modify(|phase| phase.last = outcome);
    }

    /// Tells waiters that it is gone.
    pub(crate) fn gone(&self) {
        self.phase.send_modify(|phase| phase.removed = true);
    }

    /// Counts an attached client until the guard is dropped.
    pub(crate) fn reader(self: &Arc<Self>) -> Reader {
        self.phase.send_modify(|phase| {
            phase.lacking += 1;
            phase.behind += 1;
        });
        Reader { container: self.clone(), lacking: true }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Keeps a client that attached before the start.
    pub(crate) fn attach_early(&self, streams: Streams, socket: OwnedFd) {
        self.early.lock().expect("no panic under this lock").push((streams, socket));
    }

    /// Whether a client waits for the start.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.early.lock().expect("no panic under this lock").is_empty()
    }

    /// The clients that attached before the start.
    pub(crate) fn take_early(&self) -> Vec<(Streams, OwnedFd)> {
        std::mem::take(&mut *self.early.lock().expect("no panic under this lock"))
    }

    /// The execs of this container.
    pub(crate) fn execs(&self) -> MutexGuard<'_, BTreeMap<ExecId, Arc<Exec>>> {
        self.execs.lock().expect("no panic under this lock")
    }

    /// Puts others in charge of its health checks, or nobody: whoever was is told to stop.
    pub(crate) fn checked_by(&self, checks: Option<oneshot::Sender<()>>) {
        *self.checks.lock().expect("no panic under this lock") = checks;
    }

    /// Lets the restart policy count ends that came soon.
    pub(crate) fn back_off<T>(&self, count: impl FnOnce(&mut u32) -> T) -> T {
        count(&mut self.quick_ends.lock().expect("no panic under this lock"))
    }

    /// Notes that the last run is being tidied up.
    pub(crate) fn tidy(&self, task: tokio::task::JoinHandle<()>) {
        *self.tidying.lock().expect("no panic under this lock") = Some(task);
    }

    /// Waits until nothing of the last run is left.
    pub(crate) async fn tidied(&self) {
        let task = self.tidying.lock().expect("no panic under this lock").take();
        if let Some(task) = task {
            // A panic has been printed; what it left is found by the next start.
            let _ = task.await;
        }
    }

    /// What was made of it ahead of its first start. Waits while that is being made.
    pub(crate) fn ahead(&self) -> MutexGuard<'_, Option<Ahead>> {
        self.ahead.lock().expect("no panic under this lock")
    }

    /// Keeps it from being removed for want of room until the guard is dropped.
    pub(crate) fn needed(self: &Arc<Self>) -> Needed {
        self.needed_by.fetch_add(1, Ordering::AcqRel);
        Needed(self.clone())
    }

    /// Whether somebody would miss it, though it does not run.
    pub(crate) fn is_needed(&self) -> bool {
        self.needed_by.load(Ordering::Acquire) > 0
    }

    /// Claims the removal; false if somebody else has.
    pub(crate) fn claim_removal(&self) -> bool {
        !self.removing.swap(true, Ordering::AcqRel)
    }

    /// Gives up a removal that failed.
    pub(crate) fn unclaim_removal(&self) {
        self.removing.store(false, Ordering::Release);
    }

    pub(crate) fn is_being_removed(&self) -> bool {
        self.removing.load(Ordering::Acquire)
    }

    /// Who an event is about: labels, image and name, and what the action adds.
    pub(crate) fn actor(&self, more: &[(&str, String)]) -> Actor {
        let record = self.record();
        let mut attributes = record.config.labels.clone();
        attributes.insert("image".into(), record.config.image.clone());
        attributes.insert("name".into(), record.name.clone());
        attributes.extend(more.iter().map(|(k, v)| ((*k).to_owned(), v.clone())));
        Actor { id: self.id.to_string(), attributes }
    }
}

/// An attached client that may still lack some of a container's output. Whoever waits for the end of the container is
/// answered when there is none left, as clients stop to listen then: at first those that began to wait before the end,
/// which know where it lies in the output, then, when the guards are dropped, those that ask how it ended.
pub struct Reader {
    container: Arc<Container>,
    lacking: bool,
}

impl Reader {
    /// The whole output is in the client's connection, though the client may not have taken it from there.
    #[must_use]
    pub fn served(mut self) -> Self {
        self.lacking = false;
        self.container.phase.send_modify(|phase| phase.lacking -= 1);
        self
    }
}

/// Somebody who works with a container that need not run.
pub(crate) struct Needed(Arc<Container>);

impl Drop for Needed {
    fn drop(&mut self) {
        self.0.needed_by.fetch_sub(1, Ordering::AcqRel);
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reader").field(&self.container.id).finish()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.container.phase.send_modify(|phase| {
            phase.lacking -= usize::from(self.lacking);
            phase.behind -= 1;
        });
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::Timestamp;

    /// A record of a container that was never started.
    pub(crate) fn record(id: &str, name: &str) -> ContainerRecord {
        ContainerRecord {
            id: id.parse().unwrap(),
            name: name.to_owned(),
            created: Timestamp::UNIX_EPOCH,
            image: skiff_types::ImageId::random(),
            args: vec!["sh".into()],
            config: Default::default(),
            host: Default::default(),
            state: Default::default(),
            restart_count: 0,
            stopped_by_user: false,
            mounts: Vec::new(),
            network: Default::default(),
            links: Vec::new(),
            driver: "vfs".into(),
            apparmor_profile: String::new(),
            platform: "linux".into(),
        }
    }

    pub(crate) fn container(id: &str, name: &str) -> Arc<Container> {
        Container::new(record(id, name))
    }

    #[tokio::test]
    async fn waiters_see_the_end_and_the_removal() {
        let container = container(&"a".repeat(64), "c");
        let mut watch = container.watch();
        container.ended(WaitOutcome { exit_code: 3, error: None });
        container.gone();
        let phase = watch.wait_for(|p| p.ends == 1 && p.removed).await.unwrap();
        assert_eq!(phase.last.exit_code, 3);
    }

    #[test]
    fn only_one_removes() {
        let container = container(&"a".repeat(64), "c");
        assert!(container.claim_removal());
        assert!(!container.claim_removal());
        container.unclaim_removal();
        assert!(container.claim_removal());
    }
}
