//! Processes started inside running containers.

use skiff_types::ExecId;

use crate::{
    Attached, Error, Result,
    model::{ExecConfig, ExecRecord},
};

/// The service.
#[derive(Clone)]
pub struct Execs {}

/// How an exec starts.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExecStart {
    /// Do not wait and do not attach.
    pub detach: bool,
    /// What the client believes of the terminal; must agree with the exec's configuration where Docker checks it.
    pub tty: bool,
    /// First size of the terminal: height, width.
    pub console_size: Option<[u32; 2]>,
}

/// A started exec.
#[derive(Debug)]
pub enum StartedExec {
    /// It runs by itself.
    Detached,
    /// Its streams.
    Attached(Attached),
}

fn missing<T>() -> Result<T> {
    Err(Error::NotImplemented("not there yet".into()))
}

#[expect(unused_variables, reason = "signatures first")]
impl Execs {
    /// Prepares a process for a running container.
    ///
    /// # Errors
    /// The container does not run or is paused; there is no command.
    pub async fn create(&self, container: &str, config: ExecConfig) -> Result<ExecId> {
        missing()
    }

    /// Starts it, once.
    ///
    /// # Errors
    /// It has run before; its container does not run. A program that cannot be started is told to attached clients
    /// through their stream and through the exit code (126, 127), to detached ones as an error.
    pub async fn start(&self, exec: &str, options: ExecStart) -> Result<StartedExec> {
        missing()
    }

    /// Sets the size of its terminal.
    ///
    /// # Errors
    /// It does not run.
    pub async fn resize(&self, exec: &str, height: u16, width: u16) -> Result<()> {
        missing()
    }

    /// What it is and does.
    ///
    /// # Errors
    /// There is no such exec.
    pub async fn inspect(&self, exec: &str) -> Result<ExecRecord> {
        missing()
    }

    /// Records that a client left by the detach keys.
    pub fn detached(&self, exec: &str) {}
}
