//! The pieces, held against a recording: what Docker Engine 28.5.2 wrote into the `config.json` of ordinary and privileged containers.

use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType};
use serde_json::{Value, json};

use super::*;

fn recorded_mounts() -> Value {
    json!([
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
         "options": ["ro", "nosuid", "noexec", "nodev"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
         "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"]},
    ])
}

fn as_json<T: serde::Serialize>(value: T) -> Value {
    serde_json::to_value(value).expect("serialisable")
}

#[test]
fn mounts_are_as_recorded() {
    assert_eq!(as_json(mounts(false, &SharedMemory::Private(SHM_SIZE))), recorded_mounts());

    let mut privileged = recorded_mounts();
    privileged[3]["options"] = json!(["nosuid", "noexec", "nodev"]);
    privileged[4]["options"] = json!(["nosuid", "noexec", "nodev"]);
    assert_eq!(as_json(mounts(true, &SharedMemory::Private(SHM_SIZE))), privileged);

    let mut host_ipc = recorded_mounts();
    host_ipc[6] = json!({"destination": "/dev/shm", "type": "bind", "source": "/dev/shm", "options": ["rbind", "rprivate"]});
    assert_eq!(as_json(mounts(false, &SharedMemory::Bind("/dev/shm".into()))), host_ipc);
    assert_eq!(mounts(false, &SharedMemory::Absent).len(), 6);
}

#[test]
fn paths_are_as_recorded() {
    let recorded = "/proc/asound /proc/acpi /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list \
        /proc/timer_stats /proc/sched_debug /proc/scsi /sys/firmware /sys/devices/virtual/powercap";
    assert_eq!(masked_paths()[..12].join(" "), recorded);
    assert_eq!(readonly_paths().join(" "), "/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger");
}

#[test]
fn thermal_counters_are_hidden_where_there_are_any() {
    let directory = tempfile::tempdir().expect("a directory");
    fs_err::write(directory.path().join("possible"), "0-2,5\n").expect("written");
    for cpu in ["cpu1/thermal_throttle", "cpu5/thermal_throttle", "cpu9/thermal_throttle"] {
        fs_err::create_dir_all(directory.path().join(cpu)).expect("made");
    }
    let found = thermal_throttle_paths(directory.path());
    let expected = ["cpu1/thermal_throttle", "cpu5/thermal_throttle"].map(|cpu| directory.path().join(cpu));
    assert_eq!(found, expected.map(|path| path.to_string_lossy().into_owned()));
}

#[test]
fn device_rules_are_as_recorded() {
    let char_device = |allow: bool, major: i64, minor: i64| json!({"allow": allow, "type": "c", "major": major, "minor": minor, "access": "rwm"});
    let recorded = json!([
        {"allow": false, "access": "rwm"},
        char_device(true, 1, 5),
        char_device(true, 1, 3),
        char_device(true, 1, 9),
        char_device(true, 1, 8),
        char_device(true, 5, 0),
        char_device(true, 5, 1),
        char_device(false, 10, 229),
    ]);
    assert_eq!(as_json(device_rules(false)), recorded);
    assert_eq!(as_json(device_rules(true)), json!([{"allow": true, "access": "rwm"}]));
    let read_back: Vec<LinuxDeviceCgroup> = serde_json::from_value(recorded).expect("readable");
    assert_eq!(read_back, device_rules(false));
}

#[test]
fn host_devices_are_nodes_and_nothing_else() {
    let devices = host_devices().expect("/dev is readable");
    let null =
        devices.iter().find(|device| device.path() == Path::new("/dev/null")).expect("there is always null");
    let recorded = json!({"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 438, "uid": 0, "gid": 0});
    assert_eq!(as_json(null), recorded);
    let odd = |device: &&LinuxDevice| {
        device.path().starts_with("/dev/pts")
            || device.path() == Path::new("/dev/console")
            || !matches!(device.typ(), LinuxDeviceType::B | LinuxDeviceType::C)
    };
    assert_eq!(devices.iter().find(odd), None);
    assert!(devices.is_sorted_by_key(|device| device.path().clone()));
}

#[test]
fn namespaces_are_as_recorded() {
    assert_eq!(as_json(namespaces(false)), json!(["mount", "network", "uts", "pid", "ipc"]));
    assert_eq!(namespaces(true).len(), 6);
    assert_eq!(network_sysctls()["net.ipv4.ping_group_range"], "0 2147483647");
}
