//! Requests to make or change a container, with what older versions of the API meant by them.

use std::collections::BTreeMap;

use skiff_api::{ApiVersion, model as wire};
use skiff_engine::model::{
    ContainerConfig, CreateRequest, EndpointConfig, HealthConfig, HostConfig, UpdateRequest,
};

use super::{host, network};
use crate::failure::{Failure, Outcome};

/// The request without its name and platform, and warnings that come before the engine's.
pub(crate) fn request(
    wire: wire::CreateRequest,
    version: ApiVersion,
) -> Outcome<(CreateRequest, Vec<String>)> {
    let Some(config) = wire.config else {
        return Err(Failure::invalid("config cannot be empty in order to create a container"));
    };
    let mut config = asked_config(config);
    let wire_host = wire.host_config.unwrap_or_default();
    let mut warnings = of_other_systems(&wire_host)?;
    let wire_kernel_memory = wire_host.kernel_memory;
    let mut asked = host::asked(wire_host);
    let networks = wire.networking_config.unwrap_or_default();
    if let Some((name, _)) =
        networks.endpoints_config.iter().flatten().find(|(_, endpoint)| endpoint.is_none())
    {
        return Err(Failure::invalid(format!("invalid config for network {name}: EndpointsConfig is nil")));
    }
    let mut endpoints = network::asked(networks);
    if matches!(asked.network_mode.as_str(), "" | "default") {
        asked.network_mode = "bridge".to_owned();
        if let Some(endpoint) = endpoints.remove("default") {
            endpoints.insert("bridge".to_owned(), endpoint);
        }
    }
    if !version.at_least(40) {
        asked.resources.kernel_memory_tcp = 0;
    }
    warnings.extend(kernel_memory(wire_kernel_memory, version)?);
    as_of_version(&mut config, &mut asked, &mut endpoints, version)?;
    check_mounts(&mut asked, version)?;
    warnings.extend(volume_driver_warning(&asked, version));
    warnings.extend(move_mac_address(&mut config, &asked, &mut endpoints, version)?);
    asked.resources.pids_limit = asked.resources.pids_limit.filter(|limit| *limit > 0);
    let request = CreateRequest { name: None, platform: String::new(), config, host: asked, endpoints };
    Ok((request, warnings))
}

/// What only Windows can do.
fn of_other_systems(host: &wire::HostConfig) -> Outcome<Vec<String>> {
    if host.io_maximum_bandwidth != 0 {
        return Err(Failure::invalid(
            "invalid option: QoS maximum bandwidth configuration is not supported on linux",
        ));
    }
    if host.io_maximum_iops != 0 {
        return Err(Failure::invalid(
            "invalid option: QoS maximum IOPs configuration is not supported on linux",
        ));
    }
    let percent = host.cpu_percent > 0;
    Ok(percent
        .then(|| "linux does not support CPU percent. Percent discarded.".to_owned())
        .into_iter()
        .collect())
}

/// Until 1.41 the kernel's own memory could be limited. Kernels have stopped to do it.
fn kernel_memory(bytes: i64, version: ApiVersion) -> Outcome<Option<String>> {
    const LEAST: i64 = 6 << 20;
    if bytes <= 0 || version.at_least(42) {
        return Ok(None);
    }
    if bytes < LEAST {
        return Err(Failure::invalid("Minimum kernel memory limit allowed is 6MB"));
    }
    Ok(Some(
        "Your kernel does not support kernel memory limit capabilities or the cgroup is not mounted. Limitation discarded."
            .to_owned(),
    ))
}

/// Takes away what the version did not know, and fills in its defaults.
fn as_of_version(
    config: &mut ContainerConfig,
    host: &mut HostConfig,
    endpoints: &mut BTreeMap<String, EndpointConfig>,
    version: ApiVersion,
) -> Outcome<()> {
    if !version.at_least(25) {
        host.auto_remove = false;
    }
    if !version.at_least(40) && host.ipc_mode.is_empty() {
        host.ipc_mode = "shareable".to_owned();
    }
    if !version.at_least(42) {
        host.console_size = [0, 0];
    }
    if !version.at_least(43) {
        host.annotations.clear();
    }
    if !version.at_least(44) {
        if let Some(check) = &mut config.healthcheck {
            check.start_interval = 0;
        }
        if endpoints.len() > 1 {
            let names: Vec<_> = endpoints.keys().map(String::as_str).collect();
            return Err(Failure::invalid(format!(
                "Container cannot be created with multiple network endpoints: {}",
                names.join(", ")
            )));
        }
    }
    if !version.at_least(48) {
        for endpoint in endpoints.values_mut() {
            endpoint.gw_priority = 0;
        }
    }
    Ok(())
}

fn check_mounts(host: &mut HostConfig, version: ApiVersion) -> Outcome<()> {
    for mount in &mut host.mounts {
        if !version.at_least(42) {
            mount.volume = mount.volume.take().filter(|_| mount.kind == "volume");
            mount.tmpfs = mount.tmpfs.take().filter(|_| mount.kind == "tmpfs");
        }
        if let Some(bind) = &mut mount.bind {
            bind.non_recursive &= version.at_least(40);
            bind.create_mountpoint &= version.at_least(42);
            if bind.read_only_force_recursive && mount.kind == "bind" && !version.at_least(44) {
                return Err(Failure::invalid("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer"));
            }
        }
        // Before 1.44 read-only meant the topmost mount only.
        if !version.at_least(44) && mount.kind == "bind" && mount.read_only {
            mount.bind.get_or_insert_default().read_only_non_recursive = true;
        }
        let misplaced = [
            ("VolumeOptions", mount.volume.is_some() && mount.kind != "volume"),
            ("BindOptions", mount.bind.is_some() && mount.kind != "bind"),
            ("TmpfsOptions", mount.tmpfs.is_some() && mount.kind != "tmpfs"),
        ];
        if version.at_least(42)
            && let Some((options, _)) = misplaced.iter().find(|(_, misplaced)| *misplaced)
        {
            return Err(Failure::invalid(format!(
                "{options} must not be specified on mount type {:?}",
                mount.kind
            )));
        }
        if mount.volume.as_ref().is_some_and(|v| !v.subpath.is_empty()) && !version.at_least(45) {
            return Err(Failure::invalid("VolumeOptions.Subpath needs API v1.45 or newer"));
        }
        if mount.kind == "image" && !version.at_least(48) {
            return Err(Failure::invalid("Mount type \"Image\" needs API v1.48 or newer"));
        }
    }
    Ok(())
}

fn volume_driver_warning(host: &HostConfig, version: ApiVersion) -> Option<String> {
    let undriven = |mount: &skiff_engine::model::MountSpec| {
        mount.kind == "volume" && mount.volume.as_ref().is_none_or(|v| v.driver.is_empty())
    };
    let ignored = version.at_least(48) && !host.volume_driver.is_empty() && host.mounts.iter().any(undriven);
    ignored.then(|| {
        "WARNING: the container-wide volume-driver configuration is ignored for volumes specified via 'mount'. Use \
         '--mount type=volume,volume-driver=...' instead"
            .to_owned()
    })
}

/// Until 1.43 a hardware address belonged to the container, now it belongs to an endpoint.
fn move_mac_address(
    config: &mut ContainerConfig,
    host: &HostConfig,
    endpoints: &mut BTreeMap<String, EndpointConfig>,
    version: ApiVersion,
) -> Outcome<Option<String>> {
    let mode = host.network_mode.as_str();
    let has_link = mode != "host" && mode != "none" && !mode.starts_with("container:");
    let Some(address) = config.mac_address.clone() else {
        if !version.at_least(44) {
            endpoints.values_mut().for_each(|endpoint| endpoint.mac_address.clear());
        }
        return Ok(None);
    };
    let old = !version.at_least(44);
    if old && !has_link {
        return Err(Failure::invalid("conflicting options: mac-address and the network mode"));
    }
    if has_link {
        let single = old && !endpoints.is_empty();
        let endpoint = match single {
            true => endpoints.values_mut().next(),
            false if endpoints.is_empty() => Some(endpoints.entry(mode.to_owned()).or_default()),
            false => endpoints.get_mut(mode),
        };
        let Some(endpoint) = endpoint else {
            return Err(Failure::invalid(
                "unable to migrate container-wide MAC address to a specific network: HostConfig.NetworkMode must \
                 match the identity of a network in NetworkSettings.Networks",
            ));
        };
        if !old && !endpoint.mac_address.is_empty() && endpoint.mac_address != address {
            return Err(Failure::invalid(
                "the container-wide MAC address must match the endpoint-specific MAC address for the main network, \
                 or be left empty",
            ));
        }
        endpoint.mac_address = address;
    }
    if old {
        return Ok(None);
    }
    config.mac_address = None;
    let warning = "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig \
                   instead.";
    Ok(Some(warning.to_owned()))
}

pub(crate) fn asked_config(config: wire::Config) -> ContainerConfig {
    let some = |text: String| (!text.is_empty()).then_some(text);
    ContainerConfig {
        hostname: config.hostname,
        domainname: config.domainname,
        user: config.user,
        attach_stdin: config.attach_stdin,
        attach_stdout: config.attach_stdout,
        attach_stderr: config.attach_stderr,
        exposed_ports: config.exposed_ports.unwrap_or_default().into_keys().collect(),
        tty: config.tty,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        env: config.env.unwrap_or_default(),
        cmd: config.cmd,
        healthcheck: config.healthcheck.map(|check| HealthConfig {
            test: check.test.unwrap_or_default(),
            interval: check.interval,
            timeout: check.timeout,
            start_period: check.start_period,
            start_interval: check.start_interval,
            retries: check.retries,
        }),
        args_escaped: config.args_escaped,
        image: config.image,
        volumes: config.volumes.unwrap_or_default().into_keys().collect(),
        working_dir: config.working_dir,
        entrypoint: config.entrypoint,
        network_disabled: config.network_disabled,
        mac_address: some(config.mac_address),
        on_build: config.on_build,
        labels: config.labels.unwrap_or_default(),
        stop_signal: some(config.stop_signal),
        stop_timeout: config.stop_timeout,
        shell: config.shell,
    }
}

/// What `update` shall change, and what of it only Windows can.
///
/// # Errors
/// Limits that only Windows has.
pub(crate) fn update(wire: wire::HostConfig) -> Outcome<(UpdateRequest, Vec<String>)> {
    if wire.io_maximum_bandwidth != 0 || wire.io_maximum_iops != 0 {
        return Err(Failure::invalid(
            "Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps",
        ));
    }
    let warnings = of_other_systems(&wire)?;
    let mut resources = host::asked_resources(&wire);
    // 0 and everything below mean "no limit".
    resources.pids_limit = resources.pids_limit.map(|limit| limit.max(0));
    let policy = Some(wire.restart_policy).filter(|p| *p != wire::RestartPolicy::default());
    Ok((UpdateRequest { resources, restart_policy: policy.map(host::asked_policy) }, warnings))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_api::decode;

    fn read(json: &str, minor: u32) -> Result<(CreateRequest, Vec<String>), String> {
        let wire = wire::CreateRequest::decode(decode::value(json.as_bytes()).unwrap()).unwrap();
        request(wire, ApiVersion::new(1, minor)).map_err(|e| e.message)
    }

    #[test]
    fn the_default_network_is_the_bridge() {
        let body = r#"{"Image":"a","HostConfig":{"NetworkMode":"default"},
            "NetworkingConfig":{"EndpointsConfig":{"default":{"Aliases":["x"]}}}}"#;
        let (request, _) = read(body, 51).unwrap();
        assert_eq!(request.host.network_mode, "bridge");
        assert_eq!(request.endpoints["bridge"].aliases, Some(vec!["x".to_owned()]));
        assert_eq!(read(r#"{"Image":"a"}"#, 51).unwrap().0.host.network_mode, "bridge");
    }

    #[test]
    fn old_versions_keep_their_defaults() {
        let body =
            r#"{"Image":"a","HostConfig":{"AutoRemove":true,"ConsoleSize":[1,2],"Annotations":{"a":"b"}}}"#;
        let (old, _) = read(body, 24).unwrap();
        assert_eq!(
            (old.host.auto_remove, old.host.ipc_mode.as_str(), old.host.console_size),
            (false, "shareable", [0, 0])
        );
        assert!(old.host.annotations.is_empty());
        let (new, _) = read(body, 51).unwrap();
        assert_eq!(
            (new.host.auto_remove, new.host.ipc_mode.as_str(), new.host.console_size),
            (true, "", [1, 2])
        );
    }

    #[test]
    fn misplaced_options_are_refused() {
        let body = r#"{"Image":"a","HostConfig":{"Mounts":[{"Type":"tmpfs","BindOptions":{}}]}}"#;
        assert_eq!(read(body, 51).unwrap_err(), "BindOptions must not be specified on mount type \"tmpfs\"");
        let body = r#"{"Image":"a","HostConfig":{"Mounts":[{"Type":"image"}]}}"#;
        assert_eq!(read(body, 47).unwrap_err(), "Mount type \"Image\" needs API v1.48 or newer");
        assert_eq!(read("{}", 51).unwrap_err(), "config cannot be empty in order to create a container");
    }

    #[test]
    fn a_containers_hardware_address_moves_to_its_endpoint() {
        let body = r#"{"Image":"a","MacAddress":"02:00:00:00:00:01"}"#;
        let (request, warnings) = read(body, 51).unwrap();
        assert_eq!(request.endpoints["bridge"].mac_address, "02:00:00:00:00:01");
        assert_eq!((request.config.mac_address, warnings.len()), (None, 1));
        let (request, warnings) = read(body, 43).unwrap();
        assert_eq!(request.endpoints["bridge"].mac_address, "02:00:00:00:00:01");
        assert_eq!((request.config.mac_address.is_some(), warnings.len()), (true, 0));
    }

    #[test]
    fn no_limit_of_processes_has_many_spellings() {
        for limit in ["0", "-1", "-7"] {
            let body = format!(r#"{{"Image":"a","HostConfig":{{"PidsLimit":{limit}}}}}"#);
            assert_eq!(read(&body, 51).unwrap().0.host.resources.pids_limit, None);
        }
    }
}
