//! What can go wrong with volumes, in Docker's words where Docker has words for it.

use std::{io, path::PathBuf};

use rustix::io::Errno;
use skiff_types::ErrorKind;

/// The result of a driver's operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of a driver.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name has only one character.
    #[error("volume name is too short, names should be at least two alphanumeric characters")]
    NameTooShort,
    /// The name has other characters than a directory of ours may have.
    #[error(
        "{0:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )]
    InvalidName(String),
    /// The local driver has no such option.
    #[error("invalid option: {0:?}")]
    UnknownOption(String),
    /// An option that another one needs.
    #[error("missing required option: {0:?}")]
    MissingOption(&'static str),
    /// The option `size` is no size.
    #[error("invalid size: '{0}'")]
    InvalidSize(String),
    /// The file system has no project quotas.
    #[error("quota size requested but no quota support")]
    NoQuotas,
    /// The options name a type or flags but nothing to mount.
    #[error("missing device in volume options")]
    NoDevice,
    /// The address in the options of a network file system has no number.
    #[error("error resolving passed in network volume address: {0}")]
    Address(io::Error),
    /// The kernel does not mount it.
    #[error("failed to mount local volume: {call}: {}", io::Error::from(*errno))]
    Mount {
        /// What was asked for, passwords left out.
        call: String,
        /// The kernel's answer.
        errno: Errno,
    },
    /// Something is mounted in a volume that should be removed.
    #[error("{} is a mount point: unmount it first", .0.display())]
    HasMount(PathBuf),
    /// A path inside a volume is not there.
    #[error("cannot access path {path}: lstat {path}: {}", io::Error::from(*errno))]
    NoSuchPath {
        /// The whole path.
        path: String,
        /// The kernel's answer.
        errno: Errno,
    },
    /// A path leads out of its volume.
    #[error("path concatenation escapes the base directory, base: {base}, subpath: {subpath}")]
    Escapes {
        /// Where the volume is.
        base: String,
        /// The path in it.
        subpath: String,
    },
    /// No volume driver has this name.
    #[error("error looking up volume plugin {name}: {source}")]
    Lookup {
        /// The name.
        name: String,
        /// Why.
        source: skiff_plugins::Error,
    },
    /// A plugin did not do what it was asked for.
    #[error(transparent)]
    Plugin(#[from] skiff_plugins::Error),
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Error {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NameTooShort
            | Self::InvalidName(_)
            | Self::UnknownOption(_)
            | Self::MissingOption(_)
            | Self::InvalidSize(_)
            | Self::NoQuotas
            | Self::Escapes { .. } => ErrorKind::InvalidArgument,
            Self::NoSuchPath { .. } => ErrorKind::NotFound,
            Self::Lookup { source, .. } | Self::Plugin(source) => source.kind(),
            Self::HasMount(_) => ErrorKind::Conflict,
            Self::Io(e) => match e.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::OutOfSpace,
                _ => ErrorKind::Internal,
            },
            Self::NoDevice | Self::Address(_) | Self::Mount { .. } => ErrorKind::Internal,
        }
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}
