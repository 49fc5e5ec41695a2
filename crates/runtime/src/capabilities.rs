//! Capability sets: names and bits, Docker's default set, and the rules by which `--cap-add`, `--cap-drop` and `--privileged` change it.
//!
//! The names are those of capabilities(7); [`CapSet`] holds them as the kernel does, one bit each. What to do with the sets
//! (prctl, capset, the order with setuid) is the business of whoever applies a plan.

use std::collections::HashSet;
use std::fmt;

use oci_spec::runtime::{Capability, LinuxCapabilities};
use serde::{Deserialize, Serialize};
use skiff_types::ErrorKind;

/// Every capability, in the order of its number in `linux/capability.h`.
const BY_NUMBER: [Capability; 41] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::LinuxImmutable,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetAdmin,
    Capability::NetRaw,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::SysModule,
    Capability::SysRawio,
    Capability::SysChroot,
    Capability::SysPtrace,
    Capability::SysPacct,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysNice,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Mknod,
    Capability::Lease,
    Capability::AuditWrite,
    Capability::AuditControl,
    Capability::Setfcap,
    Capability::MacOverride,
    Capability::MacAdmin,
    Capability::Syslog,
    Capability::WakeAlarm,
    Capability::BlockSuspend,
    Capability::AuditRead,
    Capability::Perfmon,
    Capability::Bpf,
    Capability::CheckpointRestore,
];

/// What a container gets when nobody asks for anything else.
const DOCKER_DEFAULT: [Capability; 14] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fsetid,
    Capability::Fowner,
    Capability::Mknod,
    Capability::NetRaw,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setfcap,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::SysChroot,
    Capability::Kill,
    Capability::AuditWrite,
];

/// The word that stands for every capability in `--cap-add` and `--cap-drop`.
const ALL: &str = "ALL";

/// A capability that cannot be granted. The wording is Docker's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CapabilityError {
    /// No kernel knows this name.
    #[error("unknown capability: {name:?}")]
    Unknown {
        /// The name, in upper case and with its prefix.
        name: String,
    },
    /// The name is right, but this kernel or this process does not have it to give.
    #[error("capability not supported by your kernel or not available in the current environment: {name:?}")]
    Unavailable {
        /// The name, in upper case and with its prefix.
        name: String,
    },
}

impl CapabilityError {
    /// Which sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// The number of a capability: its bit in the kernel's masks, 0 to 40.
pub fn number(capability: Capability) -> u8 {
    BY_NUMBER.iter().position(|known| *known == capability).map_or(0, |at| at as u8)
}

/// The name with its prefix, as in `CAP_NET_ADMIN`.
pub fn name(capability: Capability) -> String {
    format!("CAP_{capability}")
}

/// Finds a capability by name in any case, with or without `CAP_`.
///
/// # Errors
/// [`CapabilityError::Unknown`].
pub fn parse(text: &str) -> Result<Capability, CapabilityError> {
    let name = normalized(text);
    name.trim_start_matches("CAP_").parse().map_err(|_| CapabilityError::Unknown { name })
}

/// A capability's name as Docker stores it in a container's configuration: upper case, with its prefix; `ALL` stays `ALL`.
pub fn normalized(text: &str) -> String {
    let upper = text.to_uppercase();
    if upper == ALL || upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") }
}

/// A set of capabilities: bit *n* is capability number *n*.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CapSet(u64);

impl CapSet {
    /// No capability.
    pub const EMPTY: Self = Self(0);
    /// Every capability known to this version.
    pub const ALL: Self = Self((1 << BY_NUMBER.len()) - 1);

    /// From the kernel's mask, such as a line `CapEff:` of `/proc/<pid>/status`; bits without a name are dropped.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// The kernel's mask.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Docker's default set: fourteen capabilities.
    pub fn docker_default() -> Self {
        DOCKER_DEFAULT.into_iter().collect()
    }

    /// Whether the capability is in the set.
    pub fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << number(capability)) != 0
    }

    /// Adds a capability.
    pub fn insert(&mut self, capability: Capability) {
        self.0 |= 1 << number(capability);
    }

    /// Takes a capability away.
    pub fn remove(&mut self, capability: Capability) {
        self.0 &= !(1 << number(capability));
    }

    /// What is in both sets.
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether nothing is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The capabilities, by number.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        BY_NUMBER.into_iter().enumerate().filter(move |(at, _)| self.0 & (1 << at) != 0).map(|(_, cap)| cap)
    }

    /// The set as the OCI specification holds it.
    pub fn to_oci(self) -> HashSet<Capability> {
        self.iter().collect()
    }
}

impl FromIterator<Capability> for CapSet {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        let mut set = Self::EMPTY;
        capabilities.into_iter().for_each(|capability| set.insert(capability));
        set
    }
}

impl From<&HashSet<Capability>> for CapSet {
    fn from(capabilities: &HashSet<Capability>) -> Self {
        capabilities.iter().copied().collect()
    }
}

impl fmt::Debug for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(name)).finish()
    }
}

/// The five sets of a process, as capset(2) and prctl(2) want them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapabilitySets {
    /// The limit for everything that is executed later.
    pub bounding: CapSet,
    /// What the kernel checks.
    pub effective: CapSet,
    /// What may become effective.
    pub permitted: CapSet,
    /// What files with inheritable capabilities may pass on.
    pub inheritable: CapSet,
    /// What a program without privileges of its own keeps across exec.
    pub ambient: CapSet,
}

impl CapabilitySets {
    /// Docker's way to fill them: bounding, permitted and effective alike, nothing inheritable or ambient
    /// (an inheritable set would let a non-root process regain capabilities through files: CVE-2022-24769).
    pub fn docker(granted: CapSet) -> Self {
        Self { bounding: granted, effective: granted, permitted: granted, ..Self::default() }
    }

    /// From an OCI spec's section; a missing list is an empty set.
    pub fn from_oci(section: &LinuxCapabilities) -> Self {
        let set = |list: &Option<HashSet<Capability>>| list.as_ref().map_or(CapSet::EMPTY, CapSet::from);
        Self {
            bounding: set(section.bounding()),
            effective: set(section.effective()),
            permitted: set(section.permitted()),
            inheritable: set(section.inheritable()),
            ambient: set(section.ambient()),
        }
    }

    /// As an OCI spec's section; empty sets are left out.
    pub fn to_oci(&self) -> LinuxCapabilities {
        let list = |set: CapSet| (!set.is_empty()).then(|| set.to_oci());
        let mut section = LinuxCapabilities::default();
        section
            .set_bounding(list(self.bounding))
            .set_effective(list(self.effective))
            .set_permitted(list(self.permitted))
            .set_inheritable(list(self.inheritable))
            .set_ambient(list(self.ambient));
        section
    }

    /// The sets that the kernel will really accept from a process that holds `available`: capabilities that are not
    /// there to give are left out, as runc does with a warning; answers also what was left out.
    pub fn limited_to(&self, available: CapSet) -> (Self, CapSet) {
        let limit = |set: CapSet| set.intersection(available);
        let asked =
            self.bounding.0 | self.effective.0 | self.permitted.0 | self.inheritable.0 | self.ambient.0;
        let sets = Self {
            bounding: limit(self.bounding),
            effective: limit(self.effective),
            permitted: limit(self.permitted),
            inheritable: limit(self.inheritable),
            ambient: limit(self.ambient),
        };
        (sets, CapSet(asked & !available.0))
    }
}

/// What `--cap-add`, `--cap-drop` and `--privileged` ask for.
#[derive(Clone, Copy, Debug, Default)]
pub struct CapabilityRequest<'a> {
    /// Names to add, in any spelling, or `ALL`.
    pub add: &'a [String],
    /// Names to take away, in any spelling, or `ALL`.
    pub drop: &'a [String],
    /// Everything that is available, whatever the lists say.
    pub privileged: bool,
}

/// The capabilities a container is granted, given what the daemon itself has to give (`available`: its effective set).
///
/// Adding `ALL` means all but those dropped; dropping `ALL` means none but those added; otherwise the default set loses what is dropped and then gains
/// what is added.
///
/// # Errors
/// A name that does not exist, or a capability that is not available. `--privileged` and the defaults never fail, as with Docker.
pub fn grant(request: CapabilityRequest<'_>, available: CapSet) -> Result<CapSet, CapabilityError> {
    if request.privileged {
        return Ok(available);
    }
    let (drop_all, dropped) = resolve(request.drop, available)?;
    let (add_all, added) = resolve(request.add, available)?;
    Ok(if add_all {
        CapSet(available.0 & !dropped.0)
    } else if drop_all {
        added
    } else {
        CapSet(CapSet::docker_default().0 & !dropped.0 | added.0)
    })
}

/// Checks a list of names as Docker does when a container is created; answers whether `ALL` is in it, and the rest.
///
/// # Errors
/// As [`grant`].
pub fn resolve(names: &[String], available: CapSet) -> Result<(bool, CapSet), CapabilityError> {
    let (mut all, mut set) = (false, CapSet::EMPTY);
    for text in names {
        if text.eq_ignore_ascii_case(ALL) {
            all = true;
            continue;
        }
        let capability = parse(text)?;
        if !available.contains(capability) {
            return Err(CapabilityError::Unavailable { name: name(capability) });
        }
        set.insert(capability);
    }
    Ok((all, set))
}

/// The permitted set of the calling process, from `/proc/self/status`: what it has to give.
///
/// # Errors
/// When the file cannot be read.
pub fn available() -> std::io::Result<CapSet> {
    let status = fs_err::read_to_string("/proc/self/status")?;
    let mask = status.lines().find_map(|line| line.strip_prefix("CapPrm:"));
    let bits = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    bits.map(CapSet::from_bits).ok_or_else(|| std::io::Error::other("/proc/self/status has no CapPrm line"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    fn granted(add: &[&str], drop: &[&str]) -> Result<CapSet, CapabilityError> {
        let (add, drop) = (strings(add), strings(drop));
        grant(CapabilityRequest { add: &add, drop: &drop, privileged: false }, CapSet::ALL)
    }

    #[test]
    fn numbers_are_the_kernels() {
        let numbers = [
            (Capability::Chown, 0),
            (Capability::Setpcap, 8),
            (Capability::NetAdmin, 12),
            (Capability::SysAdmin, 21),
            (Capability::SysResource, 24),
            (Capability::Setfcap, 31),
            (Capability::Syslog, 34),
            (Capability::AuditRead, 37),
            (Capability::Perfmon, 38),
            (Capability::Bpf, 39),
            (Capability::CheckpointRestore, 40),
        ];
        for (capability, expected) in numbers {
            assert_eq!(number(capability), expected, "{capability}");
        }
        let distinct: HashSet<_> = BY_NUMBER.into_iter().collect();
        assert_eq!(distinct.len(), 41);
        assert_eq!(CapSet::ALL.bits(), 0x1ff_ffff_ffff);
    }

    #[test]
    fn names_are_found_in_every_spelling() {
        for text in ["NET_ADMIN", "CAP_NET_ADMIN", "cap_net_admin", "net_admin"] {
            assert_eq!(parse(text), Ok(Capability::NetAdmin));
        }
        for capability in BY_NUMBER {
            assert_eq!(parse(&name(capability)), Ok(capability));
        }
    }

    #[test]
    fn dockers_default_is_the_mask_everybody_knows() {
        assert_eq!(CapSet::docker_default().bits(), 0xa804_25fb);
    }

    #[test]
    fn add_and_drop_follow_docker() {
        let mut with_admin = CapSet::docker_default();
        with_admin.insert(Capability::SysAdmin);
        assert_eq!(granted(&["sys_admin"], &[]), Ok(with_admin));

        let mut without_chown = CapSet::docker_default();
        without_chown.remove(Capability::Chown);
        assert_eq!(granted(&[], &["CAP_CHOWN"]), Ok(without_chown));

        let only_raw: CapSet = [Capability::NetRaw].into_iter().collect();
        assert_eq!(granted(&["NET_RAW"], &["all"]), Ok(only_raw));

        let mut all_but_boot = CapSet::ALL;
        all_but_boot.remove(Capability::SysBoot);
        assert_eq!(granted(&["ALL"], &["SYS_BOOT"]), Ok(all_but_boot));
        assert_eq!(
            granted(&["CHOWN"], &["CHOWN"]),
            Ok(CapSet::docker_default()),
            "added after it was dropped"
        );
    }

    #[test]
    fn wrong_names_are_refused_in_dockers_words() {
        let text = granted(&["FOO"], &[]).expect_err("no such capability").to_string();
        assert_eq!(text, r#"unknown capability: "CAP_FOO""#);
        let text = granted(&[""], &[]).expect_err("no such capability").to_string();
        assert_eq!(text, r#"unknown capability: "CAP_""#);

        let mut available = CapSet::ALL;
        available.remove(Capability::SysResource);
        let add = strings(&["SYS_RESOURCE"]);
        let error = grant(CapabilityRequest { add: &add, ..Default::default() }, available);
        assert_eq!(
            error.expect_err("not to be had").to_string(),
            "capability not supported by your kernel or not available in the current environment: \"CAP_SYS_RESOURCE\""
        );
    }

    #[test]
    fn privileged_is_what_there_is_to_give() {
        let available = CapSet::from_bits(0x1ff_feff_ffff);
        let add = strings(&["CHOWN"]);
        let request = CapabilityRequest { add: &add, drop: &[], privileged: true };
        assert_eq!(grant(request, available), Ok(available));
    }

    #[test]
    fn sets_survive_the_oci_form() {
        let sets = CapabilitySets::docker(CapSet::docker_default());
        assert_eq!(CapabilitySets::from_oci(&sets.to_oci()), sets);
        let (limited, lost) = sets.limited_to(CapSet::from_bits(1));
        assert_eq!(limited.bounding.bits(), 1);
        assert_eq!(lost.bits(), 0xa804_25fa);
    }

    #[test]
    fn the_kernel_agrees_about_this_process() {
        let caps = available().expect("/proc is there");
        assert_eq!(CapSet::from_bits(caps.bits()), caps);
    }
}
