//! Capabilities of a container.

use skiff_runtime::capabilities::{self, CapSet, CapabilityRequest};

use crate::{Error, Result, host::Host, model::HostConfig};

/// Upper case, with its prefix.
pub(crate) fn capability_name(name: &str) -> String {
    capabilities::normalized(name)
}

/// Whether any kernel has it.
pub(crate) fn is_capability(name: &str) -> bool {
    capabilities::parse(name).is_ok()
}

pub(super) fn granted(config: &HostConfig, host: &Host) -> Result<CapSet> {
    let request = CapabilityRequest {
        add: config.cap_add.as_deref().unwrap_or_default(),
        drop: config.cap_drop.as_deref().unwrap_or_default(),
        privileged: config.privileged,
    };
    capabilities::grant(request, host.capabilities).map_err(|e| Error::Invalid(e.to_string()))
}
