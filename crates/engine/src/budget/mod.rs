//! The disk budget: how much images, downloads, logs and stopped containers may take together.
//!
//! Whatever comes into the image store takes its room before it is written ([`Room`]). If there is not enough, what was used
//! least recently goes: what is left of downloads, stopped containers that nothing will start again, images that no container has.
//! Never what is in use, and never a volume. When nothing more may go, whoever asked is refused. What running containers
//! write, logs apart, is not counted.
//!
//! Logs and stopped containers grow without asking: the budget is looked at when a container has ended, and now and then.

mod evict;
mod measure;

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use skiff_images::Room;
use skiff_types::human_size;
use tokio::{runtime::Handle, sync::Notify};

use crate::{
    Error, Result,
    containers::Parts,
    model::{Actor, DiskBudget, EventKind},
};
use evict::Candidate;
use measure::Layers;

/// How often growth that nobody tells of is looked for.
const NOW_AND_THEN: Duration = Duration::from_secs(60);

/// So that many ends cost one look.
const REST: Duration = Duration::from_millis(100);

/// The limit, and what is known of the use.
pub(crate) struct Budget {
    /// Bytes; 0 for no limit.
    limit: u64,
    count: Mutex<Count>,
    /// Whoever makes room; with what layers take, which never changes.
    turn: tokio::sync::Mutex<Layers>,
    /// More is used than may be, and nothing can go.
    over: AtomicBool,
    bell: Arc<Notify>,
}

/// Bytes.
#[derive(Debug, Default)]
struct Count {
    /// When it was last measured, and what has been settled since.
    measured: u64,
    /// By operations under way.
    claimed: u64,
    /// All that was ever settled.
    settled: u64,
}

impl Count {
    fn used(&self) -> u64 {
        self.measured.saturating_add(self.claimed)
    }
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            limit,
            count: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            over: AtomicBool::new(false),
            bell: Arc::default(),
        }
    }

    /// Something may take more than before.
    pub(crate) fn look(&self) {
        if self.limit > 0 {
            self.bell.notify_one();
        }
    }

    fn count(&self) -> MutexGuard<'_, Count> {
        self.count.lock().expect("no panic under this lock")
    }
}

/// The limit and what is used of it, measured now; none without a limit.
pub(crate) async fn usage(parts: &Arc<Parts>) -> Result<Option<DiskBudget>> {
    let budget = &parts.budget;
    if budget.limit == 0 {
        return Ok(None);
    }
    let mut layers = budget.turn.lock().await;
    let used = measure::all(parts, &mut layers).await?.used(parts, &mut layers).await?;
    Ok(Some(DiskBudget { limit: budget.limit, used }))
}

/// Sees to it that there is room for something new that takes next to nothing.
///
/// # Errors
/// The budget is used up.
pub(crate) async fn admit(parts: &Arc<Parts>) -> Result<()> {
    match parts.budget.over.load(Ordering::Relaxed) {
        true => make_room(parts).await,
        false => Ok(()),
    }
}

/// Removes what may go until the use is within the limit.
///
/// # Errors
/// Nothing more may go; something cannot be measured.
async fn make_room(parts: &Arc<Parts>) -> Result<()> {
    let budget = &parts.budget;
    let mut layers = budget.turn.lock().await;
    let mut measured = measure::all(parts, &mut layers).await?;
    let mut tried = evict::Tried::default();
    loop {
        let used = measured.used(parts, &mut layers).await?;
        if used <= budget.limit {
            budget.over.store(false, Ordering::Relaxed);
            return Ok(());
        }
        let unused = evict::unused(parts, &measured, &tried).await?;
        // What could not make room in the end is not removed for nothing.
        let least = used.saturating_sub(evict::most_freed(parts, &measured, &layers, &unused));
        let oldest = unused.into_iter().min_by_key(Candidate::used).filter(|_| least <= budget.limit);
        let Some(oldest) = oldest else {
            let [limit, least] = [budget.limit, least].map(|bytes| human_size(bytes, 4));
            return Err(Error::OutOfSpace(format!(
                "no room in the disk budget of {limit}: what is in use and what is to come take {least}"
            )));
        };
        tried.add(&oldest);
        if evict::evict(parts, &oldest).await? {
            measured.forget(&oldest);
            let left = measured.used(parts, &mut layers).await?;
            evict::tell(parts, &oldest, used.saturating_sub(left));
        }
    }
}

/// Applies the budget from now on, if there is one. Images that come ask for their room.
pub(crate) fn keep(parts: &Arc<Parts>) {
    if parts.budget.limit == 0 {
        return;
    }
    parts.images.limit(Arc::new(Gate { parts: Arc::downgrade(parts), handle: Handle::current() }));
    let (parts, bell) = (Arc::downgrade(parts), parts.budget.bell.clone());
    tokio::spawn(async move {
        loop {
            let Some(parts) = parts.upgrade() else { return };
            let was_over = parts.budget.over.load(Ordering::Relaxed);
            match make_room(&parts).await {
                Err(e) if !was_over => {
                    parts.budget.over.store(true, Ordering::Relaxed);
                    tracing::warn!("{e}");
                    let attributes = [("error".to_owned(), e.to_string())].into();
                    let actor = Actor { id: parts.identity.id.clone(), attributes };
                    parts.events.publish(EventKind::Daemon, "disk-budget", actor);
                }
                _ => {}
            }
            drop(parts);
            tokio::select! {
                () = bell.notified() => tokio::time::sleep(REST).await,
                () = tokio::time::sleep(NOW_AND_THEN) => {}
            }
        }
    });
}

/// Where the image store asks, which is one of the parts.
struct Gate {
    parts: Weak<Parts>,
    handle: Handle,
}

impl Room for Gate {
    fn take(&self, bytes: u64) -> io::Result<()> {
        let Some(parts) = self.parts.upgrade() else { return Ok(()) };
        let budget = &parts.budget;
        let fits = {
            let mut count = budget.count();
            // A registry may say of layers that they are as large as it likes.
            count.claimed = count
                .claimed
                .checked_add(bytes)
                .ok_or_else(|| io::Error::new(io::ErrorKind::QuotaExceeded, "no room in the disk budget"))?;
            count.used() <= budget.limit
        };
        if fits {
            return Ok(());
        }
        self.handle.block_on(make_room(&parts)).map_err(|e| {
            budget.count().claimed -= bytes;
            io::Error::new(io::ErrorKind::QuotaExceeded, e.to_string())
        })
    }

    fn settle(&self, bytes: u64) {
        let Some(parts) = self.parts.upgrade() else { return };
        let mut count = parts.budget.count();
        count.claimed -= bytes;
        // Whether it is in the store or gone, the next measurement tells.
        count.measured += bytes;
        count.settled += bytes;
    }
}
