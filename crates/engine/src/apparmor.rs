//! Which AppArmor profile confines a container.
//!
//! Docker compiles and loads `docker-default` itself, with AppArmor's parser. Skiff starts no such program: it uses the profile of that name where it is
//! loaded, and says in its log where it is not (docs/adr/0012).

use skiff_runtime::plan::HostFacts;

use crate::{Config, Result, model::HostConfig, spec::SecurityOptions};

/// The profile of containers for which none was asked.
pub(crate) const DEFAULT: &str = "docker-default";

/// No confinement.
pub(crate) const UNCONFINED: &str = "unconfined";

/// The names of loaded profiles, each with its mode behind.
const LOADED: &str = "/sys/kernel/security/apparmor/profiles";

/// The profile that a container starts with; empty where the kernel has no AppArmor. What is not loaded shows when the program is executed.
///
/// # Errors
/// Those of [`SecurityOptions::read`].
pub(crate) fn profile(host: &HostConfig, daemon: &Config, facts: &HostFacts) -> Result<String> {
    if !facts.apparmor {
        return Ok(String::new());
    }
    let asked = SecurityOptions::read(host, daemon)?.apparmor;
    Ok(choose(host.privileged, asked, || is_loaded(DEFAULT)))
}

fn choose(privileged: bool, asked: Option<String>, default_is_loaded: impl FnOnce() -> bool) -> String {
    match asked {
        // As Docker: privileges win over a profile.
        _ if privileged => UNCONFINED.to_owned(),
        Some(profile) => profile,
        None if default_is_loaded() => DEFAULT.to_owned(),
        None => UNCONFINED.to_owned(),
    }
}

/// Whether a profile is loaded now: administrators load and remove them at any time.
pub(crate) fn is_loaded(profile: &str) -> bool {
    fs_err::read_to_string(LOADED).is_ok_and(|list| lists(&list, profile))
}

fn lists(list: &str, profile: &str) -> bool {
    list.lines().any(|line| line.rsplit_once(" (").is_some_and(|(name, _)| name == profile))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_profile_is_used_where_it_is_loaded() {
        assert_eq!(choose(false, None, || true), "docker-default");
        assert_eq!(choose(false, None, || false), "unconfined");
        assert_eq!(choose(false, Some("mine".to_owned()), || false), "mine");
        assert_eq!(choose(true, Some("mine".to_owned()), || true), "unconfined");
    }

    #[test]
    fn names_are_compared_as_a_whole() {
        let list = "/usr/bin/man (enforce)\ndocker-default-2 (enforce)\nnvidia (x) (complain)\n";
        assert!(lists(list, "/usr/bin/man") && lists(list, "nvidia (x)"));
        assert!(!lists(list, "docker-default") && !lists(list, "man"));
    }
}
