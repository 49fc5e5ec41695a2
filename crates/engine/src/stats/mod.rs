//! What containers use. Everybody who watches is served by one reading a second, however many they are.
//!
//! A stream's first sample is of the moment it begins; the others come with the common tick. A container that does not run
//! gives empty samples, and one that is removed ends its streams.

mod meter;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use skiff_types::ContainerId;
use tokio::{sync::broadcast, time::MissedTickBehavior};

use crate::{
    Result,
    container::Container,
    containers::{Parts, blocking},
    model::Sample,
};

use meter::{HostMeter, Metered};

/// Time between two samples.
const TICK: Duration = Duration::from_secs(1);
/// How far a watcher may fall behind before it misses samples.
const BEHIND: usize = 4;

/// The service.
#[derive(Clone)]
pub struct Stats {
    inner: Arc<Inner>,
}

struct Inner {
    parts: Arc<Parts>,
    watched: Mutex<Watched>,
}

#[derive(Default)]
struct Watched {
    containers: HashMap<ContainerId, Watch>,
    /// A task takes samples.
    ticking: bool,
}

struct Watch {
    container: Arc<Container>,
    meter: Metered,
    samples: broadcast::Sender<Arc<Sample>>,
}

/// Samples as they come.
pub struct SampleStream {
    first: Option<Arc<Sample>>,
    samples: broadcast::Receiver<Arc<Sample>>,
    before: Option<Arc<Sample>>,
}

impl Stats {
    pub(crate) fn new(parts: Arc<Parts>) -> Self {
        Self { inner: Arc::new(Inner { parts, watched: Mutex::default() }) }
    }

    /// What it uses at this moment.
    ///
    /// # Errors
    /// There is no such container.
    pub async fn once(&self, container: &str) -> Result<Sample> {
        let parts = self.inner.parts.clone();
        let container = parts.registry.resolve(container)?;
        blocking(move || Metered::default().read(&parts, &container, &HostMeter::default().read())).await
    }

    /// What all that run use at this moment.
    pub async fn all(&self) -> Result<Vec<Sample>> {
        let parts = self.inner.parts.clone();
        let read = move || {
            let host = HostMeter::default().read();
            let running = parts.registry.all().into_iter().filter(|container| container.live().is_ok());
            running.map(|container| Metered::default().read(&parts, &container, &host)).collect()
        };
        blocking(read).await
    }

    /// Begins to watch a container.
    ///
    /// # Errors
    /// There is no such container.
    pub async fn watch(&self, container: &str) -> Result<SampleStream> {
        let resolved = self.inner.parts.registry.resolve(container)?;
        let first = self.once(&resolved.id.to_string()).await?;
        let mut watched = self.inner.watched.lock().expect("no panic under this lock");
        let samples = watched
            .containers
            .entry(resolved.id)
            .or_insert_with(|| Watch {
                container: resolved,
                meter: Metered::default(),
                samples: broadcast::channel(BEHIND).0,
            })
            .samples
            .subscribe();
        if !std::mem::replace(&mut watched.ticking, true) {
            tokio::spawn(tick(self.inner.clone()));
        }
        Ok(SampleStream { first: Some(Arc::new(first)), samples, before: None })
    }
}

impl SampleStream {
    /// The next sample and the one before it, if there was one. None when the container is gone. Safe to drop at any time.
    pub async fn next(&mut self) -> Option<(Arc<Sample>, Option<Arc<Sample>>)> {
        let sample = match self.first.take() {
            Some(first) => first,
            None => loop {
                match self.samples.recv().await {
                    Ok(sample) => break sample,
                    // Only the newest counts.
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            },
        };
        let before = self.before.replace(sample.clone());
        Some((sample, before))
    }
}

/// Takes samples for as long as anybody wants them.
async fn tick(inner: Arc<Inner>) {
    let mut host = HostMeter::default();
    let mut clock = tokio::time::interval_at(tokio::time::Instant::now() + TICK, TICK);
    clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        clock.tick().await;
        let inner = inner.clone();
        let round = blocking(move || {
            let goes_on = inner.round(&mut host);
            (host, goes_on)
        });
        // A reader that panicked has said so; the next watcher begins anew.
        let Ok((same, goes_on)) = round.await else { return };
        host = same;
        if !goes_on {
            return;
        }
    }
}

impl Inner {
    /// Reads everything that is watched. False when nothing is any more. Blocks for moments.
    fn round(&self, host: &mut HostMeter) -> bool {
        let mut watched = self.watched.lock().expect("no panic under this lock");
        let there = |watch: &Watch| self.parts.registry.get(&watch.container.id).is_some();
        watched.containers.retain(|_, watch| watch.samples.receiver_count() > 0 && there(watch));
        if watched.containers.is_empty() {
            watched.ticking = false;
            return false;
        }
        let moment = host.read();
        let read = |watch: &mut Watch| Arc::new(watch.meter.read(&self.parts, &watch.container, &moment));
        let samples: Vec<_> = watched.containers.values_mut().map(read).collect();
        // All at once: one that is sent while the next is read would wake a thread each.
        for (watch, sample) in watched.containers.values().zip(samples) {
            // Who has left just now is not missed.
            let _ = watch.samples.send(sample);
        }
        true
    }
}
