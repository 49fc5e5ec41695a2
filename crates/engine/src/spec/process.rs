//! The first process.

use std::collections::BTreeMap;

use skiff_runtime::{
    capabilities::CapabilitySets,
    spec::{
        LinuxCapabilities, PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process, ProcessBuilder,
        UserBuilder,
    },
};

use super::{INIT_TARGET, SecurityOptions, Surroundings, capability, incomplete};
use crate::{
    Config, Error, Result,
    model::{ContainerRecord, Ulimit},
};

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) fn process(record: &ContainerRecord, with: &Surroundings<'_>) -> Result<Process> {
    let user = UserBuilder::default()
        .uid(with.user.uid)
        .gid(with.user.gid)
        .additional_gids(with.user.groups.clone())
        .build()
        .map_err(incomplete)?;
    let granted = capability::granted(&record.host, with.host)?;
    // The same for whoever runs it: leaving user 0 takes the effective ones away, as setuid(2) does.
    let sets: LinuxCapabilities = CapabilitySets::docker(granted).to_oci();
    let security = SecurityOptions::read(&record.host, with.daemon)?;
    let config = &record.config;
    let mut env = environment(record);
    add_home(&mut env, &with.user.home);
    let mut process = ProcessBuilder::default()
        .args(args(record, with.daemon))
        .env(env)
        .cwd(if config.working_dir.is_empty() { "/" } else { config.working_dir.as_str() })
        .user(user)
        .capabilities(sets)
        .no_new_privileges(security.no_new_privileges)
        .terminal(config.tty)
        .build()
        .map_err(incomplete)?;
    process.set_oom_score_adj(Some(record.host.oom_score_adj as i32));
    let limits = rlimits(record, with.daemon)?;
    process.set_rlimits((!limits.is_empty()).then_some(limits));
    process.set_apparmor_profile(apparmor_profile(record));
    Ok(process)
}

/// The profile of every process of the container.
pub(super) fn apparmor_profile(record: &ContainerRecord) -> Option<String> {
    Some(record.apparmor_profile.clone()).filter(|profile| !profile.is_empty())
}

/// Whether an init of ours is process 1.
pub(super) fn wants_init(record: &ContainerRecord, daemon: &Config) -> bool {
    let own_pids =
        !record.host.pid_mode.starts_with("host") && !record.host.pid_mode.starts_with("container:");
    own_pids && record.host.init.unwrap_or(daemon.init)
}

fn args(record: &ContainerRecord, daemon: &Config) -> Vec<String> {
    if !wants_init(record, daemon) {
        return record.args.clone();
    }
    [INIT_TARGET, "--"].into_iter().map(str::to_owned).chain(record.args.iter().cloned()).collect()
}

/// Docker's variables, then the container's; a name given twice keeps its first place and its last value.
pub(super) fn environment(record: &ContainerRecord) -> Vec<String> {
    let config = &record.config;
    let mut out = vec![PATH.to_owned(), format!("HOSTNAME={}", record.config.hostname)];
    if config.tty {
        out.push("TERM=xterm".to_owned());
    }
    for link in &record.links {
        merge(&mut out, &link.environment);
    }
    merge(&mut out, &config.env);
    out
}

/// The user's directory, if nothing says another one; it comes last, as runc puts it.
pub(super) fn add_home(env: &mut Vec<String>, home: &str) {
    if !home.is_empty() && !env.iter().any(|v| v.starts_with("HOME=")) {
        env.push(format!("HOME={home}"));
    }
}

/// Puts variables over others. A name without `=` takes one away.
pub(super) fn merge(base: &mut Vec<String>, over: &[String]) {
    let name = |v: &str| v.split('=').next().unwrap_or_default().to_owned();
    let mut places: BTreeMap<String, usize> = base.iter().enumerate().map(|(n, v)| (name(v), n)).collect();
    let mut taken = Vec::new();
    for variable in over {
        let key = name(variable);
        match (variable.contains('='), places.get(&key)) {
            (true, Some(at)) => base[*at].clone_from(variable),
            (true, None) => {
                places.insert(key, base.len());
                base.push(variable.clone());
            }
            (false, Some(at)) => taken.push(*at),
            (false, None) => {}
        }
    }
    let mut at = 0;
    base.retain(|_| {
        at += 1;
        !taken.contains(&(at - 1))
    });
}

pub(super) fn rlimits(record: &ContainerRecord, daemon: &Config) -> Result<Vec<PosixRlimit>> {
    let mut limits: BTreeMap<&str, &Ulimit> =
        daemon.default_ulimits.iter().map(|limit| (limit.name.as_str(), limit)).collect();
    limits.extend(record.host.resources.ulimits.iter().flatten().map(|limit| (limit.name.as_str(), limit)));
    limits.into_values().map(rlimit).collect()
}

fn rlimit(limit: &Ulimit) -> Result<PosixRlimit> {
    let name = format!("RLIMIT_{}", limit.name.to_uppercase());
    let kind: PosixRlimitType = serde_json::from_value(serde_json::Value::String(name.clone()))
        .map_err(|_| Error::create_failed(format!("wrong rlimit value: {name}"), 128))?;
    PosixRlimitBuilder::default()
        .typ(kind)
        // -1 is no limit, which the kernel writes as the largest number.
        .soft(limit.soft as u64)
        .hard(limit.hard as u64)
        .build()
        .map_err(incomplete)
}
