//! clone3(2): a child in new namespaces, with a pidfd, born in a cgroup.
//!
//! The child is a copy-on-write fork which goes on with ordinary Rust code. That is sound only while the calling
//! process has a single thread (a lock held by another thread would stay locked for ever in the child), so
//! [`clone3`] refuses to run in a process with several.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::Pid;

use crate::call;

/// Flags of clone3 that a container engine needs; the values are the kernel's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloneFlags(u64);

impl CloneFlags {
    /// A new mount namespace.
    pub const NEWNS: Self = Self(libc::CLONE_NEWNS as u64);
    /// A new UTS namespace.
    pub const NEWUTS: Self = Self(libc::CLONE_NEWUTS as u64);
    /// A new IPC namespace.
    pub const NEWIPC: Self = Self(libc::CLONE_NEWIPC as u64);
    /// A new user namespace.
    pub const NEWUSER: Self = Self(libc::CLONE_NEWUSER as u64);
    /// A new pid namespace, of which the child is process 1.
    pub const NEWPID: Self = Self(libc::CLONE_NEWPID as u64);
    /// A new network namespace.
    pub const NEWNET: Self = Self(libc::CLONE_NEWNET as u64);
    /// A new time namespace (with the offsets of the parent's).
    pub const NEWTIME: Self = Self(0x80);
    /// The child is a sibling of the caller: its parent is the caller's parent.
    pub const PARENT: Self = Self(libc::CLONE_PARENT as u64);

    /// No flag: a plain fork.
    pub const fn empty() -> Self {
        Self(0)
    }

    /// Both sets of flags.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every flag of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Which side of the clone the caller finds itself on.
#[derive(Debug)]
pub enum Cloned {
    /// The new process. It must end by exec or exit, never by returning into the caller's logic.
    Child,
    /// The calling process.
    Parent {
        /// The child's id in the caller's pid namespace.
        pid: Pid,
        /// A close-on-exec pidfd of the child.
        pidfd: OwnedFd,
    },
}

const CLONE_PIDFD: u64 = libc::CLONE_PIDFD as u64;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args`, as of Linux 5.7 (size 88).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Clones the calling process; see the module's documentation for what the child may do.
///
/// `cgroup` is a descriptor of a cgroup v2 directory: the child is born in that cgroup. The exit signal is
/// SIGCHLD.
///
/// # Errors
/// `EDEADLK` if the calling process has more than one thread; otherwise the kernel's.
pub fn clone3(flags: CloneFlags, cgroup: Option<BorrowedFd<'_>>) -> Result<Cloned, Errno> {
    if !is_single_threaded()? {
        return Err(Errno::DEADLK);
    }
    let mut pidfd: libc::c_int = -1;
    let mut args = CloneArgs {
        flags: flags.0 | CLONE_PIDFD,
        pidfd: &raw mut pidfd as u64,
        // With CLONE_PARENT the signal is inherited from the caller and must be zero.
        exit_signal: if flags.contains(CloneFlags::PARENT) { 0 } else { libc::SIGCHLD as u64 },
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: `args` is a valid `clone_args` of the size given, `pidfd` outlives the call, and neither a stack nor
    // shared memory is asked for, so that the child continues on a private copy of this very stack. The process
    // has one thread, so no lock of the C library or of Rust can be held by a thread missing in the child.
    let answer = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) };
    match call::result(answer)? {
        0 => Ok(Cloned::Child),
        pid => {
            // SAFETY: the kernel stored a new descriptor, which nobody else knows of.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid = Pid::from_raw(pid as i32).ok_or(Errno::INVAL)?;
            Ok(Cloned::Parent { pid, pidfd })
        }
    }
}

/// Whether the calling process has exactly one thread, by the link count of `/proc/self/task`.
fn is_single_threaded() -> Result<bool, Errno> {
    // `.`, `..` and one directory per thread.
    Ok(rustix::fs::stat("/proc/self/task")?.st_nlink == 3)
}

/// Puts the calling process into a new cgroup namespace, whose root is the cgroup it is in.
pub fn unshare_cgroup() -> Result<(), Errno> {
    unshare(libc::CLONE_NEWCGROUP)
}

/// Makes a new time namespace for the children of the calling process. Its clocks can be set until the first of
/// them is born.
pub fn unshare_time() -> Result<(), Errno> {
    unshare(CloneFlags::NEWTIME.0 as libc::c_int)
}

/// Gives the calling thread, and no other, a mount namespace and a working directory of its own. The namespace ends with
/// the thread; mounts in it still propagate until they are made private.
pub fn unshare_mounts() -> Result<(), Errno> {
    unshare(libc::CLONE_NEWNS)
}

/// Gives the calling thread, and no other, a root and a working directory of its own: it may then enter another mount
/// namespace (setns(2)).
pub fn unshare_root() -> Result<(), Errno> {
    unshare(libc::CLONE_FS)
}

fn unshare(flags: libc::c_int) -> Result<(), Errno> {
    // SAFETY: only namespaces and the root are asked for; neither memory nor the table of descriptors is unshared.
    call::result(unsafe { libc::syscall(libc::SYS_unshare, flags) }).map(drop)
}
