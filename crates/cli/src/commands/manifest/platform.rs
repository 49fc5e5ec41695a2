//! Which platforms there are.

use skiff_distribution::Platform;

/// Operating systems by Go's names, with the architectures that docker takes for each.
const KNOWN: &[(&str, &[&str])] = &[
    ("darwin", &["386", "amd64", "arm", "arm64"]),
    ("dragonfly", &["amd64"]),
    ("freebsd", &["386", "amd64", "arm"]),
    ("linux", &["386", "amd64", "arm", "arm64", "mips64", "mips64le", "ppc64le", "riscv64", "s390x"]),
    ("netbsd", &["386", "amd64", "arm"]),
    ("openbsd", &["386", "amd64", "arm"]),
    ("plan9", &["386", "amd64"]),
    ("solaris", &["amd64"]),
    ("windows", &["386", "amd64"]),
];

/// Whether such machines exist.
pub(super) fn exists(platform: &Platform) -> bool {
    KNOWN.iter().any(|(os, architectures)| {
        platform.os == *os && architectures.contains(&platform.architecture.as_str())
    })
}
