//! A further process of a running container.

use skiff_runtime::{
    capabilities::CapabilitySets,
    spec::{LinuxBuilder, Process, ProcessBuilder, Spec, SpecBuilder, UserBuilder},
};

use super::{SecurityOptions, User, capability, cgroup_path, incomplete, namespaces, process};
use crate::{
    Config, Result,
    host::Host,
    model::{ContainerRecord, ExecConfig},
};

/// The process, and as much of its container's specification as joining it takes.
///
/// # Errors
/// A capability that is not there to give.
pub(crate) fn exec(
    record: &ContainerRecord,
    config: &ExecConfig,
    user: &User,
    host: &Host,
    daemon: &Config,
) -> Result<(Process, Spec)> {
    let granted =
        if config.privileged { host.capabilities } else { capability::granted(&record.host, host)? };
    let security = SecurityOptions::read(&record.host, daemon)?;
    let who = UserBuilder::default()
        .uid(user.uid)
        .gid(user.gid)
        .additional_gids(user.groups.clone())
        .build()
        .map_err(incomplete)?;
    let mut env = process::environment(record);
    if config.tty && !env.iter().any(|v| v.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
    process::merge(&mut env, &config.env);
    process::add_home(&mut env, &user.home);
    let cwd = [&config.working_dir, &record.config.working_dir].into_iter().find(|d| !d.is_empty());
    let mut process = ProcessBuilder::default()
        .args(config.cmd.clone())
        .env(env)
        .cwd(cwd.map_or("/", String::as_str))
        .user(who)
        .capabilities(CapabilitySets::docker(granted).to_oci())
        .no_new_privileges(security.no_new_privileges)
        .terminal(config.tty)
        .build()
        .map_err(incomplete)?;
    process.set_apparmor_profile(process::apparmor_profile(record));
    process.set_oom_score_adj(Some(record.host.oom_score_adj as i32));
    let limits = process::rlimits(record, daemon)?;
    process.set_rlimits((!limits.is_empty()).then_some(limits));
    let linux = LinuxBuilder::default()
        .namespaces(namespaces::own(record))
        .cgroups_path(cgroup_path(record, daemon))
        .build()
        .map_err(incomplete)?;
    let spec = SpecBuilder::default().version(super::VERSION).linux(linux).build().map_err(incomplete)?;
    Ok((process, spec))
}
