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
    /// No plugin has this name.
    #[error("error looking up volume plugin {0}: plugin {0:?} not found")]
    NoSuchPlugin(String),
    /// A plugin is described wrongly.
    #[error("error looking up volume plugin {name}: {reason}")]
    BadPlugin {
        /// The plugin.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A plugin cannot be reached, or does not keep to the protocol.
    #[error("plugin {plugin:?}: {method}: {reason}")]
    Protocol {
        /// The plugin.
        plugin: String,
        /// What was asked.
        method: &'static str,
        /// What happened.
        reason: String,
    },
    /// A plugin answered with an error.
    #[error("{0}")]
    Refused(String),
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
            Self::NoSuchPath { .. } | Self::NoSuchPlugin(_) => ErrorKind::NotFound,
            Self::HasMount(_) => ErrorKind::Conflict,
            Self::Io(e) => match e.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::OutOfSpace,
                _ => ErrorKind::Internal,
            },
            Self::NoDevice
            | Self::Address(_)
            | Self::Mount { .. }
            | Self::BadPlugin { .. }
            | Self::Protocol { .. }
            | Self::Refused(_) => ErrorKind::Internal,
        }
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}
