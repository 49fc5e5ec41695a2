//! Reading and writing the small files of a cgroup, with errors that name the file and carry the kernel's number.

use std::io::ErrorKind as IoErrorKind;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode as FileMode, OFlags};
use rustix::io::Errno;

use super::{CgroupError, Operation};

/// A whole file. cgroupfs reports no sizes, so nothing is asked about it beforehand.
pub(super) fn read_text(path: &Path) -> Result<String, CgroupError> {
    let failed = |errno: Errno| CgroupError::kernel(Operation::Read, path, errno);
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, FileMode::empty()).map_err(failed)?;
    let mut text = Vec::with_capacity(4096);
    while rustix::io::read(&file, rustix::buffer::spare_capacity(&mut text)).map_err(failed)? > 0 {
        text.reserve(1024);
    }
    String::from_utf8(text).map_err(|_| failed(Errno::ILSEQ))
}

/// The last file written to: device lists write the same one many times.
#[derive(Default)]
pub(super) struct OpenFile(Option<(PathBuf, OwnedFd)>);

impl OpenFile {
    pub(super) fn write(&mut self, path: &Path, value: &str) -> Result<(), CgroupError> {
        let fd = match &self.0 {
            Some((open, fd)) if open == path => fd,
            _ => {
                let flags = OFlags::WRONLY | OFlags::CLOEXEC;
                let fd = rustix::fs::open(path, flags, FileMode::empty());
                &self
                    .0
                    .insert((path.to_owned(), fd.map_err(|errno| CgroupError::write(path, value, errno))?))
                    .1
            }
        };
        // The kernel takes a whole value per write; there is no such thing as the rest of it.
        rustix::io::pwrite(fd, value.as_bytes(), 0)
            .map(drop)
            .map_err(|errno| CgroupError::write(path, value, errno))
    }
}

/// The directories right below `path`; none if it is gone.
pub(super) fn subdirectories(path: &Path) -> Result<Vec<PathBuf>, CgroupError> {
    let entries = match fs_err::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == IoErrorKind::NotFound => return Ok(Vec::new()),
        Err(_) => return Err(CgroupError::kernel(Operation::Read, path, Errno::IO)),
    };
    let is_directory = |entry: &fs_err::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    Ok(entries.filter_map(Result::ok).filter(is_directory).map(|entry| entry.path()).collect())
}
