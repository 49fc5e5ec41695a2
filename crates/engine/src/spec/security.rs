//! `--security-opt`.

use crate::{Config, Error, Result, model::HostConfig};

/// What the options say. Labels are kept in the record, but there is no SELinux support yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SecurityOptions {
    pub(crate) no_new_privileges: bool,
    pub(crate) seccomp: Seccomp,
    pub(crate) apparmor: Option<String>,
}

/// Which system call filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Seccomp {
    /// Docker's.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// This profile, in Docker's JSON.
    Profile(String),
}

impl SecurityOptions {
    /// Reads the options, the daemon's defaults beneath them.
    ///
    /// # Errors
    /// The daemon's profile cannot be read.
    pub(crate) fn read(host: &HostConfig, daemon: &Config) -> Result<Self> {
        let mut out = Self { no_new_privileges: daemon.no_new_privileges, ..Self::default() };
        let mut seccomp = None;
        for option in host.security_opt.iter().flatten() {
            let (key, value) = option
                .split_once('=')
                .or_else(|| option.split_once(':'))
                .unwrap_or((option.as_str(), "true"));
            match key {
                "no-new-privileges" => out.no_new_privileges = matches!(value, "1" | "t" | "true"),
                "apparmor" => out.apparmor = Some(value.to_owned()),
                "seccomp" => seccomp = Some(value.to_owned()),
                _ => {}
            }
        }
        out.seccomp = match seccomp.as_deref() {
            _ if host.privileged => Seccomp::Unconfined,
            None => default_profile(daemon)?,
            Some("unconfined") => Seccomp::Unconfined,
            Some("builtin") => Seccomp::Default,
            Some(profile) => Seccomp::Profile(profile.to_owned()),
        };
        Ok(out)
    }
}

/// Whether the container may make cgroups below its own and write to them.
pub(super) fn writable_cgroups(host: &HostConfig) -> bool {
    let options = host.security_opt.iter().flatten();
    let mut asked = options.filter_map(|option| {
        let (key, value) = option.split_once('=').or_else(|| option.split_once(':'))?;
        (key == "writable-cgroups").then_some(matches!(value, "1" | "t" | "true"))
    });
    asked.next_back().unwrap_or(false)
}

fn default_profile(daemon: &Config) -> Result<Seccomp> {
    match &daemon.seccomp_profile {
        None => Ok(Seccomp::Default),
        Some(path) if path.as_os_str() == "unconfined" => Ok(Seccomp::Unconfined),
        Some(path) => fs_err::read_to_string(path)
            .map(Seccomp::Profile)
            .map_err(|e| Error::Internal(format!("opening seccomp profile: {e}"))),
    }
}
