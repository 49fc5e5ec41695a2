//! The daemon and its host.

use std::collections::BTreeMap;

use skiff_api::{ApiVersion, model as wire};
use skiff_engine::model::{Component, DiskBudget, Info, Version};

use super::{each, some_list};

pub(crate) fn version(version: Version) -> wire::Version {
    let component = |c: Component| wire::ComponentVersion {
        name: c.name,
        version: c.version,
        details: (!c.details.is_empty()).then_some(c.details),
    };
    let engine = wire::ComponentVersion {
        name: "Engine".to_owned(),
        version: version.version.clone(),
        details: Some(details(&version)),
    };
    wire::Version {
        platform: wire::Platform { name: version.platform },
        components: Some(std::iter::once(engine).chain(each(version.components, component)).collect()),
        version: version.version,
        api_version: ApiVersion::MAX.to_string(),
        min_api_version: ApiVersion::MIN.to_string(),
        git_commit: version.git_commit,
        // There is no Go here; clients expect the key.
        go_version: String::new(),
        os: version.os,
        arch: version.arch,
        kernel_version: version.kernel_version,
        experimental: version.experimental,
        build_time: version.build_time,
    }
}

fn details(version: &Version) -> BTreeMap<String, String> {
    let pairs = [
        ("ApiVersion", ApiVersion::MAX.to_string()),
        ("Arch", version.arch.clone()),
        ("BuildTime", version.build_time.clone()),
        ("Experimental", version.experimental.to_string()),
        ("GitCommit", version.git_commit.clone()),
        ("GoVersion", String::new()),
        ("KernelVersion", version.kernel_version.clone()),
        ("MinAPIVersion", ApiVersion::MIN.to_string()),
        ("Os", version.os.clone()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

pub(crate) fn info(info: Info) -> wire::Info {
    let registry = registry_config(&info);
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let runtime = |r: skiff_engine::model::RuntimeInfo| {
        let args = some_list(r.args);
        (r.name, wire::Runtime { path: r.path, args, ..wire::Runtime::default() })
    };
    // Runtime and init are of this very binary.
    let own = || wire::Commit { id: info.server_version.clone(), ..wire::Commit::default() };
    let (runc_commit, init_commit) = (own(), own());
    let pool = |(base, size)| wire::AddressPool { base, size: i64::from(size) };
    wire::Info {
        id: info.id,
        containers: count(info.containers),
        containers_running: count(info.containers_running),
        containers_paused: count(info.containers_paused),
        containers_stopped: count(info.containers_stopped),
        images: count(info.images),
        driver: info.driver,
        driver_status: Some(each(info.driver_status, |(key, value)| [key, value])),
        plugins: wire::PluginsInfo {
            volume: Some(info.volume_drivers),
            network: Some(info.network_drivers),
            authorization: None,
            log: Some(info.log_drivers),
        },
        memory_limit: info.memory_limit,
        kernel_memory_tcp: info.kernel_memory_tcp,
        swap_limit: info.swap_limit,
        cpu_cfs_period: info.cpu_cfs,
        cpu_cfs_quota: info.cpu_cfs,
        cpu_shares: info.cpu_shares,
        cpu_set: info.cpu_set,
        pids_limit: info.pids_limit,
        ipv4_forwarding: info.ipv4_forwarding,
        debug: info.debug,
        n_fd: count(info.open_files),
        oom_kill_disable: info.oom_kill_disable,
        n_goroutines: count(info.tasks),
        system_time: info.system_time.to_string(),
        logging_driver: info.logging_driver,
        cgroup_driver: info.cgroup_driver,
        cgroup_version: info.cgroup_version,
        n_events_listener: count(info.event_listeners),
        kernel_version: info.kernel_version,
        operating_system: info.operating_system,
        os_version: info.os_version,
        os_type: "linux".to_owned(),
        architecture: info.architecture,
        index_server_address: INDEX.to_owned(),
        registry_config: Some(registry),
        n_cpu: count(info.cpus),
        mem_total: info.memory,
        docker_root_dir: info.root_dir,
        disk_budget: info.disk_budget.map(disk_budget),
        name: info.name,
        labels: Some(info.labels),
        experimental_build: info.experimental,
        server_version: info.server_version,
        runtimes: Some(info.runtimes.into_iter().map(runtime).collect()),
        default_runtime: info.default_runtime,
        swarm: wire::SwarmInfo { local_node_state: "inactive".to_owned(), ..wire::SwarmInfo::default() },
        live_restore_enabled: info.live_restore,
        init_binary: info.init_binary,
        containerd_commit: wire::Commit::default(),
        runc_commit,
        init_commit,
        security_options: Some(info.security_options),
        default_address_pools: some_list(each(info.default_address_pools, pool)),
        firewall_backend: Some(wire::FirewallInfo { driver: "nftables".to_owned(), info: None }),
        cdi_spec_dirs: Some(info.cdi_spec_dirs),
        discovered_devices: some_list(each(info.discovered_devices, |id| wire::DeviceInfo {
            source: "cdi".to_owned(),
            id,
        })),
        warnings: some_list(info.warnings),
        ..wire::Info::default()
    }
}

pub(crate) fn disk_budget(budget: DiskBudget) -> wire::DiskBudget {
    let bytes = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    wire::DiskBudget { limit: bytes(budget.limit), used: bytes(budget.used) }
}

const INDEX: &str = "https://index.docker.io/v1/";

fn registry_config(info: &Info) -> wire::RegistryConfig {
    let (ranges, hosts): (Vec<_>, Vec<_>) =
        info.insecure_registries.iter().cloned().partition(|r| r.contains('/'));
    let insecure =
        |name: String| wire::IndexInfo { mirrors: Some(Vec::new()), name, official: false, secure: false };
    let official = wire::IndexInfo {
        mirrors: Some(info.registry_mirrors.clone()),
        name: "docker.io".to_owned(),
        official: true,
        secure: true,
    };
    let mut indexes: BTreeMap<_, _> = hosts.into_iter().map(|host| (host.clone(), insecure(host))).collect();
    indexes.insert("docker.io".to_owned(), official);
    let loopback = ["::1/128", "127.0.0.0/8"].map(str::to_owned);
    wire::RegistryConfig {
        index_configs: Some(indexes),
        insecure_registry_cidrs: Some(loopback.into_iter().chain(ranges).collect()),
        mirrors: some_list(info.registry_mirrors.clone()),
    }
}
