//! What images are for: systems, architectures and their variants, and which of them run where (containerd/platforms: `Only`).

use std::{fmt, str::FromStr};

use crate::{Error, ImageConfig};

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
    /// This machine's, as images that are made here have it: without a level that others may lack.
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

    /// This machine's with the newest variant whose programs it runs.
    pub fn processor() -> Self {
        let host = Self::host();
        match host.architecture.as_str() {
            "amd64" => Self { variant: x86_level().to_owned(), ..host },
            _ => host,
        }
    }

    /// What an image with this configuration is for.
    pub fn of(config: &ImageConfig) -> Self {
        Self {
            os: config.os.clone(),
            architecture: config.architecture.clone(),
            variant: config.variant.clone(),
        }
    }

    /// Whether an image for this platform runs where `wanted` does. Many configurations say nothing of a variant: those are
    /// taken for any.
    pub fn fits(&self, wanted: &Self) -> bool {
        let of_any = Self { variant: wanted.variant.clone(), ..self.clone() };
        self.rank(wanted).or(of_any.rank(wanted).filter(|_| self.variant.is_empty())).is_some()
    }

    /// Whether this is the one that is wanted, and does not merely run there.
    pub fn is(&self, wanted: &Self) -> bool {
        self.rank(wanted) == Some(0)
    }

    /// How well this suits what is wanted, the smallest best; none if it does not run there.
    pub fn rank(&self, wanted: &Self) -> Option<u32> {
        let (mine, theirs) = (normal(&self.architecture), normal(&wanted.architecture));
        let (have, want) = (variant(mine, &self.variant)?, variant(theirs, &wanted.variant)?);
        match (mine, theirs) {
            _ if system(&self.os) != system(&wanted.os) => None,
            (a, b) if a == b && have <= want => Some(want - have),
            // These processors run the others' programs too.
            ("386", "amd64") => Some(100),
            ("arm", "arm64") => Some(100 + 80 - have.min(80)),
            _ => None,
        }
    }
}

/// Who names no system means this one.
fn system(os: &str) -> &str {
    if os.is_empty() { "linux" } else { os }
}

fn normal(architecture: &str) -> &str {
    match architecture {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Ten times the number of a variant; none for a variant that is not known.
fn variant(architecture: &str, variant: &str) -> Option<u32> {
    let default = match architecture {
        "amd64" => "v1",
        "arm64" => "v8",
        "arm" => "v7",
        _ => "v0",
    };
    let variant = if variant.is_empty() { default } else { variant };
    let number = variant.trim_start_matches('v');
    let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
    let whole = major.parse::<u32>().ok()?.checked_mul(10)?.checked_add(minor.parse().ok()?)?;
    // What is below the oldest that exists is no variant of it.
    (architecture != "arm64" || whole >= 80).then_some(whole)
}

/// The level of the x86-64 psABI that processor and kernel give programs, as far as Rust tells: LAHF and OSXSAVE it does not.
#[cfg(target_arch = "x86_64")]
fn x86_level() -> &'static str {
    use std::arch::is_x86_feature_detected as has;
    let v2 = has!("cmpxchg16b") && has!("popcnt") && has!("sse4.2") && has!("ssse3");
    let v3 = has!("avx2")
        && has!("bmi1")
        && has!("bmi2")
        && has!("f16c")
        && has!("fma")
        && has!("lzcnt")
        && has!("movbe");
    let v4 = has!("avx512f") && has!("avx512bw") && has!("avx512cd") && has!("avx512dq") && has!("avx512vl");
    match (v2, v3, v4) {
        (true, true, true) => "v4",
        (true, true, _) => "v3",
        (true, ..) => "v2",
        _ => "v1",
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn x86_level() -> &'static str {
    "v1"
}

/// `os/architecture[/variant]`, as far as it is known.
impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.os.is_empty() {
            return f.write_str("unknown");
        }
        f.write_str(&self.os)?;
        let parts = [&self.architecture, &self.variant].into_iter().filter(|part| !part.is_empty());
        parts.into_iter().try_for_each(|part| write!(f, "/{part}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn what_runs_there_fits() {
        for (have, wanted) in [
            ("linux/amd64", "linux/amd64/v2"),
            ("linux/386", "linux/amd64"),
            ("linux/arm64", "linux/arm64/v8"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64", "linux/arm64/v9"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm", "linux/arm/v6"),
            ("linux/arm/v6", "linux/arm"),
            ("linux/arm/v7", "linux/arm64"),
        ] {
            assert!(platform(have).fits(&platform(wanted)), "{have} {wanted}");
        }
        for (have, wanted) in [
            ("linux/amd64/v3", "linux/amd64"),
            ("linux/amd64", "linux/386"),
            ("linux/arm/v7", "linux/arm/v6"),
            ("linux/arm64", "linux/arm/v7"),
            ("linux/arm64/v9", "linux/arm64"),
            ("windows/amd64", "linux/amd64"),
            ("linux/amd64/no", "linux/amd64"),
        ] {
            assert!(!platform(have).fits(&platform(wanted)), "{have} {wanted}");
        }
        assert!(platform("linux/arm").is(&platform("linux/arm/v7")));
        assert!(!platform("linux/arm/v6").is(&platform("linux/arm")));
        let nameless = Platform { os: String::new(), ..platform("linux/arm64") };
        assert!(nameless.fits(&platform("linux/arm64")));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_processors_level_is_the_kernels() {
        let (host, processor) = (Platform::host(), Platform::processor());
        assert!(host.fits(&processor) && host.variant.is_empty(), "{processor}");
        let cpu = fs_err::read_to_string("/proc/cpuinfo").unwrap();
        let flags: Vec<&str> =
            cpu.lines().find(|line| line.starts_with("flags")).unwrap().split(' ').collect();
        for (level, flag) in [("v2", "sse4_2"), ("v3", "avx2"), ("v4", "avx512vl")] {
            let level = platform(&format!("linux/amd64/{level}"));
            assert_eq!(level.fits(&processor), flags.contains(&flag), "{level} on {processor}");
        }
    }
}
