//! A container in full.

use skiff_api::{ApiVersion, model as wire};
use skiff_engine::model::{
    ContainerConfig, ContainerRecord, ContainerState, ContainerView, Health, HealthConfig, HealthResult,
    NetworkState, Status,
};

use super::{each, host, mount, network, some_list, some_set};
use crate::time;

pub(crate) fn container(view: ContainerView, version: ApiVersion) -> wire::ContainerInspect {
    let ContainerRecord {
        id,
        name,
        created,
        image,
        args,
        config,
        host,
        state,
        restart_count,
        mounts,
        network,
        driver,
        apparmor_profile,
        platform,
        stopped_by_user: _,
        links: _,
    } = view.record;
    let mut words = args.into_iter();
    let mut config = config;
    // Until 1.43 it was the container's, and clients look for it there.
    if let Some(main) = network.networks.get(&host.network_mode).filter(|e| !e.config.mac_address.is_empty())
    {
        config.mac_address = Some(main.config.mac_address.clone());
    }
    let mut settings = network_settings(network);
    if !version.at_least(45) {
        add_old_aliases(&mut settings, &id.short(), &config.hostname);
    }
    wire::ContainerInspect {
        id: id.to_string(),
        created: time::render(Some(created)),
        path: words.next().unwrap_or_default(),
        args: words.collect(),
        state: Some(container_state(state)),
        image: format!("sha256:{image}"),
        resolv_conf_path: view.resolv_conf_path,
        hostname_path: view.hostname_path,
        hosts_path: view.hosts_path,
        log_path: view.log_path,
        name: format!("/{name}"),
        restart_count: i64::from(restart_count),
        graph_driver: wire::DriverData { data: Some(view.graph_driver_data), name: driver.clone() },
        driver,
        platform,
        mount_label: String::new(),
        process_label: String::new(),
        app_armor_profile: apparmor_profile,
        exec_ids: some_list(view.exec_ids),
        host_config: Some(host::shown(host)),
        size_rw: view.sizes.map(|s| s.rw),
        size_root_fs: view.sizes.map(|s| s.root_fs),
        mounts: each(mounts, |m| mount::point(m, false)),
        config: Some(shown_config(config)),
        network_settings: Some(settings),
    }
}

fn container_state(state: ContainerState) -> wire::ContainerState {
    wire::ContainerState {
        status: state.status.as_str().to_owned(),
        running: state.status.is_running(),
        paused: state.status == Status::Paused,
        restarting: state.status == Status::Restarting,
        oom_killed: state.oom_killed,
        dead: state.status == Status::Dead,
        pid: i64::from(state.pid),
        exit_code: i64::from(state.exit_code),
        error: state.error,
        started_at: time::render(state.started_at),
        finished_at: time::render(state.finished_at),
        health: state.health.map(health),
    }
}

fn health(health: Health) -> wire::Health {
    let result = |result: HealthResult| wire::HealthcheckResult {
        start: time::render(Some(result.start)),
        end: time::render(Some(result.end)),
        exit_code: i64::from(result.exit_code),
        output: result.output,
    };
    wire::Health {
        status: health.status.as_str().to_owned(),
        failing_streak: i64::from(health.failing_streak),
        log: Some(each(health.log, result)),
    }
}

/// Until 1.44 a user-defined network's aliases included the short id and the host name.
fn add_old_aliases(settings: &mut wire::NetworkSettings, short_id: &str, hostname: &str) {
    for (name, endpoint) in settings.networks.iter_mut().flatten() {
        if matches!(name.as_str(), "bridge" | "host" | "none" | "default") {
            continue;
        }
        let aliases = endpoint.aliases.get_or_insert_default();
        for alias in [short_id, hostname] {
            if !aliases.iter().any(|known| known == alias) {
                aliases.push(alias.to_owned());
            }
        }
    }
}

fn network_settings(state: NetworkState) -> wire::NetworkSettings {
    let networks: std::collections::BTreeMap<_, _> =
        state.networks.into_iter().map(|(name, endpoint)| (name, network::endpoint(endpoint))).collect();
    let bridge = networks.get("bridge").cloned().unwrap_or_default();
    let ports =
        state.ports.into_iter().map(|(port, list)| (port, list.map(|list| each(list, network::binding))));
    wire::NetworkSettings {
        sandbox_id: state.sandbox_id,
        sandbox_key: state.sandbox_key,
        ports: Some(ports.collect()),
        endpoint_id: bridge.endpoint_id,
        gateway: bridge.gateway,
        global_ipv6_address: bridge.global_ipv6_address,
        global_ipv6_prefix_len: bridge.global_ipv6_prefix_len,
        ip_address: bridge.ip_address,
        ip_prefix_len: bridge.ip_prefix_len,
        ipv6_gateway: bridge.ipv6_gateway,
        mac_address: bridge.mac_address,
        networks: Some(networks),
        ..wire::NetworkSettings::default()
    }
}

/// A container's configuration as `inspect` shows it.
pub(super) fn shown_config(config: ContainerConfig) -> wire::Config {
    wire::Config {
        hostname: config.hostname,
        domainname: config.domainname,
        user: config.user,
        attach_stdin: config.attach_stdin,
        attach_stdout: config.attach_stdout,
        attach_stderr: config.attach_stderr,
        exposed_ports: some_set(config.exposed_ports),
        tty: config.tty,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        env: some_list(config.env),
        cmd: config.cmd,
        healthcheck: config.healthcheck.map(shown_healthcheck),
        args_escaped: config.args_escaped,
        image: config.image,
        volumes: some_set(config.volumes),
        working_dir: config.working_dir,
        entrypoint: config.entrypoint,
        network_disabled: config.network_disabled,
        mac_address: config.mac_address.unwrap_or_default(),
        on_build: config.on_build,
        labels: Some(config.labels),
        stop_signal: config.stop_signal.unwrap_or_default(),
        stop_timeout: config.stop_timeout,
        shell: config.shell,
    }
}

pub(super) fn shown_healthcheck(check: HealthConfig) -> wire::HealthConfig {
    wire::HealthConfig {
        test: some_list(check.test),
        interval: check.interval,
        timeout: check.timeout,
        start_period: check.start_period,
        start_interval: check.start_interval,
        retries: check.retries,
    }
}
