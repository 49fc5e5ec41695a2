//! Unpacking into a live tree, as Docker's `PUT archive` and `cp` do.

use std::{
    collections::BTreeMap,
    io::{self, BufRead},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{
        AtFlags, FileType, Mode, OFlags, ResolveFlags, ftruncate, linkat, makedev, mkdirat, mknodat, openat,
        openat2, statat, symlinkat,
    },
    io::Errno,
};

use crate::{
    ExtractError,
    attributes::{set_file_attributes, set_node_attributes, set_times},
    path::{clean, clean_target, split},
    remove_at,
    tar::{Device, Entry, EntryKind, Extent, Reader, Timestamp},
    walk::{Below, LONGEST_PATH},
};

/// How an archive is unpacked.
#[derive(Clone, Debug, Default)]
pub struct Extract {
    /// Who owns what is made: these, or as the archive says.
    pub owner: Option<(u32, u32)>,
    /// A directory is not replaced by something else, nor the other way round.
    pub keep_kinds: bool,
    /// What errors call the directory.
    pub shown: String,
    /// What names begin with, and what they are to begin with instead; hard links' targets too.
    pub renamed: Option<(String, String)>,
}

/// Unpacks an archive into a directory. What is there and not in the archive stays. Names and links are looked up below the
/// directory, as if it were the root of everything.
///
/// # Errors
/// What is wrong with the archive or cannot be made; what came before it is there.
pub fn extract(dir: BorrowedFd<'_>, archive: impl BufRead, options: &Extract) -> Result<(), ExtractError> {
    let mut extraction = Extraction {
        root: dir,
        below: Below::new(dir),
        targets: Below::new(dir),
        reader: Reader::new(archive),
        options,
        times: BTreeMap::new(),
    };
    while let Some(entry) = extraction.reader.next_entry()? {
        extraction.entry(entry)?;
    }
    extraction.finish()
}

struct Extraction<'a, R> {
    root: BorrowedFd<'a>,
    below: Below<'a>,
    /// Where hard links lead to.
    targets: Below<'a>,
    reader: Reader<R>,
    options: &'a Extract,
    /// Directories' times, set at the end because every entry within changes them.
    times: BTreeMap<Vec<u8>, Timestamp>,
}

/// An entry, and where it goes.
struct Place {
    entry: Entry,
    dir: OwnedFd,
    path: Vec<u8>,
}

impl Place {
    fn name(&self) -> &[u8] {
        split(&self.path).1
    }

    fn failed(&self, operation: &'static str) -> impl Fn(io::Error) -> ExtractError + '_ {
        move |source| failure(operation, &self.path, source)
    }
}

fn failure(operation: &'static str, path: &[u8], source: io::Error) -> ExtractError {
    let path = String::from_utf8_lossy(path).into_owned();
    match source.raw_os_error() == Some(Errno::XDEV.raw_os_error()) {
        true => ExtractError::Escape { path },
        false => ExtractError::Entry { operation, path, source },
    }
}

impl<R: BufRead> Extraction<'_, R> {
    fn entry(&mut self, mut entry: Entry) -> Result<(), ExtractError> {
        if let Some((old, new)) = &self.options.renamed {
            rename(&mut entry.path, old, new);
            if let EntryKind::HardLink(target) = &mut entry.kind {
                rename(target, old, new);
            }
        }
        let path = clean(&entry.path)?;
        if path.is_empty() {
            // The directory itself stays as it is.
            return Ok(());
        }
        if let Some((uid, gid)) = self.options.owner {
            (entry.uid, entry.gid) = (uid, gid);
        }
        if path.len() > LONGEST_PATH {
            return Err(failure("openat", &path[..LONGEST_PATH], Errno::NAMETOOLONG.into()));
        }
        let dir = self.below.directory(split(&path).0, true).and_then(|dir| dir.try_clone_to_owned());
        let dir = dir.map_err(|e| failure("openat", &path, e))?;
        let place = Place { entry, dir, path };
        let there = self.clear(&place)?;
        match &place.entry.kind {
            EntryKind::Directory => self.directory(&place, there),
            EntryKind::File => self.file(&place),
            EntryKind::HardLink(target) => self.hard_link(&place, target),
            EntryKind::Symlink(target) => {
                symlinkat(&target[..], &place.dir, place.name())
                    .map_err(|e| place.failed("symlinkat")(e.into()))?;
                attributes_of(&place)
            }
            EntryKind::CharDevice(device) => node(&place, FileType::CharacterDevice, *device),
            EntryKind::BlockDevice(device) => node(&place, FileType::BlockDevice, *device),
            EntryKind::Fifo => node(&place, FileType::Fifo, Device::default()),
        }
    }

    /// Frees the entry's name, unless both it and what has the name are directories; whether they are.
    fn clear(&mut self, place: &Place) -> Result<bool, ExtractError> {
        let is_dir = match statat(&place.dir, place.name(), AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(false),
            Err(e) => return Err(place.failed("statat")(e.into())),
            Ok(stat) => FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
        };
        let becomes_dir = place.entry.kind == EntryKind::Directory;
        if is_dir && becomes_dir {
            return Ok(true);
        }
        if self.options.keep_kinds && is_dir != becomes_dir {
            let path = String::from_utf8_lossy(&place.path).into_owned();
            let into = self.options.shown.clone();
            return Err(match is_dir {
                true => ExtractError::IsDirectory { path, into },
                false => ExtractError::IsNoDirectory { path, into },
            });
        }
        self.below.forget();
        self.targets.forget();
        match remove_at(place.dir.as_fd(), place.name()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(place.failed("RemoveAll")(e)),
            _ => Ok(false),
        }
    }

    fn directory(&mut self, place: &Place, there: bool) -> Result<(), ExtractError> {
        if !there {
            mkdirat(&place.dir, place.name(), Mode::RWXU).map_err(|e| place.failed("mkdirat")(e.into()))?;
        }
        let made = || -> io::Result<()> {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = openat(&place.dir, place.name(), flags, Mode::empty())?;
            set_file_attributes(&place.entry, fd.as_fd())
        };
        made().map_err(place.failed("lchown"))?;
        self.times.insert(place.path.clone(), place.entry.mtime);
        Ok(())
    }

    fn file(&mut self, place: &Place) -> Result<(), ExtractError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&place.dir, place.name(), flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| place.failed("openat")(e.into()))?;
        let entry = &place.entry;
        let whole = [Extent { offset: 0, len: entry.size }];
        for extent in entry.sparse.as_deref().unwrap_or(&whole) {
            self.extent(&file, extent, place)?;
        }
        let rest = || -> io::Result<()> {
            if entry.sparse.is_some() {
                ftruncate(&file, entry.size)?;
            }
            set_file_attributes(entry, file.as_fd())?;
            set_times(file.as_fd(), entry.mtime)
        };
        rest().map_err(place.failed("lsetxattr"))
    }

    /// Writes one stretch of a file's contents.
    fn extent(&mut self, file: &OwnedFd, extent: &Extent, place: &Place) -> Result<(), ExtractError> {
        let mut written = 0;
        while written < extent.len {
            let bytes = self.reader.fill()?;
            let want = bytes.len().min(usize::try_from(extent.len - written).unwrap_or(usize::MAX));
            match rustix::io::pwrite(file, &bytes[..want], extent.offset + written) {
                Ok(n) => {
                    self.reader.consume(n);
                    written += n as u64;
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(place.failed("write")(e.into())),
            }
        }
        Ok(())
    }

    fn hard_link(&mut self, place: &Place, target: &[u8]) -> Result<(), ExtractError> {
        let target = clean_target(target)?;
        let (parent, name) = split(&target);
        let mut linked = || -> io::Result<()> {
            let dir = self.targets.directory(parent, false)?;
            Ok(linkat(dir, name, &place.dir, place.name(), AtFlags::empty())?)
        };
        linked().map_err(place.failed("linkat"))
    }

    fn finish(self) -> Result<(), ExtractError> {
        for (path, mtime) in &self.times {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            // What came through a link, or was replaced since, keeps the time it has.
            if let Ok(dir) = openat2(self.root, &path[..], flags, Mode::empty(), resolve) {
                set_times(dir.as_fd(), *mtime).map_err(|e| failure("chtimesat", path, e))?;
            }
        }
        Ok(())
    }
}

fn rename(path: &mut Vec<u8>, old: &str, new: &str) {
    if path.starts_with(old.as_bytes()) {
        path.splice(..old.len(), new.bytes());
    }
}

fn node(place: &Place, kind: FileType, device: Device) -> Result<(), ExtractError> {
    let number = makedev(device.major, device.minor);
    mknodat(&place.dir, place.name(), kind, Mode::RUSR, number)
        .map_err(|e| place.failed("mknodat")(e.into()))?;
    attributes_of(place)
}

fn attributes_of(place: &Place) -> Result<(), ExtractError> {
    set_node_attributes(&place.entry, place.dir.as_fd(), place.name()).map_err(place.failed("lchown"))
}

#[cfg(test)]
mod tests;
