//! Content digests (OCI image-spec, descriptor.md) and the hashing that makes them.
//!
//! The hash is ring's: where a processor has no instructions for SHA-256, it is nearly twice as fast as portable code.

use std::{fmt, str::FromStr};

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::id::{Digits, hex, unhex};

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

/// A SHA-256 digest in the making.
#[derive(Clone)]
pub struct Hasher(Context);

impl Default for Hasher {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.update(bytes.as_ref());
    }

    /// The digest of all that was taken.
    pub fn finish(self) -> Digest {
        Digest(self.0.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl Digest {
    /// The digest of the bytes.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

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
        f.write_str(Digits::of(&self.0).as_str())
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
    fn digests_are_what_sha256sum_prints() {
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of("abc").to_string(), abc);
        let mut hasher = Hasher::default();
        hasher.update("a");
        let earlier = hasher.clone();
        hasher.update("bc");
        assert_eq!((hasher.finish(), earlier.finish()), (Digest::of("abc"), Digest::of("a")));
    }

    #[test]
    fn only_sha256_with_64_digits_is_a_digest() {
        let good = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(good.parse::<Digest>().unwrap().to_string(), good);
        assert_eq!("sha256:0a".parse::<Digest>(), Err(ParseDigestError::Length));
        assert_eq!("0a".parse::<Digest>(), Err(ParseDigestError::Format));
        assert_eq!("md5:0a".parse::<Digest>(), Err(ParseDigestError::Unsupported));
    }
}
