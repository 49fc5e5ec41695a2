//! Overlay mounts through the new mount API (fsopen(2), Documentation/filesystems/overlayfs.rst).

use std::{
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
};

use rustix::{
    fd::BorrowedFd,
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
        fsmount, fsopen,
    },
};

use crate::{Result, snapshotter::system};

/// The writable part of an overlay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writable<'a> {
    /// Where changes go.
    pub(crate) upper: &'a Path,
    /// Overlayfs's own directory, on the same file system.
    pub(crate) work: &'a Path,
}

/// The most bytes a string parameter of fsconfig(2) may have, its NUL not counted.
const MAX_VALUE: usize = 255;

/// A detached overlay of the directories, topmost first; read-only if there is no writable part. At least one lower
/// directory is needed, and two if nothing is writable.
pub(crate) fn mount(lowers: &[impl AsRef<Path>], writable: Option<Writable<'_>>) -> Result<OwnedFd> {
    let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(system("fsopen overlay"))?;
    set(fs.as_fd(), "source", "overlay")?;
    // Fds that stand for paths have to stay open until the file system exists.
    let mut held = Vec::new();
    set_lowers(fs.as_fd(), lowers, &mut held)?;
    if let Some(Writable { upper, work }) = writable {
        set_path(fs.as_fd(), "upperdir", upper, &mut held)?;
        set_path(fs.as_fd(), "workdir", work, &mut held)?;
    }
    // Upper directories are read without overlayfs when they become layers: no indirections in them.
    for (key, value) in [("index", "off"), ("redirect_dir", "off"), ("metacopy", "off")] {
        set_if_known(fs.as_fd(), key, value)?;
    }
    if !rustix::process::geteuid().is_root() || in_user_namespace() {
        fsconfig_set_flag(fs.as_fd(), "userxattr").map_err(system("fsconfig overlay userxattr"))?;
    }
    fsconfig_create(fs.as_fd()).map_err(system("mounting overlay"))?;
    let attributes = match writable {
        Some(_) => MountAttrFlags::empty(),
        None => MountAttrFlags::MOUNT_ATTR_RDONLY,
    };
    fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(system("fsmount overlay"))
}

/// One by one since Linux 6.5, as deep as the kernel goes (500). Before, in one string, which fsconfig(2) limits.
fn set_lowers(fs: BorrowedFd<'_>, lowers: &[impl AsRef<Path>], held: &mut Vec<OwnedFd>) -> Result<()> {
    for (i, lower) in lowers.iter().enumerate() {
        let value = short(lower.as_ref(), held)?;
        match fsconfig_set_string(fs, "lowerdir+", &value[..]) {
            Err(Errno::INVAL) if i == 0 => return set_lowers_at_once(fs, lowers, held),
            result => {
                result.map_err(system(format!("fsconfig overlay lowerdir+ {}", lower.as_ref().display())))?
            }
        }
    }
    Ok(())
}

fn set_lowers_at_once(
    fs: BorrowedFd<'_>,
    lowers: &[impl AsRef<Path>],
    held: &mut Vec<OwnedFd>,
) -> Result<()> {
    let mut joined = Vec::new();
    for lower in lowers {
        if !joined.is_empty() {
            joined.push(b':');
        }
        joined.extend(by_fd(lower.as_ref(), held)?);
    }
    fsconfig_set_string(fs, "lowerdir", &joined[..])
        .map_err(system(format!("fsconfig overlay lowerdir with {} layers", lowers.len())))
}

fn set_path(fs: BorrowedFd<'_>, key: &str, path: &Path, held: &mut Vec<OwnedFd>) -> Result<()> {
    let value = short(path, held)?;
    fsconfig_set_string(fs, key, &value[..])
        .map_err(system(format!("fsconfig overlay {key} {}", path.display())))
}

fn set(fs: BorrowedFd<'_>, key: &str, value: &str) -> Result<()> {
    fsconfig_set_string(fs, key, value).map_err(system(format!("fsconfig overlay {key}")))
}

/// A parameter that only some kernels have.
fn set_if_known(fs: BorrowedFd<'_>, key: &str, value: &str) -> Result<()> {
    match fsconfig_set_string(fs, key, value) {
        Err(Errno::INVAL) => Ok(()),
        result => result.map_err(system(format!("fsconfig overlay {key}={value}"))),
    }
}

/// The path, or where it is too long, a short one that leads to the same place.
fn short(path: &Path, held: &mut Vec<OwnedFd>) -> Result<Vec<u8>> {
    let bytes = path.as_os_str().as_encoded_bytes();
    if bytes.len() <= MAX_VALUE { Ok(bytes.to_vec()) } else { by_fd(path, held) }
}

fn by_fd(path: &Path, held: &mut Vec<OwnedFd>) -> Result<Vec<u8>> {
    let fd: OwnedFd = fs_err::File::open(path)?.into_file().into();
    let short = format!("/proc/self/fd/{}", fd.as_raw_fd());
    held.push(fd);
    Ok(short.into_bytes())
}

/// Whether this process is in a user namespace other than the first, where `trusted.` attributes are out of reach.
pub(crate) fn in_user_namespace() -> bool {
    // The first one maps everything onto itself.
    fs_err::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| map.split_ascii_whitespace().ne(["0", "0", "4294967295"]))
}
