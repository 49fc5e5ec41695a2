//! A container that nobody has asked for yet. Who makes one container after the other from the same image gets the next one
//! at once: its id is drawn, its snapshot made and mounted, its directory and its cgroup are there before the request comes.
//!
//! There is at most one, of the image that the last two containers were made of, and it is let go of when nobody wants it
//! soon. Nothing records it: what a killed daemon leaves of it the next one removes, as of any container without a record.
//! It keeps layers in use; so there is none while images are removed.

use std::{
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use skiff_runtime::launcher::Starting;
use skiff_snapshots::{ChainId, Lifetime, Snapshotter};
use skiff_types::ContainerId;
use tokio::sync::Notify;

use super::{
    parts::{Parts, blocking},
    start,
};
use crate::{Result, spec};

/// How long after a container the next spare is made: that one comes up first.
const REST: Duration = Duration::from_millis(4);

/// How long one is kept.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a spare has in common with the containers that can have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) chain: Option<ChainId>,
    pub(super) lifetime: Lifetime,
    pub(super) limit: Option<u64>,
}

/// One such container. Dropping it removes it; that blocks.
pub(super) struct Spare {
    pub(super) id: ContainerId,
    kind: Kind,
    made: Option<(OwnedFd, Starting)>,
    /// A container has it.
    taken: bool,
    made_at: Instant,
    dir: PathBuf,
    snapshots: Arc<dyn Snapshotter>,
    garbage: Arc<Notify>,
}

impl Spare {
    /// Blocks.
    fn make(parts: &Parts, kind: Kind) -> Result<Self> {
        let id = ContainerId::random();
        let key = id.to_string();
        parts.snapshots.prepare(&key, kind.chain.as_ref(), kind.lifetime, kind.limit)?;
        let mut spare = Self {
            id,
            made: None,
            taken: false,
            made_at: Instant::now(),
            dir: parts.dir(&id),
            snapshots: parts.snapshots.clone(),
            garbage: parts.garbage.clone(),
            kind,
        };
        fs_err::create_dir(&spare.dir)?;
        let root = parts.snapshots.mount(&key, spare.kind.lifetime)?;
        let starting = start::begin(parts, &spec::cgroup_below(&parts.config.cgroup_parent, &key))?;
        spare.made = Some((root, starting));
        Ok(spare)
    }

    /// Its mounted root file system and the monitor that has its cgroup; its snapshot and its directory are the container's from
    /// now on.
    pub(super) fn hand_over(mut self) -> Option<(OwnedFd, Starting)> {
        self.taken = true;
        self.made.take()
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        drop(self.made.take());
        let _ = fs_err::remove_dir(&self.dir);
        match self.snapshots.remove(&self.id.to_string()) {
            Ok(()) => self.garbage.notify_one(),
            Err(e) => tracing::warn!("cannot remove the snapshot of {}, which was to spare: {e}", self.id),
        }
    }
}

/// The place of the one that there may be.
#[derive(Default)]
pub(crate) struct Spares {
    slot: Mutex<Slot>,
}

#[derive(Default)]
pub(crate) struct Slot {
    /// None may be made before the daemon has found its own containers, and when it ends.
    open: bool,
    /// Of what the last container was made, and when.
    last: Option<(Kind, Instant)>,
    spare: Option<Spare>,
    /// Somebody looks after the spare's age.
    watched: bool,
}

impl Spares {
    /// From now on there may be one.
    pub(super) fn open(&self) {
        self.lock().open = true;
    }

    /// There will not be one again. Blocks.
    pub(crate) fn close(&self) {
        let mut slot = self.lock();
        slot.open = false;
        slot.spare = None;
    }

    /// There is none while this is held. Blocks.
    pub(crate) fn none(&self) -> MutexGuard<'_, Slot> {
        let mut slot = self.lock();
        slot.spare = None;
        slot
    }

    /// The spare of this kind, if it is there at this moment.
    pub(super) fn take(&self, kind: &Kind) -> Option<Spare> {
        self.slot.try_lock().ok()?.spare.take_if(|spare| spare.kind == *kind)
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().expect("no panic under this lock")
    }
}

/// A container of this kind has been made: if it was not the first, there will be another.
pub(super) fn expect_another(parts: &Arc<Parts>, kind: Kind) {
    let Ok(mut slot) = parts.spares.slot.try_lock() else { return };
    let before = slot.last.replace((kind.clone(), Instant::now()));
    let again = before.is_some_and(|(last, at)| last == kind && at.elapsed() < PATIENCE);
    if !slot.open || !again || parts.snapshots.copies() {
        return;
    }
    let watched = std::mem::replace(&mut slot.watched, true);
    drop(slot);
    let parts = parts.clone();
    tokio::spawn(async move {
        tokio::time::sleep(REST).await;
        // A panic has been printed.
        let _ = blocking({
            let parts = parts.clone();
            move || replace(&parts, kind)
        })
        .await;
        if !watched {
            watch(&parts).await;
        }
    });
}

/// Makes one, unless there is one. Blocks.
fn replace(parts: &Parts, kind: Kind) {
    let mut slot = parts.spares.lock();
    if !slot.open || slot.spare.as_ref().is_some_and(|spare| spare.kind == kind) {
        return;
    }
    slot.spare = None;
    match Spare::make(parts, kind) {
        Ok(spare) => slot.spare = Some(spare),
        // The next container will tell if it cannot be made either.
        Err(e) => tracing::debug!("no spare container: {e}"),
    }
}

/// Lets go of the one that nobody wants, and ends when there is none.
async fn watch(parts: &Arc<Parts>) {
    let mut left = PATIENCE;
    loop {
        tokio::time::sleep(left).await;
        let parts = parts.clone();
        let look = move || {
            let mut slot = parts.spares.lock();
            drop(slot.spare.take_if(|spare| spare.made_at.elapsed() >= PATIENCE));
            let left = slot.spare.as_ref().map(|spare| PATIENCE.saturating_sub(spare.made_at.elapsed()));
            slot.watched = left.is_some();
            left
        };
        match blocking(look).await {
            Ok(Some(more)) => left = more,
            _ => return,
        }
    }
}
