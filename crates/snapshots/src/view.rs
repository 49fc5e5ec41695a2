//! A snapshot's file system as those who copy see it: its root with the container's volumes in it, in a mount namespace of its own.
//!
//! The namespace has no process in it and nothing of the host: it is there as long as the view. What the container has
//! mounted itself is not in it, nor are `/proc`, `/sys`, `/dev` and any tmpfs, as with Docker. Devices in it cannot be
//! opened.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    thread,
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2},
    io::Errno,
    mount::{
        MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_change, move_mount,
        open_tree, unmount,
    },
    process::{fchdir, pivot_root},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use skiff_sys::mount::{Change, Propagation, attr, set_attributes};

/// What is mounted in a container's root.
#[derive(Debug)]
pub struct ViewMount {
    /// Where it is on the host.
    pub path: PathBuf,
    /// The part of it that is mounted, opened; all of it if there is none.
    pub part: Option<OwnedFd>,
    /// Where it is in the container.
    pub target: String,
    /// It can be written.
    pub writable: bool,
    /// With what is mounted below it.
    pub recursive: bool,
}

/// The view; it ends when it is dropped.
#[derive(Debug)]
pub struct View {
    root: OwnedFd,
    /// The mount namespace, which the root keeps less than whole.
    namespace: OwnedFd,
}

/// What sets the mounts of a view apart from those of a container.
const CAREFUL: u64 = attr::NODEV | attr::NOSUID | attr::NOEXEC;

impl View {
    /// Builds a view of a detached mount of the root. Where a mount's place is missing, it is made. Blocks.
    ///
    /// # Errors
    /// What is mounted cannot be opened, or the kernel's.
    pub fn new(root: OwnedFd, mounts: Vec<ViewMount>, read_only: bool) -> io::Result<Self> {
        in_thread(move || build(root, mounts, read_only))
    }

    /// The root directory.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// A detached mount of the root alone, as a container may have it. Blocks.
    ///
    /// # Errors
    /// The kernel's.
    pub fn detach_root(&self) -> io::Result<OwnedFd> {
        detached(self.root.as_fd(), self.namespace.as_fd())
    }
}

/// A detached copy of one mount that is attached in another mount namespace, without what is mounted in it. Blocks.
///
/// # Errors
/// `EINVAL` if the mount is not attached there (any more), and the kernel's.
pub fn detached(mount: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let (mount, namespace) = (mount.try_clone_to_owned()?, namespace.try_clone_to_owned()?);
    in_thread(move || {
        // A thread alone may enter a mount namespace. It runs nothing there and opens nothing by name.
        skiff_sys::clone::unshare_root()?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))?;
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        let copy = open_tree(&mount, c"", flags)?;
        let plain = Change {
            clear: CAREFUL | attr::RDONLY,
            propagation: Some(Propagation::Private),
            ..Change::default()
        };
        set_attributes(copy.as_fd(), &plain)?;
        Ok(copy)
    })
}

fn in_thread<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    let thread = thread::Builder::new().name("view".into()).spawn(work)?;
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn build(root: OwnedFd, mut mounts: Vec<ViewMount>, read_only: bool) -> io::Result<View> {
    // Those above come before those below them.
    mounts.sort_by_key(|m| m.target.split('/').filter(|part| !part.is_empty()).count());
    let sources = mounts.iter().map(open_source).collect::<io::Result<Vec<_>>>()?;
    skiff_sys::clone::unshare_mounts()?;
    let namespace = open("/proc/thread-self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    // Of this namespace, not of the one it was copied from.
    let host = open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    move_mount(&root, c"", CWD, c"/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    fchdir(&root)?;
    match pivot_root(c".", c".") {
        Ok(()) => {
            fchdir(&host)?;
            unmount(c".", UnmountFlags::DETACH)?;
            fchdir(&root)?;
        }
        // Where the host's root is its first one, nothing can take its place; it stays underneath.
        Err(Errno::INVAL) => {}
        Err(e) => return Err(e.into()),
    }
    drop(host);
    for (mount, source) in mounts.iter().zip(sources) {
        let target =
            target(root.as_fd(), &mount.target, source.as_fd()).map_err(|e| named(&mount.target, e))?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&source, c"", &target, c"", flags).map_err(|e| named(&mount.target, e.into()))?;
    }
    set_attributes(root.as_fd(), &Change { set: CAREFUL, recursive: true, ..Change::default() })?;
    if read_only {
        set_attributes(root.as_fd(), &Change { set: attr::RDONLY, ..Change::default() })?;
    }
    Ok(View { root, namespace })
}

fn named(path: &str, e: io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("mount {path}: {e}"))
}

/// A detached copy of what a mount shows. Nothing that happens to it reaches the host.
fn open_source(source: &ViewMount) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if source.recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let failed = |e: Errno| {
        let e = io::Error::from(e);
        io::Error::new(e.kind(), format!("open {}: {e}", source.path.display()))
    };
    let mount = match &source.part {
        Some(part) => open_tree(part, c"", flags | OpenTreeFlags::AT_EMPTY_PATH),
        None => open_tree(CWD, &source.path, flags),
    };
    let mount = mount.map_err(failed)?;
    let change = Change {
        set: if source.writable { 0 } else { attr::RDONLY },
        propagation: Some(Propagation::Private),
        recursive: true,
        ..Change::default()
    };
    set_attributes(mount.as_fd(), &change)?;
    Ok(mount)
}

/// Where something is mounted; made, as a start of the container would, if it is not there.
fn target(root: BorrowedFd<'_>, path: &str, source: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    match resolve(root, path.as_bytes(), OFlags::PATH) {
        Err(Errno::NOENT) => {}
        found => return Ok(found?),
    }
    if FileType::from_raw_mode(fstat(source)?.st_mode) == FileType::Directory {
        return skiff_archive::make_directory(root, path.as_bytes());
    }
    let (parent, name) = skiff_archive::path::split(path.trim_end_matches('/').as_bytes());
    let parent = skiff_archive::make_directory(root, parent)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    drop(rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644))?);
    Ok(rustix::fs::openat(&parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens a path within a root (openat2(2), `RESOLVE_IN_ROOT`): neither `..`, nor absolute or magic links, nor links swapped meanwhile lead out of it.
///
/// # Errors
/// The kernel's; `EAGAIN` if somebody keeps changing the path.
pub fn resolve(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..TRIES {
        match openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // Something was renamed elsewhere while `..` was resolved.
            Err(Errno::AGAIN | Errno::INTR) => {}
            found => return found,
        }
    }
    Err(Errno::AGAIN)
}

/// How often a path is resolved again that somebody keeps changing.
const TRIES: u32 = 128;

#[cfg(test)]
mod tests;
