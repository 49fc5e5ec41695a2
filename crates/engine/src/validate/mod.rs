//! Everything that can be wrong with a request to create or update a container, found before anything is done.
//!
//! Pure functions: they see the request, the host's facts and the daemon's configuration, and touch nothing, save that
//! the sources of `--mount type=bind` are looked for. Texts and their order are Docker's, held against recordings of
//! a real one (`tests.rs`).

mod config;
mod endpoint;
mod host;
mod mounts;
mod network;
mod resources;
mod secrets;

use crate::{
    Config, Error, Result,
    host::Host,
    model::{CreateRequest, MountPoint},
};

pub(crate) use endpoint::{check as check_endpoint, faults as settings_faults, sysctls as endpoint_sysctls};
pub(crate) use host::restart_policy;
pub(crate) use mounts::{clean as clean_path, volumes_from_mode};
pub(crate) use network::{NetworkMode, network_mode, parse_host_port, parse_port};
pub(crate) use resources::{check as resources, update as resources_update};

/// A request that can be carried out, as far as the request alone can tell.
pub(crate) struct Checked {
    /// What was changed or left out.
    pub(crate) warnings: Vec<String>,
    /// Mounts asked for, not yet those of the image.
    pub(crate) mounts: Vec<MountPoint>,
}

/// Fills in defaults and checks everything.
///
/// # Errors
/// The first thing that is wrong, in Docker's words.
pub(crate) fn create(request: &mut CreateRequest, host: &Host, daemon: &Config) -> Result<Checked> {
    let mut warnings = Vec::new();
    config::check(&request.config)?;
    config::fill_in(&mut request.config);
    host::fill_in(&mut request.host, host, daemon);
    host::check(&request.host, daemon)?;
    network::check(&request.config, &request.host)?;
    network::check_endpoints(request)?;
    resources::check(&mut request.host.resources, host, &mut warnings)?;
    let mounts = mounts::check(&request.host)?;
    secrets::check(&mut request.host)?;
    let taken = |mount: &&MountPoint| request.host.secrets.iter().any(|s| s.target == mount.destination);
    if let Some(mount) = mounts.iter().find(taken) {
        return invalid(format!("Duplicate mount point: {}", mount.destination));
    }
    Ok(Checked { warnings, mounts })
}

fn invalid<T>(text: impl Into<String>) -> Result<T> {
    Err(Error::Invalid(text.into()))
}

/// Checks the form of a container's name, which has no leading slash.
///
/// # Errors
/// [`Error::InvalidName`] with the name as `shown`.
pub(crate) fn name(name: &str, shown: &str) -> Result<()> {
    let mut chars = name.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_alphanumeric());
    let rest = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if first && name.len() >= 2 && chars.all(rest) {
        Ok(())
    } else {
        Err(Error::InvalidName(shown.to_owned()))
    }
}

#[cfg(test)]
mod tests;
