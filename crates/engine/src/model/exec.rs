//! A process started inside a running container.

use skiff_types::{ContainerId, ExecId};

use super::Timestamp;

/// What `exec create` asks for.
#[derive(Clone, Debug, Default)]
pub struct ExecConfig {
    /// `user[:group]`; empty means the container's.
    pub user: String,
    /// All capabilities.
    pub privileged: bool,
    /// A terminal.
    pub tty: bool,
    /// First size of the terminal: height, width.
    pub console_size: Option<[u32; 2]>,
    /// Give it standard input.
    pub attach_stdin: bool,
    /// Show standard error.
    pub attach_stderr: bool,
    /// Show standard output.
    pub attach_stdout: bool,
    /// Keys that leave it running, as `ctrl-p,ctrl-q`; empty means the default.
    pub detach_keys: String,
    /// `NAME=value`, added to the container's.
    pub env: Vec<String>,
    /// Empty means the container's.
    pub working_dir: String,
    /// The program and its arguments.
    pub cmd: Vec<String>,
}

/// An exec. It lives in memory and in the monitor; its end is forgotten with the container.
#[derive(Clone, Debug)]
pub struct ExecRecord {
    /// Id.
    pub id: ExecId,
    /// The container.
    pub container: ContainerId,
    /// What it runs.
    pub config: ExecConfig,
    /// Has been started and not ended.
    pub running: bool,
    /// Process id on the host; 0 before it starts.
    pub pid: i32,
    /// Set when it has ended.
    pub exit_code: Option<i32>,
    /// When it was made.
    pub created: Timestamp,
    /// Could a client write to it.
    pub open_stdin: bool,
}
