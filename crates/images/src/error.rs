//! What can go wrong with images, in Docker's words where Docker has words for it.

use std::io;

use skiff_snapshots::Error as SnapshotError;
use skiff_types::{Digest, ErrorKind, ImageId};

use crate::ParseReferenceError;

/// The result of an image store's operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of the image store. Whatever it was, the store is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is no reference.
    #[error(transparent)]
    Reference(#[from] ParseReferenceError),
    /// No image has this name or id.
    #[error("No such image: {0}")]
    NotFound(String),
    /// The reference that should be removed does not exist, though it is well-formed.
    #[error("reference does not exist")]
    NoSuchReference,
    /// A tag cannot contain a digest.
    #[error("cannot import digest reference")]
    TagWithDigest,
    /// An imported image gets its digest from what it is.
    #[error("cannot import digest reference")]
    ImportWithDigest,
    /// A name like `sha256` would hide digests.
    #[error("refusing to create an ambiguous tag using digest algorithm as name")]
    TagIsAlgorithm,
    /// The image is needed.
    #[error("{0}")]
    InUse(#[from] Conflict),
    /// An instruction of `--change` is wrong.
    #[error("{0}")]
    Change(String),
    /// The platform is wrong.
    #[error("{0}")]
    Platform(String),
    /// The archive is not one that `save` or an OCI tool made.
    #[error("{0}")]
    Archive(String),
    /// A part of the archive is not what its digest says.
    #[error("{what} has digest {found}, expected {expected}")]
    Digest {
        /// The part.
        what: String,
        /// What it should be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// The store's own file cannot be read.
    #[error("image store is damaged: {path}: {reason}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A layer could not be made or read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// Reading, writing or storing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why an image cannot be removed, or only by force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// A container was made by this name, and it is the image's last.
    #[error(
        "conflict: unable to remove repository reference \"{reference}\" (must force) - container {container} is using its referenced image {}",
        image.short()
    )]
    ReferenceUsed {
        /// The name as it was given.
        reference: String,
        /// The container's short id.
        container: String,
        /// The image.
        image: ImageId,
    },
    /// A running container uses the image.
    #[error("conflict: unable to delete {} (cannot be forced) - image is being used by running container {container}", image.short())]
    RunningContainer {
        /// The image.
        image: ImageId,
        /// The container's short id.
        container: String,
    },
    /// A stopped container uses the image.
    #[error("conflict: unable to delete {} (must be forced) - image is being used by stopped container {container}", image.short())]
    StoppedContainer {
        /// The image.
        image: ImageId,
        /// The container's short id.
        container: String,
    },
    /// The image has several names and was given by id.
    #[error("conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories", image.short())]
    SeveralRepositories {
        /// The image.
        image: ImageId,
    },
    /// The image has children.
    #[error("conflict: unable to delete {} (cannot be forced) - image has dependent child images", image.short())]
    HasChildren {
        /// The image.
        image: ImageId,
    },
}

impl Error {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) | Self::NoSuchReference => ErrorKind::NotFound,
            Self::InUse(_) => ErrorKind::Conflict,
            Self::Reference(_)
            | Self::TagWithDigest
            | Self::ImportWithDigest
            | Self::TagIsAlgorithm
            | Self::Change(_)
            | Self::Platform(_)
            | Self::Archive(_)
            | Self::Digest { .. } => ErrorKind::InvalidArgument,
            Self::Damaged { .. } => ErrorKind::Internal,
            Self::Snapshot(e) => e.kind(),
            Self::Io(e) => match e.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::OutOfSpace,
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => ErrorKind::InvalidArgument,
                _ => ErrorKind::Internal,
            },
        }
    }
}
