//! Image references: parsing, normalisation and the wording of what is wrong with one.
//!
//! The grammar is that of the distribution project's reference package; names without a registry belong to
//! `docker.io`, and one-word names there to `library/`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use skiff_types::{Digest, ParseDigestError};

const DEFAULT_DOMAIN: &str = "docker.io";

/// The longest path, in characters.
const MAX_NAME: usize = 255;

/// A name of an image, normalised: a registry, a path, and a tag, a digest, both, or neither.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A string that is no image reference, in Docker's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseReferenceError {
    /// Not of the form `[registry/]path[:tag][@digest]`.
    #[error("invalid reference format")]
    Format,
    /// The path has upper-case letters.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    UpperCase(String),
    /// The path is longer than 255 characters.
    #[error("repository name must not be more than 255 characters")]
    TooLong,
    /// A tag that was given by itself.
    #[error("invalid tag format")]
    Tag,
    /// What would be taken for an image id.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId(String),
    /// The digest has a wrong length.
    #[error("invalid checksum digest length")]
    DigestLength,
    /// The digest's algorithm is unknown.
    #[error("unsupported digest algorithm")]
    DigestAlgorithm,
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    /// Parses a name as people write it: `busybox`, `busybox:1.36`, `localhost:5000/a/b@sha256:…`.
    fn from_str(s: &str) -> Result<Self, ParseReferenceError> {
        if is_image_id(s) {
            return Err(ParseReferenceError::LooksLikeId(s.to_owned()));
        }
        let (domain, rest) = split_domain(s);
        let path_end = rest.find([':', '@']).unwrap_or(rest.len());
        let path = match domain {
            DEFAULT_DOMAIN if !rest[..path_end].contains('/') => format!("library/{}", &rest[..path_end]),
            _ => rest[..path_end].to_owned(),
        };
        if path.chars().any(char::is_uppercase) {
            return Err(ParseReferenceError::UpperCase(path));
        }
        if !is_domain(domain) || !is_path(&path) {
            return Err(ParseReferenceError::Format);
        }
        let (tag, digest) = split_suffix(&rest[path_end..])?;
        if path.len() > MAX_NAME {
            return Err(ParseReferenceError::TooLong);
        }
        Ok(Self { domain: domain.to_owned(), path, tag, digest })
    }
}

impl Reference {
    /// The registry: `docker.io` where none was given.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository's path within the registry: `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The registry and path without tag and digest: `docker.io/library/busybox`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The name as people write it, without tag and digest: `busybox`.
    pub fn familiar_name(&self) -> String {
        match (self.domain.as_str(), self.path.strip_prefix("library/")) {
            (DEFAULT_DOMAIN, Some(short)) if !short.contains('/') => short.to_owned(),
            (DEFAULT_DOMAIN, _) => self.path.clone(),
            _ => self.name(),
        }
    }

    /// As people write it, with tag and digest: `busybox:1.36`.
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    /// The same with tag `latest` if there is neither a tag nor a digest.
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some("latest".to_owned());
        }
        self
    }

    /// The name that the store knows it by: beside a digest a tag says nothing.
    pub fn decisive(self) -> Self {
        match self.digest {
            Some(digest) => self.at_digest(digest),
            None => self.or_latest(),
        }
    }

    /// The same with another tag.
    ///
    /// # Errors
    /// What is no tag.
    pub fn with_tag(mut self, tag: &str) -> Result<Self, ParseReferenceError> {
        if !is_tag(tag) {
            return Err(ParseReferenceError::Tag);
        }
        self.tag = Some(tag.to_owned());
        Ok(self)
    }

    /// The registry and path with this digest alone.
    pub fn at_digest(&self, digest: Digest) -> Self {
        Self { domain: self.domain.clone(), path: self.path.clone(), tag: None, digest: Some(digest) }
    }

    /// The registry and path alone.
    pub fn without_tag(&self) -> Self {
        Self { domain: self.domain.clone(), path: self.path.clone(), tag: None, digest: None }
    }

    fn with_suffix(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name = name + ":" + tag;
        }
        if let Some(digest) = &self.digest {
            name = format!("{name}@{digest}");
        }
        name
    }
}

/// The whole reference: `docker.io/library/busybox:1.36`.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(self.name()))
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reference({self})")
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// 64 lower-case hexadecimal digits.
fn is_image_id(s: &str) -> bool {
    s.len() == 64 && s.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

/// The registry and the rest. A first component is a registry if it could not be a user's name: it has a dot, a
/// port or upper-case letters, or is `localhost`.
fn split_domain(s: &str) -> (&str, &str) {
    match s.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.chars().any(char::is_uppercase) =>
        {
            match first {
                "index.docker.io" => (DEFAULT_DOMAIN, rest),
                _ => (first, rest),
            }
        }
        _ => (DEFAULT_DOMAIN, s),
    }
}

/// A host name or address, with an optional port.
fn is_domain(s: &str) -> bool {
    let (host, port) = match s.strip_prefix('[').and_then(|s| s.split_once(']')) {
        Some((v6, port)) if !v6.is_empty() && v6.bytes().all(|c| c.is_ascii_hexdigit() || c == b':') => {
            return port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        }
        Some(_) => return false,
        None => match s.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (s, None),
        },
    };
    let label = |l: &str| {
        !l.is_empty()
            && l.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    host.split('.').all(label) && port.is_none_or(is_port)
}

fn is_port(s: &str) -> bool {
    !s.is_empty() && s.bytes().all(|c| c.is_ascii_digit())
}

/// Components of lower-case letters and digits with separators (`.`, `_`, `__`, any number of `-`) between them.
fn is_path(s: &str) -> bool {
    s.split('/').all(|component| {
        let alnum = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        component.starts_with(alnum)
            && component.ends_with(alnum)
            && component
                .split(alnum)
                .all(|sep| matches!(sep, "" | "." | "_" | "__") || sep.bytes().all(|c| c == b'-'))
    })
}

/// What follows the path: `[:tag][@digest]`.
fn split_suffix(s: &str) -> Result<(Option<String>, Option<Digest>), ParseReferenceError> {
    let (tag, digest) = match s.split_once('@') {
        Some((tag, digest)) => (tag, Some(digest)),
        None => (s, None),
    };
    let tag = match tag.strip_prefix(':') {
        None if tag.is_empty() => None,
        Some(tag) if is_tag(tag) => Some(tag.to_owned()),
        _ => return Err(ParseReferenceError::Format),
    };
    Ok((tag, digest.map(parse_digest).transpose()?))
}

/// At most 128 word characters, dots and dashes, beginning with a word character.
pub(crate) fn is_tag(s: &str) -> bool {
    let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    (1..=128).contains(&s.len())
        && s.bytes().next().is_some_and(word)
        && s.bytes().all(|c| word(c) || c == b'.' || c == b'-')
}

/// The grammar wants at least 32 hexadecimal digits; the algorithm then wants its own length.
fn parse_digest(s: &str) -> Result<Digest, ParseReferenceError> {
    let (_, digits) = s.split_once(':').ok_or(ParseReferenceError::Format)?;
    if digits.len() < 32 || !digits.bytes().all(|c| c.is_ascii_hexdigit()) {
        return Err(ParseReferenceError::Format);
    }
    s.parse().map_err(|e| match e {
        ParseDigestError::Length => ParseReferenceError::DigestLength,
        ParseDigestError::Unsupported => ParseReferenceError::DigestAlgorithm,
        ParseDigestError::Format => ParseReferenceError::Format,
    })
}

#[cfg(test)]
mod tests;
