//! The local driver: `<root>/NAME/_data`, with what the options name mounted over it while it is used.
//!
//! A volume comes into being in a staging directory, which gets its name when the record is durable; it loses its name
//! before its record goes. So whatever a killed process or a power cut leaves, [`Local::recover`] tells from the records
//! which way each half-done act ends:
//!
//! | found | with a record | without |
//! |---|---|---|
//! | `.new-NAME` | finished: it gets its name | garbage |
//! | `.old-NAME-…` | undone: it gets its name back | garbage |
//! | `.fill-NAME` | garbage: the copy into an empty volume was not finished | garbage |
//! | `.filled-NAME` | finished: the files move into the volume | garbage |
//! | `NAME` | | taken in: somebody brought the directory here |

mod mount;
mod options;

use std::{
    collections::BTreeSet,
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use fs_err as fs;
use rustix::{
    fs::{CWD, RenameFlags},
    io::Errno,
};

pub use options::Options;

use skiff_sys::quota;

use crate::{Error, Result, check_name, copy::Content};

const NEW: &str = ".new-";
const OLD: &str = ".old-";
const FILL: &str = ".fill-";
const FILLED: &str = ".filled-";

/// The driver. Callers see to it that no two of them change the same volume at a time.
#[derive(Debug)]
pub struct Local {
    root: PathBuf,
    removals: AtomicU64,
}

/// A new volume that has no name yet. Dropping it removes it.
#[derive(Debug)]
pub struct Staged {
    dir: PathBuf,
    target: PathBuf,
    placed: bool,
}

/// What was found beside the records.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Volumes that have no record.
    pub adopted: Vec<String>,
    /// Volumes whose directory was gone: they are empty now.
    pub lost: Vec<String>,
    /// Directories to be removed.
    pub garbage: Vec<PathBuf>,
}

impl Local {
    /// Opens the directory of volumes, made if it is missing.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn open(root: &Path) -> Result<Self> {
        if !root.exists() {
            fs::create_dir_all(root)?;
            fs::set_permissions(root, Permissions::from_mode(0o701))?;
        }
        Ok(Self { root: root.to_owned(), removals: AtomicU64::new(0) })
    }

    /// Where a volume's files are.
    pub fn data(&self, name: &str) -> PathBuf {
        self.root.join(name).join("_data")
    }

    /// Makes a volume that has no name yet, with its quota.
    ///
    /// # Errors
    /// The directory cannot be made, or has no quotas.
    pub fn stage(&self, name: &str, options: &Options) -> Result<Staged> {
        check_name(name)?;
        let dir = self.root.join(format!("{NEW}{name}"));
        let staged = Staged { target: self.root.join(name), dir, placed: false };
        if staged.dir.exists() {
            // Of an attempt that failed, and whose removal failed.
            fs::remove_dir_all(&staged.dir)?;
        }
        fs::create_dir(&staged.dir)?;
        fs::set_permissions(&staged.dir, Permissions::from_mode(0o701))?;
        fs::create_dir(staged.data())?;
        limit(&staged.data(), options)?;
        Ok(staged)
    }

    /// Whether the directory can hold volumes with a quota.
    ///
    /// # Errors
    /// [`Error::NoQuotas`].
    pub fn check_quota(&self, options: &Options) -> Result<()> {
        if options.size == 0 {
            return Ok(());
        }
        let dir = fs::File::open(&self.root)?;
        quota::can_limit(&dir).then_some(()).ok_or(Error::NoQuotas)
    }

    /// Gives a volume its limit if it has lost it: its directory was brought here by a copy, or made again. What is written from now
    /// on counts.
    ///
    /// # Errors
    /// [`Error::NoQuotas`].
    pub fn keep_limit(&self, name: &str, options: &Options) -> Result<()> {
        limit(&self.data(name), options)
    }

    /// Makes the volume ready to be used, and says where it is. Nothing happens if it is.
    ///
    /// # Errors
    /// What the kernel says to the mount.
    pub fn mount(&self, name: &str, options: &Options) -> Result<PathBuf> {
        let data = self.data(name);
        if options.needs_mount() && !mount::is_mounted(&data) {
            mount::mount(options, &data)?;
        }
        Ok(data)
    }

    /// Nobody uses the volume any more.
    ///
    /// # Errors
    /// The kernel's.
    pub fn unmount(&self, name: &str, options: &Options) -> Result<()> {
        match options.needs_mount() {
            true => mount::unmount(&self.data(name)),
            false => Ok(()),
        }
    }

    /// Copies an image's files into an existing volume if it is empty. At any moment a killed process leaves the volume
    /// empty or, once it is recovered, with all of them.
    ///
    /// # Errors
    /// What cannot be read or written.
    pub fn fill(&self, name: &str, content: &Content) -> Result<()> {
        let data = self.data(name);
        if !is_empty(&data)? {
            return Ok(());
        }
        if mount::is_mounted(&data) {
            // Another file system: nothing can be moved there from here.
            return Ok(content.copy_to(&data)?);
        }
        let fill = self.root.join(format!("{FILL}{name}"));
        let filled = self.root.join(format!("{FILLED}{name}"));
        if fill.exists() {
            fs::remove_dir_all(&fill)?;
        }
        fs::create_dir(&fill)?;
        if quota::is_limited(fs::File::open(&data)?).unwrap_or(false) {
            // Nothing moves into a project from outside.
            quota::share(fs::File::open(&fill)?, fs::File::open(&data)?)?;
        }
        let copied = content.copy_to(&fill).and_then(|()| sync_all(&fill));
        if let Err(e) = copied {
            let _ = fs::remove_dir_all(&fill);
            return Err(e.into());
        }
        fs::rename(&fill, &filled)?;
        self.move_filled(name)
    }

    /// Moves the files of a finished copy to where they belong; may be done again.
    fn move_filled(&self, name: &str) -> Result<()> {
        let (filled, data) = (self.root.join(format!("{FILLED}{name}")), self.data(name));
        for entry in fs::read_dir(&filled)? {
            let entry = entry?;
            match rustix::fs::renameat_with(
                CWD,
                entry.path(),
                CWD,
                data.join(entry.file_name()),
                RenameFlags::NOREPLACE,
            ) {
                // Whoever uses the volume meanwhile was first.
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        crate::copy::attributes_of_directory(&filled, &data)?;
        Ok(fs::remove_dir_all(&filled)?)
    }

    /// Takes a volume's name away, durably; answers the directory to be removed once the record is gone.
    ///
    /// # Errors
    /// [`Error::HasMount`]; the directory cannot be renamed.
    pub fn take_away(&self, name: &str, options: &Options) -> Result<Option<PathBuf>> {
        check_name(name)?;
        self.unmount(name, options)?;
        let dir = self.root.join(name);
        if let Some(point) = mount::below(&dir)?.pop() {
            return Err(Error::HasMount(point));
        }
        let count = self.removals.fetch_add(1, Ordering::Relaxed);
        let old = self.root.join(format!("{OLD}{name}-{}-{count}", std::process::id()));
        match rustix::fs::rename(&dir, &old) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
        fs::File::open(&self.root)?.sync_all()?;
        Ok(Some(old))
    }

    /// Gives a volume its name back whose record could not be removed.
    ///
    /// # Errors
    /// The directory cannot be renamed.
    pub fn give_back(&self, name: &str, old: &Path) -> Result<()> {
        rustix::fs::renameat_with(CWD, old, CWD, self.root.join(name), RenameFlags::NOREPLACE)?;
        Ok(())
    }

    /// Finishes or undoes what was half done, and compares the directories with the records.
    ///
    /// # Errors
    /// The directory of volumes cannot be read.
    pub fn recover(&self, recorded: &BTreeSet<String>) -> Result<Recovered> {
        let mut out = Recovered::default();
        let mut named = BTreeSet::new();
        let mut marked = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            match entry.file_name().into_string() {
                Ok(name) if name.starts_with('.') => marked.push((name, entry.path())),
                Ok(name) if check_name(&name).is_ok() && entry.path().join("_data").is_dir() => {
                    named.insert(name);
                }
                // Nothing of ours.
                _ => {}
            }
        }
        for (mark, path) in marked {
            if let Some(name) = mark.strip_prefix(NEW).or_else(|| old_name(&mark)) {
                let wanted = recorded.contains(name) && !named.contains(name);
                if wanted && self.give_back(name, &path).is_ok() {
                    named.insert(name.to_owned());
                    continue;
                }
                out.garbage.push(path);
            } else if let Some(name) = mark.strip_prefix(FILLED) {
                if !(recorded.contains(name) && self.data(name).is_dir() && self.move_filled(name).is_ok()) {
                    out.garbage.push(path);
                }
            } else if mark.starts_with(FILL) {
                out.garbage.push(path);
            }
        }
        out.adopted = named.difference(recorded).cloned().collect();
        for name in recorded.difference(&named).filter(|name| check_name(name).is_ok()) {
            fs::create_dir_all(self.data(name))?;
            fs::set_permissions(self.root.join(name), Permissions::from_mode(0o701))?;
            out.lost.push(name.clone());
        }
        Ok(out)
    }
}

/// `.old-NAME-PID-COUNT`.
fn old_name(mark: &str) -> Option<&str> {
    let (rest, _count) = mark.strip_prefix(OLD)?.rsplit_once('-')?;
    rest.rsplit_once('-').map(|(name, _pid)| name)
}

/// Takes back the limit of a volume that is about to be removed, so that nothing stays of it in the file system's tables.
pub fn unlimit(volume: &Path) {
    // Where there are no limits the kernel says so.
    let _ = fs::File::open(volume.join("_data")).map(quota::unlimit);
}

/// Limits the directory of a volume's files, unless it is limited.
fn limit(dir: &Path, options: &Options) -> Result<()> {
    if options.size == 0 {
        return Ok(());
    }
    let unsupported = |errno| match errno {
        Errno::NOTTY | Errno::NOSYS | Errno::OPNOTSUPP | Errno::SRCH | Errno::INVAL | Errno::NOTDIR => {
            Error::NoQuotas
        }
        errno => errno.into(),
    };
    quota::limit(fs::File::open(dir)?, options.size).map_err(unsupported)
}

fn is_empty(dir: &Path) -> Result<bool> {
    Ok(fs::read_dir(dir)?.next().is_none())
}

/// Flushes the file system that a directory is on.
fn sync_all(dir: &Path) -> std::io::Result<()> {
    Ok(rustix::fs::syncfs(fs::File::open(dir)?.file())?)
}

impl Staged {
    /// Where its files are for now.
    pub fn data(&self) -> PathBuf {
        self.dir.join("_data")
    }

    /// Copies an image's files into it; into what its options mount over it, if there is something and that is empty.
    ///
    /// # Errors
    /// What cannot be read, written or mounted.
    pub fn fill(&self, options: &Options, content: &Content) -> Result<()> {
        let data = self.data();
        if !options.needs_mount() {
            return Ok(content.copy_to(&data)?);
        }
        mount::mount(options, &data)?;
        let copied = content.copy_into_empty(&data);
        mount::unmount(&data)?;
        Ok(copied?)
    }

    /// Makes what it holds durable. An empty one need not be: it is made again.
    ///
    /// # Errors
    /// The disk's.
    pub fn sync(&self) -> Result<()> {
        Ok(sync_all(&self.dir)?)
    }

    /// Gives it its name. The record is durable by now.
    ///
    /// # Errors
    /// The directory cannot be renamed.
    pub fn place(mut self) -> Result<()> {
        rustix::fs::renameat_with(CWD, &self.dir, CWD, &self.target, RenameFlags::NOREPLACE)?;
        self.placed = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.placed {
            unlimit(&self.dir);
            // What stays is garbage of the next start.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

#[cfg(test)]
mod tests;
