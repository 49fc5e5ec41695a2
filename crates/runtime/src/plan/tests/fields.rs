//! Every field of the specification is carried out or refused: none is read and forgotten.
//!
//! Each row gives a field a value other than its default. The plan must differ from the one without it, or the field must
//! be refused. What the specification itself calls obsolete or leaves to the runtime is in a list of its own.

use super::*;

/// A specification in which every section exists, so that rows differ in their one field only.
fn base() -> Value {
    json!({
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs"},
        "process": {"cwd": "/", "args": ["sh"], "user": {"uid": 0, "gid": 0}},
        "mounts": [{"destination": "/m", "type": "tmpfs", "source": "tmpfs"}],
        "linux": {
            "namespaces": [{"type": "mount"}, {"type": "uts"}, {"type": "time"}],
            "resources": {"memory": {}, "cpu": {}, "blockIO": {}},
        },
    })
}

/// A host that has everything, so that what is refused is refused by us.
fn hosts() -> [HostFacts; 2] {
    let rich = |host: HostFacts| HostFacts {
        apparmor: true,
        selinux: true,
        resctrl: Some("/sys/fs/resctrl".into()),
        ..host
    };
    let hierarchies = Controller::ALL.map(|controller| Hierarchy {
        mount: Path::new("/sys/fs/cgroup").join(controller.v1_name()),
        controllers: vec![controller],
        name: None,
    });
    let legacy = Layout { hierarchies: hierarchies.to_vec(), unified: None };
    [rich(HostFacts { cgroups: legacy, ..host() }), rich(unified_host())]
}

fn rows() -> Vec<(&'static str, Value)> {
    let map = || json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
    let hook = || json!([{"path": "/hook", "args": ["hook"], "env": ["A=1"], "timeout": 1}]);
    let device = || json!([{"major": 8, "minor": 0, "rate": 600}]);
    vec![
        ("/annotations", json!({"key": "value"})),
        ("/domainname", json!("name")),
        ("/hostname", json!("name")),
        ("/hooks/createContainer", hook()),
        ("/hooks/createRuntime", hook()),
        ("/hooks/poststart", hook()),
        ("/hooks/poststop", hook()),
        ("/hooks/prestart", hook()),
        ("/hooks/startContainer", hook()),
        ("/mounts/0/destination", json!("/n")),
        ("/mounts/0/type", json!("ramfs")),
        ("/mounts/0/source", json!("other")),
        ("/mounts/0/options", json!(["ro"])),
        ("/mounts/0/uidMappings", map()),
        ("/mounts/0/gidMappings", map()),
        ("/ociVersion", json!("1.1.0")),
        ("/process/apparmorProfile", json!("profile")),
        ("/process/args", json!(["true"])),
        ("/process/capabilities/ambient", json!(["CAP_KILL"])),
        ("/process/capabilities/bounding", json!(["CAP_KILL"])),
        ("/process/capabilities/effective", json!(["CAP_KILL"])),
        ("/process/capabilities/inheritable", json!(["CAP_KILL"])),
        ("/process/capabilities/permitted", json!(["CAP_KILL"])),
        ("/process/consoleSize", json!({"width": 80, "height": 25})),
        ("/process/cwd", json!("/tmp")),
        ("/process/env", json!(["A=1"])),
        ("/process/execCPUAffinity/final", json!("0")),
        ("/process/execCPUAffinity/initial", json!("0")),
        ("/process/ioPriority", json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0})),
        ("/process/noNewPrivileges", json!(true)),
        ("/process/oomScoreAdj", json!(5)),
        ("/process/rlimits", json!([{"type": "RLIMIT_CORE", "soft": 1, "hard": 2}])),
        ("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 3})),
        ("/process/selinuxLabel", json!("label")),
        ("/process/terminal", json!(true)),
        ("/process/user/additionalGids", json!([7])),
        ("/process/user/gid", json!(7)),
        ("/process/user/uid", json!(7)),
        ("/process/user/umask", json!(0o77)),
        ("/root/path", json!("other")),
        ("/root/readonly", json!(true)),
        ("/linux/cgroupsPath", json!("/other")),
        ("/linux/devices", json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}])),
        ("/linux/gidMappings", map()),
        ("/linux/uidMappings", map()),
        ("/linux/intelRdt/closID", json!("class")),
        ("/linux/intelRdt/enableCMT", json!(true)),
        ("/linux/intelRdt/enableMBM", json!(true)),
        ("/linux/intelRdt/enableMonitoring", json!(true)),
        ("/linux/intelRdt/l3CacheSchema", json!("L3:0=f")),
        ("/linux/intelRdt/memBwSchema", json!("MB:0=10")),
        ("/linux/intelRdt/schemata", json!(["L3:0=f"])),
        ("/linux/maskedPaths", json!(["/proc/kcore"])),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0"})),
        ("/linux/mountLabel", json!("label")),
        ("/linux/namespaces", json!([{"type": "mount"}, {"type": "uts"}, {"type": "time"}, {"type": "ipc"}])),
        ("/linux/netDevices", json!({"eth0": {"name": "eth1"}})),
        ("/linux/personality", json!({"domain": "LINUX32"})),
        ("/linux/readonlyPaths", json!(["/proc/sys"])),
        ("/linux/resources/blockIO/leafWeight", json!(20)),
        ("/linux/resources/blockIO/throttleReadBpsDevice", device()),
        ("/linux/resources/blockIO/throttleReadIOPSDevice", device()),
        ("/linux/resources/blockIO/throttleWriteBpsDevice", device()),
        ("/linux/resources/blockIO/throttleWriteIOPSDevice", device()),
        ("/linux/resources/blockIO/weight", json!(20)),
        ("/linux/resources/blockIO/weightDevice", json!([{"major": 8, "minor": 0, "weight": 20}])),
        ("/linux/resources/blockIO/weightDevice", json!([{"major": 8, "minor": 0, "leafWeight": 20}])),
        ("/linux/resources/cpu/burst", json!(1000)),
        ("/linux/resources/cpu/cpus", json!("0")),
        ("/linux/resources/cpu/idle", json!(1)),
        ("/linux/resources/cpu/mems", json!("0")),
        ("/linux/resources/cpu/period", json!(50_000)),
        ("/linux/resources/cpu/quota", json!(50_000)),
        ("/linux/resources/cpu/realtimePeriod", json!(50_000)),
        ("/linux/resources/cpu/realtimeRuntime", json!(50_000)),
        ("/linux/resources/cpu/shares", json!(50)),
        (
            "/linux/resources/devices",
            json!([{"allow": true, "type": "c", "major": 9, "minor": 9, "access": "r"}]),
        ),
        ("/linux/resources/hugepageLimits", json!([{"pageSize": "2MB", "limit": 4096}])),
        ("/linux/resources/memory/limit", json!(1 << 30)),
        ("/linux/resources/memory/reservation", json!(1 << 20)),
        ("/linux/resources/network", json!({"classID": 5})),
        ("/linux/resources/network", json!({"priorities": [{"name": "eth0", "priority": 3}]})),
        ("/linux/resources/pids", json!({"limit": 7})),
        ("/linux/resources/rdma", json!({"mlx": {"hcaHandles": 3}})),
        ("/linux/resources/unified", json!({"memory.high": "max"})),
        ("/linux/rootfsPropagation", json!("shared")),
        ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW"})),
        ("/linux/sysctl", json!({"kernel.domainname": "x"})),
        ("/linux/timeOffsets", json!({"boottime": {"secs": 5}})),
    ]
}

/// Fields of cgroup v1 that ask for nothing on v2, or for what only v2 does. config-linux.md: `kernel` is obsolete,
/// `useHierarchy` has been what every kernel does since 5.11.
fn of_one_version() -> Vec<(usize, &'static str, Value)> {
    vec![
        (0, "/linux/resources/memory/disableOOMKiller", json!(true)),
        (0, "/linux/resources/memory/kernelTCP", json!(1 << 20)),
        (0, "/linux/resources/memory/swap", json!(1 << 31)),
        (0, "/linux/resources/memory/swappiness", json!(20)),
    ]
}

#[test]
fn no_field_is_forgotten() {
    let [legacy, unified] = hosts();
    let versions = [0, 1];
    let both =
        rows().into_iter().flat_map(|(at, value)| versions.map(|version| (version, at, value.clone())));
    for (version, at, value) in both.chain(of_one_version()) {
        let host = if version == 0 { &legacy } else { &unified };
        let plain = planned_on(host, base()).unwrap();
        let mut spec = base();
        set_anywhere(&mut spec, at, value.clone());
        match serde_json::from_value::<Spec>(spec) {
            // Refused already by the parser.
            Err(_) => {}
            Ok(spec) => match plan(&spec, &options(), host) {
                Ok(planned) => assert_ne!(planned, plain, "{at} = {value} is ignored (v{})", version + 1),
                Err(error) => assert!(!error.to_string().is_empty()),
            },
        }
    }
}

/// What is obsolete is let pass, since callers still write it.
#[test]
fn obsolete_fields_pass() {
    for (at, value) in [
        ("/linux/resources/memory/kernel", json!(1 << 20)),
        ("/linux/resources/memory/useHierarchy", json!(true)),
        ("/linux/resources/memory/checkBeforeUpdate", json!(true)),
    ] {
        for host in hosts() {
            let mut spec = base();
            set_anywhere(&mut spec, at, value.clone());
            planned_on(&host, spec).unwrap();
        }
    }
}

/// Likewise [`set`], through lists too.
fn set_anywhere(spec: &mut Value, pointer: &str, value: Value) {
    match spec.pointer_mut(pointer) {
        Some(place) => *place = value,
        None if pointer.starts_with("/mounts/0/") => {
            let name = pointer.rsplit('/').next().unwrap();
            spec["mounts"][0][name] = value;
        }
        None => set(spec, pointer, value),
    }
}
