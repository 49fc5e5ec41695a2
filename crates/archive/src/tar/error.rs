//! What can be wrong with an archive.

use std::io;

use skiff_types::ErrorKind;

use crate::io_kind;

/// An archive that is refused, with the offset of the header block at fault.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stream ended within an entry.
    #[error("unexpected EOF")]
    Truncated,
    /// A header's checksum is wrong, or the block is no header.
    #[error("archive/tar: invalid tar header")]
    Header {
        /// Where the block starts in the stream.
        offset: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A PAX, GNU long name or sparse record exceeds what is accepted.
    #[error("archive/tar: header field too long")]
    TooLong {
        /// Where the entry starts in the stream.
        offset: u64,
    },
    /// An entry that layers cannot hold (a multi-volume part, a GNU volume label with contents, …).
    #[error("unhandled tar header type {kind}")]
    Unsupported {
        /// Where the entry starts in the stream.
        offset: u64,
        /// The type flag.
        kind: u8,
    },
    /// A name that leads out of the archive.
    #[error("invalid entry name {path:?}")]
    Escape {
        /// The name.
        path: String,
    },
    /// A hard link that leads out of the archive.
    #[error("invalid hardlink target {target:?}")]
    LinkEscape {
        /// Where it leads.
        target: String,
    },
    /// A whiteout of nothing, of `.` or of `..`.
    #[error("invalid whiteout entry {path:?}")]
    Whiteout {
        /// The entry's name.
        path: String,
    },
    /// Reading the stream failed.
    #[error(transparent)]
    Io(io::Error),
}

impl Error {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io(e) => io_kind(e),
            _ => ErrorKind::InvalidArgument,
        }
    }
}

impl From<io::Error> for Error {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Io(e),
        }
    }
}
