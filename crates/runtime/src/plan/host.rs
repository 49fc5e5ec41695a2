//! What a plan depends on besides the specification: facts about this host.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cgroups::{CgroupError, Layout};

/// Facts about the host, found once per process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Where cgroups are mounted.
    pub cgroups: Layout,
    /// Whether AppArmor is enabled, and its part of securityfs there to see what is loaded.
    pub apparmor: bool,
    /// Whether SELinux is enabled.
    pub selinux: bool,
    /// Whether the kernel has time namespaces.
    pub time_namespaces: bool,
    /// Where the resctrl file system is mounted.
    pub resctrl: Option<PathBuf>,
}

impl HostFacts {
    /// Looks at the running kernel.
    ///
    /// # Errors
    /// Without any cgroup hierarchy, or without `/proc`.
    pub fn probe() -> Result<Self, CgroupError> {
        let exists = |path: &str| rustix::fs::access(path, rustix::fs::Access::EXISTS).is_ok();
        let enabled = |path: &str| fs_err::read_to_string(path).is_ok_and(|text| text.starts_with('Y'));
        Ok(Self {
            cgroups: Layout::probe()?,
            apparmor: exists("/sys/kernel/security/apparmor")
                && enabled("/sys/module/apparmor/parameters/enabled"),
            selinux: exists("/sys/fs/selinux/enforce"),
            time_namespaces: exists("/proc/self/ns/time"),
            // Nobody mounts it elsewhere: the kernel makes the directory for it.
            resctrl: exists("/sys/fs/resctrl/schemata").then(|| PathBuf::from("/sys/fs/resctrl")),
        })
    }
}
