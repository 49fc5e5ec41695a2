//! What the local driver can be asked for: nothing, something to mount (`type`, `device`, `o`), or a quota (`size`).

use std::collections::BTreeMap;

use crate::{Error, Result};

const KNOWN: [&str; 4] = ["type", "o", "device", "size"];

/// Which option needs which, in the order in which a missing one is told.
const NEEDS: [(&str, &[&str]); 3] =
    [("device", &["type"]), ("type", &["device"]), ("o", &["device", "type"])];

/// The options, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Type of the file system; empty or `none` for a bind mount.
    pub(super) kind: String,
    /// What to mount.
    pub(super) device: String,
    /// Mount options, separated by commas.
    pub(super) mount: String,
    /// Bytes that the volume may take; 0 for no limit.
    pub size: u64,
}

impl Options {
    /// Reads what `volume create --opt` gave.
    ///
    /// # Errors
    /// [`Error::UnknownOption`], [`Error::MissingOption`], [`Error::InvalidSize`].
    pub fn parse(options: &BTreeMap<String, String>) -> Result<Self> {
        if let Some(unknown) = options.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            return Err(Error::UnknownOption(unknown.clone()));
        }
        for (given, needed) in NEEDS {
            if !options.contains_key(given) {
                continue;
            }
            if let Some(missing) = needed.iter().find(|key| !options.contains_key(**key)) {
                return Err(Error::MissingOption(missing));
            }
        }
        let get = |key: &str| options.get(key).cloned().unwrap_or_default();
        let size = match options.get("size") {
            None => 0,
            Some(text) => skiff_types::parse_size(text)
                .ok()
                .and_then(|size| u64::try_from(size).ok())
                .ok_or_else(|| Error::InvalidSize(text.clone()))?,
        };
        Ok(Self { kind: get("type"), device: get("device"), mount: get("o"), size })
    }

    /// Whether something is mounted over the volume's directory while it is used.
    pub fn needs_mount(&self) -> bool {
        !self.device.is_empty() || !self.kind.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<Options> {
        Options::parse(&pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn options_are_checked_as_dockers_are() {
        for (pairs, message) in [
            (&[("foo", "bar")][..], r#"invalid option: "foo""#),
            (&[("type", "tmpfs")], r#"missing required option: "device""#),
            (&[("device", "tmpfs")], r#"missing required option: "type""#),
            (&[("o", "size=10m")], r#"missing required option: "device""#),
            (&[("o", "ro"), ("device", "x")], r#"missing required option: "type""#),
            (&[("size", "xx")], "invalid size: 'xx'"),
            (&[("size", "-1")], "invalid size: '-1'"),
        ] {
            assert_eq!(parse(pairs).unwrap_err().to_string(), message);
        }
        assert!(!parse(&[]).unwrap().needs_mount());
        assert!(!parse(&[("type", ""), ("device", ""), ("o", "")]).unwrap().needs_mount());
        assert!(parse(&[("type", "none"), ("device", "/srv"), ("o", "bind")]).unwrap().needs_mount());
        assert_eq!(parse(&[("size", "10m")]).unwrap().size, 10 << 20);
    }
}
