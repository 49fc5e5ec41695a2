//! Namespaces, host name and kernel parameters.

use std::collections::HashMap;

use skiff_runtime::{
    defaults,
    spec::{LinuxNamespace, LinuxNamespaceType},
};

use super::{Shared, Surroundings};
use crate::{model::ContainerRecord, validate::NetworkMode};

fn namespace(kind: LinuxNamespaceType, of: Option<(&Shared, &str)>) -> LinuxNamespace {
    let mut namespace = LinuxNamespace::default();
    namespace.set_typ(kind);
    namespace.set_path(of.map(|(shared, name)| format!("/proc/{}/ns/{name}", shared.pid).into()));
    namespace
}

/// The namespaces of a new container.
pub(super) fn namespaces(record: &ContainerRecord, with: &Surroundings<'_>) -> Vec<LinuxNamespace> {
    list(record, with.net.as_ref(), with.pid.as_ref(), with.ipc.as_ref())
}

/// The namespaces that a running container does not share with the host.
pub(super) fn own(record: &ContainerRecord) -> Vec<LinuxNamespace> {
    list(record, None, None, None)
}

fn list(
    record: &ContainerRecord,
    net: Option<&Shared>,
    pid: Option<&Shared>,
    ipc: Option<&Shared>,
) -> Vec<LinuxNamespace> {
    let host = &record.host;
    let mut out = vec![namespace(LinuxNamespaceType::Mount, None)];
    if host.network_mode != "host" {
        out.push(namespace(LinuxNamespaceType::Network, net.map(|s| (s, "net"))));
    }
    if host.uts_mode != "host" {
        out.push(namespace(LinuxNamespaceType::Uts, None));
    }
    if host.pid_mode != "host" {
        out.push(namespace(LinuxNamespaceType::Pid, pid.map(|s| (s, "pid"))));
    }
    if host.ipc_mode != "host" {
        out.push(namespace(LinuxNamespaceType::Ipc, ipc.map(|s| (s, "ipc"))));
    }
    if host.cgroupns_mode == "private" {
        out.push(namespace(LinuxNamespaceType::Cgroup, None));
    }
    out
}

/// The host name inside; none if it is the host's.
pub(super) fn hostname(record: &ContainerRecord) -> Option<String> {
    (record.host.uts_mode != "host").then(|| record.config.hostname.clone())
}

/// Kernel parameters, those included that Docker sets by default.
pub(super) fn sysctls(record: &ContainerRecord) -> HashMap<String, String> {
    let host = &record.host;
    let mut out: HashMap<String, String> = HashMap::new();
    if !record.config.domainname.is_empty() && host.uts_mode != "host" {
        out.insert("kernel.domainname".into(), record.config.domainname.clone());
    }
    let own_network = !matches!(
        crate::validate::network_mode(&host.network_mode),
        NetworkMode::Host | NetworkMode::Container(_)
    );
    if own_network {
        out.extend(defaults::network_sysctls());
    }
    out.extend(host.sysctls.clone());
    out
}
