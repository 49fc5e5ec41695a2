//! Mounts, with every option of the specification resolved into attributes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::namespaces::IdMap;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountStep {
    /// Where, absolute in the container.
    pub target: String,
    /// What.
    pub kind: MountKind,
    /// Attributes to set on this mount (`skiff_sys::mount::attr`).
    pub set: u64,
    /// Attributes to clear on this mount.
    pub clear: u64,
    /// Attributes to set on this mount and all below.
    pub recursive_set: u64,
    /// Attributes to clear on this mount and all below.
    pub recursive_clear: u64,
    /// Changes of propagation, in order.
    pub spread: Vec<Spreading>,
    /// Owners shifted, if asked for.
    pub idmap: Option<IdMapping>,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// Something that the host has.
    Bind {
        /// What.
        source: MountSource,
        /// With the mounts below it.
        recursive: bool,
    },
    /// A new instance of a file system.
    Filesystem {
        /// Its type.
        fstype: String,
        /// Its source, as it shows in mountinfo.
        source: String,
        /// Its parameters, in order; no value for a flag.
        options: Vec<(String, Option<String>)>,
        /// Fill a tmpfs with what the root file system has there (`tmpcopyup`).
        copy_up: bool,
    },
    /// The container's view of cgroups v1: a tmpfs with one mount per hierarchy.
    CgroupV1 {
        /// The hierarchies.
        hierarchies: Vec<CgroupHierarchy>,
    },
    /// Attributes of an existing mount changed (`remount`).
    Remount,
    /// Only the propagation of an existing mount changed.
    Spread,
}

/// One hierarchy of cgroups v1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupHierarchy {
    /// Its directory below `/sys/fs/cgroup`: `cpu,cpuacct`.
    pub name: String,
    /// What to mount it with: `cpu,cpuacct` or `none,name=systemd`.
    pub options: String,
    /// The host's directory of the container's own cgroup, for containers without a cgroup namespace.
    pub bind_from: Option<PathBuf>,
    /// Names by which it is reached as well: `cpu`, `cpuacct`.
    pub links: Vec<String>,
}

/// The source of a bind mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A path of the host's.
    Path(PathBuf),
    /// The index of a descriptor (a detached mount) among those passed beside the plan.
    Fd(u32),
}

/// How owners are shifted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMapping {
    /// User ids; the container's own map if both are empty.
    pub uid_map: Vec<IdMap>,
    /// Group ids.
    pub gid_map: Vec<IdMap>,
    /// For the mounts below as well.
    pub recursive: bool,
}

/// What a mount shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Spread {
    /// Nothing.
    Private,
    /// Both ways.
    Shared,
    /// Receives only.
    Slave,
    /// Nothing, and may not be bind-mounted.
    Unbindable,
}

/// A propagation and its reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spreading {
    /// Which.
    pub to: Spread,
    /// For the mounts below as well.
    pub recursive: bool,
}
