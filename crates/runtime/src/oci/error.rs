//! What can go wrong on the command line of the runtime. The words are those that callers of runc look for.

use std::path::PathBuf;

use crate::apply::StageError;
use crate::cgroups::CgroupError;
use crate::plan::PlanError;

/// A failure of a command.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// The id is not one.
    #[error("invalid container ID format: {0:?}")]
    InvalidId(String),
    /// A container of that id exists.
    #[error("container with given ID already exists")]
    Exists,
    /// No container of that id exists.
    #[error("container does not exist")]
    NotFound,
    /// The container is not in the state that the command needs.
    #[error("{0}")]
    State(String),
    /// An argument is wrong, or asks for what Skiff cannot do.
    #[error("{0}")]
    Argument(String),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] std::io::Error),
    /// A file does not hold what it should.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The specification cannot be planned.
    #[error("invalid configuration: {0}")]
    Plan(#[from] PlanError),
    /// The container could not be started.
    #[error("unable to start container process: error during container init: {0}")]
    Start(#[from] StageError),
    /// A further process could not be started.
    #[error("unable to start container process: {0}")]
    Exec(StageError),
    /// The cgroup does not do what was asked.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// A system call failed.
    #[error("{what}: {errno}")]
    Kernel {
        /// What was done.
        what: String,
        /// The kernel's answer.
        errno: rustix::io::Errno,
    },
}

impl OciError {
    pub(super) fn kernel(what: impl Into<String>) -> impl FnOnce(rustix::io::Errno) -> Self {
        let what = what.into();
        move |errno| Self::Kernel { what, errno }
    }
}
