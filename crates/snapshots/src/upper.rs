//! Writable snapshots of the drivers that mount an overlay.
//!
//! ```text
//! snapshots/<key>/upper    what the container changed
//! snapshots/<key>/work     overlayfs's own
//! snapshots/<key>/parent   a symbolic link whose target is the parent's chain id in hexadecimal, or `none`
//! ```

use std::{
    collections::HashSet,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use skiff_sys::quota;

use crate::{
    ChainId, Error, Lifetime, Result, Usage, copy::copy_attributes, dirs::StoreDirs, index::Index,
    overlay::Writable, skeleton::unless_there,
};

/// Takes the snapshots found on the disk into the index. One without its parent link was never acknowledged, or a power cut came
/// before the link was on the disk: what a program had flushed into it by then stays, for [`prepare`] to find.
pub(crate) fn load(dirs: &StoreDirs, index: &Index) -> Result<()> {
    for key in dirs.snapshot_names()? {
        let dir = dirs.snapshot(&key);
        match read_parent(&dir) {
            Some(parent) => index.insert_snapshot(key, parent),
            None if is_written_to(&dir) => {}
            None => dirs.discard(&dir)?,
        }
    }
    Ok(())
}

fn is_written_to(dir: &Path) -> bool {
    fs_err::read_dir(dir.join("upper")).is_ok_and(|mut entries| entries.next().is_some())
}

fn read_parent(dir: &Path) -> Option<Option<ChainId>> {
    match fs_err::read_link(dir.join("parent")).ok()?.to_str()? {
        "none" => Some(None),
        hex => ChainId::from_hex(hex).ok().map(Some),
    }
}

/// Makes a snapshot's directory, which may take `limit` bytes. `fill` makes what the driver wants in it.
pub(crate) fn prepare(
    dirs: &StoreDirs,
    index: &Index,
    key: &str,
    parent: Option<&ChainId>,
    limit: Option<u64>,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    index.add_snapshot(key, parent)?;
    let dir = dirs.snapshot(key);
    let make = || -> Result<()> {
        unless_there(fs_err::create_dir(&dir))?;
        if let Some(bytes) = limit {
            // One that a power cut left has its limit already, if it has something in it.
            quota::limit(fs_err::File::open(&dir)?, bytes).map_err(|errno| Error::NoLimits(errno.into()))?;
        }
        fill(&dir)?;
        let target = parent.map_or_else(|| "none".to_owned(), ChainId::hex);
        fs_err::os::unix::fs::symlink(target, dir.join("parent"))?;
        Ok(())
    };
    make().inspect_err(|_| {
        // The first error is the one to tell; what cannot be removed now is discarded at the next start.
        let _ = index.remove_snapshot(key, || dirs.discard(&dir));
    })
}

/// The upper and work directories. The upper directory's own attributes are what the root of the mount shows, so they
/// come from the root below.
pub(crate) fn make_upper(dir: &Path, root_below: Option<&Path>) -> Result<()> {
    let (upper, work) = paths(dir);
    unless_there(fs_err::create_dir(&work))?;
    if upper.exists() {
        return Ok(());
    }
    fs_err::create_dir(&upper)?;
    if let Some(below) = root_below {
        copy_attributes(below, &fs_err::symlink_metadata(below)?, &upper)?;
    }
    Ok(())
}

/// The upper and work directories of a snapshot.
pub(crate) fn paths(dir: &Path) -> (PathBuf, PathBuf) {
    (dir.join("upper"), dir.join("work"))
}

/// The writable part of a snapshot's overlay.
pub(crate) fn writable(dir: &Path, lifetime: Lifetime) -> Writable {
    let (upper, work) = paths(dir);
    Writable { upper, work, volatile: lifetime == Lifetime::Ephemeral }
}

/// Removes a snapshot.
pub(crate) fn remove(dirs: &StoreDirs, index: &Index, key: &str) -> Result<()> {
    index.remove_snapshot(key, || dirs.discard(&dirs.snapshot(key)))
}

/// The space of a layer that is there.
pub(crate) fn layer_usage(dirs: &StoreDirs, index: &Index, chain: &ChainId) -> Result<Usage> {
    index.layer(chain)?;
    tree_usage(&dirs.layer(chain))
}

/// The space of a tree, each inode once: the sizes of everything but directories, as Docker counts, and what the disk gives for
/// all of it. What goes while it is walked counts nothing.
///
/// # Errors
/// A directory cannot be read.
pub fn tree_usage(root: &Path) -> Result<Usage> {
    let mut usage = Usage::default();
    let mut seen = HashSet::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        let entries = match fs_err::read_dir(&dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && dir != root => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let metadata = match entry.metadata() {
                // Removed meanwhile: the container runs.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                metadata => metadata.map_err(Error::Io)?,
            };
            if metadata.is_dir() {
                dirs.push(entry.path());
            } else if metadata.nlink() > 1 && !seen.insert(metadata.ino()) {
                continue;
            } else {
                usage.bytes += metadata.len();
            }
            usage.inodes += 1;
            usage.allocated += metadata.blocks() * 512;
        }
    }
    Ok(usage)
}
