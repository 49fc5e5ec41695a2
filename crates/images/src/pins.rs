//! Layers that an operation under way relies on: they are not removed meanwhile, whoever else stops needing them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use skiff_snapshots::ChainId;

type Counts = Arc<Mutex<HashMap<ChainId, u32>>>;

/// How many operations rely on each layer.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    counts: Counts,
}

/// The pins of one operation; they end with it.
#[derive(Debug)]
pub(crate) struct PinSet {
    counts: Counts,
    chains: Vec<ChainId>,
}

impl Pins {
    /// No pins yet.
    pub(crate) fn begin(&self) -> PinSet {
        PinSet { counts: Arc::clone(&self.counts), chains: Vec::new() }
    }

    /// Does something with a layer unless it is pinned, and nobody can pin it before that is done.
    pub(crate) fn unless_pinned<T>(&self, chain: &ChainId, work: impl FnOnce() -> T) -> Option<T> {
        let counts = lock(&self.counts);
        (!counts.contains_key(chain)).then(work)
    }
}

fn lock(counts: &Counts) -> MutexGuard<'_, HashMap<ChainId, u32>> {
    // Counts are changed by single operations.
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PinSet {
    /// From now on this layer is not removed, if it is there at all.
    pub(crate) fn pin(&mut self, chain: ChainId) {
        *lock(&self.counts).entry(chain).or_default() += 1;
        self.chains.push(chain);
    }
}

impl Drop for PinSet {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        for chain in &self.chains {
            if let Some(count) = counts.get_mut(chain) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(chain);
                }
            }
        }
    }
}
