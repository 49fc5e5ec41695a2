//! Files of an image, on their way into a volume: files, links, devices, owners, modes, times, attributes. And how much
//! a volume holds.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, XattrFlags},
    io::Errno,
};

/// Directories inside each other that an image may have in a volume: the stack is not endless.
const DEPTH: u32 = 256;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A directory of an image.
#[derive(Debug)]
pub struct Content {
    directory: OwnedFd,
}

impl Content {
    /// What the image mounted at `root` has at `target`; none if that is no directory, or has nothing in it. Resolution
    /// stays inside the image.
    ///
    /// # Errors
    /// The kernel's.
    pub fn of(root: OwnedFd, target: &str) -> io::Result<Option<Self>> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&root, target, DIRECTORY, Mode::empty(), resolve) {
            Ok(directory) => Ok(Some(Self { directory })),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Copies it into the directory `to` if that is empty.
    ///
    /// # Errors
    /// What cannot be read or written.
    pub fn copy_into_empty(&self, to: &Path) -> io::Result<()> {
        match fs_err::read_dir(to)?.next() {
            None => self.copy_to(to),
            Some(_) => Ok(()),
        }
    }

    /// Copies it into the empty directory `to`, which gets the owner, mode and times as well.
    ///
    /// # Errors
    /// What cannot be read or written.
    pub(crate) fn copy_to(&self, to: &Path) -> io::Result<()> {
        let top = rustix::fs::openat(CWD, to, DIRECTORY, Mode::empty())?;
        let mut copy = Copy { top: top.as_fd(), links: HashMap::new(), path: Vec::new() };
        copy.directory(self.directory.as_fd(), top.as_fd(), DEPTH)
    }
}

/// Gives one directory the owner, mode, times and attributes of another.
pub(crate) fn attributes_of_directory(from: &Path, to: &Path) -> io::Result<()> {
    let open = |path: &Path| rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty());
    same_directory(open(from)?.as_fd(), open(to)?.as_fd())
}

fn same_directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let stat = rustix::fs::fstat(from)?;
    rustix::fs::fchown(to, owner(&stat).0, owner(&stat).1)?;
    rustix::fs::fchmod(to, mode(&stat))?;
    attributes(from, to)?;
    Ok(rustix::fs::futimens(to, &times(&stat))?)
}

struct Copy<'a> {
    top: BorrowedFd<'a>,
    /// Where the first name of a file with several is, below `top`.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// The directory that is being copied, below `top`.
    path: Vec<u8>,
}

impl Copy<'_> {
    fn directory(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: u32) -> io::Result<()> {
        let depth = depth.checked_sub(1).ok_or(Errno::NAMETOOLONG)?;
        for entry in Dir::read_from(from)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let above = self.path.len();
            if above > 0 {
                self.path.push(b'/');
            }
            self.path.extend(name.to_bytes());
            self.one(from, to, name, depth)?;
            self.path.truncate(above);
        }
        same_directory(from, to)
    }

    fn one(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &std::ffi::CStr,
        depth: u32,
    ) -> io::Result<()> {
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let open = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if kind == FileType::Directory {
            rustix::fs::mkdirat(to, name, Mode::RWXU)?;
            let from = rustix::fs::openat(from, name, open | OFlags::DIRECTORY, Mode::empty())?;
            let to = rustix::fs::openat(to, name, open | OFlags::DIRECTORY, Mode::empty())?;
            return self.directory(from.as_fd(), to.as_fd(), depth);
        }
        if stat.st_nlink > 1 {
            let first = self.links.entry((stat.st_dev, stat.st_ino)).or_insert_with(|| self.path.clone());
            if *first != self.path {
                return Ok(rustix::fs::linkat(self.top, first.as_slice(), to, name, AtFlags::empty())?);
            }
        }
        match kind {
            FileType::RegularFile => {
                let from = rustix::fs::openat(from, name, open, Mode::empty())?;
                let new = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let to = rustix::fs::openat(to, name, new, Mode::RUSR | Mode::WUSR)?;
                let mut reader = fs_err::File::from_parts(from.into(), "image file");
                let mut writer = fs_err::File::from_parts(to.into(), "volume file");
                io::copy(reader.file_mut(), writer.file_mut())?;
                attributes(reader.as_fd(), writer.as_fd())?;
            }
            FileType::Symlink => {
                rustix::fs::symlinkat(rustix::fs::readlinkat(from, name, Vec::new())?, to, name)?;
            }
            kind => rustix::fs::mknodat(to, name, kind, mode(&stat), stat.st_rdev)?,
        }
        let (uid, gid) = owner(&stat);
        rustix::fs::chownat(to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        if kind != FileType::Symlink {
            rustix::fs::chmodat(to, name, mode(&stat), AtFlags::empty())?;
        }
        Ok(rustix::fs::utimensat(to, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode & 0o7777)
}

fn owner(stat: &Stat) -> (Option<rustix::fs::Uid>, Option<rustix::fs::Gid>) {
    (Some(rustix::fs::Uid::from_raw(stat.st_uid)), Some(rustix::fs::Gid::from_raw(stat.st_gid)))
}

fn times(stat: &Stat) -> Timestamps {
    let at = |sec, nsec| Timespec { tv_sec: sec, tv_nsec: nsec as _ };
    Timestamps {
        last_access: at(stat.st_atime, stat.st_atime_nsec),
        last_modification: at(stat.st_mtime, stat.st_mtime_nsec),
    }
}

fn attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let mut names = vec![0; 64 << 10];
    let len = match rustix::fs::flistxattr(from, &mut names) {
        Err(Errno::NOTSUP) => return Ok(()),
        len => len?,
    };
    for name in names[..len].split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let mut value = vec![0; 64 << 10];
        let len = rustix::fs::fgetxattr(from, name, &mut value)?;
        match rustix::fs::fsetxattr(to, name, &value[..len], XattrFlags::empty()) {
            // The volume's file system may not have this sort of attribute: as Docker, go on.
            Err(Errno::NOTSUP) => {}
            done => done?,
        }
    }
    Ok(())
}

/// Sum of the sizes of the files below a directory, each inode once, as Docker counts it. What cannot be read counts
/// nothing; other file systems mounted below are not entered.
pub fn measure(directory: &Path) -> u64 {
    let Ok(top) = rustix::fs::openat(CWD, directory, DIRECTORY, Mode::empty()) else { return 0 };
    let Ok(device) = rustix::fs::fstat(&top).map(|stat| stat.st_dev) else { return 0 };
    let mut seen = BTreeSet::new();
    // Paths instead of descriptors: trees may be deeper than a process may have files open.
    let mut waiting = vec![Path::new(".").to_owned()];
    let mut sum = 0;
    while let Some(path) = waiting.pop() {
        let flags = DIRECTORY | OFlags::NOFOLLOW;
        let Ok(dir) = rustix::fs::openat(&top, &path, flags, Mode::empty()) else { continue };
        for entry in Dir::read_from(&dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(stat) = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory if stat.st_dev == device => {
                    use std::os::unix::ffi::OsStrExt;
                    waiting.push(path.join(std::ffi::OsStr::from_bytes(name.to_bytes())));
                }
                FileType::Directory => {}
                _ if stat.st_nlink > 1 && !seen.insert(stat.st_ino) => {}
                _ => sum += stat.st_size as u64,
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    #[test]
    fn links_modes_and_times_come_along() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs_err::create_dir_all(from.join("srv/sub")).unwrap();
        fs_err::create_dir(&to).unwrap();
        fs_err::write(from.join("srv/one"), "text").unwrap();
        fs_err::hard_link(from.join("srv/one"), from.join("srv/sub/two")).unwrap();
        symlink("/etc/passwd", from.join("srv/link")).unwrap();
        fs_err::set_permissions(from.join("srv"), std::fs::Permissions::from_mode(0o1750)).unwrap();
        symlink("/srv", from.join("way")).unwrap();
        let root = || rustix::fs::open(&from, DIRECTORY, Mode::empty()).unwrap();
        let content = Content::of(root(), "/way").unwrap().unwrap();
        content.copy_to(&to).unwrap();
        let stat = |path: &str| fs_err::symlink_metadata(to.join(path)).unwrap();
        assert_eq!(stat("").mode() & 0o7777, 0o1750);
        assert_eq!((stat("one").nlink(), stat("one").ino()), (2, stat("sub/two").ino()));
        assert!(stat("link").is_symlink());
        assert_eq!(stat("sub").mtime(), fs_err::metadata(from.join("srv/sub")).unwrap().mtime());
        // The link counts its target's name.
        assert_eq!(measure(&to), 4 + "/etc/passwd".len() as u64);
        assert!(Content::of(root(), "/nope").unwrap().is_none());
        assert!(Content::of(root(), "/srv/one").unwrap().is_none());
    }
}
