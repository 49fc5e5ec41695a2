//! What runs in a container, portable between hosts (Docker's `Config`).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The container's program and its surroundings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerConfig {
    /// Host name inside; empty means the first twelve digits of the id.
    pub hostname: String,
    /// NIS domain name.
    pub domainname: String,
    /// `user[:group]`, names or numbers.
    pub user: String,
    /// Whether the client said it would attach to standard input.
    pub attach_stdin: bool,
    /// Likewise for standard output.
    pub attach_stdout: bool,
    /// Likewise for standard error.
    pub attach_stderr: bool,
    /// `80/tcp`, … that the container listens on.
    pub exposed_ports: BTreeSet<String>,
    /// Whether standard streams are a terminal.
    pub tty: bool,
    /// Whether standard input stays open without a client.
    pub open_stdin: bool,
    /// Whether standard input closes when the first attached client leaves.
    pub stdin_once: bool,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Arguments to the entry point, or the program itself.
    pub cmd: Option<Vec<String>>,
    /// How to find out whether the container is healthy.
    pub healthcheck: Option<HealthConfig>,
    /// Windows only; kept because it is shown.
    pub args_escaped: bool,
    /// The image as the client named it.
    pub image: String,
    /// Paths that get an anonymous volume.
    pub volumes: BTreeSet<String>,
    /// Where the program starts; empty means `/`.
    pub working_dir: String,
    /// The program.
    pub entrypoint: Option<Vec<String>>,
    /// No network at all, as with network mode `none`.
    pub network_disabled: bool,
    /// The main interface's hardware address (API before 1.44).
    pub mac_address: Option<String>,
    /// Dockerfile triggers.
    pub on_build: Option<Vec<String>>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Signal that asks the program to end; `SIGTERM` if none.
    pub stop_signal: Option<String>,
    /// Seconds between that signal and `SIGKILL`; 10 if none, negative for ever.
    pub stop_timeout: Option<i64>,
    /// Shell of the shell form of `RUN`, `CMD`, `ENTRYPOINT`.
    pub shell: Option<Vec<String>>,
}

/// A health check. Durations are nanoseconds; 0 inherits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthConfig {
    /// `["NONE"]`, `["CMD", …]`, `["CMD-SHELL", command]`; of our own `["HTTP", address]`, `["TCP", address]`; empty inherits.
    pub test: Vec<String>,
    /// Time between checks.
    pub interval: i64,
    /// Time after which a check has failed.
    pub timeout: i64,
    /// Time in which failures do not count.
    pub start_period: i64,
    /// Time between checks in the start period.
    pub start_interval: i64,
    /// Failures in a row until the container is unhealthy.
    pub retries: i64,
}
