//! Namespaces: created, joined, or left as they are.

use std::path::PathBuf;

use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType};
use serde::{Deserialize, Serialize};

use super::{HostFacts, PlanError, PlanOptions};

/// What becomes of one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Namespace {
    /// The runtime's own.
    #[default]
    Inherit,
    /// A new one.
    New,
    /// An existing one.
    Join(NamespaceSource),
}

/// Where a namespace to join is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceSource {
    /// A file of the host's, such as `/proc/PID/ns/net`.
    Path(PathBuf),
    /// The index of its descriptor among those passed beside the plan.
    Fd(u32),
}

/// All namespaces of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// User ids and privileges.
    pub user: Namespace,
    /// Mounts; never joined together with a root file system of one's own.
    pub mount: Namespace,
    /// Host name.
    pub uts: Namespace,
    /// System V IPC and POSIX queues.
    pub ipc: Namespace,
    /// Process ids.
    pub pid: Namespace,
    /// Network.
    pub net: Namespace,
    /// The view of the cgroup tree.
    pub cgroup: Namespace,
    /// Clocks.
    pub time: Namespace,
    /// User ids of a new user namespace.
    pub uid_map: Vec<IdMap>,
    /// Group ids of a new user namespace.
    pub gid_map: Vec<IdMap>,
    /// Offsets of the clocks of a new time namespace.
    pub time_offsets: Vec<TimeOffset>,
}

/// A range of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// First id inside.
    pub container: u32,
    /// First id outside.
    pub host: u32,
    /// How many.
    pub size: u32,
}

/// The offset of one clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeOffset {
    /// `monotonic` or `boottime`.
    pub clock: String,
    /// Seconds.
    pub secs: i64,
    /// Nanoseconds.
    pub nanosecs: u32,
}

/// Turns the namespaces of a specification into what becomes of each.
pub(super) fn plan(linux: &Linux, options: &PlanOptions, host: &HostFacts) -> Result<Namespaces, PlanError> {
    let mut namespaces = Namespaces::default();
    let mut seen = Vec::new();
    for namespace in linux.namespaces().as_deref().unwrap_or_default() {
        let kind = namespace.typ();
        if seen.contains(&kind) {
            return Err(PlanError::invalid("linux.namespaces", format!("{kind} is there twice")));
        }
        seen.push(kind);
        let path = namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty());
        *namespaces.slot(kind) = match path {
            None => Namespace::New,
            Some(path) if path.is_absolute() => Namespace::Join(NamespaceSource::Path(path.clone())),
            Some(path) => {
                let reason = format!("the path {} of {kind} is not absolute", path.display());
                return Err(PlanError::invalid("linux.namespaces", reason));
            }
        };
    }
    for (kind, index) in &options.namespace_fds {
        *namespaces.slot(*kind) = Namespace::Join(NamespaceSource::Fd(*index));
    }
    if namespaces.mount == Namespace::Inherit {
        let reason = "a container without a mount namespace of its own would change the host's mounts";
        return Err(PlanError::unsupported("linux.namespaces", reason));
    }
    if namespaces.time != Namespace::Inherit && !host.time_namespaces {
        return Err(PlanError::unsupported("linux.namespaces", "this kernel has no time namespaces"));
    }
    namespaces.uid_map = id_maps(linux.uid_mappings().as_deref().unwrap_or_default());
    namespaces.gid_map = id_maps(linux.gid_mappings().as_deref().unwrap_or_default());
    namespaces.check_id_maps()?;
    namespaces.time_offsets = time_offsets(linux, &namespaces)?;
    Ok(namespaces)
}

/// The id maps of a specification, without empty ranges.
pub(super) fn id_maps(maps: &[LinuxIdMapping]) -> Vec<IdMap> {
    maps.iter()
        .map(|map| IdMap { container: map.container_id(), host: map.host_id(), size: map.size() })
        .filter(|map| map.size > 0)
        .collect()
}

fn time_offsets(linux: &Linux, namespaces: &Namespaces) -> Result<Vec<TimeOffset>, PlanError> {
    let Some(offsets) = linux.time_offsets().as_ref().filter(|offsets| !offsets.is_empty()) else {
        return Ok(Vec::new());
    };
    if namespaces.time != Namespace::New {
        let reason = "offsets can only be set in a new time namespace";
        return Err(PlanError::invalid("linux.timeOffsets", reason));
    }
    let mut planned = Vec::new();
    for (clock, offset) in offsets {
        if clock != "monotonic" && clock != "boottime" {
            let reason = format!("the clock {clock:?} has no offset; monotonic and boottime have");
            return Err(PlanError::invalid("linux.timeOffsets", reason));
        }
        let (secs, nanosecs) = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
        planned.push(TimeOffset { clock: clock.clone(), secs, nanosecs });
    }
    planned.sort_by(|left, right| left.clock.cmp(&right.clock));
    Ok(planned)
}

impl Namespaces {
    fn slot(&mut self, kind: LinuxNamespaceType) -> &mut Namespace {
        match kind {
            LinuxNamespaceType::User => &mut self.user,
            LinuxNamespaceType::Mount => &mut self.mount,
            LinuxNamespaceType::Uts => &mut self.uts,
            LinuxNamespaceType::Ipc => &mut self.ipc,
            LinuxNamespaceType::Pid => &mut self.pid,
            LinuxNamespaceType::Network => &mut self.net,
            LinuxNamespaceType::Cgroup => &mut self.cgroup,
            LinuxNamespaceType::Time => &mut self.time,
        }
    }

    fn check_id_maps(&self) -> Result<(), PlanError> {
        let given = !self.uid_map.is_empty() || !self.gid_map.is_empty();
        match self.user {
            Namespace::New if self.uid_map.is_empty() => {
                Err(PlanError::Missing { field: "linux.uidMappings" })
            }
            Namespace::New if self.gid_map.is_empty() => {
                Err(PlanError::Missing { field: "linux.gidMappings" })
            }
            Namespace::Inherit if given => {
                Err(PlanError::invalid("linux.uidMappings", "id maps need a user namespace"))
            }
            _ => {
                check_overlap("linux.uidMappings", &self.uid_map)?;
                check_overlap("linux.gidMappings", &self.gid_map)
            }
        }
    }
}

/// The kernel answers a bare EINVAL to these.
fn check_overlap(field: &'static str, maps: &[IdMap]) -> Result<(), PlanError> {
    for (at, map) in maps.iter().enumerate() {
        if map.container.checked_add(map.size).is_none() || map.host.checked_add(map.size).is_none() {
            return Err(PlanError::invalid(field, "a range goes beyond the last id"));
        }
        let clash = maps[..at].iter().any(|other| {
            let meets = |a: u32, b: u32| a < b + other.size && b < a + map.size;
            meets(map.container, other.container) || meets(map.host, other.host)
        });
        if clash {
            return Err(PlanError::invalid(field, "ranges overlap"));
        }
    }
    Ok(())
}
