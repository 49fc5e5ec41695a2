//! Specifications held against the bundles that a real Docker (28.5.2) wrote for the same requests.
//!
//! `bundles.json` holds the whole of `plain` and of every other bundle what differs from it, with the version, the filter, the
//! root, the control group and repeated device rules left out.

use std::collections::BTreeMap;

use serde_json::Value;

use super::*;
use crate::{
    container::tests::record,
    host::tests::host,
    model::{CreateRequest, MountSpec, TmpfsOptions, Ulimit},
    validate,
};

type Flat = BTreeMap<String, Value>;

fn flatten(value: Value, path: &str, out: &mut Flat) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                flatten(value, &format!("{path}/{key}"), out);
            }
        }
        Value::Null => {}
        Value::Array(list) if list.is_empty() => {}
        Value::String(text) if text.is_empty() => {}
        leaf => {
            out.insert(path.to_owned(), leaf);
        }
    }
}

fn recorded(name: &str) -> Flat {
    let mut all: BTreeMap<String, BTreeMap<String, Value>> =
        serde_json::from_str(include_str!("bundles.json")).unwrap();
    let mut flat = all.remove("plain").unwrap();
    if name != "plain" {
        for (path, value) in all.remove(name).unwrap() {
            match value {
                Value::Null => drop(flat.remove(&path)),
                value => drop(flat.insert(path, value)),
            }
        }
    }
    flat
}

/// The specification of `sleep 100` in the recorded image, with what `ask` asks for.
fn made(user: User, ask: impl FnOnce(&mut CreateRequest)) -> Flat {
    let mut request = CreateRequest::default();
    request.config.hostname = "cafecafecafe".into();
    request.config.env = vec!["FOO=bar".into()];
    ask(&mut request);
    let daemon = Config::default();
    let mut host = host();
    // The recording machine lacks this one.
    host.capabilities.remove(skiff_runtime::spec::Capability::SysResource);
    let checked = validate::create(&mut request, &host, &daemon).unwrap();
    let mut record = record(&"cafe".repeat(16), "name");
    record.args = vec!["sleep".into(), "100".into()];
    record.config = request.config;
    record.host = request.host;
    record.mounts = checked.mounts;
    let with = Surroundings {
        secrets: std::path::Path::new("/run/skiff/secrets/x"),
        host: &host,
        daemon: &daemon,
        dir: Path::new("/dir"),
        init_binary: Path::new("/skiff"),
        user,
        pid: None,
        ipc: None,
        net: None,
    };
    let mut flat = Flat::new();
    flatten(serde_json::to_value(make(&record, &with).unwrap()).unwrap(), "", &mut flat);
    for (path, value) in &mut flat {
        if let Some(list) = value.as_array_mut().filter(|_| path.starts_with("/process/capabilities/")) {
            list.sort_by_key(|name| name.as_str().unwrap().to_owned());
        }
    }
    for left_out in ["/linux/cgroupsPath", "/ociVersion", "/root/path"] {
        flat.remove(left_out);
    }
    flat
}

fn root() -> User {
    User { uid: 0, gid: 0, groups: vec![0, 10], home: String::new() }
}

fn words(words: &[&str]) -> Option<Vec<String>> {
    Some(words.iter().map(|w| (*w).to_owned()).collect())
}

#[track_caller]
fn same(name: &str, made: Flat) {
    let recorded = recorded(name);
    // Where Docker writes what is the default anyway, and where we do.
    let default = |path: &str, value: &Value| {
        matches!(value, Value::Bool(false)) && (path.ends_with("readonly") || path.starts_with("/process/"))
    };
    let paths: std::collections::BTreeSet<&String> = recorded.keys().chain(made.keys()).collect();
    for path in paths {
        match (recorded.get(path), made.get(path)) {
            (None, Some(value)) if default(path, value) => {}
            (recorded, made) => assert_eq!(made, recorded, "{name}: {path}"),
        }
    }
}

#[test]
fn plain_and_terminal() {
    same("plain", made(root(), |_| {}));
    same("tty", made(root(), |r| r.config.tty = true));
}

#[test]
fn privileges() {
    same("ro", made(root(), |r| r.host.readonly_rootfs = true));
    same("dropall", made(root(), |r| r.host.cap_drop = words(&["ALL"])));
    same(
        "caps",
        made(root(), |r| {
            r.host.cap_add = words(&["SYS_ADMIN", "net_admin"]);
            r.host.cap_drop = words(&["CHOWN"]);
        }),
    );
    same(
        "secopt",
        made(root(), |r| {
            r.host.security_opt =
                words(&["no-new-privileges", "seccomp=unconfined", "systempaths=unconfined"]);
        }),
    );
    let mut privileged = made(root(), |r| r.host.privileged = true);
    // The devices of whatever host runs the test.
    privileged.remove("/linux/devices");
    same("priv", privileged);
}

#[test]
fn limits_and_kernel_parameters() {
    same(
        "limits",
        made(root(), |r| {
            let limits = &mut r.host.resources;
            limits.memory = 64 << 20;
            limits.memory_swap = 128 << 20;
            limits.memory_reservation = 32 << 20;
            limits.nano_cpus = 500_000_000;
            limits.pids_limit = Some(50);
            limits.cpu_shares = 512;
            limits.cpuset_cpus = "0".into();
            limits.memory_swappiness = Some(10);
            r.host.oom_score_adj = 100;
        }),
    );
    same(
        "ulimit",
        made(root(), |r| {
            r.host.resources.ulimits = Some(vec![
                Ulimit { name: "nofile".into(), soft: 100, hard: 200 },
                Ulimit { name: "core".into(), soft: 0, hard: 0 },
            ]);
        }),
    );
    same(
        "sysctl",
        made(root(), |r| {
            r.host.sysctls = [("net.ipv4.ip_forward", "1"), ("kernel.shmmax", "1000000")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into();
        }),
    );
    same("cgpar", made(root(), |r| r.host.annotations = [("a".to_owned(), "b".to_owned())].into()));
}

#[test]
fn users() {
    let alice = User { uid: 1000, gid: 1000, groups: vec![1000, 10, 44], home: String::new() };
    same("user", made(alice, |_| {}));
    let video = User { uid: 1000, gid: 44, groups: vec![44], home: String::new() };
    same("userg", made(video, |_| {}));
}

#[test]
fn namespaces_of_the_host() {
    same("pidhost", made(root(), |r| r.host.pid_mode = "host".into()));
    same("ipcnone", made(root(), |r| r.host.ipc_mode = "none".into()));
    same("cgnsp", made(root(), |r| r.host.cgroupns_mode = "private".into()));
    same(
        "nethost",
        made(root(), |r| {
            r.host.network_mode = "host".into();
            r.config.hostname = "vm".into();
        }),
    );
    same(
        "netnone",
        made(root(), |r| {
            r.host.network_mode = "none".into();
            r.config.hostname = "foo".into();
            r.config.domainname = "bar.com".into();
            r.config.working_dir = "/tmp".into();
            r.config.env = vec!["A=b".into(), "FOO".into()];
        }),
    );
}

#[test]
fn mounts_in_dockers_order() {
    same(
        "tmpfs",
        made(root(), |r| {
            r.host.tmpfs =
                [("/run".to_owned(), "rw,size=1m".to_owned()), ("/x".to_owned(), String::new())].into();
            r.host.shm_size = 16 << 20;
        }),
    );
    let tmpfs =
        |target: &str| MountSpec { kind: "tmpfs".into(), target: target.into(), ..MountSpec::default() };
    let made = made(root(), |r| {
        r.host.binds = words(&["/source/hostdir:/zz:ro", "/source/hostdir:/b:rprivate"]);
        r.host.tmpfs = [("/run".to_owned(), String::new())].into();
        let options = TmpfsOptions { size_bytes: 1 << 20, mode: 0o700, ..TmpfsOptions::default() };
        r.host.mounts = vec![
            MountSpec { tmpfs: Some(options), ..tmpfs("/t") },
            MountSpec { read_only: true, ..tmpfs("/t2") },
        ];
    });
    let recorded = recorded("bind");
    let by_target = |flat: &Flat| -> BTreeMap<String, Value> {
        let list = flat["/mounts"].as_array().unwrap();
        list.iter().map(|m| (m["destination"].as_str().unwrap().to_owned(), m.clone())).collect()
    };
    let (recorded, made) = (by_target(&recorded), by_target(&made));
    for (target, mount) in &made {
        assert_eq!(Some(mount), recorded.get(target), "{target}");
    }
    assert_eq!(made.len(), 7 + 3 + 2 + 3);
}

#[test]
fn an_init_is_mounted_and_started_first() {
    let made = made(root(), |r| r.host.init = Some(true));
    assert_eq!(made["/process/args"], serde_json::json!(["/sbin/docker-init", "--", "sleep", "100"]));
    let mounts = made["/mounts"].as_array().unwrap();
    assert!(mounts.iter().any(|m| m["destination"] == "/sbin/docker-init" && m["source"] == "/skiff"));
}

#[test]
fn cgroups_are_writable_if_asked_for() {
    for (option, writable) in [("writable-cgroups=true", true), ("writable-cgroups=false", false)] {
        let made = made(root(), |r| r.host.security_opt = words(&[option]));
        let mounts = made["/mounts"].as_array().unwrap();
        let cgroup = mounts.iter().find(|m| m["type"] == "cgroup").unwrap();
        let read_only = cgroup["options"].as_array().unwrap().iter().any(|o| o == "ro");
        assert_eq!(read_only, !writable, "{option}");
    }
}
