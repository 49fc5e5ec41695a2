//! Layers and blobs that an operation under way relies on: they are not removed meanwhile, whoever else stops needing them.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use skiff_snapshots::ChainId;

type Counts<K> = Arc<Mutex<HashMap<K, u32>>>;

/// How many operations rely on each layer, or on each blob.
#[derive(Debug)]
pub(crate) struct Pins<K = ChainId> {
    counts: Counts<K>,
}

/// The pins of one operation; they end with it.
#[derive(Debug)]
pub(crate) struct PinSet<K: Eq + Hash = ChainId> {
    counts: Counts<K>,
    keys: Vec<K>,
}

impl<K> Default for Pins<K> {
    fn default() -> Self {
        Self { counts: Counts::default() }
    }
}

impl<K: Copy + Eq + Hash> Pins<K> {
    /// No pins yet.
    pub(crate) fn begin(&self) -> PinSet<K> {
        PinSet { counts: Arc::clone(&self.counts), keys: Vec::new() }
    }

    /// Does something with a layer or blob unless it is pinned, and nobody can pin it before that is done.
    pub(crate) fn unless_pinned<T>(&self, key: &K, work: impl FnOnce() -> T) -> Option<T> {
        let counts = lock(&self.counts);
        (!counts.contains_key(key)).then(work)
    }
}

fn lock<K>(counts: &Counts<K>) -> MutexGuard<'_, HashMap<K, u32>> {
    // Counts are changed by single operations.
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K: Copy + Eq + Hash> PinSet<K> {
    /// From now on this is not removed, if it is there at all.
    pub(crate) fn pin(&mut self, key: K) {
        *lock(&self.counts).entry(key).or_default() += 1;
        self.keys.push(key);
    }
}

impl<K: Eq + Hash> Drop for PinSet<K> {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        for key in &self.keys {
            if let Some(count) = counts.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(key);
                }
            }
        }
    }
}
