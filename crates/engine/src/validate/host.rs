//! The container's place on the host, resources, mounts and networks aside.

use skiff_runtime::defaults;
use skiff_types::ErrorKind;

use super::invalid;
use crate::{
    Config, Error, Result,
    containers::ON_UNHEALTHY,
    host::Host,
    model::{HostConfig, RestartPolicy},
};

/// Defaults of what was not said.
pub(super) fn fill_in(config: &mut HostConfig, host: &Host, daemon: &Config) {
    if matches!(config.network_mode.as_str(), "" | "default") {
        config.network_mode = "bridge".into();
    }
    if config.shm_size == 0 {
        config.shm_size = daemon.default_shm_size;
    }
    if config.ipc_mode.is_empty() {
        config.ipc_mode = daemon.default_ipc_mode.clone();
    }
    if config.cgroupns_mode.is_empty() {
        let default = if host.cgroup_v2 && !config.privileged { "private" } else { "host" };
        config.cgroupns_mode = daemon.default_cgroupns_mode.clone().unwrap_or_else(|| default.into());
    }
    if config.restart_policy.name.is_empty() {
        config.restart_policy.name = "no".into();
    }
    if config.runtime.is_empty() {
        config.runtime = daemon.default_runtime.clone();
    }
    if config.log_config.kind.is_empty() {
        config.log_config.kind = daemon.log.kind.clone();
    }
    let of_same_driver = config.log_config.kind == daemon.log.kind;
    for (key, value) in &daemon.log.config {
        // What is kept here of a log does not depend on where it goes.
        if of_same_driver || key.starts_with("cache-") {
            config.log_config.config.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    let labelled = |options: &[String]| options.iter().any(|option| option.starts_with("label="));
    let reaches_out = config.privileged || config.ipc_mode == "host" || config.pid_mode == "host";
    if reaches_out && !config.security_opt.as_deref().is_some_and(labelled) {
        config.security_opt.get_or_insert_default().push("label=disable".into());
    }
    let unconfined = config.privileged
        || config
            .security_opt
            .iter()
            .flatten()
            .any(|o| matches!(o.as_str(), "systempaths=unconfined" | "systempaths:unconfined"));
    if unconfined {
        config.masked_paths = None;
        config.readonly_paths = None;
    } else {
        config.masked_paths.get_or_insert_with(defaults::masked_paths);
        config.readonly_paths.get_or_insert_with(defaults::readonly_paths);
    }
}

pub(super) fn check(config: &HostConfig, daemon: &Config) -> Result<()> {
    let restarts = !matches!(config.restart_policy.name.as_str(), "" | "no");
    if config.auto_remove && restarts {
        return invalid("can't create 'AutoRemove' container with restart policy");
    }
    for host in config.extra_hosts.iter().flatten() {
        extra_host(host)?;
    }
    restart_policy(&config.restart_policy)?;
    capabilities("CapAdd", config.cap_add.as_deref())?;
    capabilities("CapDrop", config.cap_drop.as_deref())?;
    if !matches!(config.isolation.as_str(), "" | "default") {
        return invalid(format!("invalid isolation ({}): linux only supports 'default'", config.isolation));
    }
    if config.annotations.contains_key("") {
        return invalid("invalid Annotations: the empty string is not permitted as an annotation key");
    }
    modes(config)?;
    if !matches!(config.userns_mode.as_str(), "" | "host") {
        return invalid(format!("invalid user namespace mode: {}", config.userns_mode));
    }
    skiff_logs::check(&config.log_config.kind, &config.log_config.config).or_else(log_options)?;
    if !(-1000..=1000).contains(&config.oom_score_adj) {
        return invalid(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            config.oom_score_adj
        ));
    }
    if config.shm_size < 0 {
        return invalid("SHM size can not be less than 0");
    }
    if daemon.runtime(&config.runtime).is_none() {
        return invalid(format!("unknown or invalid runtime name: {}", config.runtime));
    }
    for option in config.security_opt.iter().flatten() {
        security_option(option)?;
    }
    if let Some(option) = config.storage_opt.keys().find(|option| !option.eq_ignore_ascii_case("size")) {
        return Err(Error::Internal(format!("Unknown option {option}")));
    }
    // Recorded: Docker answers 500 here.
    config.storage_size().map(drop).map_err(|e| Error::Internal(e.to_string()))
}

fn extra_host(host: &str) -> Result<()> {
    // The command line makes `name=address` and brackets into this.
    let (name, address) = match host.split_once(':') {
        Some((name, address)) if !name.is_empty() => (name, address),
        _ => return invalid(format!("bad format for add-host: \"{host}\"")),
    };
    if name.contains(char::is_whitespace)
        || address == "host-gateway"
        || address.parse::<std::net::IpAddr>().is_ok()
    {
        return Ok(());
    }
    invalid(format!("invalid IP address in add-host: \"{address}\""))
}

/// Checks a restart policy.
///
/// # Errors
/// An unknown name, or a count that does not go with it.
pub(crate) fn restart_policy(policy: &RestartPolicy) -> Result<()> {
    let prefix = "invalid restart policy: ";
    match policy.name.as_str() {
        "" | "no" | "always" | "unless-stopped" if policy.maximum_retry_count != 0 => {
            let negative = if policy.maximum_retry_count < 0 { " and cannot be negative" } else { "" };
            invalid(format!("{prefix}maximum retry count can only be used with 'on-failure'{negative}"))
        }
        "on-failure" | ON_UNHEALTHY if policy.maximum_retry_count < 0 => {
            invalid(format!("{prefix}maximum retry count cannot be negative"))
        }
        "" | "no" | "always" | "unless-stopped" | "on-failure" | ON_UNHEALTHY => Ok(()),
        other => invalid(format!(
            "{prefix}unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        )),
    }
}

fn capabilities(field: &str, names: Option<&[String]>) -> Result<()> {
    for name in names.unwrap_or_default() {
        let full = crate::spec::capability_name(name);
        if full != "ALL" && !crate::spec::is_capability(&full) {
            return invalid(format!("invalid {field}: unknown capability: \"{full}\""));
        }
    }
    Ok(())
}

fn modes(config: &HostConfig) -> Result<()> {
    let of_container = |mode: &str| mode.strip_prefix("container:").is_some_and(|c| !c.is_empty());
    let pid = config.pid_mode.as_str();
    if !(matches!(pid, "" | "host") || of_container(pid)) {
        return invalid(format!("invalid PID mode: {pid}"));
    }
    let ipc = config.ipc_mode.as_str();
    if !(matches!(ipc, "" | "none" | "private" | "shareable" | "host") || of_container(ipc)) {
        return invalid(format!("invalid IPC mode: {ipc}"));
    }
    if !matches!(config.uts_mode.as_str(), "" | "host") {
        return invalid(format!("invalid UTS mode: {}", config.uts_mode));
    }
    if !matches!(config.cgroupns_mode.as_str(), "host" | "private") {
        return invalid(format!("invalid cgroup namespace mode: {}", config.cgroupns_mode));
    }
    Ok(())
}

/// Docker refuses all of them as wrong requests, whatever they are at a start.
fn log_options(error: skiff_logs::OptionError) -> Result<()> {
    match error.kind() {
        ErrorKind::NotImplemented => Err(Error::NotImplemented(error.to_string())),
        _ => invalid(error.to_string()),
    }
}

fn security_option(option: &str) -> Result<()> {
    // Recorded: Docker answers 500 here.
    let bad = |n: u8| Err(Error::Internal(format!("invalid --security-opt {n}: \"{option}\"")));
    if matches!(option, "no-new-privileges" | "systempaths=unconfined" | "systempaths:unconfined" | "disable")
    {
        return Ok(());
    }
    match option.split_once('=').or_else(|| option.split_once(':')) {
        None => bad(1),
        Some(("label" | "apparmor" | "seccomp", _)) => Ok(()),
        Some(("no-new-privileges" | "writable-cgroups", "1" | "t" | "true" | "0" | "f" | "false")) => Ok(()),
        Some(_) => bad(2),
    }
}
