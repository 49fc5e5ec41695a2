//! A container, as `inspect` answers.

use super::{LABELS, SET, STRINGS};
use crate::template::shape::{
    Shape::{self, Any, Bool, Int, List, Map, Pointer, Str, Struct},
    StructShape,
};

/// `GET /containers/{id}/json`.
pub(crate) static CONTAINER: StructShape = StructShape {
    name: "container.InspectResponse",
    fields: &[
        ("ID", "Id", Str),
        ("Created", "", Str),
        ("Path", "", Str),
        ("Args", "", STRINGS),
        ("State", "", Pointer(&Struct(&STATE))),
        ("Image", "", Str),
        ("ResolvConfPath", "", Str),
        ("HostnamePath", "", Str),
        ("HostsPath", "", Str),
        ("LogPath", "", Str),
        ("Name", "", Str),
        ("RestartCount", "", Int),
        ("Driver", "", Str),
        ("Platform", "", Str),
        ("MountLabel", "", Str),
        ("ProcessLabel", "", Str),
        ("AppArmorProfile", "", Str),
        ("ExecIDs", "", STRINGS),
        ("HostConfig", "", Pointer(&Struct(&HOST_CONFIG))),
        ("GraphDriver", "", Struct(&GRAPH_DRIVER)),
        ("SizeRw", "", Pointer(&Int)),
        ("SizeRootFs", "", Pointer(&Int)),
        ("Mounts", "", List(&Struct(&MOUNT_POINT))),
        ("Config", "", Pointer(&Struct(&CONFIG))),
        ("NetworkSettings", "", Pointer(&Struct(&NETWORK_SETTINGS))),
        ("ImageManifestDescriptor", "", Pointer(&Any)),
    ],
};

static STATE: StructShape = StructShape {
    name: "container.State",
    fields: &[
        ("Status", "", Str),
        ("Running", "", Bool),
        ("Paused", "", Bool),
        ("Restarting", "", Bool),
        ("OOMKilled", "", Bool),
        ("Dead", "", Bool),
        ("Pid", "", Int),
        ("ExitCode", "", Int),
        ("Error", "", Str),
        ("StartedAt", "", Str),
        ("FinishedAt", "", Str),
        ("Health", "", Pointer(&Struct(&HEALTH))),
    ],
};

static HEALTH: StructShape = StructShape {
    name: "container.Health",
    fields: &[
        ("Status", "", Str),
        ("FailingStreak", "", Int),
        ("Log", "", List(&Pointer(&Struct(&HEALTH_RESULT)))),
    ],
};

static HEALTH_RESULT: StructShape = StructShape {
    name: "container.HealthcheckResult",
    fields: &[
        ("Start", "", Shape::Time),
        ("End", "", Shape::Time),
        ("ExitCode", "", Int),
        ("Output", "", Str),
    ],
};

/// The storage driver's part of a container or image.
pub(super) static GRAPH_DRIVER: StructShape =
    StructShape { name: "storage.DriverData", fields: &[("Data", "", LABELS), ("Name", "", Str)] };

static MOUNT_POINT: StructShape = StructShape {
    name: "container.MountPoint",
    fields: &[
        ("Type", "", Str),
        ("Name", "", Str),
        ("Source", "", Str),
        ("Destination", "", Str),
        ("Driver", "", Str),
        ("Mode", "", Str),
        ("RW", "", Bool),
        ("Propagation", "", Str),
    ],
};

/// What a container runs.
pub(super) static CONFIG: StructShape = StructShape {
    name: "container.Config",
    fields: &[
        ("Hostname", "", Str),
        ("Domainname", "", Str),
        ("User", "", Str),
        ("AttachStdin", "", Bool),
        ("AttachStdout", "", Bool),
        ("AttachStderr", "", Bool),
        ("ExposedPorts", "", SET),
        ("Tty", "", Bool),
        ("OpenStdin", "", Bool),
        ("StdinOnce", "", Bool),
        ("Env", "", STRINGS),
        ("Cmd", "", STRINGS),
        ("Healthcheck", "", Pointer(&Struct(&HEALTH_CONFIG))),
        ("ArgsEscaped", "", Bool),
        ("Image", "", Str),
        ("Volumes", "", SET),
        ("WorkingDir", "", Str),
        ("Entrypoint", "", STRINGS),
        ("NetworkDisabled", "", Bool),
        ("MacAddress", "", Str),
        ("OnBuild", "", STRINGS),
        ("Labels", "", LABELS),
        ("StopSignal", "", Str),
        ("StopTimeout", "", Pointer(&Int)),
        ("Shell", "", STRINGS),
    ],
};

static HEALTH_CONFIG: StructShape = StructShape {
    name: "v1.HealthcheckConfig",
    fields: &[
        ("Test", "", STRINGS),
        ("Interval", "", Shape::Duration),
        ("Timeout", "", Shape::Duration),
        ("StartPeriod", "", Shape::Duration),
        ("StartInterval", "", Shape::Duration),
        ("Retries", "", Int),
    ],
};

static HOST_CONFIG: StructShape = StructShape {
    name: "container.HostConfig",
    fields: &[
        ("Binds", "", STRINGS),
        ("ContainerIDFile", "", Str),
        ("LogConfig", "", Struct(&LOG_CONFIG)),
        ("NetworkMode", "", Str),
        ("PortBindings", "", PORTS),
        ("RestartPolicy", "", Struct(&RESTART_POLICY)),
        ("AutoRemove", "", Bool),
        ("VolumeDriver", "", Str),
        ("VolumesFrom", "", STRINGS),
        ("ConsoleSize", "", List(&Int)),
        ("Annotations", "", LABELS),
        ("CapAdd", "", STRINGS),
        ("CapDrop", "", STRINGS),
        ("CgroupnsMode", "", Str),
        ("DNS", "Dns", STRINGS),
        ("DNSOptions", "DnsOptions", STRINGS),
        ("DNSSearch", "DnsSearch", STRINGS),
        ("ExtraHosts", "", STRINGS),
        ("GroupAdd", "", STRINGS),
        ("IpcMode", "", Str),
        ("Cgroup", "", Str),
        ("Links", "", STRINGS),
        ("OomScoreAdj", "", Int),
        ("PidMode", "", Str),
        ("Privileged", "", Bool),
        ("PublishAllPorts", "", Bool),
        ("ReadonlyRootfs", "", Bool),
        ("SecurityOpt", "", STRINGS),
        ("StorageOpt", "", LABELS),
        ("Tmpfs", "", LABELS),
        ("UTSMode", "", Str),
        ("UsernsMode", "", Str),
        ("ShmSize", "", Int),
        ("Sysctls", "", LABELS),
        ("Runtime", "", Str),
        ("Isolation", "", Str),
        ("CPUShares", "CpuShares", Int),
        ("Memory", "", Int),
        ("NanoCPUs", "NanoCpus", Int),
        ("CgroupParent", "", Str),
        ("BlkioWeight", "", Int),
        ("BlkioWeightDevice", "", List(&Any)),
        ("BlkioDeviceReadBps", "", List(&Any)),
        ("BlkioDeviceWriteBps", "", List(&Any)),
        ("BlkioDeviceReadIOps", "", List(&Any)),
        ("BlkioDeviceWriteIOps", "", List(&Any)),
        ("CPUPeriod", "CpuPeriod", Int),
        ("CPUQuota", "CpuQuota", Int),
        ("CPURealtimePeriod", "CpuRealtimePeriod", Int),
        ("CPURealtimeRuntime", "CpuRealtimeRuntime", Int),
        ("CpusetCpus", "", Str),
        ("CpusetMems", "", Str),
        ("Devices", "", List(&Struct(&DEVICE))),
        ("DeviceCgroupRules", "", STRINGS),
        ("DeviceRequests", "", List(&Any)),
        ("KernelMemory", "", Int),
        ("KernelMemoryTCP", "", Int),
        ("MemoryReservation", "", Int),
        ("MemorySwap", "", Int),
        ("MemorySwappiness", "", Pointer(&Int)),
        ("OomKillDisable", "", Pointer(&Bool)),
        ("PidsLimit", "", Pointer(&Int)),
        ("Ulimits", "", List(&Struct(&ULIMIT))),
        ("CPUCount", "CpuCount", Int),
        ("CPUPercent", "CpuPercent", Int),
        ("IOMaximumIOps", "", Int),
        ("IOMaximumBandwidth", "", Int),
        ("Mounts", "", List(&Struct(&MOUNT))),
        ("MaskedPaths", "", STRINGS),
        ("ReadonlyPaths", "", STRINGS),
        ("Init", "", Pointer(&Bool)),
    ],
};

static LOG_CONFIG: StructShape =
    StructShape { name: "container.LogConfig", fields: &[("Type", "", Str), ("Config", "", LABELS)] };

static RESTART_POLICY: StructShape = StructShape {
    name: "container.RestartPolicy",
    fields: &[("Name", "", Str), ("MaximumRetryCount", "", Int)],
};

static DEVICE: StructShape = StructShape {
    name: "container.DeviceMapping",
    fields: &[("PathOnHost", "", Str), ("PathInContainer", "", Str), ("CgroupPermissions", "", Str)],
};

static ULIMIT: StructShape =
    StructShape { name: "units.Ulimit", fields: &[("Name", "", Str), ("Hard", "", Int), ("Soft", "", Int)] };

static MOUNT: StructShape = StructShape {
    name: "mount.Mount",
    fields: &[
        ("Type", "", Str),
        ("Source", "", Str),
        ("Target", "", Str),
        ("ReadOnly", "", Bool),
        ("Consistency", "", Str),
        ("BindOptions", "", Pointer(&Any)),
        ("VolumeOptions", "", Pointer(&Any)),
        ("ImageOptions", "", Pointer(&Any)),
        ("TmpfsOptions", "", Pointer(&Any)),
    ],
};

/// Published ports: none is told from not published by a missing list.
const PORTS: Shape = Map(&List(&Struct(&PORT_BINDING)));

static PORT_BINDING: StructShape =
    StructShape { name: "nat.PortBinding", fields: &[("HostIP", "HostIp", Str), ("HostPort", "", Str)] };

static NETWORK_SETTINGS: StructShape = StructShape {
    name: "container.NetworkSettings",
    fields: &[
        ("Bridge", "", Str),
        ("SandboxID", "", Str),
        ("SandboxKey", "", Str),
        ("Ports", "", PORTS),
        ("HairpinMode", "", Bool),
        ("LinkLocalIPv6Address", "", Str),
        ("LinkLocalIPv6PrefixLen", "", Int),
        ("SecondaryIPAddresses", "", List(&Any)),
        ("SecondaryIPv6Addresses", "", List(&Any)),
        ("EndpointID", "", Str),
        ("Gateway", "", Str),
        ("GlobalIPv6Address", "", Str),
        ("GlobalIPv6PrefixLen", "", Int),
        ("IPAddress", "", Str),
        ("IPPrefixLen", "", Int),
        ("IPv6Gateway", "", Str),
        ("MacAddress", "", Str),
        ("Networks", "", Map(&Pointer(&Struct(&ENDPOINT)))),
    ],
};

static ENDPOINT: StructShape = StructShape {
    name: "network.EndpointSettings",
    fields: &[
        ("IPAMConfig", "", Pointer(&Struct(&ENDPOINT_IPAM))),
        ("Links", "", STRINGS),
        ("Aliases", "", STRINGS),
        ("MacAddress", "", Str),
        ("DriverOpts", "", LABELS),
        ("GwPriority", "", Int),
        ("NetworkID", "", Str),
        ("EndpointID", "", Str),
        ("Gateway", "", Str),
        ("IPAddress", "", Str),
        ("IPPrefixLen", "", Int),
        ("IPv6Gateway", "", Str),
        ("GlobalIPv6Address", "", Str),
        ("GlobalIPv6PrefixLen", "", Int),
        ("DNSNames", "", STRINGS),
    ],
};

static ENDPOINT_IPAM: StructShape = StructShape {
    name: "network.EndpointIPAMConfig",
    fields: &[("IPv4Address", "", Str), ("IPv6Address", "", Str), ("LinkLocalIPs", "", STRINGS)],
};
