//! Failures of a start, as data that crosses processes.

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// What was being done when a start failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// Making the cgroup or a limit of it; joining it.
    Cgroup,
    /// Creating the process and its namespaces.
    Clone,
    /// Writing the id maps of the user namespace.
    IdMap,
    /// Joining an existing namespace.
    JoinNamespace,
    /// Offsets of the time namespace.
    TimeOffsets,
    /// Preparing the root file system and the mount namespace.
    Rootfs,
    /// A mount.
    Mount,
    /// A device file.
    Device,
    /// A hook.
    Hook,
    /// Changing the root.
    Pivot,
    /// Making the terminal.
    Console,
    /// Host or domain name.
    Hostname,
    /// A kernel parameter.
    Sysctl,
    /// A masked path.
    MaskedPath,
    /// A read-only path.
    ReadonlyPath,
    /// The session keyring.
    Keyring,
    /// AppArmor profile or SELinux label.
    Label,
    /// Priority, scheduling, affinity, personality.
    Scheduling,
    /// A resource limit.
    Rlimit,
    /// The out-of-memory score.
    OomScore,
    /// The system call filter.
    Seccomp,
    /// Capabilities and no_new_privs.
    Capabilities,
    /// User and groups.
    User,
    /// The working directory.
    WorkingDirectory,
    /// The program was not found, or may not be executed.
    Lookup,
    /// Executing the program.
    Exec,
    /// Talking to the process; it ended without a word (killed, for instance).
    Sync,
    /// Opening the log file.
    Log,
    /// Making the pipes of the standard streams, or what the monitor needs to watch them.
    Streams,
    /// Classes of service and monitoring groups (Intel RDT).
    Rdt,
    /// Another OCI runtime: the words are its own.
    Runtime,
}

/// Why a process did not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub struct StageError {
    /// What was being done.
    pub stage: Stage,
    /// The kernel's error number; 0 if it was not the kernel that refused.
    pub errno: i32,
    /// To what (a path, a limit, a program) or why.
    pub detail: String,
}

impl StageError {
    /// A failure of a system call.
    pub fn new(stage: Stage, errno: Errno, detail: impl Into<String>) -> Self {
        Self { stage, errno: errno.raw_os_error(), detail: detail.into() }
    }

    /// A failure that no system call reported.
    pub fn refused(stage: Stage, detail: impl Into<String>) -> Self {
        Self { stage, errno: 0, detail: detail.into() }
    }

    /// What the kernel said; none for a failure that no system call reported.
    pub fn kernel_errno(&self) -> Option<Errno> {
        Errno::from_io_error(&std::io::Error::from_raw_os_error(self.errno))
    }
}

impl std::fmt::Display for StageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match self.stage {
            Stage::Cgroup => "cgroup",
            Stage::Clone => "clone",
            Stage::IdMap => "id map",
            Stage::JoinNamespace => "join namespace",
            Stage::TimeOffsets => "time offsets",
            Stage::Rootfs => "rootfs",
            Stage::Mount => "mount",
            Stage::Device => "device",
            Stage::Hook => "hook",
            Stage::Pivot => "pivot_root",
            Stage::Console => "console",
            Stage::Hostname => "hostname",
            Stage::Sysctl => "sysctl",
            Stage::MaskedPath => "mask path",
            Stage::ReadonlyPath => "read-only path",
            Stage::Keyring => "session keyring",
            Stage::Label => "security label",
            Stage::Scheduling => "scheduling",
            Stage::Rlimit => "rlimit",
            Stage::OomScore => "oom_score_adj",
            Stage::Seccomp => "seccomp",
            Stage::Capabilities => "capabilities",
            Stage::User => "user",
            Stage::WorkingDirectory => "working directory",
            Stage::Lookup | Stage::Exec => "exec",
            Stage::Sync => "container init",
            Stage::Log => "log",
            Stage::Streams => "standard streams",
            Stage::Rdt => "intelRdt",
            Stage::Runtime => "runtime",
        };
        match self.stage {
            // By these words the callers of OCI runtimes recognise what happened.
            Stage::Exec => write!(f, "{what} {}", self.detail)?,
            Stage::WorkingDirectory => {
                write!(f, "chdir to cwd ({:?}) set in config.json failed", self.detail)?
            }
            _ => write!(f, "{what}: {}", self.detail)?,
        }
        if self.errno != 0 && self.stage != Stage::Lookup {
            write!(f, ": {}", errno_text(self.errno))?;
        }
        Ok(())
    }
}

/// The kernel's words for an error number, in lower case and without the number.
pub fn errno_text(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}
