//! The daemon and its host, as `version` and `info` show them.

use std::collections::BTreeMap;

use super::Timestamp;

/// A part of the engine with a version of its own.
#[derive(Clone, Debug)]
pub struct Component {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// More about it.
    pub details: BTreeMap<String, String>,
}

/// `GET /version`.
#[derive(Clone, Debug)]
pub struct Version {
    /// Name of the platform.
    pub platform: String,
    /// Version of the engine.
    pub version: String,
    /// Commit it was built from.
    pub git_commit: String,
    /// When it was built.
    pub build_time: String,
    /// Operating system.
    pub os: String,
    /// Processor, in Go's words.
    pub arch: String,
    /// `uname -r`.
    pub kernel_version: String,
    /// Experimental features are on.
    pub experimental: bool,
    /// Parts.
    pub components: Vec<Component>,
}

/// A runtime that containers can ask for.
#[derive(Clone, Debug)]
pub struct RuntimeInfo {
    /// Name.
    pub name: String,
    /// Path of the program.
    pub path: String,
    /// Its arguments.
    pub args: Vec<String>,
}

/// The disk budget, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskBudget {
    /// What may be used.
    pub limit: u64,
    /// What is used.
    pub used: u64,
}

/// `GET /info`.
#[derive(Clone, Debug)]
pub struct Info {
    /// Id of this engine, kept across restarts.
    pub id: String,
    /// Number of containers.
    pub containers: usize,
    /// Of those, running.
    pub containers_running: usize,
    /// Of those, paused.
    pub containers_paused: usize,
    /// Of those, not running.
    pub containers_stopped: usize,
    /// Number of images.
    pub images: usize,
    /// Snapshot driver.
    pub driver: String,
    /// What it says of itself.
    pub driver_status: Vec<(String, String)>,
    /// Root directory.
    pub root_dir: String,
    /// None without a limit.
    pub disk_budget: Option<DiskBudget>,
    /// Log drivers.
    pub log_drivers: Vec<String>,
    /// Network drivers.
    pub network_drivers: Vec<String>,
    /// Volume drivers.
    pub volume_drivers: Vec<String>,
    /// Controllers: memory limits work.
    pub memory_limit: bool,
    /// Limits on the kernel's TCP buffers.
    pub kernel_memory_tcp: bool,
    /// Swap limits work.
    pub swap_limit: bool,
    /// Periods and quotas work.
    pub cpu_cfs: bool,
    /// Shares work.
    pub cpu_shares: bool,
    /// Cpu sets work.
    pub cpu_set: bool,
    /// Process limits work.
    pub pids_limit: bool,
    /// The out-of-memory killer can be turned off.
    pub oom_kill_disable: bool,
    /// The host forwards IPv4.
    pub ipv4_forwarding: bool,
    /// Debug output is on.
    pub debug: bool,
    /// Open files of the daemon.
    pub open_files: usize,
    /// Tasks of the daemon (shown as goroutines).
    pub tasks: usize,
    /// Now.
    pub system_time: Timestamp,
    /// Default log driver.
    pub logging_driver: String,
    /// `cgroupfs`.
    pub cgroup_driver: String,
    /// `1` or `2`.
    pub cgroup_version: String,
    /// Clients that listen to events.
    pub event_listeners: usize,
    /// `uname -r`.
    pub kernel_version: String,
    /// From /etc/os-release.
    pub operating_system: String,
    /// From /etc/os-release.
    pub os_version: String,
    /// `uname -m`.
    pub architecture: String,
    /// Processors.
    pub cpus: usize,
    /// Bytes of memory.
    pub memory: i64,
    /// Host name.
    pub name: String,
    /// Labels of the daemon.
    pub labels: Vec<String>,
    /// Experimental features are on.
    pub experimental: bool,
    /// Version of the engine.
    pub server_version: String,
    /// Runtimes.
    pub runtimes: Vec<RuntimeInfo>,
    /// The one used if none is asked for.
    pub default_runtime: String,
    /// Always: containers outlive the daemon.
    pub live_restore: bool,
    /// Name of the init of `--init`.
    pub init_binary: String,
    /// `name=seccomp,profile=builtin`, …
    pub security_options: Vec<String>,
    /// Where specifications of the container device interface are looked for.
    pub cdi_spec_dirs: Vec<String>,
    /// The devices that they describe.
    pub discovered_devices: Vec<String>,
    /// Registries reached without TLS.
    pub insecure_registries: Vec<String>,
    /// Mirrors of the default registry.
    pub registry_mirrors: Vec<String>,
    /// Address pools: base and size.
    pub default_address_pools: Vec<(String, u8)>,
    /// Things to know.
    pub warnings: Vec<String>,
}
