//! From settings to what the engine and the listeners need to know.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use skiff_engine::{BridgeConfig, Config};

use super::{
    hosts::{self, Host},
    options::{Kind, Support, by_id},
    settings::{Settings, Value},
    tls::TlsFiles,
};

/// The daemon, configured.
#[derive(Debug)]
pub(super) struct DaemonConfig {
    pub(super) engine: Config,
    pub(super) hosts: Vec<Host>,
    /// Group of Unix sockets; none means `docker` if it exists.
    pub(super) group: Option<String>,
    pub(super) pidfile: PathBuf,
    pub(super) log: LogSettings,
    /// Where figures for monitoring can be read.
    pub(super) metrics: Option<SocketAddr>,
    /// None for plain TCP.
    pub(super) tls: Option<TlsFiles>,
    /// Whether somebody said `--tls=false`: plain TCP is meant.
    pub(super) insecure_tcp: bool,
}

/// How the daemon logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogSettings {
    pub(super) level: &'static str,
    pub(super) json: bool,
}

/// Which names the daemon goes by: `dockerd` also listens where Docker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Skiff,
    Dockerd,
}

/// Checks everything and puts it in its place.
///
/// # Errors
/// What dockerd refuses, in its words, and what is not supported yet.
pub(super) fn configure(settings: &Settings, name: Name) -> Result<DaemonConfig, String> {
    refuse_unsupported(settings)?;
    let log = log_settings(settings)?;
    let builtin_images = crate::builtin::IMAGES.to_vec();
    let mut config = Config { debug: log.level == "debug", builtin_images, ..Config::default() };
    let default = Config::default();
    // Other processes, in other directories, are told of what lies in them.
    let directory = |name: &str, default: PathBuf| match settings.text(name) {
        Some(path) => std::path::absolute(path).map_err(|e| format!("invalid {name} {path:?}: {e}")),
        None => Ok(default),
    };
    config.root = directory("data-root", default.root)?;
    config.run = directory("exec-root", default.run)?;
    config.storage_driver = settings.text("storage-driver").map(str::to_owned);
    config.storage_size = storage_size(settings.list("storage-opts"))?;
    config.cgroup_parent = settings.text("cgroup-parent").unwrap_or(&default.cgroup_parent).to_owned();
    config.default_shm_size = settings.int("default-shm-size").unwrap_or(default.default_shm_size);
    config.disk_budget = settings.int("disk-budget").and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    if let Some(Value::Ulimits(limits)) = settings.0.get("default-ulimits") {
        config.default_ulimits = limits.clone();
    }
    config.log.kind = settings.text("log-driver").unwrap_or(&default.log.kind).to_owned();
    config.log.config = settings.map("log-opts");
    skiff_engine::check_log_options(&config.log.kind, &config.log.config)
        .map_err(|e| format!("failed to set log opts: {e}"))?;
    config.no_new_privileges = settings.flag("no-new-privileges").unwrap_or(false);
    config.init = settings.flag("init").unwrap_or(false);
    config.init_path = settings.text("init-path").or(settings.text("default-init")).map(PathBuf::from);
    config.experimental = settings.flag("experimental").unwrap_or(false);
    config.dns = settings.list("dns").iter().filter_map(|a| a.parse().ok()).collect();
    config.dns_options = settings.list("dns-opts").to_vec();
    config.dns_search = settings.list("dns-search").to_vec();
    config.labels = settings.list("labels").to_vec();
    if settings.contains("cdi-spec-dirs") {
        let dirs = settings.list("cdi-spec-dirs").iter().filter(|dir| !dir.is_empty());
        config.cdi_spec_dirs = dirs.map(PathBuf::from).collect();
    }
    config.insecure_registries = settings.list("insecure-registries").to_vec();
    config.registry_mirrors =
        settings.list("registry-mirrors").iter().map(|m| mirror(m)).collect::<Result<_, _>>()?;
    // 0 is dockerd's word for its default.
    let count = |id| settings.int(id).filter(|n| *n > 0);
    config.max_concurrent_downloads = count("max-concurrent-downloads").map_or(3, |n| n as usize);
    config.max_concurrent_uploads = count("max-concurrent-uploads").map_or(5, |n| n as usize);
    config.max_download_attempts = count("max-download-attempts").map_or(5, |n| n as u32);
    let compression = settings.text("push-compression").map(str::parse).transpose();
    config.push_compression =
        compression.map_err(|e: skiff_engine::Error| format!("push-compression: {e}"))?;
    config.http_proxy = settings.text("http-proxy").map(str::to_owned);
    config.https_proxy = settings.text("https-proxy").map(str::to_owned);
    config.no_proxy = settings.text("no-proxy").map(str::to_owned);
    config.seccomp_profile =
        settings.text("seccomp-profile").filter(|profile| *profile != "builtin").map(PathBuf::from);
    modes(settings, &mut config)?;
    check_values(settings, &config)?;
    config.bridge = bridge(settings, name)?;
    let tls = tls_files(settings);
    let default_pidfile = config.run.join("skiff.pid");
    Ok(DaemonConfig {
        hosts: listen_on(settings, name, &config, tls.is_some())?,
        engine: config,
        group: settings.text("group").map(str::to_owned),
        pidfile: settings.text("pidfile").map_or(default_pidfile, PathBuf::from),
        log,
        metrics: settings.text("metrics-addr").filter(|a| !a.is_empty()).map(metrics_address).transpose()?,
        tls,
        insecure_tcp: settings.flag("tls") == Some(false) || settings.flag("tlsverify") == Some(false),
    })
}

/// `overlay2.size=10G`, or `size=10G`: what every container may write; 0 for no limit.
fn storage_size(options: &[String]) -> Result<Option<u64>, String> {
    let mut size = None;
    for option in options {
        let (key, value) =
            option.split_once('=').ok_or_else(|| format!("unable to parse storage-opt {option:?}"))?;
        match key.to_ascii_lowercase().as_str() {
            "size" | "overlay2.size" | "erofs.size" | "vfs.size" => {
                size = Some(skiff_types::parse_size(value).map_err(|e| e.to_string())?.unsigned_abs());
            }
            _ => return Err(format!("unknown option {key}: the only storage option is overlay2.size")),
        }
    }
    Ok(size.filter(|bytes| *bytes > 0))
}

/// `127.0.0.1:9323`, or `:9323` for every address.
fn metrics_address(text: &str) -> Result<SocketAddr, String> {
    let whole = if text.starts_with(':') { format!("[::]{text}") } else { text.to_owned() };
    whole.parse().map_err(|_| format!("invalid metrics address {text:?}: must be an IP address and a port"))
}

/// A setting that is not supported is refused when it asks for something.
fn refuse_unsupported(settings: &Settings) -> Result<(), String> {
    for (id, value) in &settings.0 {
        let Some(option) = by_id(id).filter(|option| option.support == Support::No) else { continue };
        let asks = match value {
            Value::Bool(value) => Kind::Bool(*value) != option.kind,
            Value::Int(number) => *number != 0,
            Value::Text(text) => !text.is_empty(),
            Value::List(list) => !list.is_empty(),
            Value::Map(map) => !map.is_empty(),
            Value::Ulimits(_) | Value::Pools(_) | Value::Runtimes(_) | Value::Any => true,
        };
        if asks {
            return Err(format!("the option {id:?} is not supported by this version of Skiff"));
        }
    }
    Ok(())
}

fn log_settings(settings: &Settings) -> Result<LogSettings, String> {
    let debug = settings.flag("debug").unwrap_or(false);
    let level = match settings.text("log-level") {
        _ if debug => "debug",
        None | Some("info") => "info",
        Some("trace") => "trace",
        Some("debug") => "debug",
        Some("warn" | "warning") => "warn",
        Some("error" | "fatal" | "panic") => "error",
        Some(other) => return Err(format!("invalid logging level: {other}")),
    };
    let json = match settings.text("log-format") {
        None | Some("text") => false,
        Some("json") => true,
        Some(other) => return Err(format!("invalid log format: {other}")),
    };
    Ok(LogSettings { level, json })
}

fn modes(settings: &Settings, config: &mut Config) -> Result<(), String> {
    match settings.text("default-ipc-mode") {
        None => {}
        Some(mode @ ("private" | "shareable")) => config.default_ipc_mode = mode.to_owned(),
        Some(other) => {
            return Err(format!(
                "default IPC mode setting ({other}) is invalid; use \"shareable\" or \"private\""
            ));
        }
    }
    match settings.text("default-cgroupns-mode") {
        None => {}
        Some(mode @ ("private" | "host")) => config.default_cgroupns_mode = Some(mode.to_owned()),
        Some(other) => {
            return Err(format!("invalid default cgroup namespace ({other}): use \"host\" or \"private\""));
        }
    }
    if let Some(Value::Runtimes(runtimes)) = settings.0.get("runtimes") {
        config.runtimes = runtimes.clone();
    }
    match settings.text("default-runtime") {
        None => {}
        Some(name) if config.runtime(name).is_some() => config.default_runtime = name.to_owned(),
        Some(other) => return Err(format!("specified default runtime '{other}' does not exist")),
    }
    Ok(())
}

fn check_values(settings: &Settings, config: &Config) -> Result<(), String> {
    for (id, what) in [
        ("mtu", "default MTU"),
        ("max-concurrent-downloads", "max concurrent downloads"),
        ("max-concurrent-uploads", "max concurrent uploads"),
        ("max-download-attempts", "max download attempts"),
    ] {
        if let Some(number) = settings.int(id).filter(|n| *n < 0) {
            return Err(format!("invalid {what}: {number}"));
        }
    }
    for option in settings.list("exec-opts") {
        match option.split_once('=') {
            None => return Err(format!("invalid exec-opt ({option}): must be formatted 'opt=value'")),
            Some(("native.cgroupdriver", "cgroupfs" | "")) => {}
            Some(("native.cgroupdriver", driver)) => {
                return Err(format!(
                    "the cgroup driver {driver:?} is not supported by this version of Skiff"
                ));
            }
            Some(_) => return Err(format!("unknown exec-opt: {option}")),
        }
    }
    for (index, label) in config.labels.iter().enumerate() {
        let (key, value) = label.split_once('=').ok_or_else(|| format!("bad attribute format: {label}"))?;
        let same = |other: &&String| other.split_once('=').is_some_and(|(k, v)| k == key && v != value);
        if let Some(other) = config.labels[..index].iter().find(same) {
            return Err(format!("conflict labels for {label} and {other}"));
        }
    }
    Ok(())
}

fn bridge(settings: &Settings, called: Name) -> Result<BridgeConfig, String> {
    let default = BridgeConfig::default();
    let flag = |id, default| settings.flag(id).unwrap_or(default);
    let bip = settings.text("bip").map(str::to_owned);
    let name = settings.text("bridge").unwrap_or(&default.name).to_owned();
    if settings.contains("bridge") && bip.is_some() {
        return Err(
            "You specified -b & --bip, mutually exclusive options. Please specify only one".to_owned()
        );
    }
    let respect_host = match (settings.text("firewall"), called) {
        (Some("respect-host"), _) | (None, Name::Skiff) => true,
        (Some("docker"), _) | (None, Name::Dockerd) => false,
        (Some(other), _) => {
            return Err(format!("invalid firewall {other:?}: must be \"respect-host\" or \"docker\""));
        }
    };
    Ok(BridgeConfig {
        name,
        bip,
        fixed_cidr: settings.text("fixed-cidr").map(str::to_owned),
        icc: flag("icc", default.icc),
        ip_masquerade: flag("ip-masq", default.ip_masquerade),
        mtu: u32::try_from(settings.int("mtu").unwrap_or(0)).unwrap_or(u32::MAX),
        firewall: flag("iptables", default.firewall),
        respect_host,
        ip_forward: flag("ip-forward", default.ip_forward),
        ip_forward_no_drop: flag("ip-forward-no-drop", default.ip_forward_no_drop),
        allow_direct_routing: flag("allow-direct-routing", default.allow_direct_routing),
        userland_proxy: flag("userland-proxy", default.userland_proxy),
        default_gateway: settings
            .text("default-gateway")
            .map(|a| a.parse().map_err(|_| format!("invalid default gateway: {a} is no IPv4 address")))
            .transpose()?,
        ipv6: flag("ipv6", default.ipv6),
        bip6: settings.text("bip6").map(str::to_owned),
        fixed_cidr6: settings.text("fixed-cidr-v6").map(str::to_owned),
        default_gateway6: settings
            .text("default-gateway-v6")
            .map(|a| a.parse().map_err(|_| format!("invalid default gateway: {a} is no IPv6 address")))
            .transpose()?,
        default_binding: settings.text("ip").and_then(|a| a.parse::<IpAddr>().ok()),
        default_address_pools: match settings.0.get("default-address-pools") {
            Some(Value::Pools(pools)) => pools.clone(),
            _ => Vec::new(),
        },
    })
}

fn mirror(text: &str) -> Result<String, String> {
    match text.split_once("://") {
        Some(("http" | "https", host)) if !host.is_empty() => Ok(format!("{}/", text.trim_end_matches('/'))),
        Some((scheme, _)) => Err(format!(
            "invalid mirror: unsupported scheme {scheme:?} in {text:?}: must use either 'https://' or 'http://'"
        )),
        None => Err(format!(
            "invalid mirror: no scheme specified for {text:?}: must use either 'https://' or 'http://'"
        )),
    }
}

fn tls_files(settings: &Settings) -> Option<TlsFiles> {
    let verify = settings.flag("tlsverify").unwrap_or(false);
    let wanted = verify || settings.flag("tls").unwrap_or(false);
    let home = || std::env::var_os("HOME").map_or_else(|| "/root".into(), PathBuf::from).join(".docker");
    let certificates = std::env::var_os("DOCKER_CERT_PATH").map_or_else(home, PathBuf::from);
    let file =
        |id: &str, name: &str| settings.text(id).map_or_else(|| certificates.join(name), PathBuf::from);
    wanted.then(|| TlsFiles {
        ca: verify.then(|| file("tlscacert", "ca.pem")),
        certificate: file("tlscert", "cert.pem"),
        key: file("tlskey", "key.pem"),
    })
}

fn listen_on(settings: &Settings, name: Name, config: &Config, tls: bool) -> Result<Vec<Host>, String> {
    let given = settings.list("hosts");
    if !given.is_empty() {
        return given.iter().map(|host| hosts::parse(host, tls)).collect();
    }
    let own = Host::Unix(config.run.join("skiff.sock"));
    let dockers = Host::Unix(hosts::DOCKER_SOCKET.into());
    Ok(match name {
        Name::Skiff => vec![own],
        Name::Dockerd => vec![own, dockers],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::flags;

    fn read(line: &str) -> Result<DaemonConfig, String> {
        configure(&flags::parse(line.split_whitespace().map(str::to_owned))?, Name::Skiff)
    }

    #[test]
    fn settings_reach_their_places() {
        let config = read("--data-root /d --exec-root /e -D --mtu 1400 --icc=false --ip 127.0.0.1 --dns 1.1.1.1 --bip 10.9.0.1/24").unwrap();
        assert_eq!(config.engine.root, PathBuf::from("/d"));
        let relative = read("--data-root d").unwrap().engine.root;
        assert_eq!(relative, std::env::current_dir().unwrap().join("d"));
        assert_eq!(config.hosts, [Host::Unix("/e/skiff.sock".into())]);
        assert_eq!(config.pidfile, PathBuf::from("/e/skiff.pid"));
        assert_eq!(config.log, LogSettings { level: "debug", json: false });
        assert_eq!((config.engine.bridge.mtu, config.engine.bridge.icc), (1400, false));
        assert_eq!(config.engine.bridge.default_binding, Some([127, 0, 0, 1].into()));
        assert_eq!(config.engine.dns.len(), 1);
    }

    #[test]
    fn dockerd_also_listens_where_docker_does() {
        let config = configure(&Settings::default(), Name::Dockerd).unwrap();
        assert_eq!(
            config.hosts,
            [Host::Unix("/run/skiff/skiff.sock".into()), Host::Unix("/var/run/docker.sock".into())]
        );
    }

    #[test]
    fn the_hosts_firewall_is_respected_unless_docker_is_asked_for() {
        let respects = |line: &str, name| {
            let settings = flags::parse(line.split_whitespace().map(str::to_owned)).unwrap();
            configure(&settings, name).map(|config| config.engine.bridge.respect_host)
        };
        assert!(respects("", Name::Skiff).unwrap());
        assert!(!respects("", Name::Dockerd).unwrap());
        assert!(!respects("--firewall=docker", Name::Skiff).unwrap());
        assert!(respects("--firewall respect-host", Name::Dockerd).unwrap());
        assert!(respects("--firewall=none", Name::Skiff).unwrap_err().contains("invalid firewall \"none\""));
    }

    #[test]
    fn what_is_not_supported_is_refused_only_when_it_is_asked_for() {
        for line in ["--userns-remap default", "--cpu-rt-period 5"] {
            let message = read(line).unwrap_err();
            assert!(message.ends_with("is not supported by this version of Skiff"), "{message}");
        }
        for line in [
            "--ipv6=false",
            "--userns-remap=",
            "--userland-proxy=false",
            "--containerd /x",
            "--live-restore",
            "--cpu-rt-period 0",
        ] {
            assert!(read(line).is_ok(), "{line}");
        }
    }

    /// Recorded from dockerd 28.5.2.
    #[test]
    fn bad_values_are_refused_in_dockerds_words() {
        for (line, message) in [
            ("-l foo", "invalid logging level: foo"),
            ("--log-format foo", "invalid log format: foo"),
            (
                "--default-ipc-mode x",
                "default IPC mode setting (x) is invalid; use \"shareable\" or \"private\"",
            ),
            (
                "--default-cgroupns-mode x",
                "invalid default cgroup namespace (x): use \"host\" or \"private\"",
            ),
            ("--max-concurrent-downloads=-1", "invalid max concurrent downloads: -1"),
            ("--mtu -5", "invalid default MTU: -5"),
            ("--label a=b --label a=c", "conflict labels for a=c and a=b"),
            ("--label x", "bad attribute format: x"),
            ("--exec-opt x", "invalid exec-opt (x): must be formatted 'opt=value'"),
            ("-H foo://x", "invalid bind address (foo://x): unsupported proto 'foo'"),
        ] {
            assert_eq!(read(line).unwrap_err(), message, "{line}");
        }
    }
}
