//! Archives that are unpacked into a container.

use std::{
    io::{BufReader, Read},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use rustix::{
    fs::{FileType, OFlags, StatVfsMountFlags, fstat, fstatvfs},
    io::Errno,
};
use skiff_archive::{Extract, ExtractError, extract};
use skiff_snapshots::{View, resolve};

use super::{
    open,
    paths::{missing, rooted},
};
use crate::{
    Error, Result,
    containers::parts::{Parts, blocking},
    model::ContainerRecord,
    users::{self, Accounts},
};

/// How an archive is unpacked into a container.
#[derive(Clone, Copy, Debug, Default)]
pub struct PutOptions {
    /// A directory is not replaced by something else, nor the other way round.
    pub no_overwrite_dir_non_dir: bool,
    /// What is made belongs to the user that the container runs as.
    pub copy_uid_gid: bool,
}

/// What is read of the archive at a time.
const BUFFER: usize = 256 << 10;

pub(in crate::containers) async fn put(
    parts: &Arc<Parts>,
    reference: &str,
    path: &str,
    options: PutOptions,
    archive: Box<dyn Read + Send>,
) -> Result<()> {
    let container = parts.registry.resolve(reference)?;
    let view = open(parts, &container, true).await?;
    let record = container.record().clone();
    let (path, name) = (path.to_owned(), reference.to_owned());
    blocking(move || unpack(&view, &record, &path, &name, options, archive)).await??;
    parts.tell(&container, "extract-to-dir", &[]);
    Ok(())
}

fn unpack(
    view: &View,
    record: &ContainerRecord,
    path: &str,
    name: &str,
    options: PutOptions,
    mut archive: Box<dyn Read + Send>,
) -> Result<()> {
    let at = rooted(path);
    let dir = directory(view.root(), &at).map_err(|e| told(e, &at, path, name))?;
    check_writable(view, &dir, record)?;
    let owner = match options.copy_uid_gid && !record.config.user.is_empty() {
        true => Some(owner(view.root(), &record.config.user)?),
        false => None,
    };
    let keep_kinds = options.no_overwrite_dir_non_dir;
    let options = Extract { owner, keep_kinds, shown: at.clone(), renamed: None };
    let unpacked = skiff_images::plain(&mut *archive, |plain| {
        extract(dir.as_fd(), BufReader::with_capacity(BUFFER, plain), &options)
    })?;
    unpacked.map_err(|e| match e {
        e if e.is_missing() => missing(path, name),
        ExtractError::Entry { operation, path, source } => {
            let text = format!("{operation} {path}: {source}");
            Error::from(std::io::Error::new(source.kind(), text))
        }
        // Docker answers 500 to whatever is wrong with an archive.
        e => Error::Internal(e.to_string()),
    })
}

enum NoDirectory {
    Kernel(Errno),
    Other,
}

/// The directory at a path, links at its end followed too.
fn directory(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, NoDirectory> {
    let object = resolve(root, path.as_bytes(), OFlags::PATH).map_err(NoDirectory::Kernel)?;
    let stat = fstat(&object).map_err(NoDirectory::Kernel)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Ok(object),
        _ => Err(NoDirectory::Other),
    }
}

fn told(error: NoDirectory, at: &str, path: &str, name: &str) -> Error {
    match error {
        NoDirectory::Kernel(Errno::NOENT) => missing(path, name),
        NoDirectory::Kernel(Errno::LOOP) => Error::Internal("EvalSymlinks: too many links".into()),
        NoDirectory::Kernel(Errno::NOTDIR) if !at.ends_with(['/', '.']) => {
            Error::Internal("not a directory".into())
        }
        NoDirectory::Kernel(e) => {
            Error::Internal(format!("lstat {at}: {}", skiff_runtime::apply::errno_text(e.raw_os_error())))
        }
        NoDirectory::Other => Error::Invalid("extraction point is not a directory".into()),
    }
}

fn check_writable(view: &View, dir: &OwnedFd, record: &ContainerRecord) -> Result<()> {
    let device = |fd: BorrowedFd<'_>| fstat(fd).map(|s| s.st_dev);
    let mount = |fd: BorrowedFd<'_>| fstatvfs(fd).map(|s| s.f_flag);
    let failed = |e: Errno| Error::from(std::io::Error::from(e));
    if !mount(dir.as_fd()).map_err(failed)?.contains(StatVfsMountFlags::RDONLY) {
        return Ok(());
    }
    let in_root = device(dir.as_fd()).map_err(failed)? == device(view.root()).map_err(failed)?;
    Err(Error::Invalid(match in_root && record.host.readonly_rootfs {
        true => "container rootfs is marked read-only".into(),
        false => "mounted volume is marked read-only".into(),
    }))
}

/// Who the container runs as.
fn owner(root: BorrowedFd<'_>, user: &str) -> Result<(u32, u32)> {
    users::owner(&Accounts::read(root), user)
}
