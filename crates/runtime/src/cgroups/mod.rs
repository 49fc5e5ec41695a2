//! Control groups: the whole `resources` section of the OCI specification on cgroup v1, v2 and the hybrid of both.
//!
//! Three things, in the order in which they are used:
//!
//! 1. [`Layout::probe`] finds the hierarchies of this machine, once per process.
//! 2. [`plan`] turns `LinuxResources` into a [`ResourcePlan`]: ordered writes and, for v2, a device program. It is pure and its result can be sent
//!    to another process. What cannot be expressed on this machine is refused here, before anything exists.
//! 3. [`Cgroup`] owns a container's directories: creates them, applies plans, lets processes in, freezes, kills, measures, removes.
//!
//! How a process gets in matters for speed. Writing another process's id to `cgroup.procs` takes a lock that waits for an RCU grace period
//! (a quarter of a millisecond on an idle machine, many on a busy one). A process with one thread that writes `0` to a v1 `tasks` file takes no
//! such lock, and `CLONE_INTO_CGROUP` needs no write at all on v2: that is what [`Entry`] is for.
//!
//! The systemd cgroup driver (`slice:prefix:name`) is refused: this crate talks to the kernel, not to another daemon.

mod below;
mod devices;
mod files;
mod group;
mod layout;
mod meter;
mod oom;
mod plan;
mod processes;
mod stats;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use skiff_types::ErrorKind;

pub use self::below::BelowCgroup;
pub use self::devices::runtime_default_rules;
pub use self::group::{Cgroup, CgroupPath, Entry};
pub use self::layout::{Controller, Hierarchy, Layout, Mode, Unified};
pub use self::meter::{Activity, Meter, Reading};
pub use self::oom::OomWatch;
pub use self::plan::{Alternative, Current, ResourcePlan, Step, Tolerance, plan};
pub use self::stats::{
    BlockIoEntry, BlockIoStats, CpuStats, HugetlbStats, MemoryLimit, MemoryStats, PidsStats, Pressure,
    PressureLine, Stats,
};

/// A fault with cgroups. It is plain data, so that it can cross from one process to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum CgroupError {
    /// No cgroup hierarchy is mounted in this mount namespace.
    #[error("no cgroup hierarchy is mounted")]
    NotMounted,
    /// A system call on a cgroup file or directory failed.
    #[error("{operation} {}{}: {}", path.display(), Shown(value.as_deref()), io::Error::from_raw_os_error(*errno))]
    Kernel {
        /// What was tried.
        operation: Operation,
        /// On which file or directory.
        path: PathBuf,
        /// What was to be written, if it was a write.
        value: Option<String>,
        /// The kernel's answer.
        errno: i32,
    },
    /// A limit was asked for, and this machine does not have the controller for it.
    #[error("cannot set {setting}: this machine has no {controller} cgroup controller")]
    MissingController {
        /// The controller's v1 name.
        controller: Controller,
        /// The field of `resources` that asks for it.
        setting: String,
    },
    /// A value that no kernel would accept, or that this cgroup version cannot express.
    #[error("invalid {setting}: {reason}")]
    Invalid {
        /// The field of `resources`.
        setting: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A cgroup path that cannot be used.
    #[error("invalid cgroup path {path:?}: {reason}")]
    Path {
        /// The path as given.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The directories could not be removed in time, because processes remain.
    #[error("cgroup {} is still in use after {waited_ms} ms", path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
        /// How long removal was tried.
        waited_ms: u64,
    },
    /// The processes would not stop.
    #[error("cgroup {} did not freeze within {waited_ms} ms", path.display())]
    NotFrozen {
        /// The directory.
        path: PathBuf,
        /// How long was waited.
        waited_ms: u64,
    },
}

impl CgroupError {
    /// Which sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid { .. } | Self::Path { .. } => ErrorKind::InvalidArgument,
            Self::MissingController { .. } | Self::NotMounted => ErrorKind::NotImplemented,
            Self::Busy { .. } | Self::NotFrozen { .. } => ErrorKind::Unavailable,
            Self::Kernel { errno, .. } if *errno == Errno::INVAL.raw_os_error() => ErrorKind::InvalidArgument,
            Self::Kernel { .. } => ErrorKind::Internal,
        }
    }

    fn kernel(operation: Operation, path: &Path, errno: Errno) -> Self {
        Self::Kernel { operation, path: path.to_owned(), value: None, errno: errno.raw_os_error() }
    }

    fn write(path: &Path, value: &str, errno: Errno) -> Self {
        let value = Some(value.to_owned());
        Self::Kernel {
            operation: Operation::Write,
            path: path.to_owned(),
            value,
            errno: errno.raw_os_error(),
        }
    }

    fn invalid(setting: &str, reason: impl Into<String>) -> Self {
        Self::Invalid { setting: setting.to_owned(), reason: reason.into() }
    }

    /// What went wrong, without the words for the kernel's error number.
    pub fn without_errno(&self) -> String {
        match self {
            Self::Kernel { operation: Operation::Write, path, value: Some(value), .. } => {
                format!("failed to write {}: write {}", Quoted(value), path.display())
            }
            Self::Kernel { operation, path, .. } => format!("{operation} {}", path.display()),
            other => other.to_string(),
        }
    }

    /// The kernel's error number, if that is what went wrong.
    pub fn errno(&self) -> Option<i32> {
        if let Self::Kernel { errno, .. } = self { Some(*errno) } else { None }
    }
}

/// What was done to a cgroup file when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Operation {
    Open,
    Read,
    Write,
    CreateDirectory,
    RemoveDirectory,
    LoadDeviceProgram,
    AttachDeviceProgram,
    Watch,
    Signal,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "cannot open",
            Self::Read => "cannot read",
            Self::Write => "cannot write",
            Self::CreateDirectory => "cannot create cgroup",
            Self::RemoveDirectory => "cannot remove cgroup",
            Self::LoadDeviceProgram => "cannot load the device program of",
            Self::AttachDeviceProgram => "cannot attach the device program to",
            Self::Watch => "cannot watch",
            Self::Signal => "cannot signal the processes of",
        })
    }
}

/// Shows the value of a failed write.
struct Shown<'a>(Option<&'a str>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => write!(f, " (value {})", Quoted(value)),
            None => Ok(()),
        }
    }
}

/// Some values hold thousands of devices.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(80) {
            Some((end, _)) => write!(f, "{:?}…", &self.0[..end]),
            None => write!(f, "{:?}", self.0),
        }
    }
}

#[cfg(test)]
mod tests;
