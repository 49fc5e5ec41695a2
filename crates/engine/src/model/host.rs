//! How a container meets its host (Docker's `HostConfig`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use skiff_snapshots::Lifetime;
use skiff_types::{ParseSizeError, parse_size};

use super::{MountSpec, PortBinding, Secret};

/// Everything about a container that depends on the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostConfig {
    /// `source:target[:options]`.
    pub binds: Option<Vec<String>>,
    /// Where the client wrote the id; only shown.
    pub container_id_file: String,
    /// Log driver and its options; an empty type means the daemon's default.
    pub log_config: LogConfig,
    /// `bridge`, `host`, `none`, `container:ID`, `default` or a network's name.
    pub network_mode: String,
    /// `80/tcp` → host addresses and ports.
    pub port_bindings: Option<BTreeMap<String, Vec<PortBinding>>>,
    /// What happens when the container ends.
    pub restart_policy: RestartPolicy,
    /// Remove the container when it ends.
    pub auto_remove: bool,
    /// Driver of anonymous and named volumes.
    pub volume_driver: String,
    /// Containers whose mounts this one takes over.
    pub volumes_from: Option<Vec<String>>,
    /// First size of the terminal: height, width.
    pub console_size: [u32; 2],
    /// OCI annotations.
    pub annotations: BTreeMap<String, String>,
    /// Mounts in their long form.
    pub mounts: Vec<MountSpec>,
    /// Capabilities beyond the default.
    pub cap_add: Option<Vec<String>>,
    /// Capabilities taken away.
    pub cap_drop: Option<Vec<String>>,
    /// `host`, `private`; empty means the daemon's default.
    pub cgroupns_mode: String,
    /// Name servers.
    pub dns: Option<Vec<String>>,
    /// Resolver options.
    pub dns_options: Option<Vec<String>>,
    /// Search domains.
    pub dns_search: Option<Vec<String>>,
    /// `name:address` lines of /etc/hosts.
    pub extra_hosts: Option<Vec<String>>,
    /// Supplementary groups.
    pub group_add: Option<Vec<String>>,
    /// `none`, `private`, `shareable`, `container:ID`, `host`; empty means the daemon's default.
    pub ipc_mode: String,
    /// Obsolete; shown.
    pub cgroup: String,
    /// `container:alias`.
    pub links: Option<Vec<String>>,
    /// Adjustment of the kernel's choice of a victim when memory runs out, -1000 to 1000.
    pub oom_score_adj: i64,
    /// `host`, `container:ID` or empty.
    pub pid_mode: String,
    /// All capabilities, all devices, no seccomp, no masked paths.
    pub privileged: bool,
    /// Publish every exposed port at a free host port.
    pub publish_all_ports: bool,
    /// The root file system cannot be written.
    pub readonly_rootfs: bool,
    /// `seccomp=…`, `apparmor=…`, `label=…`, `no-new-privileges`, `systempaths=unconfined`.
    pub security_opt: Option<Vec<String>>,
    /// Storage driver options.
    pub storage_opt: BTreeMap<String, String>,
    /// Path → options of a tmpfs there.
    pub tmpfs: BTreeMap<String, String>,
    /// `host` or empty.
    pub uts_mode: String,
    /// `host` or empty.
    pub userns_mode: String,
    /// Size of /dev/shm in bytes; 0 means the daemon's default.
    pub shm_size: i64,
    /// Kernel parameters of the container's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Runtime by name; empty means the default.
    pub runtime: String,
    /// Files in memory for this container alone.
    pub secrets: Vec<Secret>,
    /// Windows only; empty or `default`.
    pub isolation: String,
    /// Paths hidden from the container; none means the default list.
    pub masked_paths: Option<Vec<String>>,
    /// Paths the container cannot write; none means the default list.
    pub readonly_paths: Option<Vec<String>>,
    /// Run a small init as process 1; none means the daemon's default.
    pub init: Option<bool>,
    /// Limits.
    pub resources: Resources,
}

impl HostConfig {
    /// How long the container's file system has to last.
    pub(crate) fn lifetime(&self) -> Lifetime {
        if self.auto_remove { Lifetime::Ephemeral } else { Lifetime::Durable }
    }

    /// What the container may write into its root file system, bytes; none if it says nothing (0 is no limit).
    ///
    /// # Errors
    /// The option is no size.
    pub(crate) fn storage_size(&self) -> std::result::Result<Option<u64>, ParseSizeError> {
        let size = self.storage_opt.iter().find(|(key, _)| key.eq_ignore_ascii_case("size"));
        size.map(|(_, text)| parse_size(text).map(i64::unsigned_abs)).transpose()
    }
}

/// Limits on what a container uses. Zero or empty means no limit unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Relative weight, 2 to 262144.
    pub cpu_shares: i64,
    /// Bytes of memory.
    pub memory: i64,
    /// Billionths of a processor.
    pub nano_cpus: i64,
    /// Parent control group.
    pub cgroup_parent: String,
    /// Weight of block I/O, 10 to 1000.
    pub blkio_weight: u16,
    /// The same for one device.
    pub blkio_weight_device: Option<Vec<BlkioWeight>>,
    /// Bytes read per second.
    pub blkio_device_read_bps: Option<Vec<BlkioDevice>>,
    /// Bytes written per second.
    pub blkio_device_write_bps: Option<Vec<BlkioDevice>>,
    /// Reads per second.
    pub blkio_device_read_iops: Option<Vec<BlkioDevice>>,
    /// Writes per second.
    pub blkio_device_write_iops: Option<Vec<BlkioDevice>>,
    /// Windows only; shown.
    pub cpu_count: i64,
    /// Length of a scheduler period, microseconds.
    pub cpu_period: i64,
    /// Processor time per period, microseconds.
    pub cpu_quota: i64,
    /// Length of a real-time period, microseconds.
    pub cpu_realtime_period: i64,
    /// Real-time processor time per period, microseconds.
    pub cpu_realtime_runtime: i64,
    /// Processors, as `0-2,7`.
    pub cpuset_cpus: String,
    /// Memory nodes, as `0,1`.
    pub cpuset_mems: String,
    /// Devices of the host.
    pub devices: Option<Vec<DeviceMapping>>,
    /// `c 13:* rwm`.
    pub device_cgroup_rules: Option<Vec<String>>,
    /// Devices by capability (GPUs).
    pub device_requests: Option<Vec<DeviceRequest>>,
    /// Bytes of memory for the kernel's TCP buffers; cgroup v1 only.
    pub kernel_memory_tcp: i64,
    /// Bytes of memory kept when the host runs short.
    pub memory_reservation: i64,
    /// Bytes of memory and swap; -1 means unlimited swap.
    pub memory_swap: i64,
    /// 0 to 100; none or -1 means the kernel's own.
    pub memory_swappiness: Option<i64>,
    /// Do not kill when memory runs out.
    pub oom_kill_disable: Option<bool>,
    /// Processes and threads; none, 0 or -1 means no limit.
    pub pids_limit: Option<i64>,
    /// Resource limits of processes.
    pub ulimits: Option<Vec<Ulimit>>,
}

/// A log driver by name, and its options.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogConfig {
    /// `json-file`, `local`, `none`, …
    pub kind: String,
    /// The driver's options.
    pub config: BTreeMap<String, String>,
}

/// When a container that ended is started again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartPolicy {
    /// `no` or empty, `always`, `on-failure`, `unless-stopped`.
    pub name: String,
    /// How often `on-failure` tries; 0 means for ever.
    pub maximum_retry_count: i64,
}

/// A weight of block I/O for one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlkioWeight {
    /// Path of the device on the host.
    pub path: String,
    /// 10 to 1000.
    pub weight: u16,
}

/// A rate of block I/O for one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlkioDevice {
    /// Path of the device on the host.
    pub path: String,
    /// Per second.
    pub rate: u64,
}

/// A device of the host inside the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceMapping {
    /// Path on the host; a directory stands for all devices below it.
    pub path_on_host: String,
    /// Path in the container.
    pub path_in_container: String,
    /// Letters out of `rwm`.
    pub cgroup_permissions: String,
}

/// Devices asked for by what they can do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceRequest {
    /// The device driver's name.
    pub driver: String,
    /// How many; -1 means all.
    pub count: i64,
    /// Which ones.
    pub device_ids: Option<Vec<String>>,
    /// Alternatives of sets of capabilities.
    pub capabilities: Option<Vec<Vec<String>>>,
    /// Options of the driver.
    pub options: Option<BTreeMap<String, String>>,
}

/// A resource limit of processes (setrlimit(2)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ulimit {
    /// `nofile`, `core`, … without `RLIMIT_`.
    pub name: String,
    /// -1 means unlimited.
    pub soft: i64,
    /// -1 means unlimited.
    pub hard: i64,
}
