//! The request that `run` and `create` send: every option in its field.

use serde_json::{Map, Value, json};

use super::{
    device::{self, Device},
    endpoint, env,
    mount::{self, Volume},
    port::Ports,
    secret,
};
use crate::{
    format::json,
    grammar::{Matches, quote},
};

/// What to create.
pub(crate) struct ContainerRequest {
    /// The body of the request.
    pub(crate) body: Value,
    /// Which streams are wanted.
    pub(crate) attach: Attach,
}

/// Which streams the container is to be attached to, and how.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attach {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    pub(crate) tty: bool,
}

impl Attach {
    /// Whether any stream is wanted.
    pub(crate) fn any(self) -> bool {
        self.stdin || self.stdout || self.stderr
    }
}

/// Builds the request from the options and the words after the image's name. `proxies` are variables to set unless
/// given; `detach` leaves every stream alone.
pub(crate) fn build(
    matches: &Matches,
    image: &str,
    command: &[String],
    proxies: &[String],
    detach: bool,
) -> Result<ContainerRequest, String> {
    if let Some(mac) = matches.some("mac-address").filter(|mac| !endpoint::is_mac(mac.trim())) {
        return Err(format!("{mac} is not a valid mac address"));
    }
    let swappiness = matches.number("memory-swappiness");
    if !(-1..=100).contains(&swappiness) {
        return Err(format!("invalid value: {swappiness}. Valid memory swappiness range is 0-100"));
    }
    let (binds, volumes) = volumes(matches)?;
    let mut ports = Ports::default();
    for spec in matches.all("publish") {
        ports.publish(&spec)?;
    }
    for spec in matches.all("expose") {
        ports.expose(&spec)?;
    }
    let resources = resources(matches)?;
    let given = proxies.iter().cloned().chain(matches.all("env")).collect();
    let variables = env::read(&matches.all("env-file"), given, true)?;
    let labels = env::read(&matches.all("label-file"), matches.all("label"), false)?;
    let health = health(matches);
    let restart = restart_policy(matches.text("restart"))?;
    check_modes(matches)?;

    let attach = attach(matches, detach);
    let mut config = Map::new();
    let mut set = |key: &str, value: Value| config.insert(key.to_owned(), value);
    set("Hostname", matches.text("hostname").into());
    set("Domainname", matches.text("domainname").into());
    set("User", matches.text("user").into());
    set("AttachStdin", attach.stdin.into());
    set("AttachStdout", attach.stdout.into());
    set("AttachStderr", attach.stderr.into());
    set("Tty", attach.tty.into());
    set("OpenStdin", matches.on("interactive").into());
    set("StdinOnce", (matches.on("interactive") && attach.stdin).into());
    set("Env", json!(variables));
    set("Cmd", if command.is_empty() { Value::Null } else { json!(command) });
    set("Image", image.into());
    set("Volumes", volumes.into());
    set("WorkingDir", matches.text("workdir").into());
    set("Entrypoint", entrypoint(matches));
    set("Labels", env::to_map(&labels).into());
    if !ports.exposed.is_empty() {
        set(
            "ExposedPorts",
            ports.exposed.keys().map(|p| (p.clone(), json!({}))).collect::<Map<_, _>>().into(),
        );
    }
    if let Some(signal) = matches.some("stop-signal") {
        set("StopSignal", signal.into());
    }
    if matches.changed("stop-timeout") {
        set("StopTimeout", matches.number("stop-timeout").into());
    }
    if let Some(health) = health? {
        set("Healthcheck", health);
    }

    let endpoints = endpoint::resolve(matches)?;
    if let Some(mac) = endpoints.settings.get(&endpoints.mode).and_then(|e| e.get("MacAddress")) {
        set("MacAddress", mac.clone());
    }
    let mut host = host_config(matches, resources)?;
    let mut set = |key: &str, value: Value| host.insert(key.to_owned(), value);
    set("Binds", nullable(binds));
    set("NetworkMode", endpoints.mode.into());
    set("PortBindings", json!(ports.bindings));
    if matches.on("rm") && !matches!(restart["Name"].as_str(), Some("" | "no")) {
        return Err("conflicting options: cannot specify both --restart and --rm".to_owned());
    }
    set("RestartPolicy", restart);
    let secrets =
        matches.all("secret").iter().map(|text| secret::parse(text)).collect::<Result<Vec<_>, _>>()?;
    if !secrets.is_empty() {
        set("Secrets", secrets.into());
    }
    config.insert("HostConfig".to_owned(), host.into());
    config.insert("NetworkingConfig".to_owned(), json!({ "EndpointsConfig": endpoints.settings }));
    Ok(ContainerRequest { body: config.into(), attach })
}

fn attach(matches: &Matches, detach: bool) -> Attach {
    let wanted = matches.all("attach");
    let has = |name: &str| wanted.iter().any(|w| w == name);
    let tty = matches.on("tty");
    if detach {
        return Attach { tty, ..Attach::default() };
    }
    Attach {
        stdin: has("stdin") || matches.on("interactive"),
        stdout: wanted.is_empty() || has("stdout"),
        stderr: wanted.is_empty() || has("stderr"),
        tty,
    }
}

fn entrypoint(matches: &Matches) -> Value {
    // An empty one given on purpose resets the image's.
    if matches.changed("entrypoint") { json!([matches.text("entrypoint")]) } else { Value::Null }
}

fn volumes(matches: &Matches) -> Result<(Vec<String>, Map<String, Value>), String> {
    let (mut binds, mut volumes) = (Vec::new(), Map::new());
    for text in matches.all("volume") {
        match mount::parse_volume(&text)? {
            Volume::Anonymous(path) => {
                volumes.insert(path, json!({}));
            }
            Volume::Bind(bind) if binds.contains(&bind) => {}
            Volume::Bind(bind) => binds.push(bind),
        }
    }
    Ok((binds, volumes))
}

fn health(matches: &Matches) -> Result<Option<Value>, String> {
    const DURATIONS: [(&str, &str); 4] = [
        ("health-interval", "Interval"),
        ("health-timeout", "Timeout"),
        ("health-start-period", "StartPeriod"),
        ("health-start-interval", "StartInterval"),
    ];
    let retries = matches.number("health-retries");
    let tests = [("health-cmd", "CMD-SHELL"), ("health-http", "HTTP"), ("health-tcp", "TCP")];
    let mut tests = tests.into_iter().filter(|(option, _)| !matches.text(option).is_empty());
    let test = tests.next();
    if let (Some((one, _)), Some((other, _))) = (test, tests.next()) {
        return Err(format!("--{one} conflicts with --{other}"));
    }
    let set = test.is_some() || retries != 0 || DURATIONS.iter().any(|(o, _)| matches.nanos(o) != 0);
    if matches.on("no-healthcheck") {
        return if set {
            Err("--no-healthcheck conflicts with --health-* options".to_owned())
        } else {
            Ok(Some(json!({ "Test": ["NONE"] })))
        };
    }
    if !set {
        return Ok(None);
    }
    let mut health = Map::new();
    if let Some((option, kind)) = test {
        health.insert("Test".to_owned(), json!([kind, matches.text(option)]));
    }
    for (option, field) in DURATIONS {
        match matches.nanos(option) {
            n if n < 0 => return Err(format!("--{option} cannot be negative")),
            0 => {}
            n => {
                health.insert(field.to_owned(), n.into());
            }
        }
    }
    if retries < 0 {
        return Err("--health-retries cannot be negative".to_owned());
    }
    if retries > 0 {
        health.insert("Retries".to_owned(), retries.into());
    }
    Ok(Some(health.into()))
}

/// `no`, `always`, `unless-stopped`, `on-failure[:count]`, as the API's object.
pub(crate) fn restart_policy(text: &str) -> Result<Value, String> {
    let (name, count) = text.split_once(':').unwrap_or((text, ""));
    if name.is_empty() && text.contains(':') {
        return Err("invalid restart policy format: no policy provided before colon".to_owned());
    }
    let count: i64 = match count {
        "" => 0,
        count => count.parse().map_err(|_| {
            "invalid restart policy format: maximum retry count must be an integer".to_owned()
        })?,
    };
    Ok(json!({ "Name": name, "MaximumRetryCount": count }))
}

fn check_modes(matches: &Matches) -> Result<(), String> {
    let named = |text: &str, names: &[&str]| names.contains(&text);
    let container = |text: &str| text.strip_prefix("container:").is_some_and(|name| !name.is_empty());
    let pid = matches.text("pid");
    if !named(pid, &["", "host"]) && !container(pid) {
        return Err("--pid: invalid PID mode".to_owned());
    }
    if !named(matches.text("uts"), &["", "host"]) {
        return Err("--uts: invalid UTS mode".to_owned());
    }
    if !named(matches.text("userns"), &["", "host"]) {
        return Err("--userns: invalid USER mode".to_owned());
    }
    if !named(matches.text("cgroupns"), &["", "host", "private"]) {
        return Err("--cgroupns: invalid CGROUP mode".to_owned());
    }
    Ok(())
}

/// Values that are kept as JSON, as they go into the request.
fn parsed(matches: &Matches, option: &str) -> Result<Vec<Value>, String> {
    matches.all(option).iter().map(|text| serde_json::from_str(text).map_err(|e| e.to_string())).collect()
}

/// The body of an update: what was given, and zero for what was not, which leaves it as it is.
pub(crate) fn update(matches: &Matches) -> Result<Value, String> {
    let mut map = numbers(matches);
    map.retain(|_, value| *value != 0 && *value != "");
    if let Some(policy) = matches.some("restart") {
        map.insert("RestartPolicy".to_owned(), restart_policy(policy)?);
    }
    Ok(map.into())
}

/// Limits that are numbers or lists of processors.
fn numbers(matches: &Matches) -> Map<String, Value> {
    let mut map = Map::new();
    for (option, field) in [
        ("memory", "Memory"),
        ("memory-reservation", "MemoryReservation"),
        ("memory-swap", "MemorySwap"),
        ("memory-swappiness", "MemorySwappiness"),
        ("kernel-memory", "KernelMemory"),
        ("cpus", "NanoCpus"),
        ("cpu-count", "CpuCount"),
        ("cpu-percent", "CpuPercent"),
        ("cpu-shares", "CpuShares"),
        ("cpu-period", "CpuPeriod"),
        ("cpu-quota", "CpuQuota"),
        ("cpu-rt-period", "CpuRealtimePeriod"),
        ("cpu-rt-runtime", "CpuRealtimeRuntime"),
        ("pids-limit", "PidsLimit"),
        ("blkio-weight", "BlkioWeight"),
        ("io-maxiops", "IOMaximumIOps"),
        ("io-maxbandwidth", "IOMaximumBandwidth"),
    ] {
        map.insert(field.to_owned(), matches.number(option).into());
    }
    for (option, field) in [("cpuset-cpus", "CpusetCpus"), ("cpuset-mems", "CpusetMems")] {
        map.insert(field.to_owned(), matches.text(option).into());
    }
    map
}

fn resources(matches: &Matches) -> Result<Map<String, Value>, String> {
    let mut map = numbers(matches);
    map.insert("CgroupParent".to_owned(), matches.text("cgroup-parent").into());
    for (option, field) in [
        ("blkio-weight-device", "BlkioWeightDevice"),
        ("device-read-bps", "BlkioDeviceReadBps"),
        ("device-write-bps", "BlkioDeviceWriteBps"),
        ("device-read-iops", "BlkioDeviceReadIOps"),
        ("device-write-iops", "BlkioDeviceWriteIOps"),
    ] {
        map.insert(field.to_owned(), parsed(matches, option)?.into());
    }
    map.insert("OomKillDisable".to_owned(), matches.on("oom-kill-disable").into());
    map.insert("DeviceCgroupRules".to_owned(), nullable(matches.all("device-cgroup-rule")));
    map.insert("Ulimits".to_owned(), ulimits(matches)?);

    let (mut nodes, mut named) = (Vec::new(), Vec::new());
    for text in matches.all("device") {
        match device::parse(&text)? {
            Device::Node(node) => nodes.push(node),
            Device::Named(name) => named.push(name),
        }
    }
    let mut requests = parsed(matches, "gpus")?;
    if !named.is_empty() {
        requests.push(json!({ "Driver": "cdi", "DeviceIDs": named }));
    }
    map.insert("Devices".to_owned(), nodes.into());
    map.insert("DeviceRequests".to_owned(), if requests.is_empty() { Value::Null } else { requests.into() });
    Ok(map)
}

/// By name, the last of each.
fn ulimits(matches: &Matches) -> Result<Value, String> {
    let by_name: Map<String, Value> = parsed(matches, "ulimit")?
        .into_iter()
        .map(|limit| (limit["Name"].as_str().unwrap_or_default().to_owned(), limit))
        .collect();
    let mut limits: Vec<(String, Value)> = by_name.into_iter().collect();
    limits.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(limits.into_iter().map(|(_, limit)| limit).collect())
}

/// A list, or null where it is empty.
fn nullable(list: Vec<String>) -> Value {
    if list.is_empty() { Value::Null } else { json!(list) }
}

fn host_config(matches: &Matches, resources: Map<String, Value>) -> Result<Map<String, Value>, String> {
    let mut host = resources;
    let mut set = |key: &str, value: Value| host.insert(key.to_owned(), value);
    for (option, field) in [
        ("cidfile", "ContainerIDFile"),
        ("volume-driver", "VolumeDriver"),
        ("ipc", "IpcMode"),
        ("pid", "PidMode"),
        ("uts", "UTSMode"),
        ("userns", "UsernsMode"),
        ("cgroupns", "CgroupnsMode"),
        ("isolation", "Isolation"),
    ] {
        set(field, matches.text(option).into());
    }
    for (option, field) in [
        ("rm", "AutoRemove"),
        ("privileged", "Privileged"),
        ("publish-all", "PublishAllPorts"),
        ("read-only", "ReadonlyRootfs"),
    ] {
        set(field, matches.on(option).into());
    }
    for (option, field) in [
        ("link", "Links"),
        ("add-host", "ExtraHosts"),
        ("volumes-from", "VolumesFrom"),
        ("group-add", "GroupAdd"),
    ] {
        set(field, nullable(matches.all(option)));
    }
    set("CapAdd", nullable(capabilities(&matches.all("cap-add"))));
    set("CapDrop", nullable(capabilities(&matches.all("cap-drop"))));
    for (option, field) in [("dns", "Dns"), ("dns-search", "DnsSearch"), ("dns-option", "DnsOptions")] {
        set(field, json!(matches.all(option)));
    }
    set("OomScoreAdj", matches.number("oom-score-adj").into());
    set("ShmSize", matches.number("shm-size").into());
    set("LogConfig", log_config(matches)?);
    let (security, unconfined) = security_options(matches)?;
    set("SecurityOpt", nullable(security));
    let paths = if unconfined { json!([]) } else { Value::Null };
    set("MaskedPaths", paths.clone());
    set("ReadonlyPaths", paths);
    for (option, field) in [("sysctl", "Sysctls"), ("annotation", "Annotations")] {
        let map = env::to_map(&matches.all(option));
        if !map.is_empty() {
            set(field, map.into());
        }
    }
    let storage = storage_options(matches)?;
    if !storage.is_empty() {
        set("StorageOpt", storage.into());
    }
    let tmpfs: Map<String, Value> = matches
        .all("tmpfs")
        .iter()
        .map(|t| {
            let (path, options) = t.split_once(':').unwrap_or((t, ""));
            (path.to_owned(), options.into())
        })
        .collect();
    if !tmpfs.is_empty() {
        set("Tmpfs", tmpfs.into());
    }
    let mounts = parsed(matches, "mount")?;
    if !mounts.is_empty() {
        set("Mounts", mounts.into());
    }
    if let Some(runtime) = matches.some("runtime") {
        set("Runtime", runtime.into());
    }
    if matches.changed("init") {
        set("Init", matches.on("init").into());
    }
    Ok(host)
}

/// Capabilities by their full names, each once and in order; `ALL` makes others needless.
fn capabilities(capabilities: &[String]) -> Vec<String> {
    let mut names: Vec<String> = capabilities
        .iter()
        .map(|name| name.trim().to_uppercase())
        .map(|name| match name.as_str() {
            "ALL" | "RESET" => name,
            other if other.starts_with("CAP_") => name,
            other => format!("CAP_{other}"),
        })
        .collect();
    if names.iter().any(|name| name == "ALL") {
        return vec!["ALL".to_owned()];
    }
    names.sort();
    names.dedup();
    names
}

fn log_config(matches: &Matches) -> Result<Value, String> {
    let (driver, options) = (matches.text("log-driver"), matches.all("log-opt"));
    if driver == "none" && !options.is_empty() {
        return Err(format!("invalid logging opts for driver {driver}"));
    }
    Ok(json!({ "Type": driver, "Config": env::to_map(&options) }))
}

fn storage_options(matches: &Matches) -> Result<Map<String, Value>, String> {
    let options = matches.all("storage-opt");
    if options.iter().any(|o| !o.contains('=')) {
        return Err("invalid storage option".to_owned());
    }
    Ok(env::to_map(&options))
}

/// The security options, with seccomp profiles read in; and whether no system path is to be masked.
fn security_options(matches: &Matches) -> Result<(Vec<String>, bool), String> {
    let (mut kept, mut unconfined) = (Vec::new(), false);
    for option in matches.all("security-opt") {
        let split = option
            .split_once('=')
            .or_else(|| if option == "no-new-privileges" { None } else { option.split_once(':') });
        let key = split.map_or(option.as_str(), |(key, _)| key);
        if split.is_none_or(|(_, value)| value.is_empty()) && key != "no-new-privileges" {
            return Err(format!("Invalid --security-opt: {}", quote(&option)));
        }
        match split {
            Some(("systempaths", "unconfined")) if option.contains('=') => unconfined = true,
            Some(("seccomp", profile)) if !matches!(profile, "builtin" | "unconfined") => {
                kept.push(format!("seccomp={}", seccomp_profile(profile)?));
            }
            _ => kept.push(option),
        }
    }
    Ok((kept, unconfined))
}

fn seccomp_profile(path: &str) -> Result<String, String> {
    let text = fs_err::read_to_string(path)
        .map_err(|e| format!("opening seccomp profile ({path}) failed: {}", env::go_open_error(path, &e)))?;
    serde_json::from_str::<serde::de::IgnoredAny>(&text).map_err(|e| {
        format!("compacting json for seccomp profile ({path}) failed: {}", json_error(&text, &e))
    })?;
    Ok(json::compact(&text))
}

/// What is wrong with JSON, as far as possible in Go's words.
fn json_error(text: &str, error: &serde_json::Error) -> String {
    match text.trim_start().chars().next() {
        Some(c) if !"{[\"-0123456789tfn".contains(c) => {
            format!("invalid character '{c}' looking for beginning of value")
        }
        None => "unexpected end of JSON input".to_owned(),
        _ if error.is_eof() => "unexpected end of JSON input".to_owned(),
        _ => error.to_string(),
    }
}
