//! Where this machine's cgroup hierarchies are mounted, and which controllers each of them has.
//!
//! Three shapes occur: the v2 tree alone; v1 hierarchies alone; and v1 hierarchies beside a v2 tree that has no controllers (the hybrid).
//! The answer is found once per process, from `/proc/self/mountinfo`, and travels in plans. See cgroups(7).

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::CgroupError;
use super::files::read_text;

/// A resource controller, or one of the two features that v1 has as controllers and v2 has built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the kernel's")]
pub enum Controller {
    Cpu,
    Cpuacct,
    Cpuset,
    Memory,
    Devices,
    Freezer,
    /// `blkio` in v1, `io` in v2.
    Io,
    Pids,
    Hugetlb,
    NetCls,
    NetPrio,
    PerfEvent,
    Rdma,
    Misc,
}

impl Controller {
    /// Every controller.
    pub const ALL: [Self; 14] = [
        Self::Cpu,
        Self::Cpuacct,
        Self::Cpuset,
        Self::Memory,
        Self::Devices,
        Self::Freezer,
        Self::Io,
        Self::Pids,
        Self::Hugetlb,
        Self::NetCls,
        Self::NetPrio,
        Self::PerfEvent,
        Self::Rdma,
        Self::Misc,
    ];

    /// The name in a v1 mount's options.
    pub fn v1_name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuacct => "cpuacct",
            Self::Cpuset => "cpuset",
            Self::Memory => "memory",
            Self::Devices => "devices",
            Self::Freezer => "freezer",
            Self::Io => "blkio",
            Self::Pids => "pids",
            Self::Hugetlb => "hugetlb",
            Self::NetCls => "net_cls",
            Self::NetPrio => "net_prio",
            Self::PerfEvent => "perf_event",
            Self::Rdma => "rdma",
            Self::Misc => "misc",
        }
    }

    /// The name in `cgroup.controllers` of v2; `None` for what v2 does not have as a controller.
    pub fn v2_name(self) -> Option<&'static str> {
        match self {
            Self::Io => Some("io"),
            Self::Cpuacct
            | Self::Devices
            | Self::Freezer
            | Self::NetCls
            | Self::NetPrio
            | Self::PerfEvent => None,
            other => Some(other.v1_name()),
        }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.v1_name())
    }
}

/// One mounted v1 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// What is attached to it; empty for a named one.
    pub controllers: Vec<Controller>,
    /// `name=` of a hierarchy without controllers, in practice `systemd`.
    pub name: Option<String>,
}

/// The v2 tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unified {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// The controllers available at its root; empty in the hybrid.
    pub controllers: Vec<Controller>,
}

/// Which of the three shapes a machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Only v1 hierarchies.
    Legacy,
    /// v1 hierarchies and a v2 tree without controllers, used for what needs none (killing, being born into).
    Hybrid,
    /// Only the v2 tree.
    Unified,
}

/// The cgroup hierarchies of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// The v1 hierarchies, in the order of their mounts.
    pub hierarchies: Vec<Hierarchy>,
    /// The v2 tree, if there is one.
    pub unified: Option<Unified>,
}

impl Layout {
    /// Looks at this process's mount namespace: one or two files are read.
    ///
    /// # Errors
    /// When no cgroup hierarchy is mounted at all, or `/proc` cannot be read.
    pub fn probe() -> Result<Self, CgroupError> {
        let path = Path::new("/proc/self/mountinfo");
        let mountinfo = read_text(path)?;
        let mut layout = Self::from_mountinfo(&mountinfo);
        if let Some(unified) = &mut layout.unified {
            let path = unified.mount.join("cgroup.controllers");
            let names = read_text(&path)?;
            unified.controllers = parse_controllers(&names);
        }
        if layout.hierarchies.is_empty() && layout.unified.is_none() {
            return Err(CgroupError::NotMounted);
        }
        Ok(layout)
    }

    /// The pure part of [`Layout::probe`]: everything but the controllers of the v2 tree. Of a hierarchy that is mounted
    /// several times, the first mount under `/sys/fs/cgroup` counts, else the first.
    pub fn from_mountinfo(mountinfo: &str) -> Self {
        let mut layout = Self { hierarchies: Vec::new(), unified: None };
        let mounts: Vec<Mounted<'_>> = mountinfo.lines().filter_map(Mounted::parse).collect();
        let (usual, elsewhere): (Vec<_>, Vec<_>) =
            mounts.iter().partition(|mounted| mounted.point.starts_with("/sys/fs/cgroup"));
        for mounted in usual.into_iter().chain(elsewhere) {
            if mounted.is_v2 {
                layout
                    .unified
                    .get_or_insert_with(|| Unified { mount: mounted.point.clone(), controllers: Vec::new() });
                continue;
            }
            let hierarchy = mounted.hierarchy();
            let known = layout.hierarchies.iter().any(|other| {
                (other.name.is_some() && other.name == hierarchy.name)
                    || other.controllers.iter().any(|controller| hierarchy.controllers.contains(controller))
            });
            let useful = hierarchy.name.is_some() || !hierarchy.controllers.is_empty();
            if useful && !known {
                layout.hierarchies.push(hierarchy);
            }
        }
        layout
    }

    /// Which shape this is.
    pub fn mode(&self) -> Mode {
        let controllers_in_v1 = self.hierarchies.iter().any(|hierarchy| !hierarchy.controllers.is_empty());
        match (&self.unified, controllers_in_v1) {
            (Some(_), false) => Mode::Unified,
            (Some(_), true) => Mode::Hybrid,
            (None, _) => Mode::Legacy,
        }
    }

    /// Whether limits are written in the v2 way.
    pub fn is_unified(&self) -> bool {
        self.mode() == Mode::Unified
    }

    /// The v1 hierarchy of a controller.
    pub fn hierarchy(&self, controller: Controller) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.controllers.contains(&controller))
    }

    /// Whether the controller can be used here, in whichever version; devices and freezer are built into v2.
    pub fn has(&self, controller: Controller) -> bool {
        if !self.is_unified() {
            return self.hierarchy(controller).is_some();
        }
        matches!(controller, Controller::Devices | Controller::Freezer)
            || self.unified.as_ref().is_some_and(|unified| unified.controllers.contains(&controller))
    }
}

/// The controllers named in a line of `cgroup.controllers` or `cgroup.subtree_control`.
pub(super) fn parse_controllers(names: &str) -> Vec<Controller> {
    let by_name = |name| Controller::ALL.into_iter().find(|controller| controller.v2_name() == Some(name));
    names.split_ascii_whitespace().filter_map(by_name).collect()
}

/// One line of mountinfo, if it is a cgroup mount.
struct Mounted<'a> {
    point: PathBuf,
    is_v2: bool,
    super_options: &'a str,
}

impl<'a> Mounted<'a> {
    /// `id parent major:minor root point options tags… - type source super-options`; see proc_pid_mountinfo(5).
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut filesystem = filesystem.split(' ');
        let is_v2 = match filesystem.next()? {
            "cgroup" => false,
            "cgroup2" => true,
            _ => return None,
        };
        let super_options = filesystem.nth(1)?;
        let point = skiff_sys::mountinfo::path(mount.split(' ').nth(4)?);
        Some(Self { point, is_v2, super_options })
    }

    fn hierarchy(&self) -> Hierarchy {
        let options = || self.super_options.split(',');
        let by_name = |option| Controller::ALL.into_iter().find(|controller| controller.v1_name() == option);
        Hierarchy {
            mount: self.point.clone(),
            controllers: options().filter_map(by_name).collect(),
            name: options().find_map(|option| option.strip_prefix("name=")).map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
38 31 0:35 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,release_agent=/x,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
50 27 0:32 / /mnt/with\\040space rw - cgroup cgroup rw,memory";

    #[test]
    fn the_hybrid_is_recognised() {
        let layout = Layout::from_mountinfo(HYBRID);
        assert_eq!(layout.mode(), Mode::Hybrid);
        assert!(!layout.is_unified());
        assert_eq!(layout.hierarchies.len(), 4);
        let cpu = layout.hierarchy(Controller::Cpuacct).expect("mounted together with cpu");
        assert_eq!(cpu.mount, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(layout.hierarchies[3].name.as_deref(), Some("systemd"));
        assert!(layout.has(Controller::Io) && !layout.has(Controller::Hugetlb));
    }

    #[test]
    fn v2_alone_and_v1_alone_are_recognised() {
        let v2 =
            Layout::from_mountinfo("30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate");
        assert_eq!(v2.mode(), Mode::Unified);
        assert!(v2.has(Controller::Devices), "v2 has devices without a controller");
        let v1 = Layout::from_mountinfo("35 31 0:32 / /cgroup/memory rw - cgroup none rw,memory");
        assert_eq!(v1.mode(), Mode::Legacy);
        assert_eq!(v1.hierarchies[0].mount, Path::new("/cgroup/memory"));
    }

    #[test]
    fn escapes_are_undone_and_other_mounts_ignored() {
        let layout =
            Layout::from_mountinfo("50 27 0:32 / /mnt/with\\040space rw - cgroup cgroup rw,pids\nnonsense");
        assert_eq!(layout.hierarchies[0].mount, Path::new("/mnt/with space"));
        assert_eq!(layout.hierarchies.len(), 1);
    }

    #[test]
    fn this_machine_has_cgroups() {
        let layout = Layout::probe().expect("cgroups are mounted where the tests run");
        assert!(layout.has(Controller::Memory) && layout.has(Controller::Pids), "{layout:?}");
    }
}
