//! The directories of one cgroup: made in every hierarchy of the machine, written to, entered, and removed again.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode as FileMode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use skiff_sys::bpf;

use super::files::{OpenFile, read_text, subdirectories};
use super::layout::parse_controllers;
use super::plan::Tolerance;
use super::{BelowCgroup, CgroupError, Controller, Current, Layout, Operation, ResourcePlan, Step};

/// How long removal waits for the last processes to be reaped before it gives up.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(2);

/// A cgroup's place below the mount points: absolute, without `.`, `..` or empty parts, never the root itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CgroupPath(String);

impl CgroupPath {
    /// Checks a `cgroupsPath`. A relative path counts from the root of the hierarchies, like an absolute one.
    ///
    /// # Errors
    /// For the systemd driver's `slice:prefix:name`, for a path that climbs, and for the root.
    pub fn parse(path: &str) -> Result<Self, CgroupError> {
        let error = |reason: &str| CgroupError::Path { path: path.to_owned(), reason: reason.to_owned() };
        if path.split(':').count() == 3 && !path.contains('/') {
            return Err(error("the systemd cgroup driver is not supported; give a path"));
        }
        if path.contains('\0') {
            return Err(error("it contains a NUL"));
        }
        let mut clean = String::with_capacity(path.len() + 1);
        for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
            if part == ".." {
                return Err(error("it contains \"..\""));
            }
            clean.push('/');
            clean.push_str(part);
        }
        if clean.is_empty() { Err(error("it names the root")) } else { Ok(Self(clean)) }
    }

    /// The path, with its leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Below a mount point.
    pub(crate) fn under(&self, mount: &Path) -> PathBuf {
        mount.join(&self.0[1..])
    }
}

/// One directory of a cgroup.
#[derive(Debug)]
struct Directory {
    path: PathBuf,
    mount: PathBuf,
    controllers: Vec<Controller>,
    is_v2: bool,
}

/// A container's cgroup: its directory in each hierarchy. The value owns nothing: dropping it leaves the directories, [`Cgroup::remove`] takes them away.
#[derive(Debug)]
pub struct Cgroup {
    directories: Vec<Directory>,
    limits_in_v2: bool,
    /// Nothing was there before.
    fresh: bool,
    /// No device program is attached yet, so none has to be looked for before one is.
    without_program: AtomicBool,
}

impl Cgroup {
    /// Names the cgroup at `path` without touching anything.
    pub fn open(layout: &Layout, path: &CgroupPath) -> Self {
        let v1 = layout.hierarchies.iter().map(|hierarchy| Directory {
            path: path.under(&hierarchy.mount),
            mount: hierarchy.mount.clone(),
            controllers: hierarchy.controllers.clone(),
            is_v2: false,
        });
        let v2 = layout.unified.iter().map(|unified| Directory {
            path: path.under(&unified.mount),
            mount: unified.mount.clone(),
            controllers: unified.controllers.clone(),
            is_v2: true,
        });
        Self {
            directories: v2.chain(v1).collect(),
            limits_in_v2: layout.is_unified(),
            fresh: false,
            without_program: AtomicBool::new(false),
        }
    }

    /// A group without any directory, for whoever may make none.
    fn nowhere() -> Self {
        let without_program = AtomicBool::new(false);
        Self { directories: Vec::new(), limits_in_v2: false, fresh: false, without_program }
    }

    /// Whether it is a group without any directory.
    pub(crate) fn is_nowhere(&self) -> bool {
        self.directories.is_empty()
    }

    /// Likewise [`Cgroup::create`], for a container that needs no cgroup: without the permission to make one it does
    /// without.
    ///
    /// # Errors
    /// Any other failure.
    pub fn create_if_allowed(layout: &Layout, path: &CgroupPath) -> Result<Self, CgroupError> {
        let denied = [Errno::ACCESS, Errno::PERM, Errno::ROFS].map(Errno::raw_os_error);
        match Self::create(layout, path) {
            Err(error) if error.errno().is_some_and(|errno| denied.contains(&errno)) => Ok(Self::nowhere()),
            other => other,
        }
    }

    /// The cgroup at `path` if it was made, and none otherwise; see [`Cgroup::create_if_allowed`].
    pub fn open_if_there(layout: &Layout, path: &CgroupPath) -> Self {
        let group = Self::open(layout, path);
        if group.exists() { group } else { Self::nowhere() }
    }

    /// Makes the directories, and on the way those above them: cpusets with their parent's processors, v2 with every controller enabled.
    /// What exists already is taken as it is.
    ///
    /// # Errors
    /// The first directory that cannot be made; what this call made before it is removed again.
    pub fn create(layout: &Layout, path: &CgroupPath) -> Result<Self, CgroupError> {
        let mut group = Self::open(layout, path);
        let mut made: Vec<&Directory> = Vec::with_capacity(group.directories.len());
        for directory in &group.directories {
            match directory.create() {
                Ok(true) => made.push(directory),
                Ok(false) => {}
                Err(error) => {
                    for directory in made {
                        _ = fs_err::remove_dir(&directory.path);
                    }
                    return Err(error);
                }
            }
        }
        group.fresh = made.len() == group.directories.len();
        group.without_program = AtomicBool::new(group.fresh);
        Ok(group)
    }

    /// Whether [`Cgroup::create`] made every directory itself.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Whether the cgroup exists, in any hierarchy.
    pub fn exists(&self) -> bool {
        self.directories.iter().any(|directory| directory.path.exists())
    }

    /// The directory in the v2 tree, which the hybrid has too.
    pub(super) fn unified(&self) -> Option<&Path> {
        self.directories.iter().find(|directory| directory.is_v2).map(|directory| directory.path.as_path())
    }

    /// Whether limits and statistics are v2's.
    pub(super) fn limits_in_v2(&self) -> bool {
        self.limits_in_v2
    }

    /// Every directory.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.directories.iter().map(|directory| directory.path.as_path())
    }

    /// The directory in which a controller's files are; v2's holds them all.
    pub fn directory(&self, controller: Controller) -> Option<&Path> {
        let holds = |directory: &&Directory| {
            if self.limits_in_v2 { directory.is_v2 } else { directory.controllers.contains(&controller) }
        };
        self.directories.iter().find(holds).map(|directory| directory.path.as_path())
    }

    /// What [`super::plan`] must know for a live update: one file is read.
    ///
    /// # Errors
    /// When the limit in force cannot be read.
    pub fn current(&self) -> Result<Current, CgroupError> {
        let Some(directory) = self.directory(Controller::Memory).filter(|_| !self.limits_in_v2) else {
            return Ok(Current::default());
        };
        let path = directory.join("memory.limit_in_bytes");
        let text = read_text(&path)?;
        // "unlimited" is the largest multiple of the page size below 2^63
        Ok(Current { memory_limit: text.trim().parse().ok().filter(|limit| *limit < (1 << 62)) })
    }

    /// Writes a plan's values, in order, and attaches its device program.
    ///
    /// # Errors
    /// The first write that fails for good, with the file and the value. What was written before it stays.
    pub fn apply(&self, plan: &ResourcePlan) -> Result<(), CgroupError> {
        let mut open = OpenFile::default();
        let mut postponed = Vec::new();
        for step in &plan.steps {
            let Some(directory) = self.directory(step.controller) else {
                if step.tolerance == Tolerance::Missing {
                    continue;
                }
                let setting = step.file.to_string();
                return Err(CgroupError::MissingController { controller: step.controller, setting });
            };
            match self.write(directory, step, &mut open) {
                Err(error) if step.tolerance == Tolerance::Postpone && error.errno() == Some(INVALID) => {
                    postponed.push((directory, step));
                }
                other => other?,
            }
        }
        for (directory, step) in postponed {
            self.write(directory, step, &mut open)?;
        }
        match (&plan.device_program, self.unified()) {
            (Some(words), Some(directory)) => self.attach_device_program(directory, words),
            _ => Ok(()),
        }
    }

    fn write(&self, directory: &Path, step: &Step, open: &mut OpenFile) -> Result<(), CgroupError> {
        if let Tolerance::UsageBelow(limit) = step.tolerance {
            check_usage(directory, limit)?;
        }
        let path = directory.join(&*step.file);
        match (open.write(&path, &step.value), &step.otherwise) {
            (Err(error), Some(other)) if error.errno() == Some(MISSING) => {
                open.write(&directory.join(&*other.file), &other.value)
            }
            (Err(error), None) if error.errno() == Some(MISSING) && step.tolerance == Tolerance::Missing => {
                Ok(())
            }
            (result, _) => result,
        }
    }

    fn attach_device_program(&self, directory: &Path, words: &[u64]) -> Result<(), CgroupError> {
        let failed = |operation| move |errno: Errno| CgroupError::kernel(operation, directory, errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(directory, flags, FileMode::empty()).map_err(failed(Operation::Open))?;
        let program =
            bpf::load_cgroup_device("skiff_devices", words).map_err(failed(Operation::LoadDeviceProgram))?;
        let attach = failed(Operation::AttachDeviceProgram);
        let old = match self.without_program.swap(false, Ordering::Relaxed) {
            true => Vec::new(),
            false => bpf::cgroup_device_programs(fd.as_fd()).map_err(attach)?,
        };
        // With several programs all must say yes: attaching first and detaching then never opens what was closed before.
        let replaced = old.first().filter(|_| old.len() == 1).map(OwnedFd::as_fd);
        bpf::attach_cgroup_device(fd.as_fd(), program.as_fd(), replaced).map_err(attach)?;
        for other in old.iter().filter(|_| replaced.is_none()) {
            bpf::detach_cgroup_device(fd.as_fd(), other.as_fd()).map_err(attach)?;
        }
        Ok(())
    }

    /// Opens the doors through which processes enter; see [`Entry`].
    ///
    /// # Errors
    /// When a directory is not there.
    pub fn entry(&self) -> Result<Entry, CgroupError> {
        self.entry_below(&[])
    }

    /// The doors into cgroups below this one, in the hierarchies that each of these names.
    ///
    /// # Errors
    /// When a directory is not there.
    pub fn entry_below(&self, below: &[BelowCgroup]) -> Result<Entry, CgroupError> {
        let mut entry = Entry { v1_tasks: Vec::with_capacity(self.directories.len()), v2: None };
        for directory in &self.directories {
            let place = below.iter().rev().find(|below| directory.is_named_by(below));
            let path = match place {
                Some(below) if !below.path.as_os_str().is_empty() => &directory.path.join(&below.path),
                _ => &directory.path,
            };
            let failed = |errno: Errno| CgroupError::kernel(Operation::Open, path, errno);
            if directory.is_v2 {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                entry.v2 = Some(rustix::fs::open(path, flags, FileMode::empty()).map_err(failed)?);
            } else {
                let flags = OFlags::WRONLY | OFlags::CLOEXEC;
                let tasks = path.join("tasks");
                entry.v1_tasks.push(rustix::fs::open(tasks, flags, FileMode::empty()).map_err(failed)?);
            }
        }
        Ok(entry)
    }

    /// Removes the cgroup and everything below it, waiting a little for processes that are just dying. What is gone already is fine.
    /// Directories above it stay.
    ///
    /// # Errors
    /// [`CgroupError::Busy`] when processes remain.
    pub fn remove(&self) -> Result<(), CgroupError> {
        let start = Instant::now();
        let mut pause = Duration::from_micros(100);
        for directory in &self.directories {
            while let Err(error) = remove_tree(&directory.path) {
                if error.errno() != Some(Errno::BUSY.raw_os_error()) {
                    return Err(error);
                }
                if start.elapsed() >= REMOVAL_PATIENCE {
                    let waited_ms = start.elapsed().as_millis() as u64;
                    return Err(CgroupError::Busy { path: directory.path.clone(), waited_ms });
                }
                thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(50));
            }
        }
        Ok(())
    }
}

const MISSING: i32 = Errno::NOENT.raw_os_error();
const INVALID: i32 = Errno::INVAL.raw_os_error();

impl Directory {
    fn is_named_by(&self, below: &BelowCgroup) -> bool {
        let is_own = |name: &String| {
            self.controllers.iter().any(|controller| controller.v1_name() == name)
                || self.mount.file_name().is_some_and(|mount| mount == name.as_str())
        };
        below.hierarchies.is_empty() || below.hierarchies.iter().any(is_own)
    }

    /// Makes the directory; answers whether it was not there before.
    fn create(&self) -> Result<bool, CgroupError> {
        let made = match make_directory(&self.path)? {
            Made::ParentMissing => {
                self.create_parents()?;
                make_directory(&self.path)?
            }
            Made::Now if self.is_v2 => {
                self.enable_controllers()?;
                Made::Now
            }
            made => made,
        };
        if matches!(made, Made::ParentMissing) {
            return Err(CgroupError::kernel(Operation::CreateDirectory, &self.path, Errno::NOENT));
        }
        if self.controllers.contains(&Controller::Cpuset) && !self.is_v2 {
            inherit_cpuset(&self.path, &self.mount)?;
        }
        Ok(matches!(made, Made::Now))
    }

    /// Every directory between the mount point and this one, from above.
    fn ancestors(&self) -> Vec<&Path> {
        let below_mount = |path: &&Path| path.starts_with(&self.mount) && *path != self.mount;
        let mut ancestors: Vec<&Path> = self.path.ancestors().skip(1).take_while(below_mount).collect();
        ancestors.reverse();
        ancestors
    }

    fn create_parents(&self) -> Result<(), CgroupError> {
        for ancestor in self.ancestors() {
            let made = make_directory(ancestor)?;
            if matches!(made, Made::Now) && self.controllers.contains(&Controller::Cpuset) && !self.is_v2 {
                inherit_cpuset(ancestor, &self.mount)?;
                // From now on the kernel copies processors and memory nodes into new children itself.
                OpenFile::default().write(&ancestor.join("cgroup.clone_children"), "1")?;
            }
        }
        if self.is_v2 { self.enable_controllers() } else { Ok(()) }
    }

    /// Enables, from above, whatever an ancestor has not enabled for its children. Usually one file is read and nothing written.
    fn enable_controllers(&self) -> Result<(), CgroupError> {
        if self.controllers.is_empty() {
            return Ok(());
        }
        let missing = |ancestor: &Path| {
            let path = ancestor.join("cgroup.subtree_control");
            let text = read_text(&path)?;
            let enabled = parse_controllers(&text);
            Ok((
                path,
                self.controllers.iter().copied().filter(|it| !enabled.contains(it)).collect::<Vec<_>>(),
            ))
        };
        let parent = self.path.parent().unwrap_or(&self.mount);
        if missing(parent)?.1.is_empty() {
            return Ok(());
        }
        for ancestor in std::iter::once(self.mount.as_path()).chain(self.ancestors()) {
            let (path, controllers) = missing(ancestor)?;
            let names = controllers.iter().filter_map(|controller| controller.v2_name());
            let request: Vec<String> = names.map(|name| format!("+{name}")).collect();
            let mut file = OpenFile::default();
            if request.is_empty() || file.write(&path, &request.join(" ")).is_ok() {
                continue;
            }
            // One of them is refused (rdma in some containers): the others may still be had. Whoever then needs the missing one
            // finds its file missing, and is told so.
            for one in &request {
                _ = file.write(&path, one);
            }
        }
        Ok(())
    }
}

enum Made {
    Now,
    Before,
    ParentMissing,
}

fn make_directory(path: &Path) -> Result<Made, CgroupError> {
    match rustix::fs::mkdir(path, FileMode::from_raw_mode(0o755)) {
        Ok(()) => Ok(Made::Now),
        Err(Errno::EXIST) => Ok(Made::Before),
        Err(Errno::NOENT) => Ok(Made::ParentMissing),
        Err(errno) => Err(CgroupError::kernel(Operation::CreateDirectory, path, errno)),
    }
}

/// A new v1 cpuset is empty, and nobody can enter an empty one: it takes its parent's processors and memory nodes. Whoever makes the
/// parent at this moment may not have come so far, and then it is done for him.
fn inherit_cpuset(directory: &Path, mount: &Path) -> Result<(), CgroupError> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let path = directory.join(file);
        if !read_text(&path)?.trim().is_empty() {
            continue;
        }
        let above = directory.parent().unwrap_or(directory);
        if above != mount && read_text(&above.join(file))?.trim().is_empty() {
            inherit_cpuset(above, mount)?;
        }
        OpenFile::default().write(&path, read_text(&above.join(file))?.trim())?;
    }
    Ok(())
}

/// cgroup v2 kills what exceeds a lowered limit, where v1 refuses it.
fn check_usage(directory: &Path, limit: u64) -> Result<(), CgroupError> {
    let path = directory.join("memory.current");
    let usage = read_text(&path)?;
    match usage.trim().parse::<u64>() {
        Ok(usage) if usage > limit => {
            let reason = format!("unable to set memory limit to {limit}: {usage} bytes are in use");
            Err(CgroupError::invalid("memory.limit", reason))
        }
        _ => Ok(()),
    }
}

/// Removes a directory and those below it; the files in it are the kernel's.
fn remove_tree(path: &Path) -> Result<(), CgroupError> {
    let failed = |errno: Errno| CgroupError::kernel(Operation::RemoveDirectory, path, errno);
    match rustix::fs::rmdir(path) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::BUSY | Errno::NOTEMPTY) => {}
        Err(errno) => return Err(failed(errno)),
    }
    for child in subdirectories(path)? {
        remove_tree(&child)?;
    }
    match rustix::fs::rmdir(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(failed(errno)),
    }
}

/// Open doors into a cgroup, for a process that is about to be made: give [`Entry::clone_into`] to clone3 with `CLONE_INTO_CGROUP` and
/// call [`Entry::join_v1`] in the child before anything else, while it has one thread. Nothing is allocated and no lock of other processes is waited for.
#[derive(Debug)]
pub struct Entry {
    v1_tasks: Vec<OwnedFd>,
    v2: Option<OwnedFd>,
}

impl Entry {
    /// The v2 directory for `CLONE_INTO_CGROUP`, which exists in the hybrid too; see clone(2).
    pub fn clone_into(&self) -> Option<BorrowedFd<'_>> {
        self.v2.as_ref().map(OwnedFd::as_fd)
    }

    /// Puts the calling thread, which must be its process's only one, into the v1 directories.
    ///
    /// # Errors
    /// The kernel's refusal: an empty cpuset, a full `pids` cgroup does not refuse.
    pub fn join_v1(&self) -> Result<(), Errno> {
        self.v1_tasks.iter().try_for_each(|tasks| rustix::io::write(tasks, b"0").map(drop))
    }

    /// Puts the calling process into the v2 directory, when it was not born there.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn join_v2(&self) -> Result<(), Errno> {
        let Some(directory) = &self.v2 else { return Ok(()) };
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let procs = rustix::fs::openat(directory, "cgroup.procs", flags, FileMode::empty())?;
        rustix::io::write(procs, b"0").map(drop)
    }
}
