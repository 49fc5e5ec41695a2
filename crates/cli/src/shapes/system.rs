//! The engine: `version`, `info` and `events`.

use super::{LABELS, STRINGS};
use crate::template::shape::{
    Shape::{Any, Bool, Int, List, Map, Pointer, Str, Struct},
    StructShape,
};

/// Both sides of `docker version`.
pub(crate) static VERSION: StructShape = StructShape {
    name: "system.versionInfo",
    fields: &[("Client", "", Struct(&CLIENT)), ("Server", "", Pointer(&Struct(&SERVER)))],
};

static CLIENT: StructShape = StructShape {
    name: "system.clientVersion",
    fields: &[
        ("Platform", "", Pointer(&Struct(&PLATFORM))),
        ("Version", "", Str),
        ("APIVersion", "ApiVersion", Str),
        ("DefaultAPIVersion", "", Str),
        ("GitCommit", "", Str),
        ("GoVersion", "", Str),
        ("Os", "", Str),
        ("Arch", "", Str),
        ("BuildTime", "", Str),
        ("Context", "", Str),
    ],
};

static PLATFORM: StructShape = StructShape { name: "system.platformInfo", fields: &[("Name", "", Str)] };

static SERVER: StructShape = StructShape {
    name: "types.Version",
    fields: &[
        ("Platform", "", Struct(&PLATFORM)),
        ("Components", "", List(&Struct(&COMPONENT))),
        ("Version", "", Str),
        ("APIVersion", "ApiVersion", Str),
        ("MinAPIVersion", "", Str),
        ("GitCommit", "", Str),
        ("GoVersion", "", Str),
        ("Os", "", Str),
        ("Arch", "", Str),
        ("KernelVersion", "", Str),
        ("Experimental", "", Bool),
        ("BuildTime", "", Str),
    ],
};

static COMPONENT: StructShape = StructShape {
    name: "types.ComponentVersion",
    fields: &[("Name", "", Str), ("Version", "", Str), ("Details", "", LABELS)],
};

/// `GET /info`, with the client's own part.
pub(crate) static INFO: StructShape = StructShape {
    name: "system.dockerInfo",
    fields: &[
        ("ID", "", Str),
        ("Containers", "", Int),
        ("ContainersRunning", "", Int),
        ("ContainersPaused", "", Int),
        ("ContainersStopped", "", Int),
        ("Images", "", Int),
        ("Driver", "", Str),
        ("DriverStatus", "", List(&STRINGS)),
        ("SystemStatus", "", List(&STRINGS)),
        ("Plugins", "", Struct(&PLUGINS)),
        ("MemoryLimit", "", Bool),
        ("SwapLimit", "", Bool),
        ("KernelMemory", "", Bool),
        ("KernelMemoryTCP", "", Bool),
        ("CPUCfsPeriod", "CpuCfsPeriod", Bool),
        ("CPUCfsQuota", "CpuCfsQuota", Bool),
        ("CPUShares", "", Bool),
        ("CPUSet", "", Bool),
        ("PidsLimit", "", Bool),
        ("IPv4Forwarding", "", Bool),
        ("Debug", "", Bool),
        ("NFd", "", Int),
        ("OomKillDisable", "", Bool),
        ("NGoroutines", "", Int),
        ("SystemTime", "", Str),
        ("LoggingDriver", "", Str),
        ("CgroupDriver", "", Str),
        ("CgroupVersion", "", Str),
        ("NEventsListener", "", Int),
        ("KernelVersion", "", Str),
        ("OperatingSystem", "", Str),
        ("OSVersion", "", Str),
        ("OSType", "", Str),
        ("Architecture", "", Str),
        ("IndexServerAddress", "", Str),
        ("RegistryConfig", "", Pointer(&Any)),
        ("NCPU", "", Int),
        ("MemTotal", "", Int),
        ("GenericResources", "", List(&Any)),
        ("DockerRootDir", "", Str),
        ("DiskBudget", "", Pointer(&Any)),
        ("HTTPProxy", "HttpProxy", Str),
        ("HTTPSProxy", "HttpsProxy", Str),
        ("NoProxy", "", Str),
        ("Name", "", Str),
        ("Labels", "", STRINGS),
        ("ExperimentalBuild", "", Bool),
        ("ServerVersion", "", Str),
        ("Runtimes", "", Map(&Struct(&RUNTIME))),
        ("DefaultRuntime", "", Str),
        ("Swarm", "", Struct(&SWARM)),
        ("LiveRestoreEnabled", "", Bool),
        ("Isolation", "", Str),
        ("InitBinary", "", Str),
        ("ContainerdCommit", "", Struct(&COMMIT)),
        ("RuncCommit", "", Struct(&COMMIT)),
        ("InitCommit", "", Struct(&COMMIT)),
        ("SecurityOptions", "", STRINGS),
        ("ProductLicense", "", Str),
        ("DefaultAddressPools", "", List(&Any)),
        ("FirewallBackend", "", Pointer(&Any)),
        ("CDISpecDirs", "", STRINGS),
        ("DiscoveredDevices", "", List(&Struct(&DEVICE))),
        ("Containerd", "", Pointer(&Any)),
        ("Warnings", "", STRINGS),
        ("ServerErrors", "", STRINGS),
        ("ClientInfo", "", Pointer(&Any)),
    ],
};

static DEVICE: StructShape =
    StructShape { name: "system.DeviceInfo", fields: &[("Source", "", Str), ("ID", "", Str)] };

static PLUGINS: StructShape = StructShape {
    name: "system.PluginsInfo",
    fields: &[
        ("Volume", "", STRINGS),
        ("Network", "", STRINGS),
        ("Authorization", "", STRINGS),
        ("Log", "", STRINGS),
    ],
};

static RUNTIME: StructShape = StructShape {
    name: "system.RuntimeWithStatus",
    fields: &[
        ("Path", "path", Str),
        ("Args", "runtimeArgs", STRINGS),
        ("Type", "runtimeType", Str),
        ("Options", "options", Map(&Any)),
        ("Status", "status", LABELS),
    ],
};

static COMMIT: StructShape = StructShape { name: "system.Commit", fields: &[("ID", "", Str)] };

static SWARM: StructShape = StructShape {
    name: "swarm.Info",
    fields: &[
        ("NodeID", "", Str),
        ("NodeAddr", "", Str),
        ("LocalNodeState", "", Str),
        ("ControlAvailable", "", Bool),
        ("Error", "", Str),
        ("RemoteManagers", "", List(&Any)),
        ("Nodes", "", Int),
        ("Managers", "", Int),
        ("Cluster", "", Pointer(&Any)),
        ("Warnings", "", STRINGS),
    ],
};

/// One line of `GET /events`.
pub(crate) static EVENT: StructShape = StructShape {
    name: "*events.Message",
    fields: &[
        ("Status", "status", Str),
        ("ID", "id", Str),
        ("From", "from", Str),
        ("Type", "", Str),
        ("Action", "", Str),
        ("Actor", "", Struct(&ACTOR)),
        ("Scope", "scope", Str),
        ("Time", "time", Int),
        ("TimeNano", "timeNano", Int),
    ],
};

static ACTOR: StructShape =
    StructShape { name: "events.Actor", fields: &[("ID", "", Str), ("Attributes", "", LABELS)] };
