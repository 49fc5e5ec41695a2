//! The manifests that were asked for lately: most pulls ask for few.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};

use bytes::Bytes;

use crate::digest::Digest;

/// Bytes of one of the two generations.
const GENERATION: usize = 2 << 20;
/// Larger ones are read from their file.
const LARGEST: usize = 128 << 10;

/// Two generations: when the younger is full, the older is forgotten.
#[derive(Debug, Default)]
pub(super) struct ManifestCache(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Digest, Bytes>,
    old: HashMap<Digest, Bytes>,
    /// Of the younger.
    bytes: usize,
}

impl ManifestCache {
    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().expect("no panic under this lock")
    }

    pub(super) fn get(&self, digest: &Digest) -> Option<Bytes> {
        let mut all = self.lock();
        if let Some(bytes) = all.young.get(digest) {
            return Some(bytes.clone());
        }
        let bytes = all.old.get(digest).cloned()?;
        all.put(digest, &bytes);
        Some(bytes)
    }

    pub(super) fn put(&self, digest: &Digest, bytes: &Bytes) {
        if bytes.len() <= LARGEST {
            // A copy: what came in a request may hold a larger buffer.
            self.lock().put(digest, &Bytes::copy_from_slice(bytes));
        }
    }
}

impl Generations {
    fn put(&mut self, digest: &Digest, bytes: &Bytes) {
        if self.bytes + bytes.len() > GENERATION {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        if self.young.insert(digest.clone(), bytes.clone()).is_none() {
            self.bytes += bytes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    #[test]
    fn what_is_asked_for_stays_and_memory_is_bounded() {
        let cache = ManifestCache::default();
        let digest = |n: u32| Digest::of(Algorithm::Sha256, &n.to_le_bytes());
        let bytes = Bytes::from(vec![7; 64 << 10]);
        for n in 0..1000 {
            cache.put(&digest(n), &bytes);
            assert!(cache.get(&digest(0)).is_some(), "{n}");
        }
        assert!(cache.get(&digest(1)).is_none());
        let all = cache.lock();
        assert!((all.young.len() + all.old.len()) * (64 << 10) <= 2 * GENERATION);
    }
}
