//! Names of images as far as the command line must understand them: the wording of errors and of
//! `Unable to find image`. What a name resolves to is the engine's affair.

/// What a word on the command line names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    /// 64 hexadecimal digits or a bare digest: an image's id.
    Id,
    /// A name, in its short form and with a tag or digest.
    Named {
        /// Without registry `docker.io` and `library/`.
        name: String,
        /// `:tag`, as written.
        tag: Option<String>,
        /// `@digest`, as written.
        digest: Option<String>,
    },
}

impl Reference {
    /// `name:tag`, with `latest` where neither tag nor digest is given.
    pub(crate) fn familiar(&self) -> Option<String> {
        let Self::Named { name, tag, digest } = self else { return None };
        let mut text = name.clone();
        match (tag, digest) {
            (None, None) => text.push_str(":latest"),
            (tag, digest) => {
                text.extend(tag.iter().flat_map(|t| [":", t.as_str()]));
                text.extend(digest.iter().flat_map(|d| ["@", d.as_str()]));
            }
        }
        Some(text)
    }

    /// Reads a name.
    ///
    /// # Errors
    /// In the words of distribution/reference.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        const INVALID: &str = "invalid reference format";
        let is_hex =
            |t: &str| t.len() == 64 && t.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
        if is_hex(text) || text.strip_prefix("sha256:").is_some_and(is_hex) {
            return Ok(Self::Id);
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        let path = match name.split_once('/') {
            Some((domain, path)) if is_domain(domain) => path,
            _ => name,
        };
        if path.bytes().any(|c| c.is_ascii_uppercase()) && is_path(&path.to_lowercase()) {
            return Err(format!("{INVALID}: repository name ({}) must be lowercase", remote(name, path)));
        }
        let good_tag = tag.is_none_or(|t| {
            (1..=128).contains(&t.len())
                && !t.starts_with(['.', '-'])
                && t.bytes().all(|c| c.is_ascii_alphanumeric() || b"_.-".contains(&c))
        });
        let good_digest = digest.is_none_or(|d| d.strip_prefix("sha256:").is_some_and(is_hex));
        if !is_path(path) || !good_tag || !good_digest {
            return Err(INVALID.to_owned());
        }
        let short =
            ["docker.io/library/", "index.docker.io/library/", "docker.io/", "index.docker.io/", "library/"]
                .iter()
                .find_map(|prefix| {
                    name.strip_prefix(prefix).filter(|n| !n.contains('/') || !prefix.contains("library"))
                })
                .unwrap_or(name);
        Ok(Self::Named {
            name: short.to_owned(),
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }
}

/// Whether the part before the first slash is a registry and not a part of the path.
fn is_domain(part: &str) -> bool {
    part == "localhost" || part.contains(['.', ':']) || part.bytes().any(|c| c.is_ascii_uppercase())
}

/// The path on the registry, as the error names it.
fn remote(name: &str, path: &str) -> String {
    if name.contains('/') { path.to_owned() } else { format!("library/{path}") }
}

/// Lower-case words, joined by one dot, one or two underscores, or dashes; parts by slashes.
fn is_path(path: &str) -> bool {
    path.split('/').all(|part| {
        let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        part.starts_with(alphanumeric)
            && part.ends_with(alphanumeric)
            && part
                .split(alphanumeric)
                .all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|c| c == b'-'))
    })
}

#[cfg(test)]
mod tests {
    use super::Reference;

    #[test]
    fn names_are_shown_in_their_short_form() {
        let familiar = |text: &str| Reference::parse(text).unwrap().familiar();
        assert_eq!(familiar("busybox"), Some("busybox:latest".into()));
        assert_eq!(familiar("docker.io/library/busybox:1"), Some("busybox:1".into()));
        assert_eq!(familiar("docker.io/a/b"), Some("a/b:latest".into()));
        assert_eq!(familiar("reg:5000/a/b"), Some("reg:5000/a/b:latest".into()));
        assert_eq!(familiar(&"a".repeat(64)), None);
    }

    #[test]
    fn wrong_names_are_refused_in_docker_s_words() {
        let error = |text: &str| Reference::parse(text).unwrap_err();
        assert_eq!(
            error("Busybox"),
            "invalid reference format: repository name (library/Busybox) must be lowercase"
        );
        assert_eq!(error(""), "invalid reference format");
        assert_eq!(error("a b"), "invalid reference format");
        assert_eq!(error("x:"), "invalid reference format");
        assert_eq!(error("-"), "invalid reference format");
        assert_eq!(error("a@sha256:1"), "invalid reference format");
    }
}
