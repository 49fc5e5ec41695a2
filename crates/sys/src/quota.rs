//! Project quotas of ext4 and XFS: the ioctls FS_IOC_FSGETXATTR and FS_IOC_FSSETXATTR, and quotactl_fd(2).

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;

use crate::call;

/// `struct fsxattr` of linux/fs.h.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    cow_extent_size: u32,
    padding: [u8; 8],
}

/// `struct fs_disk_quota` of linux/dqblk_xfs.h, as far as limits of blocks go.
#[repr(C)]
#[derive(Default)]
struct Limits {
    version: i8,
    flags: i8,
    fields: u16,
    id: u32,
    blocks_hard: u64,
    blocks_soft: u64,
    rest: [u64; 11],
}

/// `FS_XFLAG_PROJINHERIT`: what is made in the directory belongs to its project.
const INHERIT: u32 = 0x200;
/// `Q_XSETQLIM` and `Q_XGETQUOTA` of linux/dqblk_xfs.h, for `PRJQUOTA`.
const SET: u32 = command(4);
const GET: u32 = command(3);
/// `FS_DQ_BSOFT | FS_DQ_BHARD`.
const BLOCKS: u16 = 4 | 8;
/// `FS_PROJ_QUOTA`.
const PROJECT: i8 = 2;
/// Bytes of a "basic block".
const BLOCK: u64 = 512;

const fn command(number: u32) -> u32 {
    const PRJQUOTA: u32 = 2;
    ((('X' as u32) << 8) + number) << 8 | PRJQUOTA
}

/// Whether the file system that the descriptor is on keeps project quotas.
pub fn has_project_limits(file: impl AsFd) -> bool {
    let mut limits = Limits::default();
    // A project that has used nothing has no quota yet; the question is understood all the same.
    matches!(control(&file, GET, 0, &mut limits), Ok(()) | Err(Errno::NOENT))
}

/// Limits the project with this number to so many bytes.
///
/// # Errors
/// The kernel's: `ESRCH` without project quotas, `ENOSYS` before Linux 5.14.
pub fn limit_project(file: impl AsFd, project: u32, bytes: u64) -> Result<(), Errno> {
    let blocks = bytes.div_ceil(BLOCK);
    let mut limits = Limits {
        version: 1,
        flags: PROJECT,
        fields: BLOCKS,
        id: project,
        blocks_hard: blocks,
        blocks_soft: blocks,
        ..Limits::default()
    };
    control(&file, SET, project, &mut limits)
}

fn control(file: &impl AsFd, command: u32, id: u32, limits: &mut Limits) -> Result<(), Errno> {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: `limits` has the size of the kernel's structure, is writable, and outlives the call.
    let answer = unsafe { libc::syscall(libc::SYS_quotactl_fd, fd, command, id, std::ptr::from_mut(limits)) };
    call::result(answer).map(drop)
}

/// Puts a directory into a project, with everything that will be made in it.
///
/// # Errors
/// The kernel's: `ENOTTY` or `EOPNOTSUPP` where files have no projects.
pub fn join_project(directory: impl AsFd, project: u32) -> Result<(), Errno> {
    // _IOR('X', 31, struct fsxattr) and _IOW('X', 32, struct fsxattr).
    const GET_ATTRIBUTES: u64 = 0x801c_581f;
    const SET_ATTRIBUTES: u64 = 0x401c_5820;
    let fd = directory.as_fd().as_raw_fd();
    let mut attributes = Attributes::default();
    // SAFETY: `attributes` has the size that the request's number carries, is writable, and outlives the call.
    let answer = unsafe { libc::syscall(libc::SYS_ioctl, fd, GET_ATTRIBUTES, &raw mut attributes) };
    call::result(answer)?;
    attributes.project = project;
    attributes.flags |= INHERIT;
    // SAFETY: as above; the kernel only reads.
    let answer = unsafe { libc::syscall(libc::SYS_ioctl, fd, SET_ATTRIBUTES, &raw const attributes) };
    call::result(answer).map(drop)
}

const _: () = {
    assert!(size_of::<Attributes>() == 28);
    assert!(size_of::<Limits>() == 112);
};
