//! Devices: what the device cgroup allows, and, for privileged containers, every node the host has.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType};

/// Directories below `/dev` that are file systems of their own, made anew in a container or not at all.
const SKIPPED_DIRECTORIES: [&str; 7] = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"];

/// The device rules of a container: everything for a privileged one, else zero, null, the random devices, the terminal and the console.
/// The runtime adds what every container may use ([`crate::cgroups::runtime_default_rules`]).
pub fn device_rules(privileged: bool) -> Vec<LinuxDeviceCgroup> {
    let everything = |allow| {
        let mut rule = LinuxDeviceCgroup::default();
        rule.set_allow(allow).set_access(Some("rwm".to_owned()));
        rule
    };
    if privileged {
        return vec![everything(true)];
    }
    let char_device = |allow, major, minor| {
        let mut rule = everything(allow);
        rule.set_typ(Some(LinuxDeviceType::C)).set_major(Some(major)).set_minor(Some(minor));
        rule
    };
    let allowed = [(1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1)];
    let mut rules = vec![everything(false)];
    rules.extend(allowed.map(|(major, minor)| char_device(true, major, minor)));
    rules.push(char_device(false, 10, 229)); // fuse
    rules
}

/// Every device node of the host, for a privileged container, by path.
///
/// # Errors
/// When `/dev` cannot be read; a node that vanishes meanwhile is left out.
pub fn host_devices() -> io::Result<Vec<LinuxDevice>> {
    let mut devices = Vec::new();
    collect(Path::new("/dev"), &mut devices)?;
    Ok(devices)
}

fn collect(directory: &Path, devices: &mut Vec<LinuxDevice>) -> io::Result<()> {
    let mut paths: Vec<PathBuf> = fs_err::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default();
        // not followed: a link such as /dev/fd or /dev/stdin is no device
        let Ok(metadata) = fs_err::symlink_metadata(&path) else { continue };
        if metadata.is_dir() {
            if !SKIPPED_DIRECTORIES.iter().any(|skipped| *skipped == name) {
                collect(&path, devices)?;
            }
            continue;
        }
        let kind = match metadata.file_type() {
            kind if kind.is_char_device() => LinuxDeviceType::C,
            kind if kind.is_block_device() => LinuxDeviceType::B,
            _ => continue,
        };
        if name != "console" {
            devices.push(device(path, kind, &metadata));
        }
    }
    Ok(())
}

fn device(path: PathBuf, kind: LinuxDeviceType, metadata: &std::fs::Metadata) -> LinuxDevice {
    let number = metadata.rdev();
    let mut device = LinuxDevice::default();
    device
        .set_path(path)
        .set_typ(kind)
        .set_major(rustix::fs::major(number).into())
        .set_minor(rustix::fs::minor(number).into())
        .set_file_mode(Some(metadata.mode() & 0o777))
        .set_uid(Some(metadata.uid()))
        .set_gid(Some(metadata.gid()));
    device
}
