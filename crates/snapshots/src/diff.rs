//! Changes as a layer's archive, as Docker makes it: entries in the order of a depth-first walk with sorted names, times cut
//! to seconds, whiteouts as `.wh.` files.

use std::{
    collections::{HashMap, VecDeque},
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{major, minor};

use skiff_archive::attributes::{is_portable, xattrs};

use crate::{
    Result,
    changes::unless_gone,
    merge::{is_opaque_path, is_whiteout},
    tar::{Device, END, Entry, EntryKind, Timestamp, encode, padding},
    whiteout,
};

/// The changes in an overlay's upper directory.
pub(crate) fn upper_tar(upper: &Path) -> Result<TarStream<UpperWalk>> {
    let mut walk = UpperWalk { root: upper.to_owned(), pending: Vec::new() };
    walk.enter(Path::new(""))?;
    Ok(TarStream::new(walk))
}

/// A member of an archive to be.
pub(crate) enum Member {
    /// What lies at this path of the disk, under this name.
    Object {
        /// The relative path in the archive, no slash behind directories.
        name: PathBuf,
        /// Where it is.
        source: PathBuf,
        /// What it is.
        metadata: Metadata,
    },
    /// The name is gone.
    Whiteout {
        /// The relative path of what is gone.
        name: PathBuf,
        /// When that happened.
        mtime: i64,
    },
    /// The directory hides what is below.
    Opaque {
        /// The directory's relative path.
        dir: PathBuf,
        /// The directory.
        metadata: Metadata,
    },
}

/// The members that an upper directory amounts to.
pub(crate) struct UpperWalk {
    root: PathBuf,
    /// What is still to come, the next one last.
    pending: Vec<Step>,
}

enum Step {
    Look(PathBuf),
    Opaque(PathBuf, Metadata),
}

impl UpperWalk {
    fn enter(&mut self, dir: &Path) -> io::Result<()> {
        let names: io::Result<Vec<_>> =
            fs_err::read_dir(self.root.join(dir))?.map(|e| Ok(dir.join(e?.file_name()))).collect();
        let mut names = names?;
        names.sort_by(|a, b| b.as_os_str().cmp(a.as_os_str()));
        self.pending.extend(names.into_iter().map(Step::Look));
        Ok(())
    }

    fn step(&mut self) -> io::Result<Option<Member>> {
        let (name, source, metadata) = loop {
            let name = match self.pending.pop() {
                None => return Ok(None),
                Some(Step::Opaque(dir, metadata)) => return Ok(Some(Member::Opaque { dir, metadata })),
                Some(Step::Look(name)) => name,
            };
            let source = self.root.join(&name);
            // What a running container removes meanwhile is not in its changes any more.
            if let Some(metadata) = unless_gone(fs_err::symlink_metadata(&source))? {
                break (name, source, metadata);
            }
        };
        if is_whiteout(&metadata) {
            return Ok(Some(Member::Whiteout { name, mtime: metadata.mtime() }));
        }
        if metadata.is_dir() {
            self.enter(&name)?;
            if is_opaque_path(&source)? {
                self.pending.push(Step::Opaque(name.clone(), metadata.clone()));
            }
        }
        Ok(Some(Member::Object { name, source, metadata }))
    }
}

impl Iterator for UpperWalk {
    type Item = io::Result<Member>;
    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

/// An archive that is made while it is read.
pub(crate) struct TarStream<I> {
    members: I,
    /// Bytes to give out before the file's.
    ready: VecDeque<u8>,
    /// The file whose contents come next, how much of it is left, and the padding after it.
    file: Option<(File, u64, usize)>,
    /// Inodes with several names: the name each had first.
    links: HashMap<(u64, u64), Vec<u8>>,
    finished: bool,
}

impl<I: Iterator<Item = io::Result<Member>>> TarStream<I> {
    /// The archive of these members.
    pub(crate) fn new(members: I) -> Self {
        Self { members, ready: VecDeque::new(), file: None, links: HashMap::new(), finished: false }
    }

    /// Makes the next header ready; `false` when the archive is complete.
    fn advance(&mut self) -> io::Result<bool> {
        if self.finished {
            return Ok(false);
        }
        let mut header = Vec::new();
        match self.members.next().transpose()? {
            None => {
                self.finished = true;
                header.extend_from_slice(&END);
            }
            Some(Member::Whiteout { name, mtime }) => {
                let mut path = name.into_os_string().into_encoded_bytes();
                let at = path.iter().rposition(|b| *b == b'/').map_or(0, |i| i + 1);
                path.splice(at..at, whiteout::PREFIX.iter().copied());
                let mtime = Timestamp { secs: mtime, nanos: 0 };
                encode(&Entry { path, mode: 0o600, mtime, ..Entry::default() }, &mut header);
            }
            Some(Member::Opaque { dir, metadata }) => {
                let path = [dir.as_os_str().as_bytes(), b"/", whiteout::OPAQUE].concat();
                let (uid, gid) = (metadata.uid(), metadata.gid());
                encode(
                    &Entry { path, mode: metadata.mode() & 0o777, uid, gid, ..Entry::default() },
                    &mut header,
                );
            }
            Some(Member::Object { name, source, metadata }) => {
                self.object(&name, &source, &metadata, &mut header)?
            }
        }
        self.ready.extend(header);
        Ok(true)
    }

    fn object(
        &mut self,
        name: &Path,
        source: &Path,
        metadata: &Metadata,
        header: &mut Vec<u8>,
    ) -> io::Result<()> {
        let mut path = name.as_os_str().as_bytes().to_vec();
        let Some(kind) = kind(source, metadata)? else { return Ok(()) };
        let mut entry = Entry {
            kind,
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            mtime: Timestamp { secs: metadata.mtime(), nanos: 0 },
            xattrs: xattrs(source)?.into_iter().filter(|(name, _)| is_portable(name)).collect(),
            ..Entry::default()
        };
        if metadata.is_dir() {
            path.push(b'/');
        } else if metadata.nlink() > 1 {
            let inode = (metadata.dev(), metadata.ino());
            match self.links.get(&inode) {
                Some(first) => entry.kind = EntryKind::HardLink(first.clone()),
                None => drop(self.links.insert(inode, path.clone())),
            }
        }
        entry.path = path;
        if entry.kind == EntryKind::File {
            entry.size = metadata.len();
            let file = fs_err::File::open(source)?.into_file();
            self.file = Some((file, entry.size, padding(entry.size)));
        }
        encode(&entry, header);
        Ok(())
    }
}

impl<I: Iterator<Item = io::Result<Member>>> Read for TarStream<I> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.ready.is_empty() {
                return self.ready.read(buf);
            }
            match &mut self.file {
                Some((file, left, _)) if *left > 0 => {
                    let want = buf.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    let n = file.read(&mut buf[..want])?;
                    if n == 0 {
                        return Err(io::Error::new(
                            io::ErrorKind::UnexpectedEof,
                            "a file shrank while it was archived",
                        ));
                    }
                    *left -= n as u64;
                    return Ok(n);
                }
                Some((_, _, padding)) => {
                    let padding = *padding;
                    self.ready.extend(std::iter::repeat_n(0, padding));
                    self.file = None;
                }
                None => {
                    if !self.advance()? {
                        return Ok(0);
                    }
                }
            }
        }
    }
}

/// The entry's kind; nothing for a socket, which an archive cannot hold.
fn kind(source: &Path, metadata: &Metadata) -> io::Result<Option<EntryKind>> {
    let device = || Device { major: major(metadata.rdev()), minor: minor(metadata.rdev()) };
    let kind = metadata.file_type();
    Ok(Some(if kind.is_dir() {
        EntryKind::Directory
    } else if kind.is_symlink() {
        EntryKind::Symlink(fs_err::read_link(source)?.into_os_string().into_encoded_bytes())
    } else if kind.is_char_device() {
        EntryKind::CharDevice(device())
    } else if kind.is_block_device() {
        EntryKind::BlockDevice(device())
    } else if kind.is_fifo() {
        EntryKind::Fifo
    } else if kind.is_socket() {
        return Ok(None);
    } else {
        EntryKind::File
    }))
}
