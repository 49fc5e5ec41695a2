//! What is kept of a container between commands: one directory below `--root`, with one file.
//!
//! The record is written before anything of the container exists, so that whatever a killed creation leaves can be found,
//! and once more when its first process is there. What changes later is read from the kernel: whether the process is
//! there (by its number *and* its start time, since numbers are used again), whether the start gate still stands,
//! whether the cgroup is frozen.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespaceType, Spec};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use serde::{Deserialize, Serialize};

use super::OciError;
use super::args::Global;
use crate::apply;
use crate::cgroups::{Cgroup, CgroupPath, Layout};
use crate::rdt::RdtPlan;

const FILE: &str = "state.json";

/// A container.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    /// Version of this format.
    pub(super) version: u32,
    /// The container's id.
    pub(super) id: String,
    /// Its first process; as long as there is none, the process that creates it.
    pub(super) process: Identity,
    /// Whether it is still being created.
    pub(super) creating: bool,
    /// When the container was created.
    pub(super) created: jiff::Timestamp,
    /// The bundle's directory.
    pub(super) bundle: PathBuf,
    /// Its cgroup.
    pub(super) cgroup: CgroupPath,
    /// Where cgroups are.
    pub(super) layout: Layout,
    /// Its groups in resctrl.
    #[serde(default)]
    pub(super) rdt: Option<RdtPlan>,
    /// Whether it was made without privileges.
    #[serde(default)]
    pub(super) rootless: bool,
    /// Whether its processes share a session keyring of their own.
    pub(super) new_keyring: bool,
    /// Its specification.
    pub(super) spec: Spec,
}

/// A process, for ever: its number is used again, but not with the same start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Identity {
    /// Its number.
    pub(super) pid: i32,
    /// When it was started, in ticks after boot.
    pub(super) start_time: u64,
}

impl Identity {
    /// The process that has this number now.
    pub(super) fn of(pid: Pid) -> Self {
        let pid = pid.as_raw_nonzero().get();
        Self { pid, start_time: process_facts(pid).map_or(0, |(_, start_time)| start_time) }
    }

    fn is_alive(self) -> bool {
        process_facts(self.pid)
            .is_some_and(|(state, start_time)| start_time == self.start_time && !matches!(state, 'Z' | 'X'))
    }
}

/// What a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

/// A container's directory.
#[derive(Clone, Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    /// The directory of a container that may exist or not.
    pub(super) fn of(global: &Global, id: &str) -> Result<Self, OciError> {
        let allowed = |character: char| character.is_ascii_alphanumeric() || "_+-.".contains(character);
        let valid = !id.is_empty() && id.len() <= 1024 && id.chars().all(allowed) && id != "." && id != "..";
        if valid { Ok(Self(global.root.join(id))) } else { Err(OciError::InvalidId(id.to_owned())) }
    }

    /// Makes it, for a new container.
    pub(super) fn create(global: &Global, id: &str) -> Result<Self, OciError> {
        let directory = Self::of(global, id)?;
        fs_err::create_dir_all(&global.root)?;
        match rustix::fs::mkdir(&directory.0, Mode::from_raw_mode(0o711)) {
            Ok(()) => Ok(directory),
            Err(Errno::EXIST) => Err(OciError::Exists),
            Err(errno) => Err(OciError::kernel(directory.0.display().to_string())(errno)),
        }
    }

    /// Its path.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Whether it is there at all.
    pub(super) fn exists(&self) -> bool {
        self.0.is_dir()
    }

    /// Reads the record.
    pub(super) fn read(&self) -> Result<Record, OciError> {
        let path = self.0.join(FILE);
        let text = match fs_err::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(OciError::NotFound),
            other => other?,
        };
        serde_json::from_slice(&text).map_err(|source| OciError::Json { path, source })
    }

    /// Writes the record, whole or not at all.
    pub(super) fn write(&self, record: &Record) -> Result<(), OciError> {
        let path = self.0.join(FILE);
        let text =
            serde_json::to_vec(record).map_err(|source| OciError::Json { path: path.clone(), source })?;
        write_whole(&path, &text)
    }

    /// Removes it.
    pub(super) fn remove(&self) -> Result<(), OciError> {
        match fs_err::remove_dir_all(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Every container of the root.
    pub(super) fn all(global: &Global) -> Result<Vec<Self>, OciError> {
        let entries = match fs_err::read_dir(&global.root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut all = Vec::new();
        for entry in entries {
            all.push(Self(entry?.path()));
        }
        all.sort_by(|left, right| left.0.cmp(&right.0));
        Ok(all)
    }
}

/// Writes a file beside its place and renames it there.
pub(super) fn write_whole(path: &Path, content: &[u8]) -> Result<(), OciError> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    let beside = path.with_file_name(name);
    fs_err::write(&beside, content)?;
    fs_err::rename(&beside, path)?;
    Ok(())
}

/// The record of an existing container, and its directory.
pub(super) fn find(global: &Global, id: &str) -> Result<(Directory, Record), OciError> {
    let directory = Directory::of(global, id)?;
    let record = directory.read()?;
    Ok((directory, record))
}

impl Record {
    /// Its cgroup.
    pub(super) fn cgroup(&self) -> Cgroup {
        Cgroup::open(&self.layout, &self.cgroup)
    }

    /// Whether the end of its first process is the end of all others.
    pub(super) fn owns_pids(&self) -> bool {
        let namespaces = self.spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
        namespaces.is_some_and(|list| {
            list.iter().any(|one| one.typ() == LinuxNamespaceType::Pid && one.path().is_none())
        })
    }

    /// What it does now. A creation that was killed counts as stopped: there is nothing but something to delete.
    pub(super) fn status(&self, directory: &Directory) -> Status {
        if !self.process.is_alive() {
            Status::Stopped
        } else if self.creating {
            Status::Creating
        } else if directory.path().join(apply::GATE_FILE).exists() {
            Status::Created
        } else if self.cgroup().is_frozen().unwrap_or(false) {
            Status::Paused
        } else {
            Status::Running
        }
    }

    /// A descriptor of its first process; `None` if it has ended, or is not there yet.
    pub(super) fn open_process(&self) -> Option<(Pid, std::os::fd::OwnedFd)> {
        let pid = Pid::from_raw(self.process.pid).filter(|_| !self.creating)?;
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // The number was this process's when the descriptor was made if it is so now.
        self.process.is_alive().then_some((pid, pidfd))
    }
}

/// State letter and start time of a process; see proc_pid_stat(5).
fn process_facts(pid: i32) -> Option<(char, u64)> {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, parentheses too.
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}
