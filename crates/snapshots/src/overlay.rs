//! Overlay mounts through the new mount API (fsopen(2), Documentation/filesystems/overlayfs.rst).

use std::{
    ffi::CString,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    thread,
};

use rustix::{
    fd::BorrowedFd,
    fs::CWD,
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, OpenTreeFlags,
        fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change, open_tree,
    },
};

use crate::{Error, Result, snapshotter::system};

/// The writable part of an overlay.
#[derive(Debug)]
pub(crate) struct Writable {
    /// Where changes go.
    pub(crate) upper: PathBuf,
    /// Overlayfs's own directory, on the same file system.
    pub(crate) work: PathBuf,
    /// Nothing has to reach the disk. Otherwise the end of the mount flushes the whole file system of the upper directory.
    pub(crate) volatile: bool,
}

impl Writable {
    /// Lets a volatile overlay be mounted a second time: overlayfs refuses, because after a power cut what it finds may be
    /// anything. What is volatile here does not outlive the boot.
    fn forget_last_mount(&self) -> Result<()> {
        match fs_err::remove_dir_all(self.work.join("work/incompat")) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        }
    }
}

/// The most bytes a string parameter of fsconfig(2) may have, its NUL not counted.
const MAX_VALUE: usize = 255;

/// A detached overlay of the directories, topmost first; read-only if there is no writable part. At least one lower
/// directory is needed, and two if nothing is writable.
pub(crate) fn mount(lowers: &[impl AsRef<Path>], writable: Option<&Writable>) -> Result<OwnedFd> {
    match by_layers(lowers, writable) {
        // Linux before 6.5 takes no directories one by one; it says so at once or when the file system is made.
        Err(error) if is_unknown_parameter(&error) => by_options(lowers, writable).map_err(|_| error),
        result => result,
    }
}

/// Through fsopen(2), directory by directory: as deep as the kernel goes (500).
fn by_layers(lowers: &[impl AsRef<Path>], writable: Option<&Writable>) -> Result<OwnedFd> {
    let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(system("fsopen overlay"))?;
    set(fs.as_fd(), "source", "overlay")?;
    // Fds that stand for paths have to stay open until the file system exists.
    let mut held = Vec::new();
    for lower in lowers {
        set_path(fs.as_fd(), "lowerdir+", lower.as_ref(), &mut held)?;
    }
    if let Some(writable) = writable {
        set_path(fs.as_fd(), "upperdir", &writable.upper, &mut held)?;
        set_path(fs.as_fd(), "workdir", &writable.work, &mut held)?;
        if writable.volatile {
            writable.forget_last_mount()?;
            fsconfig_set_flag(fs.as_fd(), "volatile").map_err(system("fsconfig overlay volatile"))?;
        }
    }
    for (key, value) in PLAIN_UPPER {
        set_if_known(fs.as_fd(), key, value)?;
    }
    if needs_user_attributes() {
        fsconfig_set_flag(fs.as_fd(), "userxattr").map_err(system("fsconfig overlay userxattr"))?;
    }
    fsconfig_create(fs.as_fd()).map_err(system("mounting overlay"))?;
    let attributes = match writable {
        Some(_) => MountAttrFlags::empty(),
        None => MountAttrFlags::MOUNT_ATTR_RDONLY,
    };
    fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(system("fsmount overlay"))
}

/// Through mount(2), whose options may have 4,095 bytes: some 230 directories. It attaches what it mounts, so it is done in
/// a mount namespace of a thread's own, and a detached copy taken out.
fn by_options(lowers: &[impl AsRef<Path>], writable: Option<&Writable>) -> Result<OwnedFd> {
    let lowers: Vec<&Path> = lowers.iter().map(AsRef::as_ref).collect();
    let mounted = thread::scope(|scope| {
        let work = || {
            skiff_sys::clone::unshare_mounts().map_err(system("unshare mounts"))?;
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
                .map_err(system("making mounts private"))?;
            attach_and_clone(&lowers, writable)
        };
        scope.spawn(work).join()
    });
    mounted.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Mounts in this thread's namespace, on any directory, since nobody else sees it.
fn attach_and_clone(lowers: &[&Path], writable: Option<&Writable>) -> Result<OwnedFd> {
    // Opened here: overlayfs takes directories of the namespace it is mounted from only.
    let mut held = Vec::new();
    let mut options = b"lowerdir=".to_vec();
    for (i, lower) in lowers.iter().enumerate() {
        options.extend_from_slice(if i == 0 { b"" } else { b":" });
        options.extend(by_fd(lower, &mut held)?);
    }
    let mut flags = MountFlags::RDONLY;
    if let Some(writable) = writable {
        flags = MountFlags::empty();
        options.extend([b",upperdir=".to_vec(), by_fd(&writable.upper, &mut held)?].concat());
        options.extend([b",workdir=".to_vec(), by_fd(&writable.work, &mut held)?].concat());
        if writable.volatile {
            writable.forget_last_mount()?;
            options.extend_from_slice(b",volatile");
        }
    }
    for (key, value) in PLAIN_UPPER {
        options.extend_from_slice(format!(",{key}={value}").as_bytes());
    }
    if needs_user_attributes() {
        options.extend_from_slice(b",userxattr");
    }
    let options = CString::new(options).map_err(std::io::Error::from)?;
    let place = lowers.first().ok_or(Errno::INVAL).map_err(system("overlay of nothing"))?;
    rustix::mount::mount("overlay", *place, "overlay", flags, options.as_c_str())
        .map_err(system(format!("mounting overlay of {} layers", lowers.len())))?;
    open_tree(CWD, *place, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
        .map_err(system("open_tree overlay"))
}

/// Upper directories are read without overlayfs when they become layers: no indirections in them.
const PLAIN_UPPER: [(&str, &str); 3] = [("index", "off"), ("redirect_dir", "off"), ("metacopy", "off")];

fn is_unknown_parameter(error: &Error) -> bool {
    matches!(error, Error::System { source, .. } if source.raw_os_error() == Some(Errno::INVAL.raw_os_error()))
}

/// Whether `trusted.` attributes are out of reach.
fn needs_user_attributes() -> bool {
    !rustix::process::geteuid().is_root() || in_user_namespace()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What kernels before 6.5 need works on newer ones as well.
    #[test]
    fn a_mount_by_options_is_detached_and_shows_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let lowers: Vec<_> =
            (0..100).map(|i| dir.path().join(format!("lower {i}, with a long name and a : in it"))).collect();
        for (i, lower) in lowers.iter().enumerate() {
            fs_err::create_dir(lower).unwrap();
            fs_err::write(lower.join(format!("file{i}")), "x").unwrap();
        }
        let (upper, work) = (dir.path().join("upper"), dir.path().join("work"));
        fs_err::create_dir(&upper).unwrap();
        fs_err::create_dir(&work).unwrap();
        let writable = Writable { upper: upper.clone(), work, volatile: true };
        drop(by_options(&lowers, Some(&writable)).unwrap());
        let mounted = by_options(&lowers, Some(&writable)).unwrap();
        let root = crate::conformance::mount_path(&mounted);
        assert_eq!(fs_err::read_dir(&root).unwrap().count(), 100);
        fs_err::write(root.join("new"), "x").unwrap();
        assert!(upper.join("new").exists());
        drop(mounted);
        let read_only = by_options(&lowers, None).unwrap();
        assert!(fs_err::write(crate::conformance::mount_path(&read_only).join("new"), "x").is_err());
        let mounts = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(dir.path().to_str().unwrap()));
    }
}
