//! What can go wrong with layers and snapshots.

use std::{io, path::PathBuf};

use skiff_archive::io_kind;
use skiff_types::{Digest, ErrorKind};

use crate::{ChainId, tar};

/// The result of a snapshotter's operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of a snapshotter. Whatever it was, the operation left nothing behind.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No driver has this name.
    #[error("driver not supported: {0}")]
    UnknownDriver(String),
    /// The driver exists, but this kernel or file system cannot carry it.
    #[error("driver not supported: {driver}: {reason}")]
    DriverUnusable {
        /// The driver.
        driver: &'static str,
        /// What it lacks.
        reason: String,
    },
    /// No driver works here.
    #[error("no supported storage driver found")]
    NoDriver,
    /// The layer is not in the store.
    #[error("layer {0} does not exist")]
    LayerNotFound(ChainId),
    /// Another layer or a snapshot stands on this layer.
    #[error("layer {chain} is in use by {user}")]
    LayerInUse {
        /// The layer that should go.
        chain: ChainId,
        /// The chain id or snapshot key that needs it.
        user: String,
    },
    /// No snapshot has this key.
    #[error("snapshot {0:?} does not exist")]
    SnapshotNotFound(String),
    /// The key is taken.
    #[error("snapshot {0:?} already exists")]
    SnapshotExists(String),
    /// A key that cannot be a directory's name: it must match `[A-Za-z0-9][A-Za-z0-9_.-]*`, at most 128 bytes.
    #[error("invalid snapshot key {0:?}")]
    InvalidKey(String),
    /// The archive is damaged or hostile.
    #[error(transparent)]
    Archive(#[from] tar::Error),
    /// An entry of a layer cannot be made in the file system.
    #[error("failed to apply layer: {path}: {source}")]
    Apply {
        /// The entry's path.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A hard link leads to nothing, neither in its own layer nor below.
    #[error("failed to apply layer: hard link {path} to {target}: no such file")]
    DanglingLink {
        /// The link's path.
        path: String,
        /// Where it should lead.
        target: String,
    },
    /// The layer is not the one that was announced.
    #[error("layer has diff id {found}, expected {expected}")]
    DiffId {
        /// What the image's configuration says.
        expected: Digest,
        /// What the archive has.
        found: Digest,
    },
    /// The file system limits no directories.
    #[error("the size of a snapshot cannot be limited: {0}")]
    NoLimits(io::Error),
    /// The driver keeps layers as directories, which are not replaced under those who use them.
    #[error("the storage driver {0} cannot mend a layer in its place")]
    CannotMend(&'static str),
    /// Another process works with the store.
    #[error("{0:?} is in use by another engine")]
    Locked(PathBuf),
    /// What the store holds has been changed behind its back.
    #[error("layer store is damaged: {0}")]
    Damaged(String),
    /// A newer version of this program has written here.
    #[error("layer store is of a newer version: {0}")]
    TooNew(String),
    /// An operation on the store failed; the message names the file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A system call that has no file to name failed.
    #[error("{call}: {source}")]
    System {
        /// The system call and what it was about.
        call: String,
        /// Its error.
        source: io::Error,
    },
}

impl Error {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownDriver(_)
            | Self::InvalidKey(_)
            | Self::DanglingLink { .. }
            | Self::DiffId { .. } => ErrorKind::InvalidArgument,
            Self::DriverUnusable { .. } | Self::NoDriver | Self::NoLimits(_) | Self::CannotMend(_) => {
                ErrorKind::NotImplemented
            }
            Self::LayerNotFound(_) | Self::SnapshotNotFound(_) => ErrorKind::NotFound,
            Self::LayerInUse { .. } | Self::SnapshotExists(_) => ErrorKind::Conflict,
            Self::Archive(e) => e.kind(),
            Self::Locked(_) => ErrorKind::Unavailable,
            Self::Damaged(_) | Self::TooNew(_) => ErrorKind::Internal,
            Self::Apply { source, .. } | Self::Io(source) | Self::System { source, .. } => io_kind(source),
        }
    }
}
