//! Paths in JSON: any bytes, as text that takes little more than they do.

use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A path of any bytes. In JSON it is a string with a character for each byte, U+0000 to U+00FF, which is the path itself
/// as long as that is ASCII; lists of numbers, as earlier versions wrote them, are read as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathText(Vec<u8>);

impl From<Vec<u8>> for PathText {
    fn from(path: Vec<u8>) -> Self {
        Self(path)
    }
}

impl Deref for PathText {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for PathText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.iter().map(|byte| char::from(*byte)).collect::<String>())
    }
}

impl<'de> Deserialize<'de> for PathText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = PathText;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a path")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<PathText, E> {
                let bytes = text.chars().map(|c| u8::try_from(c).map_err(E::custom));
                bytes.collect::<Result<_, _>>().map(PathText)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<PathText, A::Error> {
                let mut path = Vec::new();
                while let Some(byte) = list.next_element()? {
                    path.push(byte);
                }
                Ok(PathText(path))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_are_short_text_and_come_back() {
        let every = PathText((0..=255).collect());
        let json = serde_json::to_string(&every).unwrap();
        assert_eq!(serde_json::from_str::<PathText>(&json).unwrap(), every);
        let plain = PathText(b"usr/bin/a".to_vec());
        assert_eq!(serde_json::to_string(&plain).unwrap(), "\"usr/bin/a\"");
        assert_eq!(serde_json::from_str::<PathText>("[117,255]").unwrap(), PathText(vec![117, 255]));
        assert!(serde_json::from_str::<PathText>("\"\u{100}\"").is_err());
    }
}
