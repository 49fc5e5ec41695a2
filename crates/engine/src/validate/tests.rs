//! Answers recorded of a real Docker (28.5.2) on a host with two processors and cgroup v1.

use skiff_types::ErrorKind;

use super::*;
use crate::{
    host::tests::host,
    model::{
        EndpointConfig, HealthConfig, LogConfig, MountSpec, PortBinding, RestartPolicy, TmpfsOptions,
        UpdateRequest, VolumeOptions,
    },
};

type Ask = fn(&mut CreateRequest);

fn answer(ask: Ask) -> Result<Checked> {
    let mut request = CreateRequest::default();
    ask(&mut request);
    create(&mut request, &host(), &Config::default())
}

#[track_caller]
fn refused(kind: ErrorKind, cases: &[(Ask, &str)]) {
    for (ask, message) in cases {
        match answer(*ask) {
            Err(e) => {
                assert_eq!(e.to_string(), *message);
                assert_eq!(e.kind(), kind, "{message}");
            }
            Ok(_) => panic!("accepted, although: {message}"),
        }
    }
}

fn words(words: &[&str]) -> Option<Vec<String>> {
    Some(words.iter().map(|w| (*w).to_owned()).collect())
}

fn mount(kind: &str, source: &str, target: &str) -> MountSpec {
    MountSpec { kind: kind.into(), source: source.into(), target: target.into(), ..MountSpec::default() }
}

fn port(key: &str, ip: &str, port: &str) -> std::collections::BTreeMap<String, Vec<PortBinding>> {
    [(key.to_owned(), vec![PortBinding { host_ip: ip.into(), host_port: port.into() }])].into()
}

fn endpoint(mac: &str) -> EndpointConfig {
    EndpointConfig { mac_address: mac.into(), ..EndpointConfig::default() }
}

#[test]
fn limits_that_are_wrong() {
    refused(
        ErrorKind::InvalidArgument,
        &[
            (|r| r.host.resources.memory = 1000, "Minimum memory limit allowed is 6MB"),
            (|r| r.host.resources.memory = -1, "Minimum memory limit allowed is 6MB"),
            (
                |r| r.host.resources.memory_swap = 10 << 20,
                "You should always set the Memory limit when using Memoryswap limit, see usage",
            ),
            (
                |r| (r.host.resources.memory, r.host.resources.memory_swap) = (20 << 20, 10 << 20),
                "Minimum memoryswap limit should be larger than memory limit, see usage",
            ),
            (
                |r| r.host.resources.memory_swappiness = Some(101),
                "Invalid value: 101, valid memory swappiness range is 0-100",
            ),
            (
                |r| (r.host.resources.memory, r.host.resources.memory_reservation) = (20 << 20, 30 << 20),
                "Minimum memory limit can not be less than memory reservation limit, see usage",
            ),
            (|r| r.host.resources.memory_reservation = 100, "Minimum memory reservation allowed is 6MB"),
            (
                |r| (r.host.resources.nano_cpus, r.host.resources.cpu_quota) = (1_000_000_000, 5000),
                "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
            ),
            (
                |r| (r.host.resources.nano_cpus, r.host.resources.cpu_period) = (1_000_000_000, 5000),
                "Conflicting options: Nano CPUs and CPU Period cannot both be set",
            ),
            (
                |r| r.host.resources.nano_cpus = 9_000_000_000,
                "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
            ),
            (
                |r| r.host.resources.cpu_period = 10,
                "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
            ),
            (|r| r.host.resources.cpu_quota = 10, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
            (
                |r| r.host.resources.cpu_shares = -1,
                "invalid CPU shares (-1): value must be a positive integer",
            ),
            (
                |r| r.host.resources.cpuset_cpus = "a".into(),
                "Invalid value a for cpuset cpus: invalid format: a",
            ),
            (
                |r| r.host.resources.cpuset_cpus = "77".into(),
                "Requested CPUs are not available - requested 77, available: 0-1",
            ),
            (
                |r| r.host.resources.cpuset_mems = "9".into(),
                "Requested memory nodes are not available - requested 9, available: 0",
            ),
            (
                |r| (r.host.resources.cpu_realtime_period, r.host.resources.cpu_realtime_runtime) = (10, 20),
                "cpu real-time runtime cannot be higher than cpu real-time period",
            ),
            (|r| r.host.oom_score_adj = 2000, "Invalid value 2000, range for oom score adj is [-1000, 1000]"),
            (|r| r.host.shm_size = -1, "SHM size can not be less than 0"),
        ],
    );
}

#[test]
fn modes_and_options_that_are_wrong() {
    refused(
        ErrorKind::InvalidArgument,
        &[
            (|r| r.host.pid_mode = "foo".into(), "invalid PID mode: foo"),
            (|r| r.host.ipc_mode = "foo".into(), "invalid IPC mode: foo"),
            (|r| r.host.uts_mode = "foo".into(), "invalid UTS mode: foo"),
            (|r| r.host.cgroupns_mode = "foo".into(), "invalid cgroup namespace mode: foo"),
            (
                |r| r.host.isolation = "hyperv".into(),
                "invalid isolation (hyperv): linux only supports 'default'",
            ),
            (|r| r.host.runtime = "nope".into(), "unknown or invalid runtime name: nope"),
            (|r| r.host.cap_add = words(&["NOPE"]), "invalid CapAdd: unknown capability: \"CAP_NOPE\""),
            (|r| r.host.cap_drop = words(&["NOPE"]), "invalid CapDrop: unknown capability: \"CAP_NOPE\""),
            (
                |r| r.host.restart_policy = RestartPolicy { name: "foo".into(), maximum_retry_count: 0 },
                "invalid restart policy: unknown policy 'foo'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
            ),
            (
                |r| r.host.restart_policy = RestartPolicy { name: "always".into(), maximum_retry_count: 3 },
                "invalid restart policy: maximum retry count can only be used with 'on-failure'",
            ),
            (
                |r| {
                    r.host.restart_policy =
                        RestartPolicy { name: "on-failure".into(), maximum_retry_count: -1 };
                },
                "invalid restart policy: maximum retry count cannot be negative",
            ),
            (
                |r| {
                    r.host.restart_policy.name = "always".into();
                    r.host.auto_remove = true;
                },
                "can't create 'AutoRemove' container with restart policy",
            ),
            (
                |r| r.host.log_config = LogConfig { kind: "nope".into(), config: Default::default() },
                "error looking up logging plugin nope: plugin \"nope\" not found",
            ),
            (
                |r| r.host.log_config.config = [("foo".to_owned(), "bar".to_owned())].into(),
                "unknown log opt 'foo' for json-file log driver",
            ),
            (
                |r| r.host.log_config.config = [("mode".to_owned(), "x".to_owned())].into(),
                "logger: logging mode not supported: x",
            ),
            (
                |r| r.host.log_config.config = [("max-buffer-size".to_owned(), "1m".to_owned())].into(),
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            ),
            (
                |r| {
                    let pairs = [("mode", "non-blocking"), ("max-buffer-size", "x")];
                    r.host.log_config.config = pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
                },
                "error parsing option max-buffer-size: invalid size: 'x'",
            ),
            (|r| r.config.stop_signal = Some("FOO".into()), "invalid signal: FOO"),
            (
                |r| r.config.working_dir = "a".into(),
                "the working directory 'a' is invalid, it needs to be an absolute path",
            ),
            (|r| r.config.env = vec!["=x".into()], "invalid environment variable: =x"),
            (
                |r| r.config.healthcheck = Some(HealthConfig { interval: 1, ..HealthConfig::default() }),
                "Interval in Healthcheck cannot be less than 1ms",
            ),
            (
                |r| r.config.healthcheck = Some(HealthConfig { retries: -1, ..HealthConfig::default() }),
                "Retries in Healthcheck cannot be negative",
            ),
            (|r| r.host.extra_hosts = words(&["x"]), "bad format for add-host: \"x\""),
            (|r| r.host.extra_hosts = words(&["x:y"]), "invalid IP address in add-host: \"y\""),
            (
                |r| r.host.annotations = [(String::new(), "x".to_owned())].into(),
                "invalid Annotations: the empty string is not permitted as an annotation key",
            ),
        ],
    );
    refused(
        ErrorKind::Internal,
        &[
            (|r| r.host.security_opt = words(&["foo"]), "invalid --security-opt 1: \"foo\""),
            (|r| r.host.security_opt = words(&["foo=bar"]), "invalid --security-opt 2: \"foo=bar\""),
            (
                |r| r.host.security_opt = words(&["no-new-privileges=x"]),
                "invalid --security-opt 2: \"no-new-privileges=x\"",
            ),
            (|r| r.host.storage_opt = [("size".to_owned(), "1Q".to_owned())].into(), "invalid size: '1Q'"),
        ],
    );
}

#[test]
fn networks_and_ports_that_are_wrong() {
    refused(
        ErrorKind::InvalidArgument,
        &[
            (
                |r| {
                    r.host.network_mode = "host".into();
                    r.host.links = words(&["a:b"]);
                },
                "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
            ),
            (
                |r| r.host.network_mode = "container:".into(),
                "invalid network mode: invalid container format container:<name|id>",
            ),
            (
                |r| {
                    r.host.network_mode = "container:c".into();
                    r.config.hostname = "x".into();
                },
                "conflicting options: hostname and the network mode",
            ),
            (
                |r| {
                    r.host.network_mode = "container:c".into();
                    r.host.dns = Some(vec!["1.1.1.1".into()]);
                },
                "conflicting options: dns and the network mode",
            ),
            (
                |r| {
                    r.host.network_mode = "container:c".into();
                    r.host.publish_all_ports = true;
                },
                "conflicting options: port publishing and the container type network mode",
            ),
            (
                |r| {
                    r.host.network_mode = "container:c".into();
                    r.config.exposed_ports = ["80/tcp".to_owned()].into();
                },
                "conflicting options: port exposing and the container type network mode",
            ),
            (
                |r| {
                    r.host.network_mode = "container:c".into();
                    r.host.extra_hosts = words(&["a:1.1.1.1"]);
                },
                "conflicting options: custom host-to-IP mapping and the network mode",
            ),
            (
                |r| {
                    r.host.uts_mode = "host".into();
                    r.config.hostname = "x".into();
                },
                "conflicting options: hostname and the UTS mode",
            ),
            (|r| r.host.port_bindings = Some(port("80/tcp", "", "x")), "invalid port specification: \"x\""),
            (
                |r| r.host.port_bindings = Some(port("99999/tcp", "", "")),
                "invalid port specification: \"99999\"",
            ),
            (
                |r| r.host.port_bindings = Some(port("80/tcp", "", "70000")),
                "invalid port specification: \"70000\"",
            ),
            (
                |r| r.host.port_bindings = Some(port("80-81/tcp", "", "1")),
                "invalid port specification: \"80-81\"",
            ),
            (
                |r| r.host.port_bindings = Some(port("80/tcp", "", "9-8")),
                "invalid port specification: \"9-8\"",
            ),
            (|r| r.host.port_bindings = Some(port("80", "", "-1")), "invalid port specification: \"-1\""),
            (
                |r| r.config.mac_address = Some("zz".into()),
                "invalid config for network bridge: invalid MAC address zz",
            ),
            (
                |r| r.endpoints = [("bridge".to_owned(), endpoint("zz"))].into(),
                "invalid config for network bridge: invalid MAC address zz",
            ),
        ],
    );
}

#[test]
fn binds_that_are_wrong() {
    refused(
        ErrorKind::Internal,
        &[
            (
                |r| r.host.binds = words(&["foo"]),
                "invalid volume specification: 'foo': invalid mount config for type \"volume\": invalid mount path: 'foo' mount path must be absolute",
            ),
            (
                |r| r.host.binds = words(&["/a:b"]),
                "invalid volume specification: '/a:b': invalid mount config for type \"bind\": invalid mount path: 'b' mount path must be absolute",
            ),
            (|r| r.host.binds = words(&["/tmp:/a:zz"]), "invalid mode: zz"),
            (|r| r.host.binds = words(&["/tmp:/a:ro,rw"]), "invalid mode: ro,rw"),
            (|r| r.host.binds = words(&["/tmp:/a:rprivate,shared"]), "invalid mode: rprivate,shared"),
            (
                |r| r.host.binds = words(&["/tmp:/"]),
                "invalid volume specification: '/tmp:/': invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
            ),
            (|r| r.host.binds = words(&["a:b:c:d"]), "invalid volume specification: 'a:b:c:d'"),
            (|r| r.host.binds = words(&[""]), "invalid volume specification: ''"),
            (|r| r.host.binds = words(&[":/v"]), "invalid volume specification: ':/v'"),
            (
                |r| r.host.binds = words(&["vol:/a:rshared"]),
                "invalid volume specification: 'vol:/a:rshared': invalid mount config for type \"volume\": field BindOptions must not be specified",
            ),
            (
                |r| r.host.binds = words(&["/tmp:/a:nocopy"]),
                "invalid volume specification: '/tmp:/a:nocopy': invalid mount config for type \"bind\": field VolumeOptions must not be specified",
            ),
        ],
    );
    refused(
        ErrorKind::InvalidArgument,
        &[
            (|r| r.host.binds = words(&["/tmp:/a", "/tmp:/a"]), "Duplicate mount point: /a"),
            (
                |r| r.host.binds = words(&["a:/v"]),
                "create a: volume name is too short, names should be at least two alphanumeric characters",
            ),
            (
                |r| r.host.binds = words(&["x y:/a"]),
                "create x y: \"x y\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path",
            ),
        ],
    );
}

#[test]
fn mounts_that_are_wrong() {
    refused(
        ErrorKind::InvalidArgument,
        &[
            (
                |r| r.host.mounts = vec![mount("bind", "/nope-nope", "/a")],
                "invalid mount config for type \"bind\": bind source path does not exist: /nope-nope",
            ),
            (
                |r| r.host.mounts = vec![mount("bind", "nope", "/a")],
                "invalid mount config for type \"bind\": invalid mount path: 'nope' mount path must be absolute",
            ),
            (
                |r| r.host.mounts = vec![mount("bind", "/tmp", "a")],
                "invalid mount config for type \"bind\": invalid mount path: 'a' mount path must be absolute",
            ),
            (
                |r| r.host.mounts = vec![mount("foo", "/tmp", "/a")],
                "invalid mount config for type \"foo\": mount type unknown",
            ),
            (
                |r| r.host.mounts = vec![mount("tmpfs", "/tmp", "/a")],
                "invalid mount config for type \"tmpfs\": field Source must not be specified",
            ),
            (
                |r| r.host.mounts = vec![mount("bind", "", "/a")],
                "invalid mount config for type \"bind\": field Source must not be empty",
            ),
            (
                |r| r.host.mounts = vec![mount("bind", "/tmp", "")],
                "invalid mount config for type \"bind\": field Target must not be empty",
            ),
            (
                |r| r.host.mounts = vec![mount("bind", "/tmp", "/")],
                "invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
            ),
            (
                |r| {
                    let volume = Some(VolumeOptions::default());
                    r.host.mounts = vec![MountSpec { volume, ..mount("bind", "/tmp", "/a") }];
                },
                "VolumeOptions must not be specified on mount type \"bind\"",
            ),
            (
                |r| {
                    let tmpfs = Some(TmpfsOptions::default());
                    r.host.mounts = vec![MountSpec { tmpfs, ..mount("bind", "/tmp", "/a") }];
                },
                "TmpfsOptions must not be specified on mount type \"bind\"",
            ),
            (
                |r| {
                    let options = vec![vec!["exec".to_owned()], vec!["uid".to_owned(), "5".to_owned()]];
                    let tmpfs = Some(TmpfsOptions { options, ..TmpfsOptions::default() });
                    r.host.mounts = vec![MountSpec { tmpfs, ..mount("tmpfs", "", "/a") }];
                },
                "invalid mount config for type \"tmpfs\": invalid option: uid",
            ),
            (
                |r| r.host.mounts = vec![mount("bind", "/tmp", "/a"), mount("bind", "/tmp", "/a/")],
                "Duplicate mount point: /a",
            ),
            (
                |r| {
                    r.host.binds = words(&["/tmp:/a"]);
                    r.host.tmpfs = [("/a".to_owned(), String::new())].into();
                },
                "Duplicate mount point: /a",
            ),
            (
                |r| r.host.tmpfs = [("a".to_owned(), String::new())].into(),
                "invalid mount path: 'a' mount path must be absolute",
            ),
            (
                |r| r.host.tmpfs = [("/".to_owned(), String::new())].into(),
                "invalid specification: destination can't be '/'",
            ),
        ],
    );
}

#[test]
fn what_docker_accepts_is_accepted() {
    let accepted: &[Ask] = &[
        |_| {},
        |r| r.host.network_mode = "nonet".into(),
        |r| r.host.network_mode = "container:nope".into(),
        |r| r.host.port_bindings = Some(port("80/foo", "x", "1")),
        |r| r.config.exposed_ports = ["foo".to_owned()].into(),
        |r| r.host.binds = words(&["/does/not/exist:/v", "/v2:ro"]),
        |r| r.host.cap_add = words(&["cap_sys_admin", "ALL"]),
        |r| r.host.resources.pids_limit = Some(-5),
        |r| r.config.env = vec!["a".into(), "b=c".into()],
        |r| r.config.stop_signal = Some("RTMIN+3".into()),
        |r| r.host.security_opt = words(&["label=disable", "apparmor=foo", "seccomp=nojson"]),
        |r| r.host.log_config = LogConfig { kind: "none".into(), config: Default::default() },
    ];
    for (n, ask) in accepted.iter().enumerate() {
        let checked = answer(*ask).unwrap_or_else(|e| panic!("case {n}: {e}"));
        assert_eq!(checked.warnings, [""; 0], "case {n}");
    }
}

#[test]
fn what_is_left_out_is_told() {
    for (ask, warning) in [
        (
            (|r| r.host.resources.blkio_weight = 5) as Ask,
            "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.",
        ),
        (
            |r| r.host.resources.oom_kill_disable = Some(true),
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.",
        ),
    ] {
        assert_eq!(answer(ask).unwrap().warnings, [warning]);
    }
}

#[test]
fn defaults_are_filled_in_as_dockers_inspect_shows_them() {
    let mut request = CreateRequest::default();
    request.host.resources.memory = 20 << 20;
    create(&mut request, &host(), &Config::default()).unwrap();
    let host = request.host;
    assert_eq!(host.network_mode, "bridge");
    assert_eq!((host.ipc_mode.as_str(), host.cgroupns_mode.as_str()), ("private", "host"));
    assert_eq!((host.restart_policy.name.as_str(), host.runtime.as_str()), ("no", "runc"));
    assert_eq!((host.shm_size, host.resources.memory_swap), (64 << 20, 40 << 20));
    assert_eq!(host.log_config.kind, "json-file");
    assert!(host.masked_paths.unwrap().contains(&"/proc/kcore".to_owned()));
}

#[test]
fn names() {
    for good in ["ab", "a_b", "A.b-c", "1x"] {
        name(good, good).unwrap();
    }
    for bad in ["", "a", ".a", "-ab", "a b", "ab/cd", "é", "aé"] {
        let message = format!("Invalid container name ({bad}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed");
        assert_eq!(name(bad, bad).unwrap_err().to_string(), message);
    }
}

#[test]
fn updates_go_over_what_there_is() {
    let with = |change: fn(&mut crate::model::Resources)| {
        let mut request = UpdateRequest::default();
        change(&mut request.resources);
        request.resources
    };
    let now = with(|r| (r.memory, r.memory_swap, r.cpu_shares) = (20 << 20, 40 << 20, 100));
    let after = resources_update(&now, &with(|r| r.cpu_shares = 200)).unwrap();
    assert_eq!((after.memory, after.memory_swap, after.cpu_shares), (20 << 20, 40 << 20, 200));
    let nano = with(|r| r.nano_cpus = 500_000_000);
    for (now, update, message) in [
        (
            &now,
            with(|r| r.memory = 50 << 20),
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ),
        (
            &nano,
            with(|r| (r.cpu_quota, r.cpu_period) = (5000, 10000)),
            "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set",
        ),
    ] {
        let error = resources_update(now, &update).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.kind()), (message, ErrorKind::Conflict));
    }
}
