//! Devices of the host that a container asks for.

use std::{os::unix::fs::MetadataExt, path::Path};

use skiff_runtime::{
    defaults,
    spec::{LinuxDevice, LinuxDeviceBuilder, LinuxDeviceCgroup, LinuxDeviceType},
};

use super::incomplete;
use crate::{
    Error, Result,
    model::{DeviceMapping, Resources},
};

/// A device of the host as the container gets it.
struct Found {
    node: LinuxDevice,
    kind: LinuxDeviceType,
    permissions: String,
}

/// The device files to make.
pub(super) fn nodes(resources: &Resources, privileged: bool) -> Result<Vec<LinuxDevice>> {
    if privileged {
        return Ok(defaults::host_devices()?);
    }
    let found = asked_for(resources)?;
    Ok(found.into_iter().map(|f| f.node).collect())
}

/// What a container may use beside the default devices.
pub(super) fn rules(resources: &Resources) -> Result<Vec<LinuxDeviceCgroup>> {
    let mut out = Vec::new();
    for found in asked_for(resources)? {
        let (major, minor) = (found.node.major(), found.node.minor());
        out.push(rule(true, Some(found.kind), Some(major), Some(minor), &found.permissions));
    }
    for text in resources.device_cgroup_rules.iter().flatten() {
        out.push(parse_rule(text)?);
    }
    Ok(out)
}

fn rule(
    allow: bool,
    kind: Option<LinuxDeviceType>,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> LinuxDeviceCgroup {
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(allow).set_typ(kind).set_major(major).set_minor(minor).set_access(Some(access.to_owned()));
    rule
}

/// `c 13:* rwm`.
fn parse_rule(text: &str) -> Result<LinuxDeviceCgroup> {
    let bad = || Error::Internal(format!("invalid device cgroup rule format: '{text}'"));
    let parts: Vec<&str> = text.split(' ').collect();
    let [kind, numbers, access] = parts.as_slice() else { return Err(bad()) };
    let kind = match *kind {
        "a" => LinuxDeviceType::A,
        "b" => LinuxDeviceType::B,
        "c" => LinuxDeviceType::C,
        _ => return Err(bad()),
    };
    let number = |s: &str| if s == "*" { Ok(-1) } else { s.parse::<u32>().map(i64::from).map_err(|_| bad()) };
    let (major, minor) = numbers.split_once(':').ok_or_else(bad)?;
    if access.is_empty() || access.len() > 3 || !access.bytes().all(|c| b"rwm".contains(&c)) {
        return Err(bad());
    }
    Ok(rule(true, Some(kind), Some(number(major)?), Some(number(minor)?), access))
}

fn asked_for(resources: &Resources) -> Result<Vec<Found>> {
    let mut out = Vec::new();
    for mapping in resources.devices.iter().flatten() {
        out.extend(mapped(mapping)?);
    }
    Ok(out)
}

fn mapped(mapping: &DeviceMapping) -> Result<Vec<Found>> {
    let on_host = Path::new(&mapping.path_on_host);
    let gather = |why: String| {
        Error::Internal(format!(
            "error gathering device information while adding custom device {:?}: {why}",
            mapping.path_on_host
        ))
    };
    let meta = on_host.metadata().map_err(|e| gather(go_words(&e)))?;
    if meta.is_dir() {
        let mut found = all(on_host)?;
        for f in &mut found {
            let below = f.node.path().strip_prefix(on_host).map(Path::to_owned).unwrap_or_default();
            f.node.set_path(Path::new(&mapping.path_in_container).join(below));
            f.permissions.clone_from(&mapping.cgroup_permissions);
        }
        return Ok(found);
    }
    let target = Path::new("/").join(&mapping.path_in_container);
    device(&meta, &target, &mapping.cgroup_permissions)?
        .map(|found| vec![found])
        .ok_or_else(|| gather("not a device node".into()))
}

fn go_words(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => skiff_runtime::apply::errno_text(errno),
        None => error.to_string(),
    }
}

fn device(meta: &std::fs::Metadata, target: &Path, permissions: &str) -> Result<Option<Found>> {
    use std::os::unix::fs::FileTypeExt;
    let kind = match meta.file_type() {
        t if t.is_char_device() => LinuxDeviceType::C,
        t if t.is_block_device() => LinuxDeviceType::B,
        _ => return Ok(None),
    };
    let node = LinuxDeviceBuilder::default()
        .path(target)
        .typ(kind)
        .major(i64::from(rustix::fs::major(meta.rdev())))
        .minor(i64::from(rustix::fs::minor(meta.rdev())))
        .file_mode(meta.mode() & 0o7777)
        .uid(meta.uid())
        .gid(meta.gid())
        .build()
        .map_err(incomplete)?;
    let permissions = if permissions.is_empty() { "rwm" } else { permissions };
    Ok(Some(Found { node, kind, permissions: permissions.to_owned() }))
}

/// All devices below a directory, terminals, shared memory and the console aside.
fn all(dir: &Path) -> Result<Vec<Found>> {
    const LEFT_OUT: [&str; 6] = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts"];
    let mut out = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        let Ok(entries) = fs_err::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            // What vanishes while we look was not there.
            let Ok(meta) = entry.path().symlink_metadata() else { continue };
            if meta.is_dir() {
                if !LEFT_OUT.iter().any(|l| name == *l) {
                    waiting.push(entry.path());
                }
            } else if name != "console" {
                out.extend(device(&meta, &entry.path(), "rwm")?);
            }
        }
    }
    out.sort_by(|a, b| a.node.path().cmp(b.node.path()));
    Ok(out)
}
