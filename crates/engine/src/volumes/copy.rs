//! Fills a new volume with what an image has at its target: files, links, devices, owners, modes and times.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, XattrFlags},
    io::Errno,
};

/// Copies `target` of the image mounted at `root` into the directory `to`. Nothing happens if it is not a directory
/// there. Resolution stays inside the image.
///
/// # Errors
/// What cannot be read or written.
pub(super) fn from_image(root: OwnedFd, target: &str, to: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let from = match rustix::fs::openat2(&root, target, flags, Mode::empty(), resolve) {
        Ok(dir) => dir,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    let to = rustix::fs::openat(CWD, to, flags, Mode::empty())?;
    directory(from.as_fd(), to.as_fd(), DEPTH)
}

/// Directories inside each other that an image may have in a volume: the stack is not endless.
const DEPTH: u32 = 256;

fn directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: u32) -> io::Result<()> {
    let depth = depth.checked_sub(1).ok_or(Errno::NAMETOOLONG)?;
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        one(from, to, name, depth)?;
    }
    let stat = rustix::fs::fstat(from)?;
    rustix::fs::fchown(to, owner(&stat).0, owner(&stat).1)?;
    rustix::fs::fchmod(to, mode(&stat))?;
    attributes(from, to)?;
    rustix::fs::futimens(to, &times(&stat))?;
    Ok(())
}

fn one(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &std::ffi::CStr, depth: u32) -> io::Result<()> {
    let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let open = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            rustix::fs::mkdirat(to, name, Mode::RWXU)?;
            let from = rustix::fs::openat(from, name, open | OFlags::DIRECTORY, Mode::empty())?;
            let to = rustix::fs::openat(to, name, open | OFlags::DIRECTORY, Mode::empty())?;
            return directory(from.as_fd(), to.as_fd(), depth);
        }
        FileType::RegularFile => {
            let from = rustix::fs::openat(from, name, open, Mode::empty())?;
            let new = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let to = rustix::fs::openat(to, name, new, Mode::RUSR | Mode::WUSR)?;
            let mut reader = fs_err::File::from_parts(from.into(), "image file");
            let mut writer = fs_err::File::from_parts(to.into(), "volume file");
            io::copy(&mut reader, &mut writer)?;
            attributes(reader.as_fd(), writer.as_fd())?;
        }
        FileType::Symlink => {
            rustix::fs::symlinkat(rustix::fs::readlinkat(from, name, Vec::new())?, to, name)?;
        }
        kind => rustix::fs::mknodat(to, name, kind, mode(&stat), stat.st_rdev)?,
    }
    let (uid, gid) = owner(&stat);
    rustix::fs::chownat(to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        rustix::fs::chmodat(to, name, mode(&stat), AtFlags::empty())?;
    }
    rustix::fs::utimensat(to, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
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
            // The host's file system may not have this sort of attribute: as Docker, go on.
            Err(Errno::NOTSUP) => {}
            done => done?,
        }
    }
    Ok(())
}
