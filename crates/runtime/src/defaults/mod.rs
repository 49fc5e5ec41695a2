//! What Docker puts into every container's specification, as pieces of it: mounts, hidden and read-only paths, devices, kernel parameters.
//!
//! The engine builds a container's `Spec` from these, so that a program finds the same surroundings as under Docker. The tests hold them
//! against what Docker Engine 28 wrote for its runtime.

mod devices;

use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;

use oci_spec::runtime::{LinuxNamespaceType, Mount};

pub use self::devices::{device_rules, host_devices};

/// The size of `/dev/shm` when nobody asks for another: 64 MiB.
pub const SHM_SIZE: u64 = 64 << 20;

/// What `/dev/shm` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedMemory {
    /// A tmpfs of the container's own, of so many bytes.
    Private(u64),
    /// A directory of the host: the host's own with `--ipc host`, another container's with `--ipc container:`.
    Bind(std::path::PathBuf),
    /// None, with `--ipc none`.
    Absent,
}

/// The mounts that come before a container's own. Privileged containers may write to `/sys` and to the cgroup tree.
pub fn mounts(privileged: bool, shared_memory: &SharedMemory) -> Vec<Mount> {
    let read_only: &[&str] = if privileged { &[] } else { &["ro"] };
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/sys", "sysfs", "sysfs", &[&["nosuid", "noexec", "nodev"], read_only].concat()),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &[read_only, &["nosuid", "noexec", "nodev"]].concat()),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ];
    match shared_memory {
        SharedMemory::Private(size) => {
            let size = format!("size={size}");
            mounts.push(mount(
                "/dev/shm",
                "tmpfs",
                "shm",
                &["nosuid", "noexec", "nodev", "mode=1777", &size],
            ));
        }
        SharedMemory::Bind(source) => {
            let source = source.to_string_lossy();
            mounts.push(mount("/dev/shm", "bind", &source, &["rbind", "rprivate"]));
        }
        SharedMemory::Absent => {}
    }
    mounts
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(destination.into())
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(source.into()))
        .set_options(Some(options.iter().map(|option| option.to_string()).collect()));
    mount
}

/// Paths hidden from containers that are not privileged: they tell about the host, or let it be changed.
pub fn masked_paths() -> Vec<String> {
    let fixed = [
        "/proc/asound",
        "/proc/acpi",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
    ];
    let mut paths: Vec<String> = fixed.map(str::to_owned).to_vec();
    // Which processors there can be is settled at boot.
    static THERMAL: LazyLock<Vec<String>> =
        LazyLock::new(|| thermal_throttle_paths(Path::new("/sys/devices/system/cpu")));
    paths.extend_from_slice(&THERMAL);
    paths
}

/// The counters of thermal events of every processor that has them (a side channel).
fn thermal_throttle_paths(cpus: &Path) -> Vec<String> {
    let Ok(possible) = fs_err::read_to_string(cpus.join("possible")) else { return Vec::new() };
    let range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?)
    };
    let numbers = possible.trim().split(',').filter_map(range).flatten();
    let paths = numbers.map(|number| cpus.join(format!("cpu{number}/thermal_throttle")));
    paths.filter(|path| path.exists()).map(|path| path.to_string_lossy().into_owned()).collect()
}

/// Paths made read-only in containers that are not privileged.
pub fn readonly_paths() -> Vec<String> {
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"].map(str::to_owned).to_vec()
}

/// Kernel parameters of a container with a network namespace of its own: ports below 1024 and ping need no privilege there.
pub fn network_sysctls() -> HashMap<String, String> {
    let pairs = [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// The namespaces of a container that shares none, in Docker's order; `cgroup` is private on v2 hosts and the host's on v1.
pub fn namespaces(private_cgroup: bool) -> Vec<LinuxNamespaceType> {
    let mut kinds = vec![
        LinuxNamespaceType::Mount,
        LinuxNamespaceType::Network,
        LinuxNamespaceType::Uts,
        LinuxNamespaceType::Pid,
        LinuxNamespaceType::Ipc,
    ];
    kinds.extend(private_cgroup.then_some(LinuxNamespaceType::Cgroup));
    kinds
}

#[cfg(test)]
mod tests;
