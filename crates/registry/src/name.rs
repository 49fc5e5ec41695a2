//! Names of repositories, tags and references, as the distribution specification spells them.
//!
//! Whatever passes here is safe as a key, in a header and as a part of a path: no name holds anything but
//! `a-z 0-9 . _ - /`, and no component begins or ends with a separator.

use std::{borrow::Borrow, fmt, str::FromStr};

use crate::{Error, digest::Digest};

/// Bytes of the longest repository name.
const MAX_NAME: usize = 255;
/// Bytes of the longest tag.
const MAX_TAG: usize = 128;

/// A repository's name: components of lower-case letters and digits, separated by slashes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The project: the first component, or `library` for a name of one component.
    pub fn project(&self) -> &str {
        self.0.split_once('/').map_or("library", |(project, _)| project)
    }
}

/// One component: alphanumeric runs joined by `.`, `_`, `__` or any number of `-`.
fn component(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends = bytes.first().zip(bytes.last());
    if !ends.is_some_and(|(first, last)| alphanumeric(*first) && alphanumeric(*last)) {
        return false;
    }
    let mut at = 0;
    while at < bytes.len() {
        if alphanumeric(bytes[at]) {
            at += 1;
            continue;
        }
        let run = bytes[at..].iter().take_while(|byte| !alphanumeric(**byte)).count();
        match &bytes[at..at + run] {
            b"." | b"_" | b"__" => {}
            dashes if dashes.iter().all(|byte| *byte == b'-') => {}
            _ => return false,
        }
        at += run;
    }
    true
}

impl FromStr for Name {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() <= MAX_NAME && text.split('/').all(component) {
            Ok(Self(text.into()))
        } else {
            Err(Error::NameInvalid { name: text.chars().take(MAX_NAME).collect() })
        }
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A tag: up to 128 of `A-Z a-z 0-9 _ . -`, not beginning with `.` or `-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Box<str>);

impl Tag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let good = text.len() <= MAX_TAG
            && text.bytes().next().is_some_and(word)
            && text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-');
        if good {
            Ok(Self(text.into()))
        } else {
            Err(Error::TagInvalid { tag: text.chars().take(MAX_TAG).collect() })
        }
    }
}

impl Borrow<str> for Tag {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What names a manifest inside a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// By name.
    Tag(Tag),
    /// By content.
    Digest(Digest),
}

impl FromStr for Reference {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        if text.contains(':') { text.parse().map(Self::Digest) } else { text.parse().map(Self::Tag) }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_follow_the_grammar() {
        for good in ["a", "busybox", "a/b/c", "a.b", "a_b", "a__b", "a---b", "0/1", "library/x-y.z"] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        for bad in [
            "", "/", "a/", "/a", "a//b", "A", "a..b", "a___b", "-a", "a-", "a._b", "a/..", "..", "a b",
            "a%2fb", "ä", "a:b",
        ] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
        assert!("a".repeat(255).parse::<Name>().is_ok());
        assert!("a".repeat(256).parse::<Name>().is_err());
    }

    #[test]
    fn the_project_is_the_first_component() {
        assert_eq!("team/app/web".parse::<Name>().unwrap().project(), "team");
        assert_eq!("busybox".parse::<Name>().unwrap().project(), "library");
    }

    #[test]
    fn references_are_tags_or_digests() {
        assert!(matches!("v1.0_X-y".parse(), Ok(Reference::Tag(_))));
        assert!(matches!(format!("sha256:{}", "a".repeat(64)).parse(), Ok(Reference::Digest(_))));
        for bad in ["", ".a", "-a", "a/b", "sha256:xyz", &"a".repeat(129)] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }

    proptest! {
        /// Whatever a stranger sends, a name that is accepted stays inside the grammar and cannot walk.
        #[test]
        fn no_text_becomes_a_name_that_walks(text in "[a-zA-Z0-9._/:@%\\\\ -]{0,40}|\\PC{0,20}") {
            if let Ok(name) = text.parse::<Name>() {
                prop_assert_eq!(name.as_str(), &text);
                prop_assert!(name.as_str().bytes().all(|b| b"abcdefghijklmnopqrstuvwxyz0123456789._-/".contains(&b)));
                prop_assert!(!name.as_str().split('/').any(|part| part.is_empty() || part == "." || part == ".."));
            }
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string(), text);
            }
        }
    }
}
