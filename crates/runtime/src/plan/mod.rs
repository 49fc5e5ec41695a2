//! What a container start will do, as data.
//!
//! A [`Plan`] is complete and validated: whoever applies it takes no decision any more, looks nothing up on the host
//! and reads no configuration. It can be serialised (postcard), so that the daemon plans and the launcher applies.

pub mod error;
pub mod mounts;
pub mod namespaces;
pub mod process;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use error::PlanError;
pub use mounts::{IdMapping, MountKind, MountSource, MountStep, Spread, Spreading};
pub use namespaces::{IdMap, Namespace, NamespaceSource, Namespaces, TimeOffset};
pub use process::{Capabilities, Process, Rlimit, Scheduling, SeccompFilter, SeccompListener};

/// Everything that starting one container takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The container's id.
    pub id: String,
    /// The bundle's directory (where hooks find the configuration); the container's run directory for the daemon.
    pub bundle: PathBuf,
    /// The version of the specification that the configuration names.
    pub oci_version: String,
    /// Annotations, handed to hooks.
    pub annotations: Vec<(String, String)>,
    /// Namespaces to create and to join, with id maps and time offsets.
    pub namespaces: Namespaces,
    /// Host name in the UTS namespace.
    pub hostname: Option<String>,
    /// NIS domain name in the UTS namespace.
    pub domainname: Option<String>,
    /// The root file system.
    pub rootfs: RootfsPlan,
    /// Mounts, in order.
    pub mounts: Vec<MountStep>,
    /// Device files to make, in order.
    pub devices: Vec<DeviceNode>,
    /// Whether the links of a fresh `/dev` (`fd`, `stdin`, …, `ptmx`) are wanted.
    pub dev_links: bool,
    /// Paths hidden from the container, absolute in the container.
    pub masked_paths: Vec<String>,
    /// Paths made read-only, absolute in the container.
    pub readonly_paths: Vec<String>,
    /// Kernel parameters: the path below `/proc/sys` and the value.
    pub sysctl: Vec<(String, String)>,
    /// The SELinux label of mounts.
    pub mount_label: Option<String>,
    /// The cgroup, if one is to be made.
    pub cgroup: Option<CgroupPlan>,
    /// The first process.
    pub process: Process,
    /// Whether the process gets a session keyring of its own.
    pub new_keyring: bool,
    /// Hooks of all six kinds.
    pub hooks: Hooks,
}

/// Where the root file system comes from and how it becomes `/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootfsPlan {
    /// Where it is.
    pub source: Rootfs,
    /// Whether it is read-only in the end.
    pub readonly: bool,
    /// What the container's mounts share with the host's, and whether for all mounts below the root.
    pub spread: Spreading,
    /// Change root by moving the mount and chroot instead of pivot_root, for hosts that run from an initramfs.
    pub no_pivot: bool,
}

/// A root file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rootfs {
    /// A directory in the host's mount namespace.
    Path(PathBuf),
    /// A detached mount: the index of its descriptor among those passed beside the plan.
    Fd(u32),
}

/// A device file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceNode {
    /// Where, absolute in the container.
    pub path: String,
    /// `S_IFCHR`, `S_IFBLK` or `S_IFIFO`.
    pub kind: u32,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permissions.
    pub mode: u32,
    /// Owner, in the container.
    pub uid: u32,
    /// Group, in the container.
    pub gid: u32,
}

/// The container's cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupPlan {
    /// Its path below the root of each hierarchy, beginning with a slash.
    pub path: String,
}

/// Hooks, by the moment at which they run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    /// Runtime namespaces, after the namespaces exist (deprecated by the specification, still used).
    pub prestart: Vec<Hook>,
    /// Runtime namespaces, after prestart.
    pub create_runtime: Vec<Hook>,
    /// Container namespaces, before pivot_root.
    pub create_container: Vec<Hook>,
    /// Container namespaces, before the program is executed.
    pub start_container: Vec<Hook>,
    /// Runtime namespaces, after the program was started; failures are only logged.
    pub poststart: Vec<Hook>,
    /// Runtime namespaces, after the container was deleted; failures are only logged.
    pub poststop: Vec<Hook>,
}

/// A program that runs at a moment of the container's life, with the container's state on its standard input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Absolute path of the program.
    pub path: String,
    /// Its arguments, `argv[0]` included.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: Vec<String>,
    /// Seconds after which it is killed, more than zero.
    pub timeout: Option<u64>,
}

/// A process to start in a container that runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecPlan {
    /// The process.
    pub process: Process,
    /// The cgroup to be born in: its path below the root of each hierarchy; the init's own if there is none.
    pub cgroup: Option<String>,
}
