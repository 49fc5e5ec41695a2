//! Namespaces: which are born with the clone, which are joined, and in which process.

use std::fmt::Write as _;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType};
use skiff_sys::clone::CloneFlags;

use super::{Stage, StageError, idmap};
use crate::plan::{ExecNamespace, Namespace, NamespaceSource, Namespaces};

/// A namespace to join, opened before anything is cloned.
#[derive(Debug)]
pub(super) struct Joined {
    kind: LinkNameSpaceType,
    name: &'static str,
    file: OwnedFd,
}

impl Namespaces {
    /// All of them, the mount namespace last, because it changes what paths mean; for the user namespace see [`join`].
    fn all(&self) -> [(&Namespace, LinkNameSpaceType, &'static str); 8] {
        [
            (&self.user, LinkNameSpaceType::User, "user"),
            (&self.ipc, LinkNameSpaceType::InterProcessCommunication, "ipc"),
            (&self.uts, LinkNameSpaceType::HostNameAndNISDomainName, "uts"),
            (&self.net, LinkNameSpaceType::Network, "network"),
            (&self.pid, LinkNameSpaceType::ProcessID, "pid"),
            (&self.cgroup, LinkNameSpaceType::ControlGroup, "cgroup"),
            (&self.time, LinkNameSpaceType::Time, "time"),
            (&self.mount, LinkNameSpaceType::Mount, "mount"),
        ]
    }

    /// Opens those to join.
    pub(super) fn open(&self, fds: &[OwnedFd]) -> Result<Vec<Joined>, StageError> {
        let mut joined = Vec::new();
        for (namespace, kind, name) in self.all() {
            let Namespace::Join(source) = namespace else { continue };
            let (file, shown) = match source {
                NamespaceSource::Path(path) => {
                    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
                    (file, path.display().to_string())
                }
                NamespaceSource::Fd(index) => {
                    let fd = fds.get(*index as usize).ok_or(Errno::BADF);
                    let file = fd.and_then(|fd| rustix::io::fcntl_dupfd_cloexec(fd, 3));
                    (file, format!("descriptor {index}"))
                }
            };
            let file = file
                .map_err(|errno| StageError::new(Stage::JoinNamespace, errno, format!("{name} {shown}")))?;
            joined.push(Joined { kind, name, file });
        }
        Ok(joined)
    }

    /// Those born with the clone. The cgroup namespace is not among them: its root is the cgroup in which the process
    /// is when it is made, so it is made after joining.
    pub(super) fn clone_flags(&self) -> CloneFlags {
        let born = [
            (&self.user, CloneFlags::NEWUSER),
            (&self.mount, CloneFlags::NEWNS),
            (&self.uts, CloneFlags::NEWUTS),
            (&self.ipc, CloneFlags::NEWIPC),
            (&self.pid, CloneFlags::NEWPID),
            (&self.net, CloneFlags::NEWNET),
        ];
        let mut flags = CloneFlags::empty();
        for (namespace, flag) in born {
            if *namespace == Namespace::New {
                flags = flags.with(flag);
            }
        }
        if self.time == Namespace::New && self.time_offsets.is_empty() {
            flags = flags.with(CloneFlags::NEWTIME);
        }
        flags
    }

    /// Whether the container's first process must be cloned by an intermediate one: a joined user namespace must own
    /// the new namespaces, a joined pid namespace only takes children, other namespaces must be joined with the
    /// host's privileges before a new user namespace takes them away, and clocks can only be set in a time namespace
    /// that nobody is in yet.
    pub(super) fn need_intermediate(&self) -> bool {
        let joins = |namespace: &Namespace| matches!(namespace, Namespace::Join(_));
        let any_joined = self.all().iter().any(|(namespace, ..)| joins(namespace));
        joins(&self.user)
            || joins(&self.pid)
            || (self.user == Namespace::New && any_joined)
            || !self.time_offsets.is_empty()
    }

    /// Makes the time namespace for the next child, with its offsets.
    pub(super) fn prepare_clocks(&self) -> Result<(), StageError> {
        if self.time_offsets.is_empty() {
            return Ok(());
        }
        let failed = |errno| StageError::new(Stage::TimeOffsets, errno, "time namespace");
        skiff_sys::clone::unshare_time().map_err(failed)?;
        let mut lines = String::new();
        for offset in &self.time_offsets {
            let _ = writeln!(lines, "{} {} {}", offset.clock, offset.secs, offset.nanosecs);
        }
        idmap::write_file("/proc/self/timens_offsets", lines.as_bytes())
            .map_err(|errno| StageError::new(Stage::TimeOffsets, errno, lines.trim_end()))
    }
}

/// Joins them all. With privileges of the host's every other comes before the user namespace, since some may belong to a
/// user namespace above it; without them those that refuse are joined with the privileges which that one gives.
pub(super) fn join(joined: &[Joined]) -> Result<(), StageError> {
    let (user, others): (Vec<&Joined>, Vec<&Joined>) =
        joined.iter().partition(|namespace| namespace.kind == LinkNameSpaceType::User);
    let mut refused = Vec::new();
    for namespace in others {
        match namespace.join() {
            Err(Errno::PERM) if !user.is_empty() => refused.push(namespace),
            result => result.map_err(|errno| namespace.failure(errno))?,
        }
    }
    for namespace in user.into_iter().chain(refused) {
        namespace.join().map_err(|errno| namespace.failure(errno))?;
    }
    Ok(())
}

impl Joined {
    fn join(&self) -> Result<(), Errno> {
        rustix::thread::move_into_link_name_space(self.file.as_fd(), Some(self.kind))
    }

    fn failure(&self, errno: Errno) -> StageError {
        StageError::new(Stage::JoinNamespace, errno, self.name)
    }
}

/// What setns(2) takes for the namespaces of a running container, apart from the pid namespace.
pub(super) fn exec_types(join: &[ExecNamespace]) -> ThreadNameSpaceType {
    join.iter().fold(ThreadNameSpaceType::empty(), |types, namespace| {
        types
            | match namespace {
                ExecNamespace::User => ThreadNameSpaceType::USER,
                ExecNamespace::Mount => ThreadNameSpaceType::MOUNT,
                ExecNamespace::Uts => ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME,
                ExecNamespace::Ipc => ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION,
                ExecNamespace::Net => ThreadNameSpaceType::NETWORK,
                ExecNamespace::Cgroup => ThreadNameSpaceType::CONTROL_GROUP,
                ExecNamespace::Time => ThreadNameSpaceType::TIME,
                ExecNamespace::Pid => ThreadNameSpaceType::empty(),
            }
    })
}
