//! Copying objects between trees with everything they have.

use std::{
    collections::HashMap,
    fs::Metadata,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat,
        copy_file_range, ioctl_ficlone, lsetxattr, mknodat, utimensat,
    },
    io::Errno,
};

use skiff_archive::attributes::xattrs;

use crate::merge::{Found, Stack};

/// Copies one object that is no directory to a path that does not exist.
pub(crate) fn copy_object(from: &Path, metadata: &Metadata, to: &Path) -> io::Result<()> {
    let kind = FileType::from_raw_mode(metadata.mode());
    match kind {
        FileType::RegularFile => copy_contents(from, metadata.len(), to)?,
        FileType::Symlink => fs_err::os::unix::fs::symlink(fs_err::read_link(from)?, to)?,
        _ => mknodat(CWD, to, kind, Mode::RUSR, metadata.rdev())?,
    }
    copy_attributes(from, metadata, to)
}

/// Gives an object the owner, mode, attributes and times of another.
pub(crate) fn copy_attributes(from: &Path, metadata: &Metadata, to: &Path) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(metadata.uid()), Gid::from_raw(metadata.gid()));
    chownat(CWD, to, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    if !metadata.is_symlink() {
        chmodat(CWD, to, Mode::from_raw_mode(metadata.mode()), AtFlags::empty())?;
    }
    for (name, value) in xattrs(from)? {
        match lsetxattr(to, &name[..], &value, XattrFlags::empty()) {
            Err(Errno::OPNOTSUPP) => {}
            result => result?,
        }
    }
    let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
    let times = Timestamps {
        last_access: time(metadata.atime(), metadata.atime_nsec()),
        last_modification: time(metadata.mtime(), metadata.mtime_nsec()),
    };
    Ok(utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Shares the blocks where the file system can, and otherwise copies the stretches that are not holes.
fn copy_contents(from: &Path, len: u64, to: &Path) -> io::Result<()> {
    let source = fs_err::File::open(from)?.into_file();
    let target = fs_err::OpenOptions::new().write(true).create_new(true).open(to)?.into_file();
    if ioctl_ficlone(&target, &source).is_ok() {
        return Ok(());
    }
    rustix::fs::ftruncate(&target, len)?;
    let mut position = 0;
    while position < len {
        let data = match rustix::fs::seek(&source, rustix::fs::SeekFrom::Data(position)) {
            Ok(data) => data,
            // Nothing but a hole is left.
            Err(Errno::NXIO) => break,
            Err(_) => position,
        };
        let end = rustix::fs::seek(&source, rustix::fs::SeekFrom::Hole(data)).unwrap_or(len).min(len);
        let (mut read_at, mut write_at) = (data, data);
        while read_at < end {
            let want = usize::try_from(end - read_at).unwrap_or(usize::MAX);
            let n = match copy_file_range(&source, Some(&mut read_at), &target, Some(&mut write_at), want) {
                Err(Errno::XDEV | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => {
                    return copy_by_hand(&source, &target);
                }
                n => n?,
            };
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        position = end;
    }
    Ok(())
}

fn copy_by_hand(mut source: &std::fs::File, mut target: &std::fs::File) -> io::Result<()> {
    io::Seek::rewind(&mut source)?;
    io::Seek::rewind(&mut target)?;
    io::copy(&mut source, &mut target).map(drop)
}

/// What is still to be done of a copy.
enum Todo {
    /// The contents of a directory that has been made.
    Fill(Stack, PathBuf),
    /// A directory's own attributes, once it is full.
    Describe(Found, PathBuf),
}

/// Copies what a merged tree's root holds into an existing directory, hard links within one layer kept.
pub(crate) fn copy_tree(from: &Stack, to: &Path) -> io::Result<()> {
    let mut links = HashMap::new();
    let mut todo = Vec::new();
    fill(from, to, &mut links, &mut todo)?;
    while let Some(next) = todo.pop() {
        match next {
            Todo::Fill(from, to) => fill(&from, &to, &mut links, &mut todo)?,
            Todo::Describe(found, to) => copy_attributes(&found.path, &found.metadata, &to)?,
        }
    }
    Ok(())
}

fn fill(
    from: &Stack,
    to: &Path,
    links: &mut HashMap<(u64, u64), PathBuf>,
    todo: &mut Vec<Todo>,
) -> io::Result<()> {
    for name in from.names()? {
        let Some(mut found) = from.child(&name)? else { continue };
        let target = to.join(&name);
        let metadata = &found.metadata;
        if metadata.is_dir() {
            fs_err::create_dir(&target)?;
            let merged = std::mem::replace(&mut found.merged, Stack::new(Vec::new()));
            todo.push(Todo::Describe(found, target.clone()));
            todo.push(Todo::Fill(merged, target));
            continue;
        }
        let inode = (metadata.dev(), metadata.ino());
        match links.get(&inode) {
            Some(first) => fs_err::hard_link(first, &target)?,
            None => {
                copy_object(&found.path, metadata, &target)?;
                if metadata.nlink() > 1 {
                    links.insert(inode, target);
                }
            }
        }
    }
    Ok(())
}
