//! The command line of an OCI runtime, flag for flag as runc has it.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use rustix::process::geteuid;

/// What callers read of an OCI runtime: the second line is theirs to know which specification it follows.
const VERSION: &str = concat!("version ", env!("CARGO_PKG_VERSION"), "\nspec: 1.2.0");

/// Runs containers from OCI bundles.
#[derive(Debug, Parser)]
#[command(name = "skiff", disable_help_subcommand = true, version = VERSION, disable_version_flag = true)]
pub(super) struct CommandLine {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
    /// Print the version.
    #[arg(short = 'v', long, action = ArgAction::Version)]
    version: Option<bool>,
}

#[derive(Debug, Args)]
pub(super) struct Global {
    /// Directory for the state of containers; should be a tmpfs. `/run/skiff/runtime` by default, without privileges a
    /// directory of the user's.
    #[arg(long, default_value_os_t = default_root(), hide_default_value = true)]
    pub(super) root: PathBuf,
    /// File that errors are appended to, besides standard error.
    #[arg(long)]
    pub(super) log: Option<PathBuf>,
    /// Format of the log.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(super) log_format: LogFormat,
    /// Log more.
    #[arg(long)]
    pub(super) debug: bool,
    /// Use systemd for cgroups (not supported).
    #[arg(long)]
    pub(super) systemd_cgroup: bool,
    /// Do without a cgroup where none can be made, for containers that ask for no limits; auto: without privileges.
    #[arg(long, value_enum, default_value_t = Rootless::Auto)]
    pub(super) rootless: Rootless,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Rootless {
    True,
    False,
    Auto,
}

impl Global {
    /// Whether containers are made without privileges of the host's.
    pub(super) fn is_rootless(&self) -> bool {
        match self.rootless {
            Rootless::True => true,
            Rootless::False => false,
            Rootless::Auto => !geteuid().is_root() || in_user_namespace(),
        }
    }
}

/// Whether this process is in a user namespace: then not every id is mapped to itself.
fn in_user_namespace() -> bool {
    let map = fs_err::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !map.is_empty() && map.split_whitespace().ne(["0", "0", "4294967295"])
}

fn default_root() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(directory) if !geteuid().is_root() => PathBuf::from(directory).join("skiff/runtime"),
        _ => PathBuf::from("/run/skiff/runtime"),
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a container.
    Create(Create),
    /// Create and start a container.
    Run(Run),
    /// Start a created container.
    Start { id: String },
    /// Print the state of a container.
    State { id: String },
    /// Send a signal to a container's first process.
    Kill(Kill),
    /// Delete a container.
    Delete {
        /// Kill the container first if it still runs; succeed if there is none.
        #[arg(short, long)]
        force: bool,
        id: String,
    },
    /// Start a further process in a container.
    Exec(Box<Exec>),
    /// List the processes of a container.
    Ps {
        /// Format: table or json.
        #[arg(short, long, default_value = "table")]
        format: Format,
        id: String,
        /// Options of ps(1); none is supported.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// Suspend all processes of a container.
    Pause { id: String },
    /// Resume all processes of a container.
    Resume { id: String },
    /// Change the limits of a container.
    Update(Box<Update>),
    /// Print statistics and out-of-memory events of a container.
    Events {
        /// Seconds between statistics, or a Go duration.
        #[arg(long, default_value = "5s")]
        interval: String,
        /// Print statistics once and end.
        #[arg(long)]
        stats: bool,
        id: String,
    },
    /// Print what this runtime can do.
    Features,
    /// List containers.
    List {
        /// Format: table or json.
        #[arg(short, long, default_value = "table")]
        format: Format,
        /// Print ids only.
        #[arg(short, long)]
        quiet: bool,
    },
    /// Not supported.
    #[command(hide = true)]
    Checkpoint {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Not supported.
    #[command(hide = true)]
    Restore {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Write a specification to start from.
    Spec {
        /// The bundle's directory.
        #[arg(short, long, default_value = ".")]
        bundle: PathBuf,
        /// For a container without privileges.
        #[arg(long)]
        rootless: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// The bundle's directory.
    #[arg(short, long, default_value = ".")]
    pub(super) bundle: PathBuf,
    /// Unix socket that receives the master of the terminal.
    #[arg(long)]
    pub(super) console_socket: Option<PathBuf>,
    /// File for the process id.
    #[arg(long)]
    pub(super) pid_file: Option<PathBuf>,
    /// Do not use pivot_root.
    #[arg(long)]
    pub(super) no_pivot: bool,
    /// Leave the session keyring as it is.
    #[arg(long)]
    pub(super) no_new_keyring: bool,
    /// How many descriptors from 3 on the process inherits.
    #[arg(long, default_value_t = 0)]
    pub(super) preserve_fds: u32,
    pub(super) id: String,
}

#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    pub(super) create: Create,
    /// Do not wait for the container.
    #[arg(short, long)]
    pub(super) detach: bool,
    /// Do not delete the container when it has ended.
    #[arg(long)]
    pub(super) keep: bool,
    /// Do not become the parent of the container's orphans.
    #[arg(long)]
    pub(super) no_subreaper: bool,
}

#[derive(Debug, Args)]
pub(super) struct Kill {
    /// To all processes of the container.
    #[arg(short, long)]
    pub(super) all: bool,
    pub(super) id: String,
    /// Name or number.
    #[arg(default_value = "SIGTERM")]
    pub(super) signal: String,
}

#[derive(Debug, Args)]
pub(super) struct Exec {
    /// Unix socket that receives the master of the terminal.
    #[arg(long)]
    pub(super) console_socket: Option<PathBuf>,
    /// Working directory in the container.
    #[arg(long)]
    pub(super) cwd: Option<PathBuf>,
    /// Environment variable.
    #[arg(short, long)]
    pub(super) env: Vec<String>,
    /// Allocate a terminal.
    #[arg(short, long)]
    pub(super) tty: bool,
    /// UID[:GID].
    #[arg(short, long)]
    pub(super) user: Option<String>,
    /// Supplementary group.
    #[arg(short = 'g', long)]
    pub(super) additional_gids: Vec<u32>,
    /// File with the process, instead of arguments.
    #[arg(short, long)]
    pub(super) process: Option<PathBuf>,
    /// Do not wait for the process.
    #[arg(short, long)]
    pub(super) detach: bool,
    /// File for the process id.
    #[arg(long)]
    pub(super) pid_file: Option<PathBuf>,
    /// SELinux label.
    #[arg(long)]
    pub(super) process_label: Option<String>,
    /// AppArmor profile.
    #[arg(long)]
    pub(super) apparmor: Option<String>,
    /// No gain of privileges by exec.
    #[arg(long)]
    pub(super) no_new_privs: bool,
    /// Additional capability.
    #[arg(short, long)]
    pub(super) cap: Vec<String>,
    /// How many descriptors from 3 on the process inherits.
    #[arg(long, default_value_t = 0)]
    pub(super) preserve_fds: u32,
    /// Cgroup below the container's; on v1 also `CONTROLLER[,CONTROLLER]:PATH`.
    #[arg(long)]
    pub(super) cgroup: Vec<String>,
    /// Do so even if the container is paused.
    #[arg(long)]
    pub(super) ignore_paused: bool,
    pub(super) id: String,
    /// Program and arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) args: Vec<String>,
}

/// A number of bytes, with `k`, `m`, `g` or `t` behind it (and `b` or `ib` behind that) in powers of 1024.
fn bytes(text: &str) -> Result<i64, String> {
    let invalid = || format!("{text:?} is not a number of bytes such as 64m");
    let lower = text.to_lowercase();
    let end = lower.find(|one: char| !one.is_ascii_digit() && one != '-').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(end);
    let power = match unit {
        "" | "b" => 0,
        unit => match (unit.get(..1), unit.get(1..)) {
            (Some(first), Some("" | "b" | "ib")) => "kmgt".find(first).ok_or_else(invalid)? + 1,
            _ => return Err(invalid()),
        },
    };
    let number: i64 = number.parse().map_err(|_| invalid())?;
    number.checked_mul(1 << (10 * power)).ok_or_else(invalid)
}

#[derive(Debug, Args)]
pub(super) struct Update {
    /// File with a resources section; `-` is standard input.
    #[arg(short, long)]
    pub(super) resources: Option<PathBuf>,
    /// Block I/O weight, 10 to 1000.
    #[arg(long)]
    pub(super) blkio_weight: Option<u16>,
    /// CPU period in microseconds.
    #[arg(long)]
    pub(super) cpu_period: Option<u64>,
    /// CPU time per period in microseconds.
    #[arg(long, allow_hyphen_values = true)]
    pub(super) cpu_quota: Option<i64>,
    /// CPU time that may be saved up, in microseconds.
    #[arg(long)]
    pub(super) cpu_burst: Option<u64>,
    /// CPU shares.
    #[arg(long)]
    pub(super) cpu_share: Option<u64>,
    /// Realtime period in microseconds.
    #[arg(long)]
    pub(super) cpu_rt_period: Option<u64>,
    /// Realtime per period in microseconds.
    #[arg(long, allow_hyphen_values = true)]
    pub(super) cpu_rt_runtime: Option<i64>,
    /// CPUs.
    #[arg(long)]
    pub(super) cpuset_cpus: Option<String>,
    /// Memory nodes.
    #[arg(long)]
    pub(super) cpuset_mems: Option<String>,
    /// 1 to run only when nothing else does (v2).
    #[arg(long)]
    pub(super) cpu_idle: Option<i64>,
    /// Memory limit in bytes, or with a unit (`64m`).
    #[arg(long, allow_hyphen_values = true, value_parser = bytes)]
    pub(super) memory: Option<i64>,
    /// Soft memory limit in bytes, or with a unit.
    #[arg(long, allow_hyphen_values = true, value_parser = bytes)]
    pub(super) memory_reservation: Option<i64>,
    /// Memory and swap in bytes, or with a unit; -1 is unlimited.
    #[arg(long, allow_hyphen_values = true, value_parser = bytes)]
    pub(super) memory_swap: Option<i64>,
    /// Greatest number of processes.
    #[arg(long, allow_hyphen_values = true)]
    pub(super) pids_limit: Option<i64>,
    /// Intel RDT: schema of the L3 cache.
    #[arg(long)]
    pub(super) l3_cache_schema: Option<String>,
    /// Intel RDT: schema of the memory bandwidth.
    #[arg(long)]
    pub(super) mem_bw_schema: Option<String>,
    pub(super) id: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_units() {
        for (text, amount) in
            [("-1", -1), ("50", 50), ("50M", 50 << 20), ("1gib", 1 << 30), ("2kb", 2048), ("7b", 7)]
        {
            assert_eq!(bytes(text), Ok(amount), "{text}");
        }
        for text in ["", "m", "5x", "5mm", "99999999999t", "1.5g"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
