//! Volumes of the driver `local`: directories below the root, named or anonymous.
//!
//! A new volume takes over what the image has at its target, the first time a container mounts it there.

use std::path::{Path, PathBuf};

use rustix::{
    fs::{CWD, RenameFlags},
    io::Errno,
};
use skiff_snapshots::ChainId;
use skiff_types::ContainerId;

use crate::{
    Error, Result,
    container::Container,
    containers::Parts,
    model::{MountKind, MountPoint},
};

/// Where a volume's files are.
fn data(root: &Path, name: &str) -> PathBuf {
    root.join("volumes").join(name).join("_data")
}

/// Gives anonymous volumes their names, and all volumes their places.
///
/// # Errors
/// Another driver than `local`.
pub(crate) fn name_anonymous(mounts: &mut [MountPoint], root: &Path) -> Result<()> {
    for mount in mounts.iter_mut().filter(|m| m.kind == MountKind::Volume) {
        if mount.driver != "local" {
            return Err(Error::NotFound(format!(
                "error looking up volume plugin {0}: plugin \"{0}\" not found",
                mount.driver
            )));
        }
        if mount.name.is_empty() {
            mount.name = ContainerId::random().to_string();
        }
        mount.source = data(root, &mount.name).to_string_lossy().into_owned();
    }
    Ok(())
}

/// Makes the volumes that are missing. Blocks.
///
/// # Errors
/// A directory cannot be made or filled.
pub(crate) fn make(parts: &Parts, container: &Container, chain: Option<&ChainId>) -> Result<()> {
    let mounts = container.record().mounts.clone();
    for mount in mounts.iter().filter(|m| m.kind == MountKind::Volume) {
        let no_copy = mount.mode.split(',').any(|o| o == "nocopy")
            || mount.spec.as_ref().and_then(|s| s.volume.as_ref()).is_some_and(|v| v.no_copy);
        let path = Path::new(&mount.source);
        if path.exists() {
            continue;
        }
        make_one(path, &container.id, |dir| match chain.filter(|_| !no_copy) {
            Some(chain) => Ok(copy::from_image(parts.snapshots.view(chain)?, &mount.destination, dir)?),
            None => Ok(()),
        })?;
    }
    Ok(())
}

/// Fills a directory beside and moves it to its place: a volume is there as a whole and for good, or not at all. Another
/// container may make the same volume at the same time; the first to be finished is it.
fn make_one(path: &Path, id: &ContainerId, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let volume = path.parent().unwrap_or(path);
    let new = volume.join(format!("_new-{id}"));
    fs_err::create_dir_all(&new)?;
    let made = fill(&new).and_then(|()| {
        rustix::fs::syncfs(fs_err::File::open(&new)?.file()).map_err(std::io::Error::from)?;
        match rustix::fs::renameat_with(CWD, &new, CWD, path, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => fs_err::remove_dir_all(&new)?,
            renamed => renamed.map_err(std::io::Error::from)?,
        }
        for dir in [Some(volume), volume.parent()].into_iter().flatten() {
            fs_err::File::open(dir)?.sync_all()?;
        }
        Ok(())
    });
    made.inspect_err(|_| {
        // The first error is the one to tell.
        let _ = fs_err::remove_dir_all(&new);
    })
}

/// Removes the anonymous volumes of a container that is gone, unless another uses them. Blocks.
pub(crate) fn remove_anonymous(parts: &Parts, mounts: &[MountPoint]) {
    for mount in mounts.iter().filter(|m| m.kind == MountKind::Volume && m.anonymous) {
        let used = |c: &Container| c.record().mounts.iter().any(|m| m.name == mount.name);
        let dir = parts.config.root.join("volumes").join(&mount.name);
        if !parts.registry.all().iter().any(|c| used(c))
            && let Err(e) = skiff_snapshots::remove_tree(&dir)
        {
            tracing::warn!("cannot remove volume {}: {e}", mount.name);
        }
    }
}

mod copy;
