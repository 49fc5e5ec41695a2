//! Mounts: Docker's own, then the container's.

use skiff_runtime::{
    defaults::{self, SharedMemory},
    spec::{Mount, MountBuilder},
};

use super::{INIT_TARGET, Shared, Surroundings, incomplete, process};
use crate::{
    Error, Result,
    model::{BindOptions, ContainerRecord, MountKind, MountPoint, TmpfsOptions},
    validate::clean_path,
};

/// Every tmpfs of a container begins with these; what it asks for comes after.
const TMPFS: [&str; 4] = ["noexec", "nosuid", "nodev", "rprivate"];

/// Options that a tmpfs may be asked for: flags, and keys with a value.
const TMPFS_FLAGS: &[&str] = &[
    "rw",
    "ro",
    "exec",
    "noexec",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "sync",
    "async",
    "dirsync",
    "remount",
    "mand",
    "nomand",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "bind",
    "rbind",
    "unbindable",
    "runbindable",
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "tmpcopyup",
    "defaults",
];
const TMPFS_KEYS: &[&str] = &["mode", "uid", "gid", "size", "nr_inodes", "nr_blocks", "mpol"];

fn mount(kind: &str, source: &str, target: &str, options: &[&str]) -> Result<Mount> {
    MountBuilder::default()
        .destination(target)
        .typ(kind)
        .source(source)
        .options(options.iter().map(|o| (*o).to_owned()).collect::<Vec<_>>())
        .build()
        .map_err(incomplete)
}

pub(super) fn mounts(record: &ContainerRecord, with: &Surroundings<'_>) -> Result<Vec<Mount>> {
    let own = asked_for(record, with)?;
    let targets: Vec<String> = own.iter().map(|m| m.destination().to_string_lossy().into_owned()).collect();
    let taken = |target: &str| {
        targets.iter().any(|t| t == target)
            || (target.starts_with("/dev/") && targets.iter().any(|t| t == "/dev"))
    };
    let mut out = Vec::with_capacity(16);
    let writable_cgroups = super::security::writable_cgroups(&record.host);
    for mut default in defaults::mounts(record.host.privileged, &shared_memory(record, with)) {
        if writable_cgroups && default.typ().as_deref() == Some("cgroup") {
            let options =
                default.options().iter().flatten().filter(|option| *option != "ro").cloned().collect();
            default.set_options(Some(options));
        }
        if !taken(&default.destination().to_string_lossy()) {
            out.push(default);
        }
    }
    out.extend(own);
    Ok(out)
}

fn shared_memory(record: &ContainerRecord, with: &Surroundings<'_>) -> SharedMemory {
    match (record.host.ipc_mode.as_str(), &with.ipc) {
        ("none", _) => SharedMemory::Absent,
        ("host", _) => SharedMemory::Bind("/dev/shm".into()),
        ("shareable", _) => SharedMemory::Bind(with.dir.join("shm")),
        (_, Some(Shared { shm: Some(of_other), .. })) => SharedMemory::Bind(of_other.into()),
        (_, Some(_)) => SharedMemory::Absent,
        _ => SharedMemory::Private(record.host.shm_size as u64),
    }
}

/// The container's own: first what is memory, then the rest by depth, so that nothing hides what is mounted below it.
fn asked_for(record: &ContainerRecord, with: &Surroundings<'_>) -> Result<Vec<Mount>> {
    let mut out = Vec::new();
    for (target, options) in &record.host.tmpfs {
        out.push(tmpfs(target, options.split(',').filter(|o| !o.is_empty()).map(str::to_owned).collect())?);
    }
    let mut rest = Vec::new();
    for point in &record.mounts {
        match point.kind {
            MountKind::Tmpfs => out.push(tmpfs(&point.destination, tmpfs_spec(point))?),
            _ => rest.push(bind(point)?),
        }
    }
    let files: &[&str] = match record.host.readonly_rootfs {
        true => &["rbind", "rro", "rprivate"],
        false => &["rbind", "rprivate"],
    };
    for name in ["resolv.conf", "hostname", "hosts"] {
        let target = format!("/etc/{name}");
        if !record.mounts.iter().any(|m| m.destination == target) {
            rest.push(mount("bind", &with.dir.join(name).to_string_lossy(), &target, files)?);
        }
    }
    for (index, secret) in record.host.secrets.iter().enumerate() {
        let source = with.secrets.join(index.to_string());
        let options = ["bind", "ro", "nosuid", "nodev", "noexec", "rprivate"];
        rest.push(mount("bind", &source.to_string_lossy(), &secret.target, &options)?);
    }
    if process::wants_init(record, with.daemon) {
        rest.push(mount("bind", &with.init_binary.to_string_lossy(), INIT_TARGET, &["bind", "ro"])?);
    }
    rest.sort_by_key(|m| m.destination().components().count());
    out.extend(rest);
    Ok(out)
}

fn bind(point: &MountPoint) -> Result<Mount> {
    let asked = point.spec.as_ref().and_then(|s| s.bind.as_ref());
    if let Some(asked) = asked {
        no_conflict(asked, point.rw)?;
    }
    let recursive = !asked.is_some_and(|b| b.non_recursive);
    let mut options = vec![if recursive { "rbind" } else { "bind" }];
    if !point.rw {
        options.push(if recursive && !asked.is_some_and(|b| b.read_only_non_recursive) {
            "rro"
        } else {
            "ro"
        });
    }
    if !point.propagation.is_empty() {
        options.push(&point.propagation);
    }
    mount("bind", &point.source, &point.destination, &options)
}

/// Docker too finds out at the start.
fn no_conflict(asked: &BindOptions, writable: bool) -> Result<()> {
    let conflict = match (asked.read_only_non_recursive, asked.read_only_force_recursive) {
        (true, _) if writable => "!ReadOnly && BindOptions.ReadOnlyNonRecursive",
        (_, true) if writable => "!ReadOnly && BindOptions.ReadOnlyForceRecursive",
        (true, true) => "ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive",
        _ => return Ok(()),
    };
    Err(Error::Internal(format!("mount options conflict: {conflict}")))
}

/// How far the root file system must share for what the mounts are asked to share.
pub(super) fn propagation(record: &ContainerRecord) -> Option<&'static str> {
    let asked = |words: [&str; 2]| record.mounts.iter().any(|m| words.contains(&m.propagation.as_str()));
    match () {
        () if asked(["shared", "rshared"]) => Some("shared"),
        () if asked(["slave", "rslave"]) => Some("rslave"),
        () => None,
    }
}

fn tmpfs(target: &str, asked: Vec<String>) -> Result<Mount> {
    for option in &asked {
        let key = option.split('=').next().unwrap_or_default();
        let known = match option.contains('=') {
            true => TMPFS_KEYS.contains(&key),
            false => TMPFS_FLAGS.contains(&key),
        };
        if !known {
            return Err(Error::Internal(format!("invalid tmpfs option {key:?}")));
        }
    }
    let options: Vec<&str> = TMPFS.into_iter().chain(asked.iter().map(String::as_str)).collect();
    mount("tmpfs", "tmpfs", &clean_path(target), &options)
}

/// The options of `--mount type=tmpfs`, as text.
fn tmpfs_spec(point: &MountPoint) -> Vec<String> {
    let mut out = Vec::new();
    if !point.rw {
        out.push("ro".to_owned());
    }
    let none = TmpfsOptions::default();
    let options = point.spec.as_ref().and_then(|s| s.tmpfs.as_ref()).unwrap_or(&none);
    if options.mode != 0 {
        out.push(format!("mode={:o}", options.mode));
    }
    if options.size_bytes != 0 {
        out.push(format!("size={}", in_largest_unit(options.size_bytes)));
    }
    out.extend(options.options.iter().map(|pair| pair.join("=")));
    out
}

/// As Docker writes sizes: `1m` rather than `1048576`.
fn in_largest_unit(bytes: i64) -> String {
    let (mut n, mut unit) = (bytes, "");
    for next in ["k", "m", "g"] {
        if n % 1024 != 0 {
            break;
        }
        (n, unit) = (n / 1024, next);
    }
    format!("{n}{unit}")
}
