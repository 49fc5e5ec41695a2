//! The OCI specification of a container: what Docker's daemon would write into its `config.json`.
//!
//! Pure: a record, the host's facts and what was found in the image go in, a [`Spec`] comes out. The files that are bind-mounted
//! need not exist yet. The root file system, the network namespace and the compiled filter travel beside it.

mod capability;
mod devices;
mod exec;
mod mounts;
mod namespaces;
mod process;
mod resources;
mod security;

use std::path::Path;

use skiff_runtime::{
    capabilities::CapSet,
    spec::{LinuxBuilder, RootBuilder, Spec, SpecBuilder},
};

use crate::{Config, Error, Result, host::Host, model::ContainerRecord};

pub(crate) use capability::{capability_name, is_capability};
pub(crate) use exec::exec;
pub(crate) use resources::limits;
pub(crate) use security::{Seccomp, SecurityOptions};

/// Where `--init` puts the init, and what it is.
pub(crate) const INIT_TARGET: &str = "/sbin/docker-init";

/// Who the program runs as, as found in the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    /// Home directory, for `HOME`; empty if there is none.
    pub(crate) home: String,
}

/// A namespace of another container, as a file of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shared {
    /// Process 1 of that container.
    pub(crate) pid: i32,
    /// Where its /dev/shm is, if that can be shared.
    pub(crate) shm: Option<String>,
}

/// What a specification depends on besides the record.
pub(crate) struct Surroundings<'a> {
    pub(crate) host: &'a Host,
    pub(crate) daemon: &'a Config,
    /// The container's own directory: hosts, hostname, resolv.conf, shm.
    pub(crate) dir: &'a Path,
    /// What `--init` mounts.
    pub(crate) init_binary: &'a Path,
    /// The container's secrets, in their order.
    pub(crate) secrets: &'a Path,
    pub(crate) user: User,
    /// Containers whose namespaces are joined.
    pub(crate) pid: Option<Shared>,
    pub(crate) ipc: Option<Shared>,
    pub(crate) net: Option<Shared>,
}

/// The lowest version of the runtime specification that has all that is used here: crun before 1.9 takes no other than 1.0.
const VERSION: &str = "1.0.2";

/// The capabilities of a container.
///
/// # Errors
/// A capability that is unknown or not there to give.
pub(crate) fn capabilities(record: &ContainerRecord, host: &Host) -> Result<CapSet> {
    capability::granted(&record.host, host)
}

/// Makes the specification.
///
/// # Errors
/// What only shows when a container starts: devices that are gone, options that mean nothing.
pub(crate) fn make(record: &ContainerRecord, with: &Surroundings<'_>) -> Result<Spec> {
    let host = &record.host;
    let process = process::process(record, with)?;
    let mut linux = LinuxBuilder::default()
        .namespaces(namespaces::namespaces(record, with))
        .resources(resources::with_devices(record, with.host)?)
        .cgroups_path(cgroup_path(record, with.daemon))
        .masked_paths(host.masked_paths.clone().unwrap_or_default())
        .readonly_paths(host.readonly_paths.clone().unwrap_or_default())
        .sysctl(namespaces::sysctls(record));
    if let Some(propagation) = mounts::propagation(record) {
        linux = linux.rootfs_propagation(propagation);
    }
    let devices = devices::nodes(&host.resources, host.privileged)?;
    if !devices.is_empty() {
        linux = linux.devices(devices);
    }
    let root = RootBuilder::default().path("rootfs").readonly(host.readonly_rootfs);
    let mut spec = SpecBuilder::default()
        .version(VERSION)
        .process(process)
        .root(root.build().map_err(incomplete)?)
        .mounts(mounts::mounts(record, with)?)
        .linux(linux.build().map_err(incomplete)?)
        .build()
        .map_err(incomplete)?;
    spec.set_hostname(namespaces::hostname(record));
    let annotations = host.annotations.clone();
    spec.set_annotations((!annotations.is_empty()).then(|| annotations.into_iter().collect()));
    Ok(spec)
}

/// Where the control group is that the container was last started in.
pub(crate) fn own_cgroup(record: &ContainerRecord, daemon: &Config) -> String {
    match record.state.cgroup.as_str() {
        "" => cgroup_path(record, daemon),
        path => path.to_owned(),
    }
}

/// Where a container's control group will be.
pub(crate) fn cgroup_path(record: &ContainerRecord, daemon: &Config) -> String {
    let parent = match record.host.resources.cgroup_parent.as_str() {
        "" => daemon.cgroup_parent.as_str(),
        parent => parent,
    };
    cgroup_below(parent, &record.id.to_string())
}

/// The control group of the container `id` below a parent.
pub(crate) fn cgroup_below(parent: &str, id: &str) -> String {
    format!("/{}/{id}", parent.trim_matches('/'))
}

/// A builder of oci-spec says that a field it needs was not given: ours to fix.
fn incomplete(error: impl std::fmt::Display) -> Error {
    Error::Internal(format!("incomplete specification: {error}"))
}

#[cfg(test)]
mod tests;
