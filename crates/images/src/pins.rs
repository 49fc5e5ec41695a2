//! Layers and blobs that an operation under way relies on: they are not removed meanwhile, whoever else stops needing them.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use skiff_snapshots::ChainId;

/// How many operations rely on each layer, or on each blob.
#[derive(Debug)]
pub(crate) struct Pins<K = ChainId> {
    counts: Arc<Mutex<Counts<K>>>,
}

#[derive(Debug)]
struct Counts<K> {
    of: HashMap<K, u32>,
    /// What was to be removed while it was pinned.
    wanted: HashSet<K>,
}

/// The pins of one operation; they end with it.
#[derive(Debug)]
pub(crate) struct PinSet<K: Eq + Hash = ChainId> {
    counts: Arc<Mutex<Counts<K>>>,
    keys: Vec<K>,
}

impl<K> Default for Pins<K> {
    fn default() -> Self {
        let counts = Counts { of: HashMap::new(), wanted: HashSet::new() };
        Self { counts: Arc::new(Mutex::new(counts)) }
    }
}

impl<K: Copy + Eq + Hash> Pins<K> {
    /// No pins yet.
    pub(crate) fn begin(&self) -> PinSet<K> {
        PinSet { counts: Arc::clone(&self.counts), keys: Vec::new() }
    }

    /// Removes a layer or blob unless it is pinned, and nobody can pin it before that is done. Who unpins it is told of it otherwise.
    pub(crate) fn unless_pinned<T>(&self, key: &K, remove: impl FnOnce() -> T) -> Option<T> {
        let mut counts = lock(&self.counts);
        if counts.of.contains_key(key) {
            counts.wanted.insert(*key);
            return None;
        }
        Some(remove())
    }
}

fn lock<K>(counts: &Mutex<Counts<K>>) -> MutexGuard<'_, Counts<K>> {
    // Counts are changed by single operations.
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K: Copy + Eq + Hash> PinSet<K> {
    /// From now on this is not removed, if it is there at all.
    pub(crate) fn pin(&mut self, key: K) {
        *lock(&self.counts).of.entry(key).or_default() += 1;
        self.keys.push(key);
    }
}

impl<K: Eq + Hash> PinSet<K> {
    /// Unpins everything. Answers what nobody pins any more and somebody wanted to remove meanwhile, in the order of the pins.
    pub(crate) fn end(&mut self) -> Vec<K> {
        let mut counts = lock(&self.counts);
        let mut wanted = Vec::new();
        for key in self.keys.drain(..) {
            let Some(count) = counts.of.get_mut(&key) else { continue };
            *count -= 1;
            if *count == 0 {
                counts.of.remove(&key);
                wanted.extend(counts.wanted.take(&key));
            }
        }
        wanted
    }
}

impl<K: Eq + Hash> Drop for PinSet<K> {
    fn drop(&mut self) {
        self.end();
    }
}
