//! Profiles in Docker's own format (`--security-opt seccomp=FILE`): the OCI section, whose rules may be limited to capabilities, architectures and
//! kernels.
//!
//! Unknown keys are ignored and `null` stands for a missing value, as everywhere in Docker's JSON. Where Docker or runc refuses a profile,
//! the wording is theirs; only what the JSON parser says is our own.

use std::path::PathBuf;

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, LinuxSyscall,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use skiff_types::ErrorKind;

use super::Host;
use crate::capabilities::{self, CapSet};

/// A profile that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It is not JSON, or not of the right shape.
    #[error("Decoding seccomp profile failed: {source}")]
    Json {
        /// Where and why.
        #[from]
        source: serde_json::Error,
    },
    /// Two ways to say the same in one place.
    #[error(
        "both '{one}' and '{other}' are specified in the seccomp profile, use either '{one}' or '{other}'"
    )]
    Both {
        /// One key.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// A word that stands for no action, operator or architecture.
    #[error("string {word} is not a valid {what} for seccomp")]
    Word {
        /// The word.
        word: String,
        /// What it should be.
        what: &'static str,
    },
    /// A word that stands for no flag.
    #[error("seccomp flag {flag} is not known to runc")]
    Flag {
        /// The word.
        flag: String,
    },
    /// `minKernel` is not two numbers.
    #[error("invalid kernel version: {version:?}, expected \"<kernel>.<major>\"")]
    KernelVersion {
        /// The text.
        version: String,
    },
    /// A rule without names.
    #[error("empty string is not a valid syscall")]
    NoName,
}

impl ProfileError {
    /// Which sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: Option<String>,
    default_errno_ret: Option<u32>,
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<ArchMap>>,
    flags: Option<Vec<String>>,
    listener_path: Option<PathBuf>,
    listener_metadata: Option<String>,
    syscalls: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: Option<String>,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    name: Option<String>,
    names: Option<Vec<String>>,
    action: Option<String>,
    errno_ret: Option<u32>,
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Option<Filter>,
    #[serde(default)]
    excludes: Option<Filter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    #[serde(default)]
    index: usize,
    #[serde(default)]
    value: u64,
    value_two: Option<u64>,
    op: Option<String>,
}

/// What a rule is limited to.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

/// Reads a profile and keeps the rules that apply to a container with these capabilities on this machine. `None`: the profile says nothing at all, and
/// no filter is installed.
///
/// # Errors
/// See [`ProfileError`].
pub fn parse_docker_profile(
    json: &str,
    caps: CapSet,
    host: &Host,
) -> Result<Option<LinuxSeccomp>, ProfileError> {
    let profile: Profile = serde_json::from_str(json)?;
    let rules = profile.syscalls.as_deref().unwrap_or_default();
    let has_list = profile.architectures.as_ref().is_some_and(|list| !list.is_empty());
    let map = profile.arch_map.as_deref().unwrap_or_default();
    if has_list && !map.is_empty() {
        return Err(ProfileError::Both { one: "architectures", other: "archMap" });
    }
    if profile.default_action.is_none() && rules.is_empty() {
        return Ok(None);
    }

    let mut kept = Vec::with_capacity(rules.len());
    for rule in rules {
        let named = rule.name.as_ref().is_some_and(|name| !name.is_empty());
        if named && rule.names.as_ref().is_some_and(|names| !names.is_empty()) {
            return Err(ProfileError::Both { one: "name", other: "names" });
        }
        if rule.applies(caps, host)? {
            kept.push(rule.to_oci()?);
        }
    }

    let native = if host.arch == "arm64" { "SCMP_ARCH_AARCH64" } else { "SCMP_ARCH_X86_64" };
    let mapped = map.iter().find(|entry| entry.architecture.as_deref() == Some(native));
    let names: Vec<&String> = match mapped {
        Some(entry) => entry.architecture.iter().chain(entry.sub_architectures.iter().flatten()).collect(),
        None => profile.architectures.iter().flatten().collect(),
    };
    let architectures: Vec<Arch> =
        names.into_iter().map(|name| word(name, "architecture")).collect::<Result<_, _>>()?;
    let flags = profile.flags.as_ref().map(|flags| flags.iter().map(|flag| parse_flag(flag)).collect());

    let mut section = LinuxSeccomp::default();
    section
        .set_default_action(word(profile.default_action.as_deref().unwrap_or_default(), "action")?)
        .set_default_errno_ret(profile.default_errno_ret)
        .set_architectures((!architectures.is_empty()).then_some(architectures))
        .set_flags(flags.transpose()?)
        .set_listener_path(profile.listener_path)
        .set_listener_metadata(profile.listener_metadata)
        .set_syscalls(Some(kept));
    Ok(Some(section))
}

impl Rule {
    fn applies(&self, caps: CapSet, host: &Host) -> Result<bool, ProfileError> {
        let has = |name: &String| capabilities::parse(name).is_ok_and(|capability| caps.contains(capability));
        let is_native = |arch: &String| arch == host.arch;
        if let Some(excludes) = &self.excludes {
            let excluded = excludes.arches.iter().flatten().any(is_native)
                || excludes.caps.iter().flatten().any(has)
                || excludes.kernel()?.is_some_and(|oldest| host.kernel >= oldest);
            if excluded {
                return Ok(false);
            }
        }
        let Some(includes) = &self.includes else { return Ok(true) };
        let arches = includes.arches.as_deref().unwrap_or_default();
        Ok((arches.is_empty() || arches.iter().any(is_native))
            && includes.caps.iter().flatten().all(has)
            && includes.kernel()?.is_none_or(|oldest| host.kernel >= oldest))
    }

    fn to_oci(&self) -> Result<LinuxSyscall, ProfileError> {
        let names: Vec<String> = self
            .name
            .iter()
            .filter(|name| !name.is_empty())
            .chain(self.names.iter().flatten())
            .cloned()
            .collect();
        if names.is_empty() || names.iter().any(String::is_empty) {
            return Err(ProfileError::NoName);
        }
        let args = self.args.iter().flatten().map(Argument::to_oci).collect::<Result<Vec<_>, _>>()?;
        let mut rule = LinuxSyscall::default();
        rule.set_names(names)
            .set_action(word(self.action.as_deref().unwrap_or_default(), "action")?)
            .set_errno_ret(self.errno_ret)
            .set_args((!args.is_empty()).then_some(args));
        Ok(rule)
    }
}

impl Argument {
    fn to_oci(&self) -> Result<LinuxSeccompArg, ProfileError> {
        let operator: LinuxSeccompOperator = word(self.op.as_deref().unwrap_or_default(), "operator")?;
        let builder = LinuxSeccompArgBuilder::default().index(self.index).value(self.value).op(operator);
        let builder = if let Some(second) = self.value_two { builder.value_two(second) } else { builder };
        // without required fields, building cannot fail
        Ok(builder.build().unwrap_or_default())
    }
}

impl Filter {
    fn kernel(&self) -> Result<Option<(u32, u32)>, ProfileError> {
        let Some(version) = self.min_kernel.as_deref().filter(|version| !version.is_empty()) else {
            return Ok(None);
        };
        let numbers = version
            .split_once('.')
            .and_then(|(kernel, major)| Some((kernel.parse().ok()?, major.parse().ok()?)));
        numbers.map(Some).ok_or_else(|| ProfileError::KernelVersion { version: version.to_owned() })
    }
}

/// One of the specification's constants, as `oci_spec` reads them.
fn word<T: DeserializeOwned>(word: &str, what: &'static str) -> Result<T, ProfileError> {
    serde_json::from_value(word.into()).map_err(|_| ProfileError::Word { word: word.to_owned(), what })
}

fn parse_flag(flag: &str) -> Result<LinuxSeccompFilterFlag, ProfileError> {
    word(flag, "flag").map_err(|_| ProfileError::Flag { flag: flag.to_owned() })
}
