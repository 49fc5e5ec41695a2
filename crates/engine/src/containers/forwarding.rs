//! Logs that go elsewhere: a task for each container whose spool has something to send or will have.
//!
//! A spool does not lie among the container's files and has its own record of where it goes, so that it can outlive the container:
//! what a container wrote before it was removed is still sent. That has an end ([`PATIENCE`]), or receivers that are gone for good
//! would fill the disk. Spools are named by their container; a file `removed` in one says since when it has none.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use skiff_logs::{
    ContainerFacts, Destination, Driver, ForwardProgress as Progress, Options, Producer, Receiver, Spool,
};
use skiff_types::ContainerId;
use tokio::sync::watch;

use super::{
    logging,
    parts::{Parts, blocking},
};
use crate::{Result, container::Container};

/// How long the lines of a container that was removed wait for their receiver.
const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);
/// How often somebody looks whether that is over.
const LOOK: Duration = Duration::from_secs(60);
/// Before a spool that cannot be read is tried again.
const PAUSE: Duration = Duration::from_secs(30);
/// Losses are told no more often than this.
const TELL: Duration = Duration::from_secs(10);

/// The tasks that run, and what they are told.
pub(crate) struct Forwarders {
    dir: PathBuf,
    tasks: Mutex<HashMap<ContainerId, watch::Sender<Producer>>>,
}

impl Forwarders {
    pub(crate) fn new(root: &Path) -> Self {
        Self { dir: root.join("log-spool"), tasks: Mutex::default() }
    }

    /// The spool of a container.
    pub(super) fn spool(&self, id: &ContainerId) -> Spool {
        Spool::at(self.dir.join(id.to_string()))
    }

    /// Checks where the lines of a container will go and makes its spool ready. Answers the number of its next line. Blocks.
    pub(super) fn prepare(
        &self,
        id: &ContainerId,
        driver: Driver,
        options: &Options,
        facts: ContainerFacts,
    ) -> Result<u64> {
        Receiver::open(driver, options, &facts).map_err(logging::not_started)?;
        let destination = Destination { driver: driver.name().to_owned(), options: options.clone(), facts };
        Ok(self.spool(id).prepare(&destination)?)
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, HashMap<ContainerId, watch::Sender<Producer>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The container writes no more: what is left is sent, then the task ends.
    pub(super) fn ended(&self, id: &ContainerId) {
        if let Some(task) = self.tasks().get(id) {
            task.send_replace(Producer::Ended);
        }
    }

    /// The container is gone. Its spool goes as soon as all is sent. Blocks.
    pub(super) fn removed(&self, id: &ContainerId) {
        let spool = self.spool(id);
        if !spool.dir().exists() {
            return;
        }
        let tasks = self.tasks();
        if tasks.contains_key(id) {
            // Under the lock: a task looks for the mark when it is no longer among them.
            return mark(&spool);
        }
        drop(tasks);
        remove(&spool);
    }

    /// Whether a task is to go on, because its container writes again or has written since the task looked; else it is forgotten, and its
    /// spool removed if its container is gone.
    fn goes_on(&self, id: &ContainerId, producer: &watch::Receiver<Producer>) -> bool {
        let mut tasks = self.tasks();
        if *producer.borrow() == Producer::Writes || producer.has_changed().unwrap_or(false) {
            return true;
        }
        tasks.remove(id);
        drop(tasks);
        let spool = self.spool(id);
        if marker(&spool).exists() {
            remove(&spool);
        }
        false
    }
}

fn marker(spool: &Spool) -> PathBuf {
    spool.dir().join("removed")
}

fn mark(spool: &Spool) {
    let path = marker(spool);
    if !path.exists()
        && let Err(e) = fs_err::write(path, "")
    {
        tracing::warn!("cannot mark a spool: {e}");
    }
}

fn remove(spool: &Spool) {
    if let Err(e) = spool.remove() {
        tracing::warn!("cannot remove a spool: {e}");
    }
}

/// A container with a log that goes elsewhere has begun to write.
pub(super) fn began(parts: &Arc<Parts>, container: &Container) {
    if logging::driver(&container.record()).is_ok_and(Driver::is_remote) {
        run(parts, container.id, Producer::Writes);
    }
}

/// Goes on with every spool that the last daemon left. Blocks.
pub(super) fn resume(parts: &Arc<Parts>) {
    let Ok(entries) = fs_err::read_dir(&parts.forwarders.dir) else { return };
    for entry in entries.flatten() {
        let Ok(id) = entry.file_name().to_string_lossy().parse::<ContainerId>() else { continue };
        let spool = parts.forwarders.spool(&id);
        let state = match parts.registry.get(&id) {
            // Somebody waited for the log of a container that was never started.
            _ if !spool.is_ready() => continue,
            Some(container) if container.status().is_running() => Producer::Writes,
            Some(_) => Producer::Ended,
            None => {
                mark(&spool);
                Producer::Ended
            }
        };
        run(parts, id, state);
    }
}

/// Sees to it that a task runs, and that it knows whether more will come.
fn run(parts: &Arc<Parts>, id: ContainerId, state: Producer) {
    let mut tasks = parts.forwarders.tasks();
    if let Some(task) = tasks.get(&id) {
        // What the last daemon left is looked at when containers may have been started already.
        if state == Producer::Writes {
            task.send_replace(state);
        }
        return;
    }
    let (sender, mut producer) = watch::channel(state);
    tasks.insert(id, sender);
    let parts = parts.clone();
    tokio::spawn(async move {
        loop {
            // What changes from here on is a reason to go on.
            producer.borrow_and_update();
            if let Err(reason) = send(&parts, id, &mut producer).await {
                tracing::error!(container = %id, "its log cannot be sent: {reason}");
                if !is_over(&parts.forwarders.spool(&id)) {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            }
            let (parts, producer) = (parts.clone(), producer.clone());
            if !blocking(move || parts.forwarders.goes_on(&id, &producer)).await.unwrap_or(false) {
                return;
            }
        }
    });
}

/// Sends what there is, until the container has ended or nobody may be waited for any longer.
async fn send(
    parts: &Arc<Parts>,
    id: ContainerId,
    producer: &mut watch::Receiver<Producer>,
) -> Result<(), String> {
    let spool = parts.forwarders.spool(&id);
    let opened = blocking({
        let spool = spool.clone();
        move || {
            let destination = spool.destination().map_err(|e| e.to_string())?;
            let driver = Driver::parse(&destination.driver).map_err(|e| e.to_string())?;
            let receiver = Receiver::open(driver, &destination.options, &destination.facts);
            Ok::<_, String>((driver, receiver.map_err(|e| e.to_string())?))
        }
    });
    let (driver, mut receiver) = opened.await.map_err(|e| e.to_string())??;
    let teller = Teller { parts, id, driver, news: Mutex::default() };
    let forwarded = skiff_logs::forward(&spool, &mut receiver, producer, |progress| teller.tell(progress));
    let done = tokio::select! {
        forwarded = forwarded => forwarded.map_err(|e| e.to_string()),
        () = patience_ends(&spool) => {
            tracing::error!(container = %id, "what was left of its log is dropped: its receiver was away for a day");
            Ok(())
        }
    };
    teller.tell_losses(Duration::ZERO);
    done
}

/// Waits until a container has been gone for so long that its log need not be kept.
async fn patience_ends(spool: &Spool) {
    while !is_over(spool) {
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether a spool's container has been gone for too long.
fn is_over(spool: &Spool) -> bool {
    let since = fs_err::metadata(marker(spool)).and_then(|found| found.modified());
    since.is_ok_and(|since| since.elapsed().is_ok_and(|age| age > PATIENCE))
}

/// Tells what becomes of a log: in the daemon's own log, in figures, and as an event if lines are lost.
struct Teller<'a> {
    parts: &'a Parts,
    id: ContainerId,
    driver: Driver,
    news: Mutex<News>,
}

#[derive(Default)]
struct News {
    failing: bool,
    lost: u64,
    reason: Option<String>,
    told: Option<Instant>,
}

impl Teller<'_> {
    fn tell(&self, progress: Progress) {
        let counters = &self.parts.counters;
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        match progress {
            Progress::Sent(lines) => counters.log_lines_sent(lines),
            Progress::Lost(lines, reason) => {
                counters.log_lines_lost(lines);
                news.lost += lines;
                news.reason = reason;
            }
            Progress::Failing(reason) => {
                counters.log_send_failed();
                if !std::mem::replace(&mut news.failing, true) {
                    tracing::warn!(container = %self.id, driver = self.driver.name(), "its log waits: {reason}");
                }
            }
            Progress::Working => {
                news.failing = false;
                tracing::info!(container = %self.id, driver = self.driver.name(), "its log is sent again");
            }
        }
        drop(news);
        self.tell_losses(TELL);
    }

    /// Tells of losses that were not told, if the last time is long enough ago.
    fn tell_losses(&self, after: Duration) {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        if news.lost == 0 || news.told.is_some_and(|at| at.elapsed() < after) {
            return;
        }
        let (lost, reason) = (std::mem::take(&mut news.lost), news.reason.take());
        news.told = Some(Instant::now());
        drop(news);
        let driver = self.driver.name();
        let reason = reason.unwrap_or_else(|| "the space for them was used up".to_owned());
        tracing::warn!(container = %self.id, driver, lost, "lines of its log were never sent: {reason}");
        if let Some(container) = self.parts.registry.get(&self.id) {
            let attributes = [("lines", lost.to_string()), ("driver", driver.to_owned()), ("reason", reason)];
            self.parts.tell(&container, "log_lost", &attributes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_goes_on_for_a_run_that_it_has_not_seen() {
        let dir = tempfile::tempdir().unwrap();
        let forwarders = Forwarders::new(dir.path());
        let id = ContainerId::random();
        let (sender, mut seen) = watch::channel(Producer::Ended);
        forwarders.tasks().insert(id, sender);
        let tell = |state| forwarders.tasks()[&id].send_replace(state);

        tell(Producer::Writes);
        assert!(forwarders.goes_on(&id, &seen), "it writes");
        tell(Producer::Ended);
        assert!(forwarders.goes_on(&id, &seen), "it has written");
        seen.borrow_and_update();
        assert!(!forwarders.goes_on(&id, &seen), "all was seen");
        assert!(forwarders.tasks().is_empty());
    }
}
