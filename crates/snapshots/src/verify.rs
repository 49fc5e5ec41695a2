//! What can be wrong with a layer that lies on the disk, and telling it.

use std::{
    fmt,
    io::{self, Read},
};

use skiff_types::{Digest, Hasher};

use crate::{Layer, Result};

/// Something of a layer that is not as it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The archive has other bytes than its diff id says.
    Archive {
        /// What it has now.
        found: Digest,
    },
    /// Something of it cannot be read: a file is missing, or the disk fails.
    Unreadable(String),
    /// What was made from the archive is not what is made from it.
    Derived(&'static str),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Archive { found } => write!(f, "the archive has {found}"),
            Self::Unreadable(reason) => write!(f, "it cannot be read: {reason}"),
            Self::Derived(what) => write!(f, "the {what} is not the archive's"),
        }
    }
}

/// Hashes an archive that is put together or read.
///
/// # Errors
/// None: what keeps it from being read is the damage.
pub(crate) fn archive(layer: &Layer, tar: Result<impl Read>) -> Option<Damage> {
    let hash = |tar: &mut dyn Read| -> io::Result<Digest> {
        let (mut hash, mut buffer) = (Hasher::default(), vec![0; 256 << 10]);
        loop {
            match tar.read(&mut buffer)? {
                0 => return Ok(hash.finish()),
                n => hash.update(&buffer[..n]),
            }
        }
    };
    match tar.map_err(|e| e.to_string()).and_then(|mut tar| hash(&mut tar).map_err(|e| e.to_string())) {
        Ok(found) if found == layer.diff_id => None,
        Ok(found) => Some(Damage::Archive { found }),
        Err(reason) => Some(Damage::Unreadable(reason)),
    }
}
