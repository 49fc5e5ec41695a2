//! What is in a store, and what stands on what. Kept in memory; the directories are the truth.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{ChainId, Error, Layer, Result};

/// Layers and snapshots of a store.
#[derive(Debug, Default)]
pub(crate) struct Index {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    layers: HashMap<ChainId, Layer>,
    snapshots: HashMap<String, Option<ChainId>>,
}

impl Index {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is a single insertion or removal, so a panic elsewhere leaves nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A layer.
    pub(crate) fn layer(&self, chain: &ChainId) -> Result<Layer> {
        self.lock().layers.get(chain).cloned().ok_or(Error::LayerNotFound(*chain))
    }

    /// All layers.
    pub(crate) fn layers(&self) -> Vec<ChainId> {
        self.lock().layers.keys().copied().collect()
    }

    /// A layer and those below it, topmost first.
    pub(crate) fn stack(&self, chain: Option<&ChainId>) -> Result<Vec<ChainId>> {
        let inner = self.lock();
        let mut stack = Vec::new();
        let mut next = chain.copied();
        while let Some(chain) = next {
            stack.push(chain);
            next = inner.layers.get(&chain).ok_or(Error::LayerNotFound(chain))?.parent;
        }
        Ok(stack)
    }

    /// Adds a layer with `publish`, unless it is there already or its parent is not.
    pub(crate) fn add_layer(&self, layer: Layer, publish: impl FnOnce() -> Result<()>) -> Result<()> {
        // Publishing is a rename and a flush of a directory; under the lock, so that no two publish the same.
        let mut inner = self.lock();
        if let Some(parent) = layer.parent.filter(|p| !inner.layers.contains_key(p)) {
            return Err(Error::LayerNotFound(parent));
        }
        if let Entry::Vacant(place) = inner.layers.entry(layer.chain) {
            publish()?;
            place.insert(layer);
        }
        Ok(())
    }

    /// Adds a layer found on the disk.
    pub(crate) fn insert_layer(&self, layer: Layer) {
        self.lock().layers.insert(layer.chain, layer);
    }

    /// Adds a snapshot found on the disk. What was written to it is there even if the layer below has been lost.
    pub(crate) fn insert_snapshot(&self, key: String, parent: Option<ChainId>) {
        self.lock().snapshots.insert(key, parent);
    }

    /// Removes a layer with `discard` if nothing stands on it.
    pub(crate) fn remove_layer(&self, chain: &ChainId, discard: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut inner = self.lock();
        if !inner.layers.contains_key(chain) {
            return Err(Error::LayerNotFound(*chain));
        }
        let child = inner.layers.values().find(|l| l.parent == Some(*chain)).map(|l| l.chain.to_string());
        let snapshot = || inner.snapshots.iter().find(|(_, p)| **p == Some(*chain)).map(|(k, _)| k.clone());
        if let Some(user) = child.or_else(snapshot) {
            return Err(Error::LayerInUse { chain: *chain, user });
        }
        discard()?;
        inner.layers.remove(chain);
        Ok(())
    }

    /// Reserves a snapshot's key, so that its parent cannot be removed.
    pub(crate) fn add_snapshot(&self, key: &str, parent: Option<&ChainId>) -> Result<()> {
        check_key(key)?;
        let mut inner = self.lock();
        if let Some(parent) = parent.filter(|p| !inner.layers.contains_key(p)) {
            return Err(Error::LayerNotFound(*parent));
        }
        if inner.snapshots.contains_key(key) {
            return Err(Error::SnapshotExists(key.to_owned()));
        }
        inner.snapshots.insert(key.to_owned(), parent.copied());
        Ok(())
    }

    /// The layer a snapshot stands on.
    pub(crate) fn snapshot(&self, key: &str) -> Result<Option<ChainId>> {
        self.lock().snapshots.get(key).copied().ok_or_else(|| Error::SnapshotNotFound(key.to_owned()))
    }

    /// All snapshots.
    pub(crate) fn snapshots(&self) -> Vec<String> {
        self.lock().snapshots.keys().cloned().collect()
    }

    /// Removes a snapshot with `discard`.
    pub(crate) fn remove_snapshot(&self, key: &str, discard: impl FnOnce() -> Result<()>) -> Result<()> {
        self.snapshot(key)?;
        discard()?;
        self.lock().snapshots.remove(key);
        Ok(())
    }
}

/// A key is a directory's name.
fn check_key(key: &str) -> Result<()> {
    let alnum = |c: char| c.is_ascii_alphanumeric();
    let good = key.len() <= 128
        && key.starts_with(alnum)
        && key.chars().all(|c| alnum(c) || matches!(c, '_' | '.' | '-'));
    if good { Ok(()) } else { Err(Error::InvalidKey(key.to_owned())) }
}
