//! Why an archive could not be unpacked into a live tree.

use std::io;

use skiff_types::ErrorKind;

use crate::{io_kind, tar};

/// Why an archive could not be unpacked. What came before the entry at fault is there.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The archive is damaged or hostile.
    #[error(transparent)]
    Archive(#[from] tar::Error),
    /// An entry cannot be made.
    #[error("{operation} {path}: {source}")]
    Entry {
        /// What was tried, by the name that Docker's users see.
        operation: &'static str,
        /// The entry's path.
        path: String,
        /// Why it failed.
        source: io::Error,
    },
    /// An entry goes through a link that leads out of the tree.
    #[error("statat {path}: path escapes from parent")]
    Escape {
        /// The entry's path.
        path: String,
    },
    /// A directory is where a file should go, and must stay.
    #[error("cannot overwrite directory {path:?} with non-directory {into:?}")]
    IsDirectory {
        /// The entry's path.
        path: String,
        /// The directory that the archive is unpacked into.
        into: String,
    },
    /// Something else is where a directory should go, and must stay.
    #[error("cannot overwrite non-directory {path:?} with directory {into:?}")]
    IsNoDirectory {
        /// The entry's path.
        path: String,
        /// The directory that the archive is unpacked into.
        into: String,
    },
}

impl ExtractError {
    /// Whether something is missing that the archive counts on: the target of a hard link.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Entry { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Archive(e) => e.kind(),
            Self::Entry { source, .. } => io_kind(source),
            Self::Escape { .. } | Self::IsDirectory { .. } | Self::IsNoDirectory { .. } => {
                ErrorKind::InvalidArgument
            }
        }
    }
}
