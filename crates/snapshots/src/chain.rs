//! Chain ids (OCI image-spec, config.md, "Layer ChainID"): what names a layer together with all layers below it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use skiff_types::{Digest, ParseDigestError};

/// The identity of a stack of layers. The lowest layer's chain id is its diff id; above it, the chain id is the
/// SHA-256 of the chain id below, a blank and the layer's diff id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(Digest);

impl ChainId {
    /// The chain id of the layer `diff_id` on top of `parent`.
    pub fn new(parent: Option<&ChainId>, diff_id: &Digest) -> Self {
        match parent {
            None => Self(*diff_id),
            Some(parent) => Self(Digest::of(format!("{parent} {diff_id}"))),
        }
    }

    /// The chain id of a whole stack, lowest layer first; nothing for an image without layers.
    pub fn of(diff_ids: &[Digest]) -> Option<Self> {
        diff_ids.iter().fold(None, |parent, diff_id| Some(Self::new(parent.as_ref(), diff_id)))
    }

    /// The chain ids of every layer of a stack, lowest first.
    pub fn all(diff_ids: &[Digest]) -> Vec<Self> {
        let mut parent = None;
        diff_ids.iter().map(|diff_id| *parent.insert(Self::new(parent.as_ref(), diff_id))).collect()
    }

    /// The digest.
    pub fn digest(&self) -> &Digest {
        &self.0
    }

    /// The 64 hexadecimal digits: a file name.
    pub fn hex(&self) -> String {
        self.0.hex()
    }

    /// A chain id from its file name.
    pub fn from_hex(hex: &str) -> Result<Self, ParseDigestError> {
        format!("sha256:{hex}").parse().map(Self)
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChainId({})", self.0)
    }
}

impl FromStr for ChainId {
    type Err = ParseDigestError;
    fn from_str(s: &str) -> Result<Self, ParseDigestError> {
        s.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values from image-spec's test of `identity.ChainID`.
    #[test]
    fn a_chain_id_hashes_the_chain_below_and_the_diff_id() {
        let a: Digest = format!("sha256:{}", "aa".repeat(32)).parse().unwrap();
        let b: Digest = format!("sha256:{}", "bb".repeat(32)).parse().unwrap();
        assert_eq!(ChainId::of(&[]), None);
        assert_eq!(ChainId::of(&[a]).unwrap().digest(), &a);
        let two = ChainId::of(&[a, b]).unwrap();
        assert_eq!(two.digest(), &Digest::of(format!("{a} {b}")));
        assert_eq!(ChainId::all(&[a, b]), [ChainId::of(&[a]).unwrap(), two]);
        assert_eq!(ChainId::from_hex(&two.hex()), Ok(two));
    }
}
