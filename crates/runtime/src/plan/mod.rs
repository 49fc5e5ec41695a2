//! What a container start will do, as data.
//!
//! A [`Plan`] is complete and validated: whoever applies it takes no decision any more, looks nothing up on the host
//! and reads no configuration. It can be serialised (postcard), so that the daemon plans and the launcher applies.
//! [`plan`] and [`exec_plan`] are pure: specification, options and [`HostFacts`] in, plan out.

mod devices;
mod error;
mod hooks;
mod host;
mod mount_options;
mod mounts;
mod namespaces;
mod process;
mod sysctl;

use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::{
    Linux, LinuxDeviceCgroup, LinuxNamespaceType, LinuxResources, Process as OciProcess, Spec,
};
use serde::{Deserialize, Serialize};

use crate::cgroups::{self, BelowCgroup, CgroupPath, Current, Layout, ResourcePlan};
use crate::rdt::{self, RdtPlan};

pub(crate) use devices::standard as standard_devices;
pub use devices::{DeviceKind, DeviceNode};
pub use error::PlanError;
pub use hooks::{Hook, Hooks};
pub use host::HostFacts;
pub use mount_options::known_words as known_mount_options;
pub use mounts::{CgroupHierarchy, IdMapping, MountKind, MountSource, MountStep, Spread, Spreading};
pub(crate) use mounts::{cgroup_view, instance};
pub use namespaces::{IdMap, Namespace, NamespaceSource, Namespaces, TimeOffset};
pub use process::{Capabilities, Process, Rlimit, Scheduling, SeccompFilter, SeccompListener};

/// Everything that starting one container takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The container's id.
    pub id: String,
    /// The bundle's directory (where hooks find the configuration); the container's run directory for the daemon.
    pub bundle: PathBuf,
    /// The version of the specification that the configuration names.
    pub oci_version: String,
    /// Annotations, handed to hooks, sorted.
    pub annotations: Vec<(String, String)>,
    /// Whether the caller has no privileges of the host's, but those that a user namespace gives.
    pub rootless: bool,
    /// Namespaces to create and to join, with id maps and time offsets.
    pub namespaces: Namespaces,
    /// Host name in the UTS namespace.
    pub hostname: Option<String>,
    /// NIS domain name in the UTS namespace.
    pub domainname: Option<String>,
    /// The root file system.
    pub rootfs: RootfsPlan,
    /// Mounts, in order.
    pub mounts: Vec<MountStep>,
    /// Changes of these mounts once `/dev` is filled.
    pub late_mounts: Vec<MountStep>,
    /// Device files to make, in order; none if the container gets a `/dev` of the host's.
    pub devices: Vec<DeviceNode>,
    /// Whether the links of a fresh `/dev` (`fd`, `stdin`, …, `ptmx`) are wanted.
    pub dev_links: bool,
    /// Paths hidden from the container, absolute in the container.
    pub masked_paths: Vec<String>,
    /// Paths made read-only, absolute in the container.
    pub readonly_paths: Vec<String>,
    /// Kernel parameters: the path below `/proc/sys` and the value.
    pub sysctl: Vec<(String, String)>,
    /// The SELinux label of mounts.
    pub mount_label: Option<String>,
    /// The cgroup.
    pub cgroup: CgroupPlan,
    /// The first process.
    pub process: Process,
    /// Whether the process gets a session keyring of its own.
    pub new_keyring: bool,
    /// Hooks of all six kinds.
    pub hooks: Hooks,
}

/// Where the root file system comes from and how it becomes `/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootfsPlan {
    /// Where it is.
    pub source: Rootfs,
    /// Whether it is read-only in the end.
    pub readonly: bool,
    /// What the container's mounts share with the host's; `rslave` unless the specification says otherwise.
    pub spread: Option<Spreading>,
    /// Change root by moving the mount and chroot instead of pivot_root, for hosts that run from an initramfs.
    pub no_pivot: bool,
}

/// A root file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rootfs {
    /// A directory in the host's mount namespace.
    Path(PathBuf),
    /// A detached mount: the index of its descriptor among those passed beside the plan.
    Fd(u32),
}

/// The container's cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupPlan {
    /// Its place in each hierarchy.
    pub path: CgroupPath,
    /// Where the hierarchies are.
    pub layout: Layout,
    /// Its limits.
    pub resources: ResourcePlan,
    /// Its groups in resctrl.
    pub rdt: Option<RdtPlan>,
    /// Whether it may do without a cgroup if none can be made: nobody has asked for limits, or for a place.
    pub dispensable: bool,
}

/// A process to start in a container that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecPlan {
    /// The process.
    pub process: Process,
    /// The cgroup it joins.
    pub cgroup: CgroupPath,
    /// Cgroups below that one which it joins instead, as far as asked for.
    pub below: Vec<BelowCgroup>,
    /// The container's groups in resctrl.
    pub rdt: Option<RdtPlan>,
    /// Where the hierarchies are.
    pub layout: Layout,
    /// Whether the container may have no cgroup; see [`CgroupPlan::dispensable`].
    pub dispensable: bool,
    /// Which namespaces of the container's it joins.
    pub join: Vec<ExecNamespace>,
    /// The container's id.
    pub container: String,
    /// Whether it shares the container's session keyring.
    pub new_keyring: bool,
}

/// A namespace that a further process of a container joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum ExecNamespace {
    User,
    Mount,
    Uts,
    Ipc,
    Pid,
    Net,
    Cgroup,
    Time,
}

/// What the caller decides, rather than the specification.
#[derive(Clone, Debug, Default)]
pub struct PlanOptions {
    /// The container's id.
    pub id: String,
    /// The bundle's directory; relative paths of the specification start here.
    pub bundle: PathBuf,
    /// The root file system, if it is not the directory that the specification names.
    pub rootfs: Option<Rootfs>,
    /// Namespaces joined through descriptors passed beside the plan, by index; they replace the specification's.
    pub namespace_fds: Vec<(LinuxNamespaceType, u32)>,
    /// A filter compiled beforehand; it replaces the specification's.
    pub seccomp: Option<SeccompFilter>,
    /// Do without pivot_root.
    pub no_pivot: bool,
    /// Leave the session keyring as it is.
    pub no_new_keyring: bool,
    /// The caller has no privileges of the host's.
    pub rootless: bool,
}

/// Turns a specification into a plan.
///
/// # Errors
/// The first part of the specification that is missing, wrong, or cannot be had here.
pub fn plan(spec: &Spec, options: &PlanOptions, host: &HostFacts) -> Result<Plan, PlanError> {
    let linux = spec.linux().as_ref().ok_or(PlanError::Missing { field: "linux" })?;
    let oci_process = spec.process().as_ref().ok_or(PlanError::Missing { field: "process" })?;
    refuse_unsupported(linux)?;
    let namespaces = namespaces::plan(linux, options, host)?;
    let hostname = spec.hostname().clone().filter(|name| !name.is_empty());
    let domainname = spec.domainname().clone().filter(|name| !name.is_empty());
    if (hostname.is_some() || domainname.is_some()) && namespaces.uts == Namespace::Inherit {
        return Err(PlanError::invalid("hostname", "a host or domain name needs a UTS namespace"));
    }
    let cgroup = cgroup(linux, options, host)?;
    let mut mounts =
        mounts::plan(spec.mounts().as_deref().unwrap_or_default(), &options.bundle, &namespaces, &cgroup)?;
    let own_dev =
        !mounts.iter().any(|mount| mount.target == "/dev" && matches!(mount.kind, MountKind::Bind { .. }));
    let late_mounts = mounts::postpone_read_only_dev(&mut mounts);
    let devices = devices::plan(linux.devices().as_deref().unwrap_or_default())?;
    let no_sysctl = Default::default();
    let sysctl = linux.sysctl().as_ref().unwrap_or(&no_sysctl);
    let mut annotations: Vec<_> = spec.annotations().clone().unwrap_or_default().into_iter().collect();
    annotations.sort();
    Ok(Plan {
        id: options.id.clone(),
        bundle: options.bundle.clone(),
        oci_version: spec.version().clone(),
        annotations,
        rootfs: rootfs(spec, linux, options)?,
        devices: if own_dev { devices } else { Vec::new() },
        dev_links: own_dev,
        masked_paths: paths("linux.maskedPaths", linux.masked_paths().as_deref())?,
        readonly_paths: paths("linux.readonlyPaths", linux.readonly_paths().as_deref())?,
        sysctl: sysctl::plan(sysctl, &namespaces, domainname.is_some())?,
        mount_label: process::selinux(linux.mount_label().as_deref(), host)?,
        process: planned_process(oci_process, linux, options, host)?,
        new_keyring: !options.no_new_keyring,
        rootless: options.rootless,
        hooks: hooks::plan(spec.hooks().as_ref())?,
        namespaces,
        hostname,
        domainname,
        mounts,
        late_mounts,
        cgroup,
    })
}

/// Turns a process into the plan of a further process of a container, whose specification is `spec`.
///
/// # Errors
/// As for [`plan`].
pub fn exec_plan(
    process: &OciProcess,
    spec: &Spec,
    options: &PlanOptions,
    host: &HostFacts,
) -> Result<ExecPlan, PlanError> {
    let linux = spec.linux().as_ref().ok_or(PlanError::Missing { field: "linux" })?;
    let namespaces = namespaces::plan(linux, options, host)?;
    let all = [
        (ExecNamespace::User, &namespaces.user),
        (ExecNamespace::Mount, &namespaces.mount),
        (ExecNamespace::Uts, &namespaces.uts),
        (ExecNamespace::Ipc, &namespaces.ipc),
        (ExecNamespace::Pid, &namespaces.pid),
        (ExecNamespace::Net, &namespaces.net),
        (ExecNamespace::Cgroup, &namespaces.cgroup),
        (ExecNamespace::Time, &namespaces.time),
    ];
    let own = all.into_iter().filter(|(_, namespace)| **namespace != Namespace::Inherit);
    Ok(ExecPlan {
        process: planned_process(process, linux, options, host)?,
        cgroup: cgroup_path(linux, options)?,
        below: Vec::new(),
        rdt: rdt::plan(linux.intel_rdt().as_ref(), &options.id, host.resctrl.as_deref())?,
        layout: host.cgroups.clone(),
        dispensable: is_dispensable(linux, options),
        join: own.map(|(name, _)| name).collect(),
        container: options.id.clone(),
        new_keyring: !options.no_new_keyring,
    })
}

/// What the specification offers and Skiff does not do, or no kernel can.
fn refuse_unsupported(linux: &Linux) -> Result<(), PlanError> {
    if linux.memory_policy().is_some() {
        return Err(PlanError::unsupported("linux.memoryPolicy", "Skiff does not set memory policies"));
    }
    if linux.net_devices().as_ref().is_some_and(|devices| !devices.is_empty()) {
        return Err(PlanError::unsupported("linux.netDevices", "Skiff does not move network devices"));
    }
    Ok(())
}

fn planned_process(
    process: &OciProcess,
    linux: &Linux,
    options: &PlanOptions,
    host: &HostFacts,
) -> Result<Process, PlanError> {
    let seccomp = match &options.seccomp {
        Some(filter) => Some(filter.clone()),
        None => linux.seccomp().as_ref().map(SeccompFilter::compile).transpose()?,
    };
    process::plan(process, process::OfLinux { personality: linux.personality().as_ref(), seccomp }, host)
}

fn cgroup(linux: &Linux, options: &PlanOptions, host: &HostFacts) -> Result<CgroupPlan, PlanError> {
    let mut resources = linux.resources().clone().unwrap_or_default();
    if resources.devices().as_ref().is_none_or(Vec::is_empty) {
        // Nothing said about devices means the default ones only, as in runc.
        resources.set_devices(Some(vec![LinuxDeviceCgroup::default()]));
    }
    Ok(CgroupPlan {
        path: cgroup_path(linux, options)?,
        layout: host.cgroups.clone(),
        resources: plan_resources(&resources, &host.cgroups, Current::default())?,
        rdt: rdt::plan(linux.intel_rdt().as_ref(), &options.id, host.resctrl.as_deref())?,
        dispensable: is_dispensable(linux, options),
    })
}

/// Whether a container of somebody without privileges may do without a cgroup. Devices do not count: its user namespace
/// lets it make none.
fn is_dispensable(linux: &Linux, options: &PlanOptions) -> bool {
    let mut limits = linux.resources().clone().unwrap_or_default();
    limits.set_devices(None);
    options.rootless && limits == LinuxResources::default() && linux.cgroups_path().is_none()
}

/// The writes for a `resources` section, with the devices that every container may use.
///
/// # Errors
/// A limit that is wrong, or whose controller this host lacks.
pub fn plan_resources(
    resources: &LinuxResources,
    layout: &Layout,
    current: Current,
) -> Result<ResourcePlan, PlanError> {
    cgroups::plan(resources, &cgroups::runtime_default_rules(), layout, current).map_err(
        |error| match error {
            cgroups::CgroupError::MissingController { .. } => {
                PlanError::unsupported("linux.resources", error.to_string())
            }
            error => PlanError::invalid("linux.resources", error.to_string()),
        },
    )
}

fn cgroup_path(linux: &Linux, options: &PlanOptions) -> Result<CgroupPath, PlanError> {
    let path = linux.cgroups_path().as_ref().and_then(|path| path.to_str()).filter(|path| !path.is_empty());
    let path = match path {
        None => format!("/skiff/{}", options.id),
        Some(path) => path.to_owned(),
    };
    CgroupPath::parse(&path).map_err(|error| PlanError::invalid("linux.cgroupsPath", error.to_string()))
}

fn rootfs(spec: &Spec, linux: &Linux, options: &PlanOptions) -> Result<RootfsPlan, PlanError> {
    let root = spec.root().as_ref();
    let source = match (&options.rootfs, root) {
        (Some(source), _) => source.clone(),
        (None, Some(root)) => Rootfs::Path(options.bundle.join(root.path())),
        (None, None) => return Err(PlanError::Missing { field: "root" }),
    };
    let propagation = linux.rootfs_propagation().as_deref().filter(|text| !text.is_empty());
    let spread = match propagation {
        None => None,
        Some(word) => match mount_options::propagation(word) {
            Some(spread) => Some(spread),
            None => {
                let reason = format!("{word:?} is not a propagation");
                return Err(PlanError::invalid("linux.rootfsPropagation", reason));
            }
        },
    };
    let readonly = root.and_then(|root| root.readonly()).unwrap_or(false);
    Ok(RootfsPlan { source, readonly, spread, no_pivot: options.no_pivot })
}

fn paths(field: &'static str, paths: Option<&[String]>) -> Result<Vec<String>, PlanError> {
    paths.unwrap_or_default().iter().map(|path| absolute_path(field, Path::new(path))).collect()
}

/// An absolute path without `.`, `..` and doubled slashes: `..` at the root stays there, as in a chroot.
fn absolute_path(field: &'static str, path: &Path) -> Result<String, PlanError> {
    let text = path.to_str().ok_or_else(|| PlanError::invalid(field, "a path is not UTF-8"))?;
    if !text.starts_with('/') {
        return Err(PlanError::invalid(field, format!("{text:?} is not an absolute path")));
    }
    if text.contains('\0') {
        return Err(PlanError::invalid(field, format!("{text:?} contains a null byte")));
    }
    let mut clean: Vec<&str> = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => clean.extend(part.to_str()),
            Component::ParentDir => drop(clean.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(format!("/{}", clean.join("/")))
}

#[cfg(test)]
mod tests;
