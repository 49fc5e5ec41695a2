//! Project quotas of ext4 and XFS: a directory whose contents may take so many bytes, whoever writes them.
//!
//! The number of a project is drawn at random among those that no file and no limit has; the kernel's own tables are asked, so
//! nothing is recorded anywhere else, and two engines on one file system do not meet. A limit that is taken back, and whose
//! files are gone, leaves nothing in these tables.
//!
//! Source: ioctl_xfs_fsgetxattr(2), quotactl(2), quotactl_fd of Linux 5.14, linux/dqblk_xfs.h.

use std::os::fd::{AsFd, AsRawFd};

use rustix::{io::Errno, rand::GetRandomFlags};

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

impl Attributes {
    /// The project that a directory hands on, if it has one.
    fn own_project(&self) -> Option<u32> {
        (self.project != 0 && self.flags & INHERIT != 0).then_some(self.project)
    }
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

/// `struct fs_quota_statv` of linux/dqblk_xfs.h, as far as its flags go.
#[repr(C)]
#[derive(Default)]
struct State {
    version: i8,
    padding: u8,
    flags: u16,
    loaded: u32,
    rest: [u64; 19],
}

/// `FS_XFLAG_PROJINHERIT`: what is made in the directory belongs to its project.
const INHERIT: u32 = 0x200;
/// `Q_XGETQUOTA`, `Q_XSETQLIM`, `Q_XGETQSTATV` and `Q_XGETNEXTQUOTA` of linux/dqblk_xfs.h, for `PRJQUOTA`.
const SET: u32 = command(4);
const STATE: u32 = command(8);
const NEXT: u32 = command(9);
/// `FS_DQ_BSOFT | FS_DQ_BHARD`.
const BLOCKS: u16 = 4 | 8;
/// `FS_PROJ_QUOTA`.
const PROJECT: i8 = 2;
/// `FS_QUOTA_PDQ_ENFD`.
const ENFORCED: u16 = 1 << 5;
/// Bytes of a "basic block".
const BLOCK: u64 = 512;

const fn command(number: u32) -> u32 {
    const PRJQUOTA: u32 = 2;
    ((('X' as u32) << 8) + number) << 8 | PRJQUOTA
}

/// Whether directories in this one can be limited: its file system enforces project quotas (one that only counts does not), and
/// the directory hands no project of somebody else's on.
pub fn can_limit(directory: impl AsFd) -> bool {
    let mut state = State { version: 1, ..State::default() };
    let enforced = control(&directory, STATE, 0, &mut state).is_ok() && state.flags & ENFORCED != 0;
    enforced && attributes(&directory).is_ok_and(|has| has.flags & INHERIT == 0)
}

/// Whether a directory is limited.
///
/// # Errors
/// `ENOTTY` or `EOPNOTSUPP` where files have no projects.
pub fn is_limited(directory: impl AsFd) -> Result<bool, Errno> {
    Ok(attributes(directory)?.own_project().is_some())
}

/// Limits what an empty directory may come to hold to so many bytes, rounded up to 512. One that is limited stays as it is.
///
/// # Errors
/// The kernel's: `ESRCH` without project quotas, `ENOSYS` before Linux 5.14, `ENOTTY` or `EOPNOTSUPP` where files have no projects.
pub fn limit(directory: impl AsFd, bytes: u64) -> Result<(), Errno> {
    if is_limited(&directory)? {
        return Ok(());
    }
    let project = unused(&directory)?;
    set_limit(&directory, project, bytes)?;
    join(&directory, project).inspect_err(|_| _ = set_limit(&directory, project, 0))
}

/// Puts an empty directory into the project of another one, which is limited: what is made in either may move to the other, and
/// counts for both.
///
/// # Errors
/// As those of [`limit`].
pub fn share(directory: impl AsFd, with: impl AsFd) -> Result<(), Errno> {
    join(directory, attributes(with)?.project)
}

/// Takes a limit back, if there is one: the files may be removed then, and with them the project is gone.
///
/// # Errors
/// As those of [`limit`].
pub fn unlimit(directory: impl AsFd) -> Result<(), Errno> {
    attributes(&directory)?.own_project().map_or(Ok(()), |project| set_limit(&directory, project, 0))
}

/// A project that nothing belongs to and that has no limit.
fn unused(file: impl AsFd) -> Result<u32, Errno> {
    loop {
        let mut random = [0; 4];
        rustix::rand::getrandom(&mut random, GetRandomFlags::empty())?;
        // The highest bit is left alone: XFS takes the highest number of all for "none".
        let project = u32::from_ne_bytes(random) >> 1;
        let mut next = Limits::default();
        match control(&file, NEXT, project, &mut next) {
            Ok(()) if next.id == project => {}
            Ok(()) | Err(Errno::NOENT) if project != 0 => return Ok(project),
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn set_limit(file: impl AsFd, project: u32, bytes: u64) -> Result<(), Errno> {
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

/// `T` is the structure that the command takes.
fn control<T>(file: &impl AsFd, command: u32, id: u32, argument: &mut T) -> Result<(), Errno> {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: `argument` has at least the size of the kernel's structure for the command, is writable, and outlives the call.
    let answer =
        unsafe { libc::syscall(libc::SYS_quotactl_fd, fd, command, id, std::ptr::from_mut(argument)) };
    call::result(answer).map(drop)
}

fn attributes(directory: impl AsFd) -> Result<Attributes, Errno> {
    // _IOR('X', 31, struct fsxattr).
    const GET: u64 = 0x801c_581f;
    let fd = directory.as_fd().as_raw_fd();
    let mut attributes = Attributes::default();
    // SAFETY: `attributes` has the size that the request's number carries, is writable, and outlives the call.
    let answer = unsafe { libc::syscall(libc::SYS_ioctl, fd, GET, &raw mut attributes) };
    call::result(answer).map(|_| attributes)
}

/// Puts a directory into a project, with everything that will be made in it.
fn join(directory: impl AsFd, project: u32) -> Result<(), Errno> {
    // _IOW('X', 32, struct fsxattr).
    const SET: u64 = 0x401c_5820;
    let fd = directory.as_fd().as_raw_fd();
    let has = attributes(&directory)?;
    let wanted = Attributes { project, flags: has.flags | INHERIT, ..has };
    // SAFETY: `wanted` has the size that the request's number carries and outlives the call; the kernel only reads.
    let answer = unsafe { libc::syscall(libc::SYS_ioctl, fd, SET, &raw const wanted) };
    call::result(answer).map(drop)
}

const _: () = {
    assert!(size_of::<Attributes>() == 28);
    assert!(size_of::<Limits>() == 112);
    // 8 bytes, three files' 24, three limits, three warnings' counts with 6 bytes of padding, and 56 to spare.
    assert!(size_of::<State>() >= 8 + 72 + 12 + 12 + 56);
};
