//! `spec`: a specification to start from.

use std::path::Path;

use rustix::process::{getgid, getuid};
use serde_json::{Value, json};

use super::OciError;
use crate::defaults;
use crate::plan::HostFacts;

/// Writes `config.json` into a bundle that has none.
pub(super) fn spec(bundle: &Path, rootless: bool) -> Result<(), OciError> {
    let path = bundle.join("config.json");
    if path.exists() {
        let reason = format!("File {} exists. Remove it first", path.display());
        return Err(OciError::Argument(reason));
    }
    let mut spec = template(HostFacts::probe()?.cgroups.is_unified());
    if rootless {
        make_rootless(&mut spec);
    }
    let source = |source| OciError::Json { path: path.clone(), source };
    let text = serde_json::to_string_pretty(&spec).map_err(source)?;
    Ok(fs_err::write(&path, text + "\n")?)
}

/// As `runc spec` writes it: with a cgroup namespace only where the view without one would be the whole host's.
fn template(unified: bool) -> Value {
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": source, "options": options});
    let mut kinds = vec!["pid", "network", "ipc", "uts", "mount"];
    kinds.extend(unified.then_some("cgroup"));
    let namespaces: Vec<Value> = kinds.iter().map(|kind| json!({"type": kind})).collect();
    json!({
        "ociVersion": "1.2.0",
        "process": {
            "terminal": true,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "skiff",
        "mounts": [
            mount("/proc", "proc", "proc", &[]),
            mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", "devpts",
                &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
        ],
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": namespaces,
            "maskedPaths": defaults::masked_paths(),
            "readonlyPaths": defaults::readonly_paths(),
        },
    })
}

/// What an ordinary user cannot do is left out: no network of one's own, no group of terminals, no cgroups.
fn make_rootless(spec: &mut Value) {
    let range = |host: u32| json!([{"containerID": 0, "hostID": host, "size": 1}]);
    let linux = &mut spec["linux"];
    linux["uidMappings"] = range(getuid().as_raw());
    linux["gidMappings"] = range(getgid().as_raw());
    let kinds = ["pid", "ipc", "uts", "mount", "cgroup", "user"];
    linux["namespaces"] = kinds.iter().map(|kind| json!({"type": kind})).collect();
    linux["resources"] = json!({});
    if let Some(mounts) = spec["mounts"].as_array_mut() {
        for mount in mounts {
            if mount["destination"] == "/sys" {
                let options = json!(["rbind", "nosuid", "noexec", "nodev", "ro"]);
                *mount = json!({"destination": "/sys", "type": "none", "source": "/sys", "options": options});
            } else if let Some(options) = mount["options"].as_array_mut() {
                options.retain(|option| option != "gid=5");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Spec;

    #[test]
    fn both_templates_are_specifications() {
        let mut value = template(false);
        let spec: Spec = serde_json::from_value(value.clone()).unwrap();
        assert!(spec.process().as_ref().unwrap().terminal().unwrap());
        make_rootless(&mut value);
        let spec: Spec = serde_json::from_value(value).unwrap();
        assert!(spec.linux().as_ref().unwrap().uid_mappings().is_some());
    }
}
