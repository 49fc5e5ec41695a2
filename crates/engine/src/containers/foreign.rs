//! The bundle of a container that another runtime makes: the specification that we would have planned from, completed by what
//! travels beside a plan.

use skiff_runtime::spec::{LinuxNamespaceType, Spec};
use std::path::Path;

use super::{mounts::Ready, parts::Parts};
use crate::{
    Error, Result,
    model::ContainerRecord,
    seccomp,
    spec::{self, SecurityOptions},
};

/// What the monitor is told of a bundle.
pub(super) struct Bundle {
    /// The `config.json`.
    pub(super) json: Vec<u8>,
    /// What is mounted in it, by the descriptors' indices.
    pub(super) attached: Vec<(String, u32)>,
}

/// The bundle at `path`. The root file system is descriptor 0, the network namespace descriptor 1 if there is one; mounts follow.
pub(super) fn bundle(
    parts: &Parts,
    record: &ContainerRecord,
    mut spec: Spec,
    path: &Path,
    netns: bool,
    ready: &Ready,
) -> Result<Bundle> {
    let mut attached = vec![("rootfs".to_owned(), 0)];
    let security = SecurityOptions::read(&record.host, &parts.config)?;
    let granted = spec::capabilities(record, &parts.host)?;
    if let Some(linux) = spec.linux_mut() {
        linux.set_seccomp(seccomp::resolve(&security.seccomp, granted)?);
        let network = |n: &&mut skiff_runtime::spec::LinuxNamespace| n.typ() == LinuxNamespaceType::Network;
        if netns && let Some(network) = linux.namespaces_mut().iter_mut().flatten().find(network) {
            network.set_path(Some(path.join("network")));
            attached.push(("network".to_owned(), 1));
        }
    }
    for (index, (target, _)) in (attached.len() as u32..).zip(&ready.mounts) {
        let name = format!("mount-{index}");
        let at = |mount: &&mut skiff_runtime::spec::Mount| mount.destination() == Path::new(target);
        if let Some(mount) = spec.mounts_mut().iter_mut().flatten().find(at) {
            mount.set_source(Some(path.join(&name)));
        }
        attached.push((name, index));
    }
    let json = serde_json::to_vec(&spec)
        .map_err(|e| Error::Internal(format!("cannot write the specification: {e}")))?;
    Ok(Bundle { json, attached })
}
