//! The contents of secrets, in memory.
//!
//! They are files of a ramfs in the run directory: it is never written to disk nor to swap, outlives the daemon, and ends with the
//! boot. A container finds its own by bind mounts that it cannot write. What the request gave is kept until the container is removed, what
//! comes from a file of the host from a start to the end of that run.

use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Mutex,
};

use rustix::{
    fs::{Gid, Mode, OFlags, Uid},
    mount::MountFlags,
};
use skiff_types::ContainerId;

use crate::{
    Error, Result,
    model::{Secret, SecretSource},
};

/// Bytes of one secret: Docker's own bound.
pub(crate) const LARGEST: u64 = 500 << 10;

/// `statfs` of a ramfs.
const RAMFS: i64 = 0x8584_58f6;

/// The place of all secrets.
pub(crate) struct Secrets {
    dir: PathBuf,
    mounting: Mutex<()>,
}

fn failed(secret: &Secret, what: impl std::fmt::Display) -> Error {
    Error::Invalid(format!("secret {:?}: {what}", secret.id))
}

impl Secrets {
    pub(crate) fn new(run: &Path) -> Self {
        Self { dir: run.join("secrets"), mounting: Mutex::default() }
    }

    /// Where the files of a container's secrets are, in their order.
    pub(crate) fn of(&self, container: &ContainerId) -> PathBuf {
        self.dir.join(container.to_string())
    }

    /// Takes over what a request gave, and leaves nothing of it in `secrets`. Blocks.
    ///
    /// # Errors
    /// There is no memory, or nothing can be mounted.
    pub(crate) fn keep(&self, container: &ContainerId, secrets: &mut [Secret]) -> Result<()> {
        for (index, secret) in secrets.iter_mut().enumerate() {
            let SecretSource::Given(data) = &mut secret.source else { continue };
            let data = std::mem::take(&mut data.bytes);
            self.write(container, index, secret, &data)?;
        }
        Ok(())
    }

    /// Makes a container's secrets ready for a start. Blocks.
    ///
    /// # Errors
    /// A file cannot be read; what was given is lost.
    pub(crate) fn prepare(&self, container: &ContainerId, secrets: &[Secret]) -> Result<()> {
        for (index, secret) in secrets.iter().enumerate() {
            match &secret.source {
                SecretSource::File(path) => {
                    let data = read(path).map_err(|e| failed(secret, e))?;
                    self.write(container, index, secret, &data)?;
                }
                SecretSource::Given(_) if self.of(container).join(index.to_string()).exists() => {}
                SecretSource::Given(_) => {
                    return Err(Error::Conflict(format!(
                        "secret {:?} was given when the container was created and kept in memory, which the host has lost since: create the container again",
                        secret.id
                    )));
                }
            }
        }
        Ok(())
    }

    /// A run is over: what came from files is forgotten until the next. Blocks.
    pub(crate) fn ended(&self, container: &ContainerId, secrets: &[Secret]) {
        for (index, secret) in secrets.iter().enumerate() {
            if matches!(secret.source, SecretSource::File(_)) {
                // It may not have come to a start.
                let _ = fs_err::remove_file(self.of(container).join(index.to_string()));
            }
        }
    }

    /// A container is gone. Blocks.
    pub(crate) fn remove(&self, container: &ContainerId) {
        // Most have none.
        let _ = fs_err::remove_dir_all(self.of(container));
    }

    fn write(&self, container: &ContainerId, index: usize, secret: &Secret, data: &[u8]) -> Result<()> {
        let dir = self.of(container);
        let written = self.mount().and_then(|()| {
            fs_err::create_dir_all(&dir)?;
            let path = dir.join(index.to_string());
            // A new file, not a change of one that a former run may still have open.
            let _ = fs_err::remove_file(&path);
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let file = rustix::fs::open(&path, flags, Mode::empty())?;
            let mut file = fs_err::File::from_parts(file.into(), path);
            file.write_all(data)?;
            rustix::fs::fchown(
                file.file(),
                Some(Uid::from_raw(secret.uid)),
                Some(Gid::from_raw(secret.gid)),
            )?;
            rustix::fs::fchmod(file.file(), Mode::from_raw_mode(secret.mode))?;
            Ok(())
        });
        written.map_err(|e: io::Error| Error::Internal(format!("secret {:?}: {e}", secret.id)))
    }

    /// Mounts the ramfs, unless this daemon or the last has.
    fn mount(&self) -> io::Result<()> {
        let _turn = self.mounting.lock().expect("no panic under this lock");
        fs_err::create_dir_all(&self.dir)?;
        if rustix::fs::statfs(&self.dir)?.f_type as i64 == RAMFS {
            return Ok(());
        }
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        rustix::mount::mount("skiff-secrets", &self.dir, "ramfs", flags, Some(c"mode=0700"))?;
        Ok(())
    }
}

/// A secret out of a file.
fn read(path: &str) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| {
        io::Error::other(format!("open {path}: {}", skiff_runtime::apply::errno_text(e.raw_os_error())))
    })?;
    let mut data = Vec::new();
    fs_err::File::from_parts(file.into(), path).take(LARGEST + 1).read_to_end(&mut data)?;
    if data.len() as u64 > LARGEST {
        return Err(io::Error::other(format!("{path} is larger than {LARGEST} bytes")));
    }
    Ok(data)
}
