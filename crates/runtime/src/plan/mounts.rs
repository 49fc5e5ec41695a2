//! Mounts, with every option of the specification resolved into attributes.

use std::path::{Path, PathBuf};

use oci_spec::runtime::Mount;
use serde::{Deserialize, Serialize};
use skiff_sys::mount::attr;

use super::mount_options::Options;
use super::namespaces::{IdMap, Namespace, Namespaces, id_maps};
use super::{CgroupPlan, PlanError};
use crate::cgroups::{CgroupPath, Hierarchy, Layout};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountStep {
    /// Where, absolute in the container.
    pub target: String,
    /// What.
    pub kind: MountKind,
    /// Attributes to set on this mount (`skiff_sys::mount::attr`).
    pub set: u64,
    /// Attributes to clear on this mount.
    pub clear: u64,
    /// Attributes to set on this mount and all below.
    pub recursive_set: u64,
    /// Attributes to clear on this mount and all below.
    pub recursive_clear: u64,
    /// Changes of propagation, in order.
    pub spread: Vec<Spreading>,
    /// Owners shifted, if asked for.
    pub idmap: Option<IdMapping>,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// Something that the host has.
    Bind {
        /// What.
        source: MountSource,
        /// With the mounts below it.
        recursive: bool,
    },
    /// A new instance of a file system.
    Filesystem {
        /// Its type.
        fstype: String,
        /// Its source, as it shows in mountinfo.
        source: String,
        /// Its parameters, in order; no value for a flag.
        options: Vec<(String, Option<String>)>,
        /// Fill a tmpfs with what the root file system has there (`tmpcopyup`).
        copy_up: bool,
    },
    /// The container's view of cgroups v1: a tmpfs with one mount per hierarchy.
    CgroupV1 {
        /// The hierarchies.
        hierarchies: Vec<CgroupHierarchy>,
    },
    /// The container's view of cgroup v2.
    CgroupV2 {
        /// The container's own cgroup, for kernels that refuse a new mount (a user namespace without a cgroup one).
        bind_from: PathBuf,
    },
    /// Attributes of an existing mount changed (`remount`), with parameters for its file system.
    Remount {
        /// Parameters, in order; no value for a flag. The file system is left alone if there are none.
        options: Vec<(String, Option<String>)>,
    },
    /// Only the attributes and the propagation of an existing mount changed.
    Change,
}

/// One hierarchy of cgroups v1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupHierarchy {
    /// Its directory below `/sys/fs/cgroup`: `cpu,cpuacct`.
    pub name: String,
    /// What to mount it with: `cpu,cpuacct` or `none,name=systemd`.
    pub options: String,
    /// The host's directory of the container's own cgroup, for containers without a cgroup namespace.
    pub bind_from: Option<PathBuf>,
    /// Names by which it is reached as well: `cpu`, `cpuacct`.
    pub links: Vec<String>,
}

/// The source of a bind mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A path of the host's.
    Path(PathBuf),
    /// The index of a descriptor (a detached mount) among those passed beside the plan.
    Fd(u32),
}

/// How owners are shifted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMapping {
    /// User ids; the container's own map if both are empty.
    pub uid_map: Vec<IdMap>,
    /// Group ids.
    pub gid_map: Vec<IdMap>,
    /// For the mounts below as well.
    pub recursive: bool,
}

/// What a mount shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Spread {
    /// Nothing.
    Private,
    /// Both ways.
    Shared,
    /// Receives only.
    Slave,
    /// Nothing, and may not be bind-mounted.
    Unbindable,
}

/// A propagation and its reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spreading {
    /// Which.
    pub to: Spread,
    /// For the mounts below as well.
    pub recursive: bool,
}

/// The file systems whose superblock other mounts share: read-only is a matter of the mount alone.
const SHARED_SUPERBLOCK: [&str; 6] = ["proc", "sysfs", "mqueue", "cgroup", "cgroup2", "devpts"];

/// Turns the mounts of a specification into steps.
pub(super) fn plan(
    mounts: &[Mount],
    bundle: &Path,
    namespaces: &Namespaces,
    cgroup: &CgroupPlan,
) -> Result<Vec<MountStep>, PlanError> {
    mounts.iter().map(|mount| step(mount, bundle, namespaces, cgroup)).collect()
}

/// A read-only `/dev` can only become so when its devices are made.
pub(super) fn postpone_read_only_dev(mounts: &mut [MountStep]) -> Vec<MountStep> {
    let mut late = Vec::new();
    for step in mounts.iter_mut().filter(|step| step.target == "/dev" && step.set & attr::RDONLY != 0) {
        let MountKind::Filesystem { options, .. } = &mut step.kind else { continue };
        options.retain(|(name, _)| name != "ro");
        step.set &= !attr::RDONLY;
        late.push(MountStep {
            target: step.target.clone(),
            kind: MountKind::Change,
            set: attr::RDONLY,
            clear: 0,
            recursive_set: 0,
            recursive_clear: 0,
            spread: Vec::new(),
            idmap: None,
        });
    }
    late
}

fn step(
    mount: &Mount,
    bundle: &Path,
    namespaces: &Namespaces,
    cgroup: &CgroupPlan,
) -> Result<MountStep, PlanError> {
    // The specification still allows relative ones, and says what they are relative to.
    let target = super::absolute_path("mounts.destination", &Path::new("/").join(mount.destination()))?;
    let words = mount.options().as_deref().unwrap_or_default();
    let mut options = Options::parse(words.iter().map(String::as_str));
    let idmap = id_mapping(mount, &options, namespaces)?;
    let kind = kind(mount, &target, &mut options, bundle, namespaces, cgroup)?;
    if idmap.is_some() && !matches!(kind, MountKind::Bind { .. }) {
        return Err(invalid(&target, "id mappings are for bind mounts only"));
    }
    if !matches!(kind, MountKind::Filesystem { .. } | MountKind::Remount { .. } | MountKind::CgroupV2 { .. })
    {
        let left =
            options.data.first().map(|(name, _)| name.as_str()).or(options.superblock.first().copied());
        if let Some(name) = left {
            return Err(invalid(
                &target,
                format!("the option {name:?} means nothing for this kind of mount"),
            ));
        }
    }
    Ok(assemble(target, kind, options, idmap))
}

fn assemble(target: String, kind: MountKind, options: Options, idmap: Option<IdMapping>) -> MountStep {
    MountStep {
        kind,
        set: options.set,
        clear: options.clear,
        recursive_set: options.recursive_set,
        recursive_clear: options.recursive_clear,
        spread: options.spread,
        idmap,
        target,
    }
}

/// The step of a mount of this type, which must be a new instance of it that depends on nothing else in its plan.
pub(crate) fn instance(mount: &Mount, fstype: &str) -> Result<MountStep, PlanError> {
    let target = super::absolute_path("mounts.destination", mount.destination())?;
    let words = mount.options().as_deref().unwrap_or_default();
    let options = Options::parse(words.iter().map(String::as_str));
    let kind = new_filesystem(fstype, mount.source().as_deref(), &target, &options)?;
    Ok(assemble(target, kind, options, None))
}

fn kind(
    mount: &Mount,
    target: &str,
    options: &mut Options,
    bundle: &Path,
    namespaces: &Namespaces,
    cgroup: &CgroupPlan,
) -> Result<MountKind, PlanError> {
    let fstype = mount.typ().as_deref().unwrap_or_default();
    let source = mount.source().as_deref();
    if options.remount && options.bind.is_none() {
        return Ok(MountKind::Remount { options: parameters(options, "") });
    }
    if options.remount {
        return Ok(MountKind::Change);
    }
    if let Some(recursive) = options.bind.or((fstype == "bind").then_some(false)) {
        let source = source.filter(|source| !source.as_os_str().is_empty());
        let source = source.ok_or_else(|| invalid(target, "a bind mount needs a source"))?;
        return Ok(MountKind::Bind { source: MountSource::Path(bundle.join(source)), recursive });
    }
    match fstype {
        "cgroup" if cgroup.layout.is_unified() => Ok(cgroup_v2(cgroup)),
        "cgroup" => {
            let whose = match namespaces.cgroup {
                // Where there may be no cgroup of its own, the container sees what its caller sees.
                _ if cgroup.dispensable => View::Callers,
                Namespace::Inherit => View::Directory(&cgroup.path),
                _ => View::Own,
            };
            Ok(cgroup_v1(&cgroup.layout, whose))
        }
        "" | "none" if !options.spread.is_empty() => Ok(MountKind::Change),
        "" | "none" => Err(invalid(target, "the type of the file system is missing")),
        fstype => new_filesystem(fstype, source, target, options),
    }
}

fn new_filesystem(
    fstype: &str,
    source: Option<&Path>,
    target: &str,
    options: &Options,
) -> Result<MountKind, PlanError> {
    let copy_up = options.copy_up;
    if copy_up && fstype != "tmpfs" {
        return Err(invalid(target, "tmpcopyup is for tmpfs only"));
    }
    let parameters = parameters(options, fstype);
    let source = source.and_then(Path::to_str).filter(|source| !source.is_empty()).unwrap_or(fstype);
    let (fstype, source) = (fstype.to_owned(), source.to_owned());
    Ok(MountKind::Filesystem { fstype, source, options: parameters, copy_up })
}

/// The parameters of the file system: its own, and the flags of the superblock.
fn parameters(options: &Options, fstype: &str) -> Vec<(String, Option<String>)> {
    let mut parameters = options.data.clone();
    parameters.extend(options.superblock.iter().map(|flag| ((*flag).to_owned(), None)));
    // A tmpfs to be filled first becomes read-only afterwards, by its mount.
    let read_only = options.set & attr::RDONLY != 0 && !options.copy_up;
    if read_only && !SHARED_SUPERBLOCK.contains(&fstype) {
        parameters.push(("ro".to_owned(), None));
    }
    parameters
}

fn cgroup_v2(cgroup: &CgroupPlan) -> MountKind {
    let mount = cgroup.layout.unified.as_ref().map_or(Path::new("/sys/fs/cgroup"), |unified| &unified.mount);
    let bind_from = if cgroup.dispensable { mount.to_owned() } else { cgroup.path.under(mount) };
    MountKind::CgroupV2 { bind_from }
}

/// What a container sees of a hierarchy.
#[derive(Clone, Copy)]
enum View<'a> {
    /// Its own part, as the root, by its cgroup namespace.
    Own,
    /// Its own directory of the host's.
    Directory(&'a CgroupPath),
    /// All that its caller sees.
    Callers,
}

fn cgroup_v1(layout: &Layout, view: View<'_>) -> MountKind {
    let hierarchies = layout.hierarchies.iter().map(|hierarchy| cgroup_hierarchy(hierarchy, view));
    MountKind::CgroupV1 { hierarchies: hierarchies.collect() }
}

fn cgroup_hierarchy(hierarchy: &Hierarchy, view: View<'_>) -> CgroupHierarchy {
    let controllers: Vec<&str> =
        hierarchy.controllers.iter().map(|controller| controller.v1_name()).collect();
    let options = match &hierarchy.name {
        Some(name) => format!("none,name={name}"),
        None => controllers.join(","),
    };
    let file_name = hierarchy.mount.file_name().and_then(|name| name.to_str()).unwrap_or(&options).to_owned();
    let links = controllers.iter().filter(|name| **name != file_name).map(|name| (*name).to_owned());
    CgroupHierarchy {
        links: links.collect(),
        name: file_name,
        options,
        bind_from: match view {
            View::Own => None,
            View::Directory(path) => Some(path.under(&hierarchy.mount)),
            View::Callers => Some(hierarchy.mount.clone()),
        },
    }
}

/// The step of a mount of type `cgroup` for a container of this cgroup that has no cgroup namespace; none for other mounts, and
/// where limits are version 2's.
pub(crate) fn cgroup_view(mount: &Mount, layout: &Layout, path: &CgroupPath) -> Option<MountStep> {
    if mount.typ().as_deref() != Some("cgroup") || layout.is_unified() {
        return None;
    }
    let target = super::absolute_path("mounts.destination", mount.destination()).ok()?;
    let words = mount.options().as_deref().unwrap_or_default();
    let options = Options::parse(words.iter().map(String::as_str));
    Some(assemble(target, cgroup_v1(layout, View::Directory(path)), options, None))
}

fn id_mapping(
    mount: &Mount,
    options: &Options,
    namespaces: &Namespaces,
) -> Result<Option<IdMapping>, PlanError> {
    let uid_map = id_maps(mount.uid_mappings().as_deref().unwrap_or_default());
    let gid_map = id_maps(mount.gid_mappings().as_deref().unwrap_or_default());
    let target = mount.destination().display().to_string();
    if uid_map.is_empty() != gid_map.is_empty() {
        return Err(invalid(&target, "uidMappings and gidMappings go together"));
    }
    let asked = options.idmap.is_some() || !uid_map.is_empty();
    if !asked {
        return Ok(None);
    }
    let recursive = options.idmap == Some(true);
    if !uid_map.is_empty() {
        return Ok(Some(IdMapping { uid_map, gid_map, recursive }));
    }
    // Without a map of its own the mount takes the container's.
    match namespaces.user {
        Namespace::New => Ok(Some(IdMapping {
            uid_map: namespaces.uid_map.clone(),
            gid_map: namespaces.gid_map.clone(),
            recursive,
        })),
        Namespace::Join(_) => Ok(Some(IdMapping { uid_map, gid_map, recursive })),
        Namespace::Inherit => {
            Err(invalid(&target, "idmap needs uidMappings and gidMappings, or a user namespace"))
        }
    }
}

fn invalid(target: &str, reason: impl std::fmt::Display) -> PlanError {
    PlanError::invalid("mounts", format!("{target}: {reason}"))
}
