//! An image as callers see it.

use std::{fmt, str::FromStr, sync::Arc};

use jiff::Timestamp;
use skiff_snapshots::ChainId;
use skiff_types::ImageId;

use crate::{Error, ImageConfig, Reference};

/// An image of the store.
#[derive(Clone, Debug)]
pub struct Image {
    /// The digest of its configuration.
    pub id: ImageId,
    /// Its configuration.
    pub config: Arc<ImageConfig>,
    /// Its names, in the order of `docker inspect`: sorted by repository and tag.
    pub tags: Vec<Reference>,
    /// Its names by digest.
    pub digests: Vec<Reference>,
    /// The image it was made from, if that is in this store and it was made here.
    pub parent: Option<ImageId>,
    /// When it last got a name.
    pub last_tagged: Option<Timestamp>,
    /// Its topmost layer; nothing if it has no layers.
    pub chain: Option<ChainId>,
    /// The sum of its layers' sizes in bytes.
    pub size: u64,
}

impl Image {
    /// It has no name and no children.
    pub fn is_untagged(&self) -> bool {
        self.tags.is_empty() && self.digests.is_empty()
    }
}

/// A step in an image's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The image this step made, if it is in the store; `<missing>` otherwise.
    pub id: Option<ImageId>,
    /// When.
    pub created: Option<Timestamp>,
    /// The command.
    pub created_by: String,
    /// Names of that image.
    pub tags: Vec<Reference>,
    /// The size of the layer in bytes, 0 for a step without one.
    pub size: u64,
    /// What was said.
    pub comment: String,
}

/// What an image is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// The operating system by Go's name.
    pub os: String,
    /// The CPU architecture by Go's name.
    pub architecture: String,
    /// The CPU's variant, empty if there is none.
    pub variant: String,
}

impl Platform {
    /// This machine's.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", ""),
            "aarch64" => ("arm64", "v8"),
            "x86" => ("386", ""),
            "riscv64" => ("riscv64", ""),
            "powerpc64" => ("ppc64le", ""),
            other => (other, ""),
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: variant.to_owned() }
    }

    /// What an image with this configuration is for.
    pub fn of(config: &ImageConfig) -> Self {
        Self {
            os: config.os.clone(),
            architecture: config.architecture.clone(),
            variant: config.variant.clone(),
        }
    }

    /// Whether an image for this platform is what is `wanted`; who wants no variant takes any.
    pub fn fits(&self, wanted: &Self) -> bool {
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && (wanted.variant.is_empty() || self.variant == wanted.variant)
    }
}

/// `os/architecture[/variant]`.
impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

/// The beginning of the patterns' names in containerd's messages, and the patterns.
const COMPONENT: &str = "specifier component must match";
const OS: &str = r"^([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*)((?:\+[A-Za-z0-9_.%-]+)*)\))?$";
const PART: &str = "^[A-Za-z0-9_.-]+$";

/// Operating systems that Go knows, which may stand alone.
const SYSTEMS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
    "zos",
];

/// Architectures that Go knows, likewise.
const ARCHITECTURES: &[&str] = &[
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le",
    "riscv64", "s390x", "sparc64", "wasm",
];

impl FromStr for Platform {
    type Err = Error;

    /// Parses `os/architecture[/variant]`, or an architecture alone, with the names people use for them.
    fn from_str(s: &str) -> Result<Self, Error> {
        let invalid = |what: String| Error::Platform(format!("{what}: invalid argument"));
        let parts: Vec<&str> = s.splitn(4, '/').collect();
        for (i, part) in parts.iter().enumerate() {
            let word = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-') || (i > 0 && c == b'.');
            if part.is_empty() || !part.bytes().all(word) {
                return Err(invalid(match i {
                    0 => format!(
                        "{part:?} is an invalid OS component of {s:?}: OSAndVersion {COMPONENT} {OS:?}"
                    ),
                    _ => format!("{part:?} is an invalid component of {s:?}: platform {COMPONENT} {PART:?}"),
                }));
            }
        }
        let (os, architecture, variant) = match parts[..] {
            [os] if SYSTEMS.contains(&&os.to_ascii_lowercase()[..]) => (os, Self::host().architecture, ""),
            [architecture] => ("linux", architecture.to_owned(), ""),
            [os, architecture] => (os, architecture.to_owned(), ""),
            [os, architecture, variant] => (os, architecture.to_owned(), variant),
            _ => return Err(invalid(format!("{s:?}: cannot parse platform specifier"))),
        };
        let (architecture, normal) = match architecture.to_ascii_lowercase().as_str() {
            "x86_64" | "x86-64" => ("amd64".to_owned(), ""),
            "aarch64" => ("arm64".to_owned(), ""),
            "i386" => ("386".to_owned(), ""),
            "armhf" => ("arm".to_owned(), "v7"),
            "armel" => ("arm".to_owned(), "v6"),
            other => (other.to_owned(), ""),
        };
        if parts.len() == 1 && !ARCHITECTURES.contains(&&architecture[..]) && parts[0] != os {
            return Err(invalid(format!("{s:?}: unknown operating system or architecture")));
        }
        let variant = if variant.is_empty() { normal } else { variant };
        Ok(Self { os: os.to_ascii_lowercase(), architecture, variant: variant.to_owned() })
    }
}
