//! Where entries go: directories below a layer's root, resolved so that no link leads out of it.

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{
        AtFlags, FileType, Mode, OFlags, ResolveFlags, mkdirat, openat2, readlink, readlinkat, statat,
        unlinkat,
    },
    io::Errno,
};

use skiff_archive::path::{clean, join, split};

use super::Room;
use crate::{path_text::PathText, whiteout};

/// The mode of directories that no entry made, as Docker has it.
const IMPLIED_MODE: Mode = Mode::from_raw_mode(0o755);

/// Links followed in one path, as in the kernel.
const MAX_LINKS: u32 = 40;

/// A tree that is being unpacked.
pub(super) struct Tree {
    root: OwnedFd,
    /// Where the root is, to tell resolved paths from it.
    root_path: Vec<u8>,
    /// The directory used last: entries come directory by directory.
    last: Option<Dir>,
    /// Directories that no entry has described: parents that were missing, and at first the root.
    implied: BTreeSet<Vec<u8>>,
    /// Room for these, and for all other paths that are kept.
    pub(super) room: Room,
}

struct Dir {
    asked: Vec<u8>,
    resolved: Vec<u8>,
    fd: OwnedFd,
}

impl Tree {
    /// The tree below an existing directory.
    pub(super) fn open(root: &Path, room: Room) -> io::Result<Self> {
        let root: OwnedFd = fs_err::File::open(root)?.into_file().into();
        let root_path = fd_path(root.as_fd())?;
        Ok(Self { root, root_path, last: None, implied: BTreeSet::from([Vec::new()]), room })
    }

    /// Directories that no entry has made, by path.
    pub(super) fn into_implied(self) -> Vec<PathText> {
        self.implied.into_iter().map(PathText::from).collect()
    }

    /// Forgets the directory used last, because it may have been moved.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    /// An entry has described this directory.
    pub(super) fn described(&mut self, path: &[u8]) {
        self.implied.remove(path);
    }

    /// The directory at a [clean] path, links resolved within the root, and its resolved path.
    /// Missing directories are made.
    pub(super) fn directory(&mut self, path: &[u8]) -> io::Result<(BorrowedFd<'_>, &[u8])> {
        if self.last.as_ref().is_none_or(|d| d.asked != path) {
            let (fd, resolved) = match self.resolve(path) {
                Err(e) if is_missing(&e) => self.make(path, 0)?,
                found => found?,
            };
            self.last = Some(Dir { asked: path.to_vec(), resolved, fd });
        }
        // The line above has set it.
        let dir = self.last.as_ref().ok_or(Errno::NOENT)?;
        Ok((dir.fd.as_fd(), &dir.resolved))
    }

    /// The directory at a clean path and its resolved path; it must exist.
    pub(super) fn resolve(&self, path: &[u8]) -> io::Result<(OwnedFd, Vec<u8>)> {
        if path.is_empty() {
            return Ok((self.root.try_clone()?, Vec::new()));
        }
        match self.open_real(path) {
            Err(e) if e.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                let fd = self.openat2(path, OFlags::PATH, ResolveFlags::IN_ROOT)?;
                let resolved = self.below_root(fd.as_fd())?;
                Ok((fd, resolved))
            }
            found => Ok((found?, path.to_vec())),
        }
    }

    /// The directory at a path without links.
    pub(super) fn open_real(&self, path: &[u8]) -> io::Result<OwnedFd> {
        self.openat2(path, OFlags::PATH, ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
    }

    /// The same, opened for reading, so that its times can be set.
    pub(super) fn open_real_readable(&self, path: &[u8]) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        self.openat2(path, OFlags::RDONLY, ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
    }

    fn openat2(&self, path: &[u8], access: OFlags, resolve: ResolveFlags) -> io::Result<OwnedFd> {
        let flags = access | OFlags::DIRECTORY | OFlags::CLOEXEC;
        loop {
            match openat2(&self.root, path, flags, Mode::empty(), resolve | ResolveFlags::NO_MAGICLINKS) {
                // Something was renamed elsewhere while `..` was resolved.
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }

    /// Makes the missing directories of a path, also those that links on the way lead to, since the layer below may have
    /// them, and those that a whiteout stands for so far.
    fn make(&mut self, path: &[u8], links: u32) -> io::Result<(OwnedFd, Vec<u8>)> {
        let mut missing = vec![path];
        loop {
            let (parent, _) = split(missing[missing.len() - 1]);
            match self.resolve(parent) {
                Err(e) if is_missing(&e) && !parent.is_empty() => missing.push(parent),
                found => break drop(found?),
            }
        }
        let mut made = None;
        for path in missing.into_iter().rev() {
            made = Some(self.make_last(path, links)?);
        }
        made.ok_or(Errno::NOENT.into())
    }

    /// Notes a directory that no entry has made so far.
    fn implied(&mut self, place: Vec<u8>) -> io::Result<()> {
        self.room.take(place.len())?;
        self.implied.insert(place);
        Ok(())
    }

    /// Makes a directory whose parent exists.
    fn make_last(&mut self, path: &[u8], links: u32) -> io::Result<(OwnedFd, Vec<u8>)> {
        let (parent, name) = split(path);
        let (dir, resolved) = self.resolve(parent)?;
        let place = join(&resolved, name);
        match mkdirat(&dir, name, IMPLIED_MODE) {
            Err(Errno::EXIST) => {}
            made => {
                made?;
                self.implied(place)?;
                return self.resolve(path);
            }
        }
        let stat = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if whiteout::is_whiteout(&stat) {
            unlinkat(&dir, name, AtFlags::empty())?;
            mkdirat(&dir, name, IMPLIED_MODE)?;
            whiteout::make_opaque(self.open_real(&place)?.as_fd())?;
            self.implied(place)?;
            return self.resolve(path);
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink if links < MAX_LINKS => self.follow(&dir, name, &resolved, links),
            FileType::Symlink => Err(Errno::LOOP.into()),
            _ => Err(Errno::NOTDIR.into()),
        }
    }

    /// Makes what a link in the directory `resolved` leads to.
    fn follow(
        &mut self,
        dir: &OwnedFd,
        name: &[u8],
        resolved: &[u8],
        links: u32,
    ) -> io::Result<(OwnedFd, Vec<u8>)> {
        let mut target = readlinkat(dir, name, Vec::new())?.into_bytes();
        if !target.starts_with(b"/") {
            target = [b"/", resolved, b"/", &target].concat();
        }
        let target = clean(&target).map_err(io::Error::other)?;
        match self.resolve(&target) {
            Err(e) if is_missing(&e) => self.make(&target, links + 1),
            found => found,
        }
    }

    fn below_root(&self, fd: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
        let path = fd_path(fd)?;
        match path.strip_prefix(&self.root_path[..]) {
            Some(b"") => Ok(Vec::new()),
            Some([b'/', rest @ ..]) => Ok(rest.to_vec()),
            _ => Err(Errno::XDEV.into()),
        }
    }
}

/// Whether a directory is not there, or something else is.
fn is_missing(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The path of an open directory.
fn fd_path(fd: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    use std::os::fd::AsRawFd;
    let link = readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new())?;
    Ok(link.into_bytes())
}
