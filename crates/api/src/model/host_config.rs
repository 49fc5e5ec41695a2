//! What a container is asked to be on this host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Mount, StringList, StringMap, config::words, empty, empty_list, empty_map};

/// Host addresses by container port (`80/tcp`).
pub type PortMap = BTreeMap<String, Option<Vec<PortBinding>>>;

/// The part of a container's configuration that depends on the host; also the body of `POST /containers/{id}/update`,
/// which looks at the resources and the restart policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[serde(rename = "container.HostConfig")]
pub struct HostConfig {
    pub binds: StringList,
    #[serde(rename = "ContainerIDFile")]
    pub container_id_file: String,
    pub log_config: LogConfig,
    pub network_mode: String,
    pub port_bindings: Option<PortMap>,
    pub restart_policy: RestartPolicy,
    pub auto_remove: bool,
    pub volume_driver: String,
    pub volumes_from: StringList,
    /// Height and width.
    pub console_size: [u32; 2],
    #[serde(skip_serializing_if = "empty_map")]
    pub annotations: StringMap,
    #[serde(deserialize_with = "words")]
    pub cap_add: StringList,
    #[serde(deserialize_with = "words")]
    pub cap_drop: StringList,
    pub cgroupns_mode: String,
    pub dns: StringList,
    pub dns_options: StringList,
    pub dns_search: StringList,
    pub extra_hosts: StringList,
    pub group_add: StringList,
    pub ipc_mode: String,
    pub cgroup: String,
    pub links: StringList,
    pub oom_score_adj: i64,
    pub pid_mode: String,
    pub privileged: bool,
    pub publish_all_ports: bool,
    pub readonly_rootfs: bool,
    pub security_opt: StringList,
    #[serde(skip_serializing_if = "empty_map")]
    pub storage_opt: StringMap,
    #[serde(skip_serializing_if = "empty_map")]
    pub tmpfs: StringMap,
    #[serde(rename = "UTSMode")]
    pub uts_mode: String,
    pub userns_mode: String,
    pub shm_size: i64,
    #[serde(skip_serializing_if = "empty_map")]
    pub sysctls: StringMap,
    #[serde(skip_serializing_if = "empty")]
    pub runtime: String,
    /// Skiff's own.
    #[serde(skip_serializing_if = "empty_list")]
    pub secrets: Option<Vec<ContainerSecret>>,
    pub isolation: String,
    pub cpu_shares: i64,
    pub memory: i64,
    pub nano_cpus: i64,
    pub cgroup_parent: String,
    pub blkio_weight: u16,
    pub blkio_weight_device: Option<Vec<WeightDevice>>,
    pub blkio_device_read_bps: Option<Vec<ThrottleDevice>>,
    pub blkio_device_write_bps: Option<Vec<ThrottleDevice>>,
    #[serde(rename = "BlkioDeviceReadIOps")]
    pub blkio_device_read_iops: Option<Vec<ThrottleDevice>>,
    #[serde(rename = "BlkioDeviceWriteIOps")]
    pub blkio_device_write_iops: Option<Vec<ThrottleDevice>>,
    pub cpu_period: i64,
    pub cpu_quota: i64,
    pub cpu_realtime_period: i64,
    pub cpu_realtime_runtime: i64,
    pub cpuset_cpus: String,
    pub cpuset_mems: String,
    pub devices: Option<Vec<DeviceMapping>>,
    pub device_cgroup_rules: StringList,
    pub device_requests: Option<Vec<DeviceRequest>>,
    #[serde(skip_serializing_if = "empty")]
    pub kernel_memory: i64,
    #[serde(rename = "KernelMemoryTCP", skip_serializing_if = "empty")]
    pub kernel_memory_tcp: i64,
    pub memory_reservation: i64,
    pub memory_swap: i64,
    pub memory_swappiness: Option<i64>,
    pub oom_kill_disable: Option<bool>,
    pub pids_limit: Option<i64>,
    pub ulimits: Option<Vec<Ulimit>>,
    pub cpu_count: i64,
    pub cpu_percent: i64,
    #[serde(rename = "IOMaximumIOps")]
    pub io_maximum_iops: u64,
    #[serde(rename = "IOMaximumBandwidth")]
    pub io_maximum_bandwidth: u64,
    #[serde(skip_serializing_if = "empty_list")]
    pub mounts: Option<Vec<Mount>>,
    pub masked_paths: StringList,
    pub readonly_paths: StringList,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
}

/// Where a container's port is published.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase", rename = "nat.PortBinding")]
pub struct PortBinding {
    pub host_ip: String,
    pub host_port: String,
}

/// The log driver and its options.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase", rename = "container.LogConfig")]
pub struct LogConfig {
    pub r#type: String,
    pub config: StringMap,
}

/// What happens when a container ends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RestartPolicy {
    pub name: String,
    pub maximum_retry_count: i64,
}

/// A weight in the sharing of one block device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase", rename = "blkiodev.WeightDevice")]
pub struct WeightDevice {
    pub path: String,
    pub weight: u16,
}

/// A limit on the use of one block device, per second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase", rename = "blkiodev.ThrottleDevice")]
pub struct ThrottleDevice {
    pub path: String,
    pub rate: u64,
}

/// A device of the host in the container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase", rename = "container.DeviceMapping")]
pub struct DeviceMapping {
    pub path_on_host: String,
    pub path_in_container: String,
    pub cgroup_permissions: String,
}

/// Devices asked of a device driver.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase", rename = "container.DeviceRequest")]
pub struct DeviceRequest {
    pub driver: String,
    pub count: i64,
    #[serde(rename = "DeviceIDs")]
    pub device_ids: StringList,
    pub capabilities: Option<Vec<Vec<String>>>,
    pub options: StringMap,
}

/// A resource limit (setrlimit(2)).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase", rename = "units.Ulimit")]
pub struct Ulimit {
    pub name: String,
    pub hard: i64,
    pub soft: i64,
}

/// A file in memory for a container alone. Skiff's own; Docker ignores it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[serde(rename = "container.Secret")]
pub struct ContainerSecret {
    #[serde(rename = "ID")]
    pub id: String,
    /// A file of the engine's host, read at every start.
    #[serde(skip_serializing_if = "empty")]
    pub source: String,
    /// The contents, in base64, in place of a source. Never in an answer.
    #[serde(skip_serializing, deserialize_with = "base64")]
    pub data: Vec<u8>,
    /// A path in the container; below `/run/secrets` if it is relative, and by default called as the secret.
    pub target: String,
    #[serde(rename = "UID")]
    pub uid: u32,
    #[serde(rename = "GID")]
    pub gid: u32,
    pub mode: u32,
}

fn base64<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    use base64::Engine as _;
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    // Nothing of it may come into the message.
    let decoded = base64::engine::general_purpose::STANDARD.decode(text);
    decoded.map_err(|_| serde::de::Error::custom("illegal base64 data"))
}
