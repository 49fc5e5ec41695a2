//! `--platform`: `os[/architecture[/variant]]`.

use serde::{Deserialize, Serialize};

/// A platform as the API takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Platform {
    #[serde(skip_serializing_if = "String::is_empty")]
    architecture: String,
    os: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    variant: String,
}

impl Platform {
    /// Reads it. One word is an operating system if it is the name of one, and an architecture otherwise.
    ///
    /// # Errors
    /// In the words of containerd/platforms.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let lower = text.to_lowercase();
        let parts: Vec<&str> = lower.split('/').collect();
        let word = |part: &&str| {
            !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric() || b"_.-()".contains(&c))
        };
        if let Some(bad) = parts.iter().find(|part| !word(part)) {
            return Err(format!(
                "{bad:?} is an invalid component of {text:?}: platform specifier component must match \
                 \"^[A-Za-z0-9_.-]+$\": invalid argument"
            ));
        }
        let of = |os: &str, architecture: &str, variant: &str| {
            let architecture = match architecture {
                "x86_64" | "x86-64" => "amd64",
                "aarch64" => "arm64",
                "i386" | "i686" => "386",
                other => other,
            };
            Self { architecture: architecture.to_owned(), os: os.to_owned(), variant: variant.to_owned() }
        };
        match parts[..] {
            [os @ ("linux" | "windows" | "darwin" | "freebsd")] => Ok(of(os, "", "")),
            [architecture] => Ok(of("linux", architecture, "")),
            [os, architecture] => Ok(of(os, architecture, "")),
            [os, architecture, variant] => Ok(of(os, architecture, variant)),
            _ => Err(format!("{text:?}: cannot parse platform specifier: invalid argument")),
        }
    }

    /// `os/architecture/variant`.
    pub(crate) fn to_text(&self) -> String {
        let parts = [self.os.as_str(), &self.architecture, &self.variant];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
    }

    /// JSON, as newer parts of the API take it.
    ///
    /// # Panics
    /// Never: three texts are JSON.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts are JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::Platform;

    #[test]
    fn platforms_have_up_to_three_parts() {
        assert_eq!(Platform::parse("linux/x86_64").unwrap().to_text(), "linux/amd64");
        assert_eq!(Platform::parse("arm64").unwrap().to_json(), r#"{"architecture":"arm64","os":"linux"}"#);
        assert_eq!(
            Platform::parse("x/y/z/w"),
            Err("\"x/y/z/w\": cannot parse platform specifier: invalid argument".into())
        );
    }
}
