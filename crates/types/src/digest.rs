//! Content digests (OCI image-spec, descriptor.md).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::id::{hex, unhex};

/// A SHA-256 digest, written `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// A string that is not a SHA-256 digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseDigestError {
    /// The algorithm is registered or well-formed, but not one that is supported.
    #[error("unsupported digest algorithm")]
    Unsupported,
    /// Not `algorithm:hex`.
    #[error("invalid checksum digest format")]
    Format,
    /// The hexadecimal part has the wrong length.
    #[error("invalid checksum digest length")]
    Length,
}

impl Digest {
    /// The digest with these 32 bytes.
    pub fn from_sha256(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hexadecimal digits, without the algorithm: a file name.
    pub fn hex(&self) -> String {
        hex(&self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        f.write_str(&self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;
    fn from_str(s: &str) -> Result<Self, ParseDigestError> {
        let (algorithm, digits) = s.split_once(':').ok_or(ParseDigestError::Format)?;
        match algorithm {
            "sha256" if digits.len() != 64 => Err(ParseDigestError::Length),
            "sha256" => unhex(digits).map(Self).ok_or(ParseDigestError::Format),
            "" => Err(ParseDigestError::Format),
            _ => Err(ParseDigestError::Unsupported),
        }
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sha256_with_64_digits_is_a_digest() {
        let good = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(good.parse::<Digest>().unwrap().to_string(), good);
        assert_eq!("sha256:0a".parse::<Digest>(), Err(ParseDigestError::Length));
        assert_eq!("0a".parse::<Digest>(), Err(ParseDigestError::Format));
        assert_eq!("md5:0a".parse::<Digest>(), Err(ParseDigestError::Unsupported));
    }
}
