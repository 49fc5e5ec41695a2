//! Carries a [`Plan`] out: clones the container's first process into its namespaces and makes of it what the plan says.
//!
//! Both sides are here. The parent's ([`spawn`], [`exec`]) must be a single-threaded process: the command line
//! `skiff runtime`, or the monitor. The child runs ordinary code between clone3 and exec; it reports failures as
//! [`StageError`]s over a socket which closes at exec, so that silence means success.

mod cgroup_mounts;
mod console;
mod copy_up;
mod devices;
mod error;
mod exec;
mod filesystem;
mod finish;
mod gate;
mod hooks;
mod idmap;
mod init;
mod limits;
mod mounts;
mod namespaces;
mod parent;
mod paths;
mod privileges;
mod program;
mod root;
mod rootfs;
mod stock;
mod sync;

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::process::Pid;

use crate::plan::{ExecPlan, Plan};

pub use error::{Stage, StageError, errno_text};
pub use gate::{Gate, OwnedGate, START as GATE_FILE, dismiss as dismiss_from_gate, open as open_gate};
pub use hooks::{Place as HookPlace, run as run_hooks, state as container_state};
pub use parent::Birthplace;
pub use stock::Stock;

/// Standard streams of a new process.
#[derive(Debug)]
pub enum Stdio<'fd> {
    /// These three; the process gets copies.
    Fds {
        /// 0
        stdin: BorrowedFd<'fd>,
        /// 1
        stdout: BorrowedFd<'fd>,
        /// 2
        stderr: BorrowedFd<'fd>,
    },
    /// A pseudo terminal of the container's own devpts; its master is in [`Spawned::console`].
    Terminal,
}

/// What a process that is ready waits for before it executes its program.
#[derive(Debug)]
pub enum Start<'fd> {
    /// Nothing: nobody has anything left to do for it.
    AtOnce,
    /// [`Spawned::start`].
    Parent,
    /// A gate, which outlives this process.
    Gate(Gate<'fd>),
}

/// What goes along with a plan: descriptors that only exist in this process.
#[derive(Debug)]
pub struct Surroundings<'fd> {
    /// The descriptors which the plan names by index (root file system's mount, namespaces).
    pub fds: &'fd [OwnedFd],
    /// Standard streams.
    pub stdio: Stdio<'fd>,
    /// Descriptors that the process finds at 3 and up.
    pub preserved: &'fd [OwnedFd],
    /// Whether the process is to die with its parent.
    pub die_with_parent: bool,
    /// Where the process waits for its start.
    pub start: Start<'fd>,
}

/// A process which is completely set up, but has not executed its program unless [`Start::AtOnce`] says so: it waits for
/// [`Spawned::start`], or at the gate that its surroundings named.
///
/// Without a gate, dropping it before the program is executed ends the process.
#[derive(Debug)]
pub struct Spawned {
    /// Its id in this process's pid namespace. It is a child of this process.
    pub pid: Pid,
    /// It.
    pub pidfd: OwnedFd,
    /// The master of its terminal, if it has one.
    pub console: Option<OwnedFd>,
    sync: OwnedFd,
    waits: bool,
}

impl Spawned {
    /// Lets the process execute its program; comes back when it has (or has failed to).
    ///
    /// # Errors
    /// The reason why the program could not be executed. The process ends then, and the caller reaps it.
    pub fn start(self) -> Result<(Pid, OwnedFd, Option<OwnedFd>), StageError> {
        if self.waits {
            sync::go_ahead(&self.sync)?;
        }
        match sync::next(&self.sync)? {
            // Closed by exec; or by a process killed at this very moment, which then shows as its exit.
            None => Ok((self.pid, self.pidfd, self.console)),
            Some((sync::Report::Failed(error), _)) => Err(error),
            Some(_) => Err(StageError::refused(Stage::Sync, "an unexpected report")),
        }
    }
}

/// Starts a container's first process in the cgroup of its plan: sets limits, clones, maps ids, runs the hooks of creation, and
/// waits until the process is ready to execute its program. What the caller has to do before that program runs, it does
/// `meanwhile`, while the process comes up.
///
/// # Errors
/// What failed, on either side, or meanwhile. Nothing is left of the container then: no process, no cgroup.
pub fn spawn(
    plan: &Plan,
    surroundings: &Surroundings<'_>,
    birthplace: Birthplace,
    meanwhile: impl FnOnce() -> Result<(), StageError>,
) -> Result<Spawned, StageError> {
    parent::spawn(plan, surroundings, birthplace, meanwhile)
}

/// Starts a further process in the namespaces and cgroup of the container whose init is `init`.
///
/// # Errors
/// What failed, on either side. Nothing is left of the process then.
pub fn exec(
    plan: &ExecPlan,
    init: (Pid, BorrowedFd<'_>),
    surroundings: &Surroundings<'_>,
) -> Result<Spawned, StageError> {
    exec::exec(plan, init, surroundings)
}
