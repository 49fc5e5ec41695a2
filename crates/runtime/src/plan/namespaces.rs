//! Namespaces: created, joined, or left as they are.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What becomes of one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Namespace {
    /// The runtime's own.
    #[default]
    Inherit,
    /// A new one.
    New,
    /// An existing one.
    Join(NamespaceSource),
}

/// Where a namespace to join is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceSource {
    /// A file of the host's, such as `/proc/PID/ns/net`.
    Path(PathBuf),
    /// The index of its descriptor among those passed beside the plan.
    Fd(u32),
}

/// All namespaces of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// User ids and privileges.
    pub user: Namespace,
    /// Mounts; never joined together with a root file system of one's own.
    pub mount: Namespace,
    /// Host name.
    pub uts: Namespace,
    /// System V IPC and POSIX queues.
    pub ipc: Namespace,
    /// Process ids.
    pub pid: Namespace,
    /// Network.
    pub net: Namespace,
    /// The view of the cgroup tree.
    pub cgroup: Namespace,
    /// Clocks.
    pub time: Namespace,
    /// User ids of a new user namespace.
    pub uid_map: Vec<IdMap>,
    /// Group ids of a new user namespace.
    pub gid_map: Vec<IdMap>,
    /// Offsets of the clocks of a new time namespace.
    pub time_offsets: Vec<TimeOffset>,
}

/// A range of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// First id inside.
    pub container: u32,
    /// First id outside.
    pub host: u32,
    /// How many.
    pub size: u32,
}

/// The offset of one clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeOffset {
    /// `monotonic` or `boottime`.
    pub clock: String,
    /// Seconds.
    pub secs: i64,
    /// Nanoseconds.
    pub nanosecs: u32,
}
