//! mount_setattr(2), which rustix lacks.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::call;

/// Mount attribute bits (`MOUNT_ATTR_*`); the values are the kernel's.
pub mod attr {
    /// Read-only.
    pub const RDONLY: u64 = 0x1;
    /// No set-user-id programs.
    pub const NOSUID: u64 = 0x2;
    /// No device files.
    pub const NODEV: u64 = 0x4;
    /// No programs.
    pub const NOEXEC: u64 = 0x8;
    /// The mask of the access-time setting; must be in `clear` when one is set.
    pub const ATIME: u64 = 0x70;
    /// Relative access times (the default; zero).
    pub const RELATIME: u64 = 0x0;
    /// No access times.
    pub const NOATIME: u64 = 0x10;
    /// Access times on every access.
    pub const STRICTATIME: u64 = 0x20;
    /// No access times of directories.
    pub const NODIRATIME: u64 = 0x80;
    /// Owners shifted through a user namespace.
    pub const IDMAP: u64 = 0x0010_0000;
    /// No symbolic link is followed.
    pub const NOSYMFOLLOW: u64 = 0x0020_0000;
}

/// What a mount shares with its copies; the values are the kernel's `MS_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Nothing.
    Private,
    /// Both ways.
    Shared,
    /// Receives only.
    Slave,
    /// Nothing, and may not be bind-mounted.
    Unbindable,
}

impl Propagation {
    fn bits(self) -> u64 {
        match self {
            Self::Private => libc::MS_PRIVATE,
            Self::Shared => libc::MS_SHARED,
            Self::Slave => libc::MS_SLAVE,
            Self::Unbindable => libc::MS_UNBINDABLE,
        }
    }
}

/// One change by mount_setattr.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change<'fd> {
    /// Bits to set, of [`attr`].
    pub set: u64,
    /// Bits to clear, of [`attr`].
    pub clear: u64,
    /// The new propagation, if it changes.
    pub propagation: Option<Propagation>,
    /// The user namespace by which to map ids ([`attr::IDMAP`] is set along with it).
    pub userns: Option<BorrowedFd<'fd>>,
    /// Whether to change the whole tree below, at once.
    pub recursive: bool,
}

#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Changes the mount that `fd` refers to (a detached mount, or any descriptor of a mount's root).
pub fn set_attributes(fd: BorrowedFd<'_>, change: &Change<'_>) -> Result<(), Errno> {
    let mut attributes = MountAttr {
        attr_set: change.set,
        attr_clr: change.clear,
        propagation: change.propagation.map_or(0, Propagation::bits),
        userns_fd: 0,
    };
    if let Some(userns) = change.userns {
        attributes.attr_set |= attr::IDMAP;
        attributes.userns_fd = userns.as_raw_fd() as u64;
    }
    let flags = libc::AT_EMPTY_PATH | if change.recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: `attributes` is a valid `mount_attr` of the size given and outlives the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw mut attributes,
            size_of::<MountAttr>(),
        )
    };
    call::result(answer).map(drop)
}
