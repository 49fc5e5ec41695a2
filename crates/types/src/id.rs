//! Identifiers, each a type of its own so that one cannot be passed for another.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::Digest;

/// A string that is not an identifier: it must be 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid id {0:?}: want 64 lower-case hexadecimal digits")]
pub struct ParseIdError(pub String);

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// A new random identifier. As Docker does, one whose first twelve digits are all decimal is never
            /// given out: it could be taken for a number.
            pub fn random() -> Self {
                loop {
                    let id = Self(rand::random());
                    if id.short().bytes().any(|c| c.is_ascii_alphabetic()) {
                        return id;
                    }
                }
            }

            /// The first twelve digits, as people see them.
            pub fn short(&self) -> String {
                hex(&self.0[..6])
            }

            /// The identifier with these 32 bytes.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(Digits::of(&self.0).as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(s: &str) -> Result<Self, ParseIdError> {
                unhex(s).map(Self).ok_or_else(|| ParseIdError(s.to_owned()))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(Digits::of(&self.0).as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

hex_id!(
    /// A container.
    ContainerId
);
hex_id!(
    /// A process started inside a running container.
    ExecId
);
hex_id!(
    /// A network.
    NetworkId
);
hex_id!(
    /// The place where a container joins a network.
    EndpointId
);
hex_id!(
    /// An image: the SHA-256 of its configuration. Written without the `sha256:` prefix here.
    ImageId
);

impl ImageId {
    /// The digest of the image's configuration.
    pub fn digest(&self) -> Digest {
        Digest::from_sha256(self.0)
    }
}

impl From<Digest> for ImageId {
    fn from(digest: Digest) -> Self {
        Self(*digest.sha256())
    }
}

/// Lower-case hexadecimal. Lists of containers are made of it, so it goes byte by byte and not through `fmt`.
pub fn hex(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(2 * bytes.len());
    out.extend(bytes.iter().flat_map(|byte| pair(*byte)));
    String::from_utf8(out).expect("digits are ASCII")
}

/// The same of 32 bytes, without an allocation.
pub(crate) struct Digits([u8; 64]);

impl Digits {
    pub(crate) fn of(bytes: &[u8; 32]) -> Self {
        let mut digits = [0; 64];
        for (place, byte) in digits.as_chunks_mut().0.iter_mut().zip(bytes) {
            *place = pair(*byte);
        }
        Self(digits)
    }

    pub(crate) fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("digits are ASCII")
    }
}

fn pair(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [byte >> 4, byte & 0xf].map(|value| DIGITS[usize::from(value)])
}

/// 64 lower-case hexadecimal digits, or nothing.
pub(crate) fn unhex(s: &str) -> Option<[u8; 32]> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let s = s.as_bytes();
    if s.len() != 64 {
        return None;
    }
    let mut out = [0; 32];
    for (o, pair) in out.iter_mut().zip(s.chunks_exact(2)) {
        *o = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_id_reads_back_and_is_never_a_number() {
        for _ in 0..1000 {
            let id = ContainerId::random();
            assert_eq!(id.to_string().parse::<ContainerId>(), Ok(id));
            assert!(id.short().parse::<u64>().is_err());
            assert!(id.to_string().starts_with(&id.short()));
        }
    }

    #[test]
    fn what_is_not_64_lower_case_digits_is_refused() {
        for bad in ["", "abc", &"A".repeat(64), &"g".repeat(64), &"a".repeat(65)] {
            assert!(bad.parse::<ContainerId>().is_err(), "{bad}");
        }
    }
}
