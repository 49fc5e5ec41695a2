//! The host's side of a container's configuration, both ways.

use skiff_api::model as wire;
use skiff_engine::model::{
    BlkioDevice, BlkioWeight, DeviceMapping, DeviceRequest, HostConfig, LogConfig, Resources, RestartPolicy,
    Secret, SecretData, SecretSource, Ulimit,
};

use super::{each, mount, network, some_list, some_map};

/// What is asked for.
pub(super) fn asked(host: wire::HostConfig) -> HostConfig {
    let resources = asked_resources(&host);
    let bindings = |(port, list): (String, Option<Vec<_>>)| {
        (port, each(list.unwrap_or_default(), network::asked_binding))
    };
    HostConfig {
        binds: host.binds,
        container_id_file: host.container_id_file,
        log_config: LogConfig {
            kind: host.log_config.r#type,
            config: host.log_config.config.unwrap_or_default(),
        },
        network_mode: host.network_mode,
        port_bindings: host.port_bindings.map(|ports| ports.into_iter().map(bindings).collect()),
        restart_policy: asked_policy(host.restart_policy),
        auto_remove: host.auto_remove,
        volume_driver: host.volume_driver,
        volumes_from: host.volumes_from,
        console_size: host.console_size,
        annotations: host.annotations.unwrap_or_default(),
        mounts: each(host.mounts.unwrap_or_default(), mount::asked),
        cap_add: host.cap_add,
        cap_drop: host.cap_drop,
        cgroupns_mode: host.cgroupns_mode,
        dns: host.dns,
        dns_options: host.dns_options,
        dns_search: host.dns_search,
        extra_hosts: host.extra_hosts,
        group_add: host.group_add,
        ipc_mode: host.ipc_mode,
        cgroup: host.cgroup,
        links: host.links,
        oom_score_adj: host.oom_score_adj,
        pid_mode: host.pid_mode,
        privileged: host.privileged,
        publish_all_ports: host.publish_all_ports,
        readonly_rootfs: host.readonly_rootfs,
        security_opt: host.security_opt,
        storage_opt: host.storage_opt.unwrap_or_default(),
        tmpfs: host.tmpfs.unwrap_or_default(),
        uts_mode: host.uts_mode,
        userns_mode: host.userns_mode,
        shm_size: host.shm_size,
        sysctls: host.sysctls.unwrap_or_default(),
        runtime: host.runtime,
        secrets: each(host.secrets.unwrap_or_default(), asked_secret),
        isolation: host.isolation,
        masked_paths: host.masked_paths,
        readonly_paths: host.readonly_paths,
        init: host.init,
        resources,
    }
}

pub(super) fn asked_policy(policy: wire::RestartPolicy) -> RestartPolicy {
    RestartPolicy { name: policy.name, maximum_retry_count: policy.maximum_retry_count }
}

/// The limits that are asked for.
pub(super) fn asked_resources(host: &wire::HostConfig) -> Resources {
    let rates = |list: &Option<Vec<wire::ThrottleDevice>>| {
        let rate = |d: &wire::ThrottleDevice| BlkioDevice { path: d.path.clone(), rate: d.rate };
        list.as_ref().map(|list| each(list, rate))
    };
    let weight = |d: &wire::WeightDevice| BlkioWeight { path: d.path.clone(), weight: d.weight };
    let device = |d: &wire::DeviceMapping| DeviceMapping {
        path_on_host: d.path_on_host.clone(),
        path_in_container: d.path_in_container.clone(),
        cgroup_permissions: d.cgroup_permissions.clone(),
    };
    let request = |d: &wire::DeviceRequest| DeviceRequest {
        driver: d.driver.clone(),
        count: d.count,
        device_ids: d.device_ids.clone(),
        capabilities: d.capabilities.clone(),
        options: d.options.clone(),
    };
    let ulimit = |u: &wire::Ulimit| Ulimit { name: u.name.clone(), soft: u.soft, hard: u.hard };
    Resources {
        cpu_shares: host.cpu_shares,
        memory: host.memory,
        nano_cpus: host.nano_cpus,
        cgroup_parent: host.cgroup_parent.clone(),
        blkio_weight: host.blkio_weight,
        blkio_weight_device: host.blkio_weight_device.as_ref().map(|list| each(list, weight)),
        blkio_device_read_bps: rates(&host.blkio_device_read_bps),
        blkio_device_write_bps: rates(&host.blkio_device_write_bps),
        blkio_device_read_iops: rates(&host.blkio_device_read_iops),
        blkio_device_write_iops: rates(&host.blkio_device_write_iops),
        cpu_count: host.cpu_count,
        cpu_period: host.cpu_period,
        cpu_quota: host.cpu_quota,
        cpu_realtime_period: host.cpu_realtime_period,
        cpu_realtime_runtime: host.cpu_realtime_runtime,
        cpuset_cpus: host.cpuset_cpus.clone(),
        cpuset_mems: host.cpuset_mems.clone(),
        devices: host.devices.as_ref().map(|list| each(list, device)),
        device_cgroup_rules: host.device_cgroup_rules.clone(),
        device_requests: host.device_requests.as_ref().map(|list| each(list, request)),
        kernel_memory_tcp: host.kernel_memory_tcp,
        memory_reservation: host.memory_reservation,
        memory_swap: host.memory_swap,
        memory_swappiness: host.memory_swappiness,
        oom_kill_disable: host.oom_kill_disable,
        pids_limit: host.pids_limit,
        ulimits: host.ulimits.as_ref().map(|list| each(list, ulimit)),
    }
}

/// What was asked for, with what was filled in.
pub(super) fn shown(host: HostConfig) -> wire::HostConfig {
    let bindings = |(port, list): (String, Vec<_>)| (port, Some(each(list, network::binding)));
    let mut shown = wire::HostConfig {
        binds: host.binds,
        container_id_file: host.container_id_file,
        log_config: wire::LogConfig { r#type: host.log_config.kind, config: Some(host.log_config.config) },
        network_mode: host.network_mode,
        port_bindings: host.port_bindings.map(|ports| ports.into_iter().map(bindings).collect()),
        restart_policy: wire::RestartPolicy {
            name: host.restart_policy.name,
            maximum_retry_count: host.restart_policy.maximum_retry_count,
        },
        auto_remove: host.auto_remove,
        volume_driver: host.volume_driver,
        volumes_from: host.volumes_from,
        console_size: host.console_size,
        annotations: some_map(host.annotations),
        cap_add: host.cap_add,
        cap_drop: host.cap_drop,
        cgroupns_mode: host.cgroupns_mode,
        dns: host.dns,
        dns_options: host.dns_options,
        dns_search: host.dns_search,
        extra_hosts: host.extra_hosts,
        group_add: host.group_add,
        ipc_mode: host.ipc_mode,
        cgroup: host.cgroup,
        links: host.links,
        oom_score_adj: host.oom_score_adj,
        pid_mode: host.pid_mode,
        privileged: host.privileged,
        publish_all_ports: host.publish_all_ports,
        readonly_rootfs: host.readonly_rootfs,
        security_opt: host.security_opt,
        storage_opt: some_map(host.storage_opt),
        tmpfs: some_map(host.tmpfs),
        uts_mode: host.uts_mode,
        userns_mode: host.userns_mode,
        shm_size: host.shm_size,
        sysctls: some_map(host.sysctls),
        runtime: host.runtime,
        secrets: some_list(each(host.secrets, shown_secret)),
        isolation: host.isolation,
        mounts: some_list(each(host.mounts, mount::shown)),
        masked_paths: host.masked_paths,
        readonly_paths: host.readonly_paths,
        init: host.init,
        ..wire::HostConfig::default()
    };
    show_resources(host.resources, &mut shown);
    shown
}

fn show_resources(resources: Resources, shown: &mut wire::HostConfig) {
    let rate = |d: BlkioDevice| wire::ThrottleDevice { path: d.path, rate: d.rate };
    let rates = |list: Option<Vec<_>>| list.map(|list| each(list, rate));
    let weight = |d: BlkioWeight| wire::WeightDevice { path: d.path, weight: d.weight };
    let device = |d: DeviceMapping| wire::DeviceMapping {
        path_on_host: d.path_on_host,
        path_in_container: d.path_in_container,
        cgroup_permissions: d.cgroup_permissions,
    };
    let request = |d: DeviceRequest| wire::DeviceRequest {
        driver: d.driver,
        count: d.count,
        device_ids: d.device_ids,
        capabilities: d.capabilities,
        options: d.options,
    };
    let ulimit = |u: Ulimit| wire::Ulimit { name: u.name, soft: u.soft, hard: u.hard };
    shown.cpu_shares = resources.cpu_shares;
    shown.memory = resources.memory;
    shown.nano_cpus = resources.nano_cpus;
    shown.cgroup_parent = resources.cgroup_parent;
    shown.blkio_weight = resources.blkio_weight;
    shown.blkio_weight_device = resources.blkio_weight_device.map(|list| each(list, weight));
    shown.blkio_device_read_bps = rates(resources.blkio_device_read_bps);
    shown.blkio_device_write_bps = rates(resources.blkio_device_write_bps);
    shown.blkio_device_read_iops = rates(resources.blkio_device_read_iops);
    shown.blkio_device_write_iops = rates(resources.blkio_device_write_iops);
    shown.cpu_count = resources.cpu_count;
    shown.cpu_period = resources.cpu_period;
    shown.cpu_quota = resources.cpu_quota;
    shown.cpu_realtime_period = resources.cpu_realtime_period;
    shown.cpu_realtime_runtime = resources.cpu_realtime_runtime;
    shown.cpuset_cpus = resources.cpuset_cpus;
    shown.cpuset_mems = resources.cpuset_mems;
    shown.devices = resources.devices.map(|list| each(list, device));
    shown.device_cgroup_rules = resources.device_cgroup_rules;
    shown.device_requests = resources.device_requests.map(|list| each(list, request));
    shown.kernel_memory_tcp = resources.kernel_memory_tcp;
    shown.memory_reservation = resources.memory_reservation;
    shown.memory_swap = resources.memory_swap;
    shown.memory_swappiness = resources.memory_swappiness;
    shown.oom_kill_disable = resources.oom_kill_disable;
    shown.pids_limit = resources.pids_limit;
    shown.ulimits = resources.ulimits.map(|list| each(list, ulimit));
}

fn asked_secret(secret: wire::ContainerSecret) -> Secret {
    let source = match secret.source.is_empty() {
        true => SecretSource::Given(SecretData { bytes: secret.data }),
        false => SecretSource::File(secret.source),
    };
    let wire::ContainerSecret { id, target, uid, gid, mode, .. } = secret;
    Secret { id, source, target, uid, gid, mode }
}

fn shown_secret(secret: Secret) -> wire::ContainerSecret {
    let source = match secret.source {
        SecretSource::File(path) => path,
        SecretSource::Given(_) => String::new(),
    };
    let Secret { id, target, uid, gid, mode, .. } = secret;
    wire::ContainerSecret { id, source, data: Vec::new(), target, uid, gid, mode }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever a client asks for must be seen again in `inspect`.
    #[test]
    fn everything_that_is_asked_for_is_shown_again() {
        let text = include_str!("testdata/host_config.json");
        let asked_for: wire::HostConfig = skiff_api::decode::from_slice(text.as_bytes()).unwrap();
        let given: serde_json::Value = serde_json::from_str(text).unwrap();
        let back = serde_json::to_value(shown(asked(asked_for))).unwrap();
        for (key, value) in given.as_object().unwrap() {
            assert_eq!(&back[key], value, "{key}");
        }
    }
}
