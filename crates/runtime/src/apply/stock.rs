//! File systems that nearly every container gets, made before it is known for whom: by a monitor that waits for its
//! container, so that the container's first process has them only to attach.
//!
//! They are detached mounts. One is used where a plan asks for exactly the same, and anything else is made as ever; nobody can
//! see from inside a container which it was. Their superblocks belong to the host's user namespace, so a container with one of
//! its own gets none of them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::Mode;
use rustix::io::Errno;

use super::{Stage, StageError, cgroup_mounts, devices, filesystem, paths};
use crate::cgroups::{CgroupPath, Layout};
use crate::defaults::{self, SHM_SIZE, SharedMemory};
use crate::plan::{self, DeviceNode, MountKind, MountStep, Namespace, Plan};

/// The types that know nothing of the process that makes them; procfs, sysfs and mqueue are those of its namespaces.
const TYPES: [&str; 2] = ["tmpfs", "devpts"];

const DEV: &str = "/dev";

/// Mount points in `/dev`, sorted.
const BELOW_DEV: [&str; 3] = ["/dev/mqueue", "/dev/pts", "/dev/shm"];

/// What there is. Empty when something could not be made ahead: then everything is made as it is needed.
#[derive(Debug, Default)]
pub struct Stock {
    mounts: Vec<(MountStep, OwnedFd)>,
    /// What `/dev` holds beside mount points and links.
    devices: Vec<DeviceNode>,
    /// What hides a directory.
    empty: Option<OwnedFd>,
}

impl Stock {
    /// Makes everything that can be.
    pub fn make() -> Self {
        let umask = rustix::process::umask(Mode::empty());
        let stock = Self::try_make();
        rustix::process::umask(umask);
        // Whatever it was, the container that needs it will tell.
        stock.unwrap_or_default()
    }

    fn try_make() -> Result<Self, StageError> {
        let empty = paths::empty_directory("")?;
        let mut stock = Self { mounts: Vec::new(), devices: plan::standard_devices(), empty: Some(empty) };
        for mount in defaults::mounts(false, &SharedMemory::Private(SHM_SIZE)) {
            let Some(fstype) = mount.typ().as_deref().filter(|fstype| TYPES.contains(fstype)) else {
                continue;
            };
            let step = plan::instance(&mount, fstype)
                .map_err(|error| StageError::refused(Stage::Mount, error.to_string()))?;
            let MountKind::Filesystem { fstype, source, options, copy_up: false } = &step.kind else {
                continue;
            };
            let made = filesystem::create(fstype, source, options, step.set, &step.target)?;
            if step.target == DEV {
                stock.furnish(made.as_fd())?;
            }
            stock.mounts.push((step, made));
        }
        Ok(stock)
    }

    fn furnish(&self, dev: BorrowedFd<'_>) -> Result<(), StageError> {
        for path in BELOW_DEV {
            let name = path.rsplit('/').next().unwrap_or(path);
            rustix::fs::mkdirat(dev, name, Mode::from_raw_mode(0o755))
                .map_err(|errno: Errno| StageError::new(Stage::Mount, errno, path))?;
        }
        devices::fill(dev, &self.devices)
    }

    /// Adds the view of a cgroup in the hierarchies of version 1, whose directories are there already: a file system with one mount
    /// for each. Kernels before 6.15 do not mount anything in what is not attached itself; there it is made when it is needed.
    pub(super) fn add_cgroup(&mut self, layout: &Layout, path: &CgroupPath) {
        let standard = defaults::mounts(false, &SharedMemory::Absent);
        let step = standard.iter().find_map(|mount| plan::cgroup_view(mount, layout, path));
        let Some(step) = step.filter(|_| !self.mounts.is_empty()) else { return };
        if let MountKind::CgroupV1 { hierarchies } = &step.kind
            && let Ok(view) = cgroup_mounts::detached(&step, hierarchies)
        {
            self.mounts.push((step, view));
        }
    }

    /// As much of it as this plan can use; what it cannot is let go of.
    pub(super) fn select(mut self, plan: &Plan) -> Self {
        let own_mounts =
            plan.namespaces.mount == Namespace::New && plan.namespaces.user == Namespace::Inherit;
        if !own_mounts || plan.mount_label.is_some() {
            return Self::default();
        }
        let same_dev = self.is_the_dev_of(plan);
        self.mounts.retain(|(step, _)| plan.mounts.contains(step) && (same_dev || step.target != DEV));
        self
    }

    /// Whether `/dev` comes out the same although its devices and links are there before anything is mounted in it.
    fn is_the_dev_of(&self, plan: &Plan) -> bool {
        let targets = plan.mounts.iter().map(|step| step.target.as_str());
        let mut below: Vec<&str> = targets.filter(|target| target.starts_with("/dev/")).collect();
        below.sort_unstable();
        below == BELOW_DEV
            && plan.dev_links
            && self.devices.iter().all(|device| plan.devices.contains(device))
            && !plan.devices.iter().any(|device| devices::is_link(&device.path))
    }

    /// What a step asks for.
    pub(super) fn find(&self, step: &MountStep) -> Option<BorrowedFd<'_>> {
        self.mounts.iter().find(|(other, _)| other == step).map(|(_, mount)| mount.as_fd())
    }

    /// What hides a directory.
    pub(super) fn empty(&self) -> Option<&OwnedFd> {
        self.empty.as_ref()
    }

    /// The devices that are in `/dev` already, beside the links; none if another `/dev` is wanted.
    pub(super) fn devices(&self) -> &[DeviceNode] {
        if self.mounts.iter().any(|(step, _)| step.target == DEV) { &self.devices } else { &[] }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plan::{HostFacts, PlanOptions};

    fn plan(change: impl FnOnce(&mut Value)) -> Plan {
        let mounts = defaults::mounts(false, &SharedMemory::Private(SHM_SIZE));
        let mut spec = json!({
            "ociVersion": "1.2.0",
            "root": {"path": "rootfs"},
            "process": {"cwd": "/", "args": ["sh"], "user": {"uid": 0, "gid": 0}},
            "mounts": mounts,
            "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "ipc"}]}
        });
        change(&mut spec);
        let options = PlanOptions { id: "c1".to_owned(), bundle: "/bundle".into(), ..PlanOptions::default() };
        plan::plan(&serde_json::from_value(spec).unwrap(), &options, &HostFacts::probe().unwrap()).unwrap()
    }

    fn push(list: &mut Value, value: Value) {
        list.as_array_mut().unwrap().push(value);
    }

    fn in_stock_for(plan: &Plan) -> Vec<String> {
        Stock::make().select(plan).mounts.into_iter().map(|(step, _)| step.target).collect()
    }

    #[test]
    fn a_plain_container_finds_everything() {
        let plan = plan(|_| {});
        assert_eq!(in_stock_for(&plan), ["/dev", "/dev/pts", "/dev/shm"]);
        let stock = Stock::make().select(&plan);
        assert_eq!(stock.devices(), plan.devices);
        let dev = stock.find(&plan.mounts[1]).unwrap();
        let mut names: Vec<String> = rustix::fs::Dir::read_from(
            rustix::fs::openat(dev, ".", rustix::fs::OFlags::RDONLY, Mode::empty()).unwrap(),
        )
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect();
        names.sort();
        let expected = "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero";
        assert_eq!(names.join(" "), expected);
    }

    #[test]
    fn what_is_asked_for_otherwise_is_not_in_stock() {
        let other_size = plan(|spec| spec["mounts"][6]["options"] = json!(["mode=1777", "size=1048576"]));
        assert_eq!(in_stock_for(&other_size), ["/dev", "/dev/pts"]);
        let mapped = plan(|spec| {
            push(&mut spec["linux"]["namespaces"], json!({"type": "user"}));
            let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
            spec["linux"]["uidMappings"] = map.clone();
            spec["linux"]["gidMappings"] = map;
        });
        assert!(in_stock_for(&mapped).is_empty());
    }

    #[test]
    fn a_dev_that_would_come_out_otherwise_is_not_in_stock() {
        let more = |target: &str| json!({"destination": target, "type": "tmpfs", "source": "tmpfs"});
        let device = |path: &str, mode: u32| json!([{"path": path, "type": "c", "major": 1, "minor": 3, "fileMode": mode}]);
        for without in [
            // Behind a link.
            plan(|spec| push(&mut spec["mounts"], more("/dev/fd"))),
            // Without the mount, there is no directory.
            plan(|spec| drop(spec["mounts"].as_array_mut().unwrap().pop())),
            // In the place of a link.
            plan(|spec| spec["linux"]["devices"] = device("/dev/ptmx", 0o666)),
            // Another device in the place of a standard one.
            plan(|spec| spec["linux"]["devices"] = device("/dev/null", 0o600)),
        ] {
            assert!(!in_stock_for(&without).contains(&DEV.to_owned()), "{without:?}");
        }
        let beside = plan(|spec| spec["linux"]["devices"] = device("/dev/mine", 0o600));
        assert!(in_stock_for(&beside).contains(&DEV.to_owned()));
    }
}
