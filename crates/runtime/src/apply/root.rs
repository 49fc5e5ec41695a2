//! Paths inside the container's root, resolved by the kernel so that neither `..`, absolute links, magic links nor a
//! link swapped at the wrong moment leads out of it: openat2(2) with `RESOLVE_IN_ROOT`.
//!
//! Whatever is created or mounted is addressed by descriptor afterwards, never by the path again.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Links in one path before it is taken for a loop, as in the kernel.
const MAX_LINKS: u32 = 40;

/// How often a resolution is tried again that the kernel could not complete safely, because something was renamed.
const MAX_RETRIES: u32 = 128;

/// The root directory of a container.
#[derive(Debug)]
pub(super) struct ContainerRoot {
    directory: OwnedFd,
}

impl ContainerRoot {
    /// The root is where this descriptor points.
    pub(super) fn new(directory: OwnedFd) -> Self {
        Self { directory }
    }

    /// The calling process's own root.
    pub(super) fn current() -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { directory: rustix::fs::open("/", flags, Mode::empty())? })
    }

    /// Its descriptor.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Opens an existing path; links are followed inside the root.
    pub(super) fn open(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        self.resolve(path, flags, ResolveFlags::empty())
    }

    /// Opens an existing path without following any link.
    pub(super) fn open_straight(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        self.resolve(path, flags, ResolveFlags::NO_SYMLINKS)
    }

    fn resolve(&self, path: &str, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
        let resolve = resolve | ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..MAX_RETRIES {
            match rustix::fs::openat2(&self.directory, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
            {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }

    /// A directory, made with everything above it if it is not there (mode 0755).
    pub(super) fn directory(&self, path: &str) -> Result<OwnedFd, Errno> {
        match self.open(path, OFlags::PATH | OFlags::DIRECTORY) {
            Err(Errno::NOENT) => self.make_directories(path),
            other => other,
        }
    }

    /// A file, made empty with the directories above it if it is not there (mode 0644).
    pub(super) fn file(&self, path: &str) -> Result<OwnedFd, Errno> {
        match self.open(path, OFlags::PATH) {
            Err(Errno::NOENT) => {}
            other => return other,
        }
        self.new_file(path, 0)
    }

    /// What a dangling link points to is made.
    fn new_file(&self, path: &str, depth: u32) -> Result<OwnedFd, Errno> {
        if depth > MAX_LINKS {
            return Err(Errno::LOOP);
        }
        let (parent, name) = self.parent(path)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
        match rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644)) {
            Err(Errno::EXIST) => {
                let directory = &path[..path.trim_end_matches('/').len() - name.len()];
                let next = link_target(&parent, name, directory)?;
                self.new_file(&next, depth + 1)
            }
            other => other,
        }
    }

    /// The directory that holds the last part of the path (made if it is not there), and that part.
    pub(super) fn parent<'path>(&self, path: &'path str) -> Result<(OwnedFd, &'path str), Errno> {
        let (parent, name) = path.trim_end_matches('/').rsplit_once('/').unwrap_or(("", path));
        if name.is_empty() || name == "." || name == ".." {
            return Err(Errno::INVAL);
        }
        Ok((self.directory(if parent.is_empty() { "/" } else { parent })?, name))
    }

    /// Walks down, making what is missing. The part that exists is resolved by the kernel from the root each time, so
    /// that links may lead anywhere inside it.
    fn make_directories(&self, path: &str) -> Result<OwnedFd, Errno> {
        let mut path = path.to_owned();
        let mut links = 0;
        'again: loop {
            let mut parent = self.open("/", OFlags::PATH | OFlags::DIRECTORY)?;
            let mut walked = String::new();
            for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
                let above = walked.len();
                walked.push('/');
                walked.push_str(part);
                let found = match self.open(&walked, OFlags::PATH | OFlags::DIRECTORY) {
                    Err(Errno::NOENT) => {
                        match rustix::fs::mkdirat(&parent, part, Mode::from_raw_mode(0o755)) {
                            Ok(()) => self.open(&walked, OFlags::PATH | OFlags::DIRECTORY)?,
                            // A dangling link, or a directory that somebody else has made just now.
                            Err(Errno::EXIST) => {
                                links += 1;
                                if links > MAX_LINKS {
                                    return Err(Errno::LOOP);
                                }
                                if let Ok(target) = link_target(&parent, part, &walked[..=above]) {
                                    path = target + &path_after(&path, &walked);
                                }
                                continue 'again;
                            }
                            Err(errno) => return Err(errno),
                        }
                    }
                    other => other?,
                };
                parent = found;
            }
            return Ok(parent);
        }
    }
}

/// What follows the walked prefix in a path that may have doubled slashes.
fn path_after(path: &str, walked: &str) -> String {
    let parts = |path: &str| path.split('/').filter(|part| !part.is_empty() && *part != ".").count();
    let rest = path.split('/').filter(|part| !part.is_empty() && *part != ".").skip(parts(walked));
    rest.fold(String::new(), |joined, part| joined + "/" + part)
}

/// Where a link leads, from the root; `directory` is the path of what holds it, ending in a slash.
fn link_target(parent: &OwnedFd, name: &str, directory: &str) -> Result<String, Errno> {
    let target = rustix::fs::readlinkat(parent, name, Vec::new())?;
    let target = target.to_str().map_err(|_| Errno::INVAL)?;
    Ok(if target.starts_with('/') { target.to_owned() } else { format!("{directory}{target}") })
}

/// Whether a descriptor is a directory.
pub(super) fn is_directory(fd: impl AsFd) -> Result<bool, Errno> {
    let stat = rustix::fs::fstat(fd)?;
    Ok(rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(directory: &tempfile::TempDir) -> ContainerRoot {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        ContainerRoot::new(rustix::fs::open(directory.path(), flags, Mode::empty()).unwrap())
    }

    #[test]
    fn directories_are_made_through_links_inside_the_root() {
        let top = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(top.path().join("real/deep")).unwrap();
        std::os::unix::fs::symlink("/real", top.path().join("absolute")).unwrap();
        std::os::unix::fs::symlink("../../../../real", top.path().join("climbing")).unwrap();
        root(&top).directory("/absolute/deep/a/b").unwrap();
        assert!(top.path().join("real/deep/a/b").is_dir());
        root(&top).directory("/climbing/c").unwrap();
        assert!(top.path().join("real/c").is_dir());
    }

    #[test]
    fn dangling_links_are_filled_inside_the_root() {
        let outside = tempfile::tempdir().unwrap();
        let top = tempfile::tempdir().unwrap();
        let escape = outside.path().join("x");
        std::os::unix::fs::symlink(&escape, top.path().join("link")).unwrap();
        root(&top).directory("/link/sub").unwrap();
        assert!(!escape.exists());
        let inside = top.path().join(escape.strip_prefix("/").unwrap());
        assert!(inside.join("sub").is_dir());

        fs_err::create_dir(top.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("../run/resolv", top.path().join("etc/resolv.conf")).unwrap();
        root(&top).file("/etc/resolv.conf").unwrap();
        assert!(top.path().join("run/resolv").is_file());
    }

    #[test]
    fn loops_end() {
        let top = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("b", top.path().join("a")).unwrap();
        std::os::unix::fs::symlink("a", top.path().join("b")).unwrap();
        assert_eq!(root(&top).directory("/a/x").unwrap_err(), Errno::LOOP);
        assert_eq!(root(&top).file("/a").unwrap_err(), Errno::LOOP);
    }

    #[test]
    fn a_straight_path_has_no_links() {
        let top = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/", top.path().join("proc")).unwrap();
        assert_eq!(root(&top).open_straight("/proc", OFlags::PATH).unwrap_err(), Errno::LOOP);
    }
}
