//! Packing a live tree, as Docker does: depth first, names sorted, times cut to seconds, owners as numbers.
//!
//! Whatever vanishes meanwhile is left out. Sockets cannot be archived and are left out.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    vec,
};

use rustix::{
    fs::{Dir, FileType, Mode, OFlags, Stat, fstat, major, minor, open, openat, readlinkat},
    io::Errno,
};

use crate::{
    ArchiveSink,
    attributes::{is_portable, xattrs_of},
    tar::{Device, END, Entry, EntryKind, Timestamp, encode, padding},
    walk::open_place,
};

/// Writes an archive of `object` (open in any way, `O_PATH` too) with everything below it. It is called `name` in the archive;
/// if that is empty and it is a directory, only what is in it goes into the archive.
///
/// # Errors
/// What cannot be read or written; the archive is cut short then.
pub fn pack(object: BorrowedFd<'_>, name: &[u8], out: &mut dyn ArchiveSink) -> io::Result<()> {
    let mut packer = Packer { out, links: HashMap::new(), levels: Vec::new(), path: name.to_vec() };
    if let Some(dir) = packer.object(object, !name.is_empty())? {
        packer.enter(dir, Vec::new())?;
        packer.directories()?;
    }
    packer.out.write_all(&END)?;
    packer.out.flush()
}

/// How many directories above the present one are held open. Those further up are opened again, and looked at whether they
/// still are the same, when it is their turn.
const HELD: usize = 64;

struct Packer<'a> {
    out: &'a mut dyn ArchiveSink,
    /// Inodes with several names: the name each had first.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// The directories between the first and the present one.
    levels: Vec<Level>,
    /// The archive's name of what is looked at.
    path: Vec<u8>,
}

/// A directory that is being packed.
struct Level {
    fd: Option<OwnedFd>,
    /// Device and inode.
    id: (u64, u64),
    /// Its name in the directory above.
    name: Vec<u8>,
    /// What is still to come.
    names: vec::IntoIter<Vec<u8>>,
    /// How much of the path is this directory's, with its slash.
    prefix: usize,
}

impl Packer<'_> {
    /// Packs what is in the directories that have been entered.
    fn directories(&mut self) -> io::Result<()> {
        while let Some(level) = self.levels.last_mut() {
            let Some(name) = level.names.next() else {
                self.levels.pop();
                continue;
            };
            self.path.truncate(level.prefix);
            self.path.extend_from_slice(&name);
            let Some(dir) = self.present()? else {
                self.levels.pop();
                continue;
            };
            let object = match open_place(dir, &name) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::STALE) => continue,
                object => object?,
            };
            if let Some(dir) = self.object(object.as_fd(), true)? {
                self.enter(dir, name)?;
            }
        }
        Ok(())
    }

    /// Packs one object; answers it, opened, if it is a directory.
    fn object(&mut self, object: BorrowedFd<'_>, described: bool) -> io::Result<Option<OwnedFd>> {
        let stat = fstat(object)?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => EntryKind::Directory,
            FileType::RegularFile => EntryKind::File,
            FileType::Symlink => EntryKind::Symlink(readlinkat(object, c"", Vec::new())?.into_bytes()),
            FileType::CharacterDevice => EntryKind::CharDevice(device(&stat)),
            FileType::BlockDevice => EntryKind::BlockDevice(device(&stat)),
            FileType::Fifo => EntryKind::Fifo,
            FileType::Socket | FileType::Unknown => return Ok(None),
        };
        if kind == EntryKind::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let dir = openat(object, c".", flags, Mode::empty())?;
            if !self.path.is_empty() && !self.path.ends_with(b"/") {
                self.path.push(b'/');
            }
            if described {
                self.header(kind, &stat, object)?;
            }
            return Ok(Some(dir));
        }
        if kind != EntryKind::File {
            self.header(kind, &stat, object)?;
            return Ok(None);
        }
        let inode = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&inode) {
                let kind = EntryKind::HardLink(first.clone());
                self.header(kind, &stat, object)?;
                return Ok(None);
            }
            self.links.insert(inode, self.path.clone());
        }
        // This is the file that was looked at, whatever has its name now.
        let opened = open(place(object), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        self.header(kind, &stat, object)?;
        let len = stat.st_size as u64;
        self.out.copy_live_file(&mut File::from(opened), len)?;
        self.out.write_all(&END[..padding(len)])?;
        Ok(None)
    }

    fn header(&mut self, kind: EntryKind, stat: &Stat, object: BorrowedFd<'_>) -> io::Result<()> {
        let entry = Entry {
            path: self.path.clone(),
            size: if kind == EntryKind::File { stat.st_size as u64 } else { 0 },
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: Timestamp { secs: stat.st_mtime, nanos: 0 },
            xattrs: xattrs_of(object)?.into_iter().filter(|(name, _)| is_portable(name)).collect(),
            ..Entry::default()
        };
        let mut header = Vec::with_capacity(512);
        encode(&entry, &mut header);
        self.out.write_all(&header)
    }

    /// Goes into a directory; the path is its own, with its slash.
    fn enter(&mut self, dir: OwnedFd, name: Vec<u8>) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&dir)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                names.push(name.to_vec());
            }
        }
        names.sort_unstable();
        let prefix = self.path.len();
        let id = id(&dir)?;
        self.levels.push(Level { fd: Some(dir), id, name, names: names.into_iter(), prefix });
        // The first one is held throughout.
        if let Some(far) = self.levels.len().checked_sub(HELD + 1).filter(|far| *far > 0) {
            self.levels[far].fd = None;
        }
        Ok(())
    }

    /// The present directory; nothing if it is not where it was.
    fn present(&mut self) -> io::Result<Option<BorrowedFd<'_>>> {
        let last = self.levels.len() - 1;
        let held = self.levels.iter().rposition(|level| level.fd.is_some()).unwrap_or(0);
        let mut reopened: Option<OwnedFd> = None;
        for at in held + 1..=last {
            let above = reopened.as_ref().or(self.levels[held].fd.as_ref()).ok_or(Errno::BADF)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let dir = match openat(above, &self.levels[at].name[..], flags, Mode::empty()) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::STALE) => return Ok(None),
                dir => dir?,
            };
            if id(&dir)? != self.levels[at].id {
                return Ok(None);
            }
            reopened = Some(dir);
        }
        if let Some(dir) = reopened {
            self.levels[last].fd = Some(dir);
        }
        Ok(self.levels[last].fd.as_ref().map(AsFd::as_fd))
    }
}

fn id(dir: &OwnedFd) -> io::Result<(u64, u64)> {
    let stat = fstat(dir)?;
    Ok((stat.st_dev, stat.st_ino))
}

fn device(stat: &Stat) -> Device {
    Device { major: major(stat.st_rdev), minor: minor(stat.st_rdev) }
}

/// A path to what is open.
fn place(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

#[cfg(test)]
mod tests;
