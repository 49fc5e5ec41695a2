//! Compiled system call filters, kept for as long as the daemon lives: one per profile and set of capabilities.

use std::{collections::HashMap, sync::Mutex};

use skiff_runtime::{
    capabilities::CapSet,
    plan::SeccompFilter,
    seccomp::{self, Host, ProfileError},
    spec::LinuxSeccomp,
};

use crate::{Error, Result, failure, spec::Seccomp};

/// The filters made so far.
#[derive(Default)]
pub(crate) struct Filters {
    made: Mutex<HashMap<(Seccomp, CapSet), Option<SeccompFilter>>>,
}

impl Filters {
    /// The filter of a profile for a process with these capabilities; none if it is unconfined.
    ///
    /// # Errors
    /// The profile cannot be read.
    pub(crate) fn get(&self, profile: &Seccomp, capabilities: CapSet) -> Result<Option<SeccompFilter>> {
        let key = (profile.clone(), capabilities);
        let mut made = self.made.lock().expect("no panic under this lock");
        if let Some(filter) = made.get(&key) {
            return Ok(filter.clone());
        }
        let filter = compile(profile, capabilities)?;
        made.insert(key, filter.clone());
        Ok(filter)
    }
}

fn compile(profile: &Seccomp, capabilities: CapSet) -> Result<Option<SeccompFilter>> {
    let Some(profile) = resolve(profile, capabilities)? else { return Ok(None) };
    let program = seccomp::compile(&profile).map_err(|e| Error::Internal(e.to_string()))?;
    Ok(Some(SeccompFilter { program, listener: None }))
}

/// The rules of a profile that hold for a process with these capabilities on this host; none if it is unconfined.
///
/// # Errors
/// The profile cannot be read.
pub(crate) fn resolve(profile: &Seccomp, capabilities: CapSet) -> Result<Option<LinuxSeccomp>> {
    let host = Host::current();
    match profile {
        Seccomp::Unconfined => Ok(None),
        Seccomp::Default => Ok(Some(seccomp::default_profile(capabilities, &host))),
        Seccomp::Profile(json) => seccomp::parse_docker_profile(json, capabilities, &host).map_err(wrong),
    }
}

/// Docker reads a profile's structure itself; words in it that mean nothing are found by its runtime.
fn wrong(error: ProfileError) -> Error {
    match error {
        ProfileError::Word { .. } | ProfileError::Flag { .. } => {
            Error::create_failed(error, failure::NOT_STARTED)
        }
        error => Error::Internal(error.to_string()),
    }
}
