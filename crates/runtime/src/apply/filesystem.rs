//! New instances of file systems, as detached mounts: fsopen(2), fsconfig(2), fsmount(2).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags,
};
use skiff_sys::mount::{self, Change, attr};

use super::{Stage, StageError};

/// fsconfig(2) takes no longer values.
const VALUE_MAX: usize = 255;

/// The attributes that fsmount takes; the rest is for mount_setattr.
pub(super) const FSMOUNT_ATTRIBUTES: u64 = attr::RDONLY
    | attr::NOSUID
    | attr::NODEV
    | attr::NOEXEC
    | attr::ATIME
    | attr::NODIRATIME
    | attr::NOSYMFOLLOW;

/// A file system's parameters: name, and a value unless it is a flag.
pub(super) type Parameters = [(String, Option<String>)];

/// A detached mount of a new instance.
pub(super) fn create(
    fstype: &str,
    source: &str,
    parameters: &Parameters,
    attributes: u64,
    target: &str,
) -> Result<OwnedFd, StageError> {
    let failed = |errno: Errno, what: &str| StageError::new(Stage::Mount, errno, format!("{target}: {what}"));
    let context = rustix::mount::fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(|errno| failed(errno, &format!("file system {fstype:?}")))?;
    let context = context.as_fd();
    let refused = |errno: Errno, what: String| {
        let log = kernel_log(context);
        failed(errno, &if log.is_empty() { what } else { format!("{what} ({log})") })
    };
    rustix::mount::fsconfig_set_string(context, "source", source)
        .map_err(|errno| refused(errno, format!("{fstype} source {source:?}")))?;
    configure(context, parameters)
        .map_err(|(errno, name)| refused(errno, format!("{fstype} option {name:?}")))?;
    rustix::mount::fsconfig_create(context).map_err(|errno| refused(errno, fstype.to_owned()))?;
    let flags = MountAttrFlags::from_bits_retain((attributes & FSMOUNT_ATTRIBUTES) as u32);
    rustix::mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, flags)
        .map_err(|errno| refused(errno, fstype.to_owned()))
}

/// Changes the parameters of the file system mounted where `target` points.
pub(super) fn reconfigure(
    target: BorrowedFd<'_>,
    parameters: &Parameters,
    path: &str,
) -> Result<(), StageError> {
    let failed =
        |errno: Errno, what: &str| StageError::new(Stage::Mount, errno, format!("{path}: remount{what}"));
    let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
    let context = rustix::mount::fspick(target, "", flags).map_err(|errno| failed(errno, ""))?;
    configure(context.as_fd(), parameters)
        .map_err(|(errno, name)| failed(errno, &format!(" option {name:?}")))?;
    rustix::mount::fsconfig_reconfigure(context.as_fd())
        .map_err(|errno| failed(errno, &format!(" {}", kernel_log(context.as_fd()))))
}

fn configure<'a>(context: BorrowedFd<'_>, parameters: &'a Parameters) -> Result<(), (Errno, &'a str)> {
    for (name, value) in parameters {
        let result = match value {
            Some(value) => rustix::mount::fsconfig_set_string(context, name.as_str(), value.as_str()),
            None => rustix::mount::fsconfig_set_flag(context, name.as_str()),
        };
        result.map_err(|errno| (errno, name.as_str()))?;
    }
    Ok(())
}

/// What the kernel has to say about a refusal, on one line.
fn kernel_log(context: BorrowedFd<'_>) -> String {
    let mut log = String::new();
    let mut buffer = [0; 512];
    while let Ok(length @ 1..) = rustix::io::read(context, &mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..length]);
        // "e " for errors, "w " for warnings, "i " for information.
        let text = text.trim_end().split_once(' ').map_or("", |(_, text)| text);
        if !log.is_empty() {
            log.push_str("; ");
        }
        log.push_str(text);
    }
    log
}

/// Whether a parameter is too long for fsconfig, so that the older call must serve.
pub(super) fn needs_old_call(parameters: &Parameters) -> bool {
    parameters.iter().any(|(_, value)| value.as_ref().is_some_and(|value| value.len() > VALUE_MAX))
}

/// Mounts a new instance on `target` by mount(2), for parameters beyond fsconfig's limit.
pub(super) fn create_at(
    target: BorrowedFd<'_>,
    fstype: &str,
    source: &str,
    parameters: &Parameters,
    path: &str,
) -> Result<(), StageError> {
    let words = parameters.iter().filter(|(name, _)| name != "ro").map(|(name, value)| match value {
        Some(value) => format!("{name}={value}"),
        None => name.clone(),
    });
    let failed = |errno| StageError::new(Stage::Mount, errno, format!("{path}: {fstype}"));
    let data = words.collect::<Vec<_>>().join(",");
    let data = std::ffi::CString::new(data).map_err(|_| failed(Errno::INVAL))?;
    let place = format!("/proc/self/fd/{}", target.as_raw_fd());
    rustix::mount::mount(source, place.as_str(), fstype, MountFlags::empty(), data.as_c_str()).map_err(failed)
}

/// A detached copy of what is mounted at `path`, resolved from `directory`; of `directory` itself if it is empty.
pub(super) fn clone_tree(directory: BorrowedFd<'_>, path: &str, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    if path.is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    rustix::mount::open_tree(directory, path, flags)
}

/// Attaches a detached mount where `target` points. The descriptor then refers to the attached mount.
pub(super) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", target, "", flags)
}

/// Changes attributes, unless there is nothing to change.
pub(super) fn change(mount: BorrowedFd<'_>, set: u64, clear: u64, recursive: bool) -> Result<(), Errno> {
    if set == 0 && clear == 0 {
        return Ok(());
    }
    mount::set_attributes(mount, &Change { set, clear, recursive, ..Change::default() })
}
