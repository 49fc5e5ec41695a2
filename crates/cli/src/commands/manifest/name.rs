//! What a list or an image is called, in full.

use std::fmt;

use crate::{credentials::server_of, failure::Failure, reference::Reference};

/// Docker's own registry, as references name it.
const HUB: &str = "docker.io";

/// A name with its registry and a tag or digest.
pub(super) struct Name {
    registry: String,
    /// Within the registry.
    path: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl Name {
    /// Reads a name; `latest` is meant where it has neither tag nor digest.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let Reference::Named { name, tag, digest } = Reference::parse(text)? else {
            return Err("invalid reference format".into());
        };
        let (registry, path) = match name.split_once('/') {
            Some((registry, path)) if server_of(&name) == registry => (registry.to_owned(), path.to_owned()),
            Some(_) => (HUB.to_owned(), name),
            None => (HUB.to_owned(), format!("library/{name}")),
        };
        let tag = tag.or_else(|| digest.is_none().then(|| "latest".to_owned()));
        Ok(Self { registry, path, tag, digest })
    }

    pub(super) fn registry(&self) -> &str {
        &self.registry
    }

    /// The path within the registry.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// What the registry is asked for: a digest counts more than a tag.
    pub(super) fn version(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or_default()
    }

    /// Registry and path.
    pub(super) fn repository(&self) -> String {
        format!("{}/{}", self.registry, self.path)
    }

    /// With everything, also what people leave out.
    pub(super) fn full(&self) -> String {
        let mut text = self.repository();
        text.extend(self.tag.iter().flat_map(|tag| [":", tag]));
        text.extend(self.digest.iter().flat_map(|digest| ["@", digest]));
        text
    }
}

/// As docker says it: in full.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.full())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_leave_out_is_there() {
        for (text, full) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("a/b:1", "docker.io/a/b:1"),
            ("docker.io/library/busybox", "docker.io/library/busybox:latest"),
            ("localhost/a", "localhost/a:latest"),
            ("reg:5000/a/b", "reg:5000/a/b:latest"),
        ] {
            assert_eq!(Name::parse(text).ok().unwrap().full(), full, "{text}");
        }
        let digest = format!("sha256:{}", "0".repeat(64));
        let name = Name::parse(&format!("reg:5000/a@{digest}")).ok().unwrap();
        assert_eq!((name.registry(), name.path(), name.version()), ("reg:5000", "a", digest.as_str()));
        assert!(Name::parse(&"a".repeat(64)).is_err());
    }
}
