//! Paths inside a volume, which others may change while they are looked at: resolved by the kernel, in the volume, and
//! held by descriptor from then on (openat2(2) with `RESOLVE_BENEATH`).

use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags},
    io::Errno,
    mount::OpenTreeFlags,
};

use crate::{Error, Result};

/// How often a resolution is tried again that the kernel could not complete, because something was renamed meanwhile.
const MAX_RETRIES: u32 = 128;

/// Opens `subpath` of the directory `base`. No link leads out of it.
///
/// # Errors
/// [`Error::NoSuchPath`]; [`Error::Escapes`] for links and `..` that lead out.
pub fn open_inside(base: &Path, subpath: &str) -> Result<OwnedFd> {
    let directory =
        rustix::fs::openat(CWD, base, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let shown = base.to_string_lossy();
    let directory =
        directory.map_err(|errno| Error::NoSuchPath { path: shown.clone().into_owned(), errno })?;
    open_inside_of(directory, &shown, subpath)
}

/// As [`open_inside`] for a directory that is open; `base` names it in errors.
///
/// # Errors
/// As [`open_inside`].
pub fn open_inside_of(directory: impl AsFd, base: &str, subpath: &str) -> Result<OwnedFd> {
    let failed = |errno| match errno {
        Errno::XDEV | Errno::LOOP => Error::Escapes { base: base.to_owned(), subpath: subpath.to_owned() },
        Errno::NOENT | Errno::NOTDIR => Error::NoSuchPath { path: format!("{base}/{subpath}"), errno },
        errno => errno.into(),
    };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    for _ in 0..MAX_RETRIES {
        match rustix::fs::openat2(&directory, subpath, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened.map_err(failed),
        }
    }
    Err(failed(Errno::AGAIN))
}

/// A detached copy of what is mounted where `place` points, with the mounts below: what a container gets.
///
/// # Errors
/// The kernel's.
pub fn clone_mount(place: impl AsFd) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(rustix::mount::open_tree(place.as_fd(), "", flags)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_lead_anywhere_but_out() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("volume");
        fs_err::create_dir_all(base.join("sub/deep")).unwrap();
        fs_err::write(dir.path().join("secret"), "x").unwrap();
        for (target, link) in
            [("sub", "inner"), ("/etc", "absolute"), ("../secret", "climbing"), ("/sub", "rooted")]
        {
            symlink(target, base.join(link)).unwrap();
        }
        for good in ["sub", "sub/../sub/deep", "inner/deep", "."] {
            open_inside(&base, good).unwrap();
        }
        for bad in ["absolute", "absolute/ssl", "climbing", "rooted", "..", "sub/../../secret", "/etc"] {
            assert!(matches!(open_inside(&base, bad), Err(Error::Escapes { .. })), "{bad}");
        }
        for missing in ["nope", "sub/nope", "inner/x"] {
            assert!(matches!(open_inside(&base, missing), Err(Error::NoSuchPath { .. })), "{missing}");
        }
    }

    /// Whatever a hostile container does with the path at the moment it is resolved.
    #[test]
    fn a_link_that_is_swapped_meanwhile_never_leads_out() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("volume");
        fs_err::create_dir_all(base.join("a")).unwrap();
        fs_err::create_dir(dir.path().join("outside")).unwrap();
        symlink("../outside", base.join("b")).unwrap();
        let outside = rustix::fs::stat(dir.path().join("outside")).unwrap().st_ino;
        let stop = std::sync::atomic::AtomicBool::new(false);
        let mut opened = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let swap = |one: &str, other: &str| {
                    let (one, other) = (base.join(one), base.join(other));
                    let _ =
                        rustix::fs::renameat_with(CWD, one, CWD, other, rustix::fs::RenameFlags::EXCHANGE);
                };
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    swap("a", "b");
                }
            });
            for _ in 0..20_000 {
                if let Ok(fd) = open_inside(&base, "a/.") {
                    opened += 1;
                    assert_ne!(rustix::fs::fstat(&fd).unwrap().st_ino, outside);
                }
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        assert!(opened > 0);
    }
}
