//! Id maps: of a container's user namespace, and of namespaces made only to shift the owners of a mount.

use std::fmt::Write as _;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use skiff_sys::clone::{self, CloneFlags, Cloned};

use super::{Stage, StageError};
use crate::plan::IdMap;

/// Writes both maps, of users and of groups, for a process that is in a new user namespace. With the privileges to map any
/// id setgroups(2) stays allowed; without them it has to be given up for the map of groups (user_namespaces(7)).
pub(super) fn write_maps(
    pid: Pid,
    (uid_map, gid_map): (&[IdMap], &[IdMap]),
    rootless: bool,
) -> Result<(), StageError> {
    let directory = format!("/proc/{}", pid.as_raw_nonzero());
    for (file, map) in [("uid_map", uid_map), ("gid_map", gid_map)] {
        let mut lines = String::new();
        for range in map {
            let _ = writeln!(lines, "{} {} {}", range.container, range.host, range.size);
        }
        let write = || write_file(&format!("{directory}/{file}"), lines.as_bytes());
        let written = match write() {
            Err(Errno::PERM) if rootless && file == "gid_map" => {
                write_file(&format!("{directory}/setgroups"), b"deny").and_then(|()| write())
            }
            other => other,
        };
        written.map_err(|errno| {
            let hint = if rootless { " (without privileges only one's own id can be mapped)" } else { "" };
            StageError::new(Stage::IdMap, errno, format!("{file} {}{hint}", lines.trim_end()))
        })?;
    }
    Ok(())
}

/// A user namespace with these maps and no process in it.
pub(super) fn namespace(uid_map: &[IdMap], gid_map: &[IdMap]) -> Result<OwnedFd, StageError> {
    let failed = |errno| StageError::new(Stage::IdMap, errno, "user namespace of an id-mapped mount");
    let (ours, theirs) = skiff_sys::socket::seqpacket_pair().map_err(failed)?;
    match clone::clone3(CloneFlags::NEWUSER, None).map_err(failed)? {
        Cloned::Child => {
            drop(ours);
            // Nothing is ever sent: the end of the parent's side is the end of this process.
            let _ = rustix::io::read(&theirs, &mut [0]);
            skiff_sys::exec::exit_now(0)
        }
        Cloned::Parent { pid, pidfd } => {
            let made = write_maps(pid, (uid_map, gid_map), false).and_then(|()| {
                let path = format!("/proc/{}/ns/user", pid.as_raw_nonzero());
                rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)
            });
            // A process that has ended already cannot be signalled, which is as well.
            let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
            let wait = || rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
            let _ = rustix::io::retry_on_intr(wait);
            made
        }
    }
}

/// Writes a small file of a kernel file system with one system call, as these want it.
pub(super) fn write_file(path: &str, content: &[u8]) -> Result<(), Errno> {
    write_at(CWD, path, content)
}

/// Likewise, from a directory.
pub(super) fn write_at(directory: impl AsFd, path: &str, content: &[u8]) -> Result<(), Errno> {
    let file = rustix::fs::openat(directory, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    match rustix::io::write(&file, content)? {
        written if written == content.len() => Ok(()),
        _ => Err(Errno::IO),
    }
}
