//! What a prune removed.

/// The answer to the prune requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned<T> {
    /// What is gone, in order.
    pub removed: Vec<T>,
    /// Bytes that it took on disk.
    pub space: u64,
}

impl<T> Default for Pruned<T> {
    fn default() -> Self {
        Self { removed: Vec::new(), space: 0 }
    }
}
