//! What can go wrong with the store.

use std::{io, path::PathBuf, sync::Arc};

use skiff_types::ErrorKind;

/// The store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another daemon has it.
    #[error("{} is in use by another daemon", path.display())]
    InUse {
        /// The store.
        path: PathBuf,
    },
    /// Written by a later version.
    #[error("{} has schema version {found}, this version knows up to {known}: use the version that wrote it", path.display())]
    Newer {
        /// The store.
        path: PathBuf,
        /// Its schema version.
        found: u64,
        /// Ours.
        known: u64,
    },
    /// Not a store, or damaged beyond what redb repairs.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The store.
        path: PathBuf,
        /// What redb says.
        source: redb::Error,
    },
    /// A value is not what its table says.
    #[error("{}: cannot read {table}/{key}", path.display())]
    Value {
        /// The store.
        path: PathBuf,
        /// The table.
        table: &'static str,
        /// The key.
        key: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The operating system refused.
    #[error("cannot open {}", path.display())]
    Io {
        /// The store.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A commit failed: nothing of it is in the store. Shared, because commits are.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot write to the store: {source}")]
pub struct CommitError {
    pub(crate) kind: ErrorKind,
    source: Arc<redb::Error>,
}

impl CommitError {
    pub(crate) fn new(source: redb::Error) -> Self {
        let full =
            |e: &io::Error| matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let kind = match &source {
            redb::Error::Io(e) if full(e) => ErrorKind::OutOfSpace,
            _ => ErrorKind::Internal,
        };
        Self { kind, source: Arc::new(source) }
    }

    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}
