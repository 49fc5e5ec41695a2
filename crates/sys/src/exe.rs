//! Running from a copy of the own binary that no container can write to (CVE-2019-5736).
//!
//! A process that enters a container can be reached there through `/proc/PID/exe`, and a `#!/proc/self/exe`
//! script makes the kernel run that file again inside. If it were the host's binary, root in the container could
//! overwrite it. So whoever enters a container first runs either from a memfd sealed against writing (a copy:
//! milliseconds for a big binary) or from a detached read-only overlay of the binary's directory, which has no
//! upper layer and therefore cannot be written to even by somebody who remounts it (no copy).

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

/// How often a copy is tried to be sealed that somebody holds a page of.
const SEALINGS: u32 = 50;

/// A copy of the running binary in memory, sealed against every change.
pub fn sealed_copy(name: &CStr) -> Result<OwnedFd, Errno> {
    let source = rustix::fs::open("/proc/self/exe", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut left = rustix::fs::fstat(&source)?.st_size as u64;
    let copy = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    while left > 0 {
        let sent = rustix::fs::sendfile(&copy, &source, None, left as usize)?;
        if sent == 0 {
            return Err(Errno::IO);
        }
        left -= sent as u64;
    }
    rustix::fs::fchmod(&copy, Mode::RUSR | Mode::XUSR)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    // The kernel waits for whoever holds one of the pages at the moment, to move it for instance, but a fifth of a second at most.
    let mut tries = 0..SEALINGS;
    loop {
        match rustix::fs::fcntl_add_seals(&copy, seals) {
            Err(Errno::BUSY) if tries.next().is_some() => {}
            sealed => return sealed.map(|()| copy),
        }
    }
}

/// The running binary through a detached overlay mount without an upper layer, open for execution only.
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN, `ENODEV` or `EINVAL` where the kernel has no overlayfs for this directory;
/// [`sealed_copy`] then serves.
pub fn read_only_view() -> Result<OwnedFd, Errno> {
    let path = rustix::fs::readlink("/proc/self/exe", Vec::new())?;
    let bytes = path.as_bytes();
    let slash = bytes.iter().rposition(|&byte| byte == b'/').ok_or(Errno::INVAL)?;
    let (directory, name) = (&bytes[..slash.max(1)], &bytes[slash + 1..]);
    // Both bound the option's syntax; such a path is rare enough to copy the binary instead.
    if directory.iter().any(|byte| matches!(byte, b':' | b'\\' | b',')) {
        return Err(Errno::INVAL);
    }
    let running = rustix::fs::stat("/proc/self/exe")?;
    let filesystem = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let filesystem = filesystem.as_fd();
    // Without an upper layer overlayfs asks for two lower ones; the second only has to be there, and not to be procfs.
    let mut lower = directory.to_vec();
    lower.extend_from_slice(b":/sys/kernel");
    rustix::mount::fsconfig_set_string(filesystem, "lowerdir", lower)?;
    rustix::mount::fsconfig_create(filesystem)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOSUID;
    let mount = rustix::mount::fsmount(filesystem, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    let file = rustix::fs::openat(&mount, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let seen = rustix::fs::fstat(&file)?;
    // Something else may have been put in the binary's place since it was started.
    let same =
        (seen.st_ino, seen.st_size, seen.st_mtime) == (running.st_ino, running.st_size, running.st_mtime);
    if same { Ok(file) } else { Err(Errno::STALE) }
}
