//! Unpacking a layer's archive into a directory, in overlayfs's terms: what an archive calls a whiteout becomes a character
//! device 0:0, an opaque directory gets the attribute.
//!
//! The directory is the layer alone; nothing of the layers below is looked at. What needs them is handed back: links whose
//! target is below ([`DeferredLink`]), and directories that no entry describes ([`Unpacked::implied`]).
//!
//! Names are resolved within the directory by the kernel (`openat2`), so neither `..` nor a link leads out of it.

mod tree;

use std::{
    collections::BTreeMap,
    io::{self, BufRead},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{
        AtFlags, FileType, Mode, OFlags, linkat, makedev, mkdirat, mknodat, openat, renameat, statat,
        symlinkat, unlinkat,
    },
    io::Errno,
};
use serde::{Deserialize, Serialize};

use skiff_archive::{
    attributes::{set_file_attributes, set_linked_attributes, set_node_attributes, set_times},
    path::{clean, clean_target, join, split},
};

use self::tree::Tree;
use crate::{
    Error, Result,
    path_text::PathText,
    record::{Recorder, Shadow},
    tar::{self, Device, Entry, EntryKind, Extent, Reader, Timestamp},
    whiteout,
};

/// A hard link to a file that this layer does not have. What its entry says of the file does not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeferredLink {
    /// Where the link goes.
    pub(crate) path: PathText,
    /// Where it leads.
    pub(crate) target: PathText,
}

/// What came of an archive.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Unpacked {
    /// Links for which the layers below are needed, in order.
    pub(crate) links: Vec<DeferredLink>,
    /// Directories that no entry describes; they look like root's with mode 0755.
    pub(crate) implied: Vec<PathText>,
    /// Where whiteouts were made; some may have been replaced since.
    pub(crate) whiteouts: Vec<PathText>,
    /// What was moved to the shadow directory.
    pub(crate) shadows: Vec<Shadow>,
    /// The sum of the files' sizes and links' lengths, what was moved aside included.
    pub(crate) size: u64,
}

/// Unpacks the archive that `source` reads into the empty directory `root`. What a later entry replaces is moved to the
/// directory `shadow_dir`, which is made when it is needed.
pub(crate) fn unpack<R: BufRead>(source: Recorder<R>, root: &Path, shadow_dir: &Path) -> Result<Unpacked> {
    unpack_within(Room(MOST_KEPT), source, root, shadow_dir)
}

fn unpack_within<R: BufRead>(
    room: Room,
    source: Recorder<R>,
    root: &Path,
    shadow_dir: &Path,
) -> Result<Unpacked> {
    let mut unpacker = Unpacker {
        tree: Tree::open(root, room)?,
        reader: Reader::new(source),
        shadow_dir: ShadowDir { path: shadow_dir, fd: None },
        dir_times: BTreeMap::new(),
        unpacked: Unpacked::default(),
    };
    while let Some(entry) = unpacker.reader.next_entry()? {
        unpacker.entry(&entry)?;
    }
    unpacker.finish()
}

struct Unpacker<'a, R> {
    tree: Tree,
    reader: Reader<Recorder<R>>,
    shadow_dir: ShadowDir<'a>,
    /// Directories' times, set at the end because every entry within changes them.
    dir_times: BTreeMap<Vec<u8>, Timestamp>,
    unpacked: Unpacked,
}

/// `PATH_MAX`.
const LONGEST_PATH: usize = 4096;

/// The most that all paths that are kept up to the end may take in memory, in bytes: a few megabytes of compressed archive
/// could ask for any amount.
const MOST_KEPT: usize = 256 << 20;

/// What a kept path takes beside its bytes: where it lies, twice since lists and maps have room for as many again.
const PATH: usize = 2 * size_of::<(Vec<u8>, Timestamp)>();

/// Room for paths that are kept up to the end, in bytes.
struct Room(usize);

impl Room {
    /// Takes room for paths of this length together.
    fn take(&mut self, len: usize) -> io::Result<()> {
        self.0 = self.0.checked_sub(PATH + len).ok_or_else(too_large)?;
        Ok(())
    }
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "too many files in a layer")
}

struct ShadowDir<'a> {
    path: &'a Path,
    fd: Option<OwnedFd>,
}

impl<R: BufRead> Unpacker<'_, R> {
    fn entry(&mut self, entry: &Entry) -> Result<()> {
        let path = clean(&entry.path)?;
        let (parent, name) = split(&path);
        if let Some(hidden) = name.strip_prefix(whiteout::PREFIX) {
            return self.whiteout(parent, name, hidden);
        }
        let failed = |e: io::Error| Error::Apply { path: entry.path.escape_ascii().to_string(), source: e };
        if path.len() >= LONGEST_PATH {
            let shown = path[..LONGEST_PATH].escape_ascii().to_string();
            return Err(Error::Apply { path: shown, source: Errno::NAMETOOLONG.into() });
        }
        if path.is_empty() {
            return match entry.kind {
                EntryKind::Directory => self.root(entry).map_err(failed),
                _ => Err(tar::Error::Escape { path: entry.path.escape_ascii().to_string() }.into()),
            };
        }
        let (dir, resolved) = self.tree.directory(parent).map_err(failed)?;
        let (dir, place) = (dir.try_clone_to_owned().map_err(failed)?, join(resolved, name));
        let at = Place { dir: dir.as_fd(), name, path: &place };
        match &entry.kind {
            EntryKind::File => self.file(entry, &at),
            EntryKind::Directory => self.directory(entry, &at).map_err(failed),
            EntryKind::HardLink(target) => self.hard_link(entry, &clean_target(target)?, &at).map_err(failed),
            EntryKind::Symlink(target) => {
                self.unpacked.size += target.len() as u64;
                self.replace(&at, || symlinkat(&target[..], at.dir, at.name)).map_err(failed)?;
                set_node_attributes(entry, at.dir, at.name).map_err(failed)
            }
            EntryKind::CharDevice(device) => {
                self.node(entry, &at, FileType::CharacterDevice, *device).map_err(failed)
            }
            EntryKind::BlockDevice(device) => {
                self.node(entry, &at, FileType::BlockDevice, *device).map_err(failed)
            }
            EntryKind::Fifo => self.node(entry, &at, FileType::Fifo, Device::default()).map_err(failed),
        }
    }

    /// The entry `./`: the attributes of the root directory.
    fn root(&mut self, entry: &Entry) -> io::Result<()> {
        set_file_attributes(entry, self.tree.open_real_readable(b"")?.as_fd())?;
        self.described(b"", entry.mtime)
    }

    fn directory(&mut self, entry: &Entry, at: &Place<'_>) -> io::Result<()> {
        let mut opaque = false;
        match mkdirat(at.dir, at.name, Mode::RWXU) {
            Err(Errno::EXIST) => {
                let stat = statat(at.dir, at.name, AtFlags::SYMLINK_NOFOLLOW)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    opaque = whiteout::is_whiteout(&stat);
                    self.clear(at)?;
                    mkdirat(at.dir, at.name, Mode::RWXU)?;
                }
            }
            result => result?,
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(at.dir, at.name, flags, Mode::empty())?;
        if opaque {
            // Its whiteout came first: this directory is another than the one below.
            whiteout::make_opaque(fd.as_fd())?;
        }
        set_file_attributes(entry, fd.as_fd())?;
        self.described(at.path, entry.mtime)
    }

    /// An entry has described this directory.
    fn described(&mut self, path: &[u8], mtime: Timestamp) -> io::Result<()> {
        self.tree.described(path);
        if self.dir_times.insert(path.to_vec(), mtime).is_none() {
            self.tree.room.take(path.len())?;
        }
        Ok(())
    }

    fn file(&mut self, entry: &Entry, at: &Place<'_>) -> Result<()> {
        let failed = |e: io::Error| Error::Apply { path: entry.path.escape_ascii().to_string(), source: e };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = || openat(at.dir, at.name, flags, Mode::RUSR | Mode::WUSR);
        let file = self.replace(at, create).map_err(failed)?;
        self.unpacked.size += entry.size;
        let whole = [Extent { offset: 0, len: entry.size }];
        let extents = entry.sparse.as_deref().unwrap_or(&whole);
        if entry.position.stored > 0 {
            self.reader.source().contents(at.path, extents)?;
        }
        for extent in extents {
            self.extent(file.as_fd(), extent, &failed)?;
        }
        if entry.sparse.is_some() {
            rustix::fs::ftruncate(&file, entry.size).map_err(|e| failed(e.into()))?;
        }
        set_file_attributes(entry, file.as_fd()).map_err(failed)?;
        set_times(file.as_fd(), entry.mtime).map_err(failed)
    }

    /// Writes one stretch of a file's contents.
    fn extent(
        &mut self,
        file: BorrowedFd<'_>,
        extent: &Extent,
        failed: &dyn Fn(io::Error) -> Error,
    ) -> Result<()> {
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
                Err(e) => return Err(failed(e.into())),
            }
        }
        Ok(())
    }

    fn hard_link(&mut self, entry: &Entry, target: &[u8], at: &Place<'_>) -> io::Result<()> {
        let (parent, name) = split(target);
        let found = match self.tree.resolve(parent) {
            Ok((dir, resolved)) => match statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                    return Err(Errno::PERM.into());
                }
                Ok(stat) if !whiteout::is_whiteout(&stat) => Some((dir, join(&resolved, name))),
                Ok(_) | Err(Errno::NOENT) => None,
                Err(e) => return Err(e.into()),
            },
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => None,
            Err(e) => return Err(e),
        };
        match found {
            Some((dir, path)) => {
                if path != at.path {
                    self.replace(at, || linkat(&dir, name, at.dir, at.name, AtFlags::empty()))?;
                }
                set_linked_attributes(entry, at.dir, at.name)
            }
            None => {
                // What had the name is replaced, and what takes it after this replaces the link.
                match self.clear(at) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    result => result?,
                }
                self.tree.room.take(at.path.len() + target.len())?;
                self.unpacked
                    .links
                    .push(DeferredLink { path: at.path.to_vec().into(), target: target.to_vec().into() });
                Ok(())
            }
        }
    }

    fn node(&mut self, entry: &Entry, at: &Place<'_>, kind: FileType, device: Device) -> io::Result<()> {
        let number = makedev(device.major, device.minor);
        self.replace(at, || mknodat(at.dir, at.name, kind, Mode::RUSR, number))?;
        set_node_attributes(entry, at.dir, at.name)
    }

    fn whiteout(&mut self, parent: &[u8], name: &[u8], hidden: &[u8]) -> Result<()> {
        let path = || join(parent, name).escape_ascii().to_string();
        let failed = |e: io::Error| Error::Apply { path: path(), source: e };
        let (dir, resolved) = self.tree.directory(parent).map_err(failed)?;
        if name == whiteout::OPAQUE {
            return whiteout::make_opaque(dir).map_err(failed);
        }
        if hidden.starts_with(whiteout::PREFIX) {
            // Other notes of aufs (`.wh..wh.plnk`) mean nothing here.
            return Ok(());
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(tar::Error::Whiteout { path: path() }.into());
        }
        match whiteout::make_whiteout(dir, hidden) {
            Err(Errno::EXIST) => {
                // The layer itself has this name: only what is below it is hidden.
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
                match openat(dir, hidden, flags, Mode::empty()) {
                    Ok(dir) => whiteout::make_opaque(dir.as_fd()).map_err(failed),
                    Err(Errno::NOTDIR | Errno::LOOP) => Ok(()),
                    Err(e) => Err(failed(e.into())),
                }
            }
            Err(e) => Err(failed(e.into())),
            Ok(()) => {
                let place = join(resolved, hidden);
                self.tree.room.take(place.len()).map_err(failed)?;
                self.unpacked.whiteouts.push(place.into());
                Ok(())
            }
        }
    }

    /// Makes something, and if the name is taken, clears it first.
    fn replace<T>(&mut self, at: &Place<'_>, make: impl Fn() -> Result<T, Errno>) -> io::Result<T> {
        match make() {
            Err(Errno::EXIST) => {
                self.clear(at)?;
                Ok(make()?)
            }
            result => Ok(result?),
        }
    }

    /// Frees a name. What has contents is moved aside, because the record of the archive needs it.
    fn clear(&mut self, at: &Place<'_>) -> io::Result<()> {
        let stat = statat(at.dir, at.name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile | FileType::Directory => {
                let number = self.unpacked.shadows.len();
                renameat(at.dir, at.name, self.shadow_dir.open()?, number.to_string())?;
                self.tree.room.take(at.path.len())?;
                let after = self.reader.source().segments();
                self.unpacked.shadows.push(Shadow { after, path: at.path.to_vec().into() });
                self.tree.forget();
            }
            _ => unlinkat(at.dir, at.name, AtFlags::empty())?,
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Unpacked> {
        for (path, mtime) in &self.dir_times {
            match self.tree.open_real_readable(path) {
                Ok(dir) => set_times(dir.as_fd(), *mtime)?,
                // A later entry replaced it.
                Err(e) if is_gone(&e) => {}
                Err(e) => return Err(e.into()),
            }
        }
        self.reader.into_source().finish()?;
        self.unpacked.implied = self.tree.into_implied();
        Ok(self.unpacked)
    }
}

/// Whether there is no directory, whatever else there may be.
fn is_gone(e: &io::Error) -> bool {
    [Errno::NOENT, Errno::NOTDIR, Errno::LOOP]
        .iter()
        .any(|errno| e.raw_os_error() == Some(errno.raw_os_error()))
}

impl ShadowDir<'_> {
    fn open(&mut self) -> io::Result<BorrowedFd<'_>> {
        if self.fd.is_none() {
            fs_err::create_dir(self.path)?;
            self.fd = Some(fs_err::File::open(self.path)?.into_file().into());
        }
        Ok(self.fd.as_ref().ok_or(Errno::NOENT)?.as_fd())
    }
}

/// Where an entry goes.
struct Place<'a> {
    dir: BorrowedFd<'a>,
    name: &'a [u8],
    /// The resolved path from the root.
    path: &'a [u8],
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::Archive;

    /// Whatever paths are kept for, and however short the names are that lead to them.
    #[test]
    fn paths_that_would_fill_the_memory_are_refused() {
        let deep = ["d"; 40].map(|d| d.repeat(50)).join("/");
        let base = || Archive::new().dir(&deep).symlink("s", &deep);
        let each = |add: fn(Archive, String) -> Archive| {
            (0..30).fold(base(), |archive, i| add(archive, format!("s/{i}"))).finish()
        };
        let unpack = |archive: &[u8]| {
            let dir = tempfile::tempdir().unwrap();
            let [root, record, shadow] = ["root", "record", "shadow"].map(|name| dir.path().join(name));
            fs_err::create_dir(&root).unwrap();
            let recorder = Recorder::new(archive, fs_err::File::create(record).unwrap()).unwrap();
            // Each way to `deep` is a path of its own, and nothing else takes much.
            unpack_within(Room(80 << 10), recorder, &root, &shadow)
        };
        unpack(&base().finish()).unwrap();
        unpack(&each(|archive, path| archive.file(&path, "x"))).unwrap();
        for archive in [
            each(|archive, path| archive.file(&path.replace('/', "/.wh."), "")),
            each(|archive, path| archive.dir(&path)),
            each(|archive, path| archive.file(&format!("{path}/x"), "")),
            each(|archive, path| archive.link(&path, "elsewhere")),
            each(|archive, path| archive.file(&path, "x").file(&path, "y")),
        ] {
            let error = unpack(&archive).map(drop).unwrap_err().to_string();
            assert!(error.ends_with("too many files in a layer"), "{error}");
        }
    }
}
