//! What a container's mounts need before it starts: directories of the host made, volumes mounted, images opened.

use std::{os::fd::OwnedFd, path::Path};

use rustix::{
    io::Errno,
    mount::{MoveMountFlags, UnmountFlags},
};
use skiff_runtime::plan::{MountKind as StepKind, MountSource, Plan};
use skiff_volumes::{clone_mount, open_inside, open_inside_of};

use super::{etc, parts::Parts, propagation};
use crate::{
    Error, Result,
    model::{ContainerRecord, MountKind, MountPoint},
    volumes::Attached,
};

/// What was made ready.
#[derive(Default)]
pub(super) struct Ready {
    /// Where the mounts' sources are now, by target; those that are where the record says are left out.
    pub(super) sources: Vec<(String, String)>,
    /// Detached mounts to be passed beside the plan, by target.
    pub(super) mounts: Vec<(String, OwnedFd)>,
}

/// Makes everything ready. Volumes are to be released if the container does not start. Blocks.
pub(super) fn prepare(parts: &Parts, record: &ContainerRecord, dir: &Path) -> Result<Ready> {
    make_missing_sources(record)?;
    propagation::check(&record.mounts)?;
    if record.host.ipc_mode == "shareable" {
        etc::mount_shm(dir, record.host.shm_size)?;
    }
    let mut ready = Ready::default();
    for Attached { target, source, mount } in parts.volumes.acquire(record)? {
        ready.mounts.extend(mount.map(|mount| (target.clone(), mount)));
        ready.sources.push((target, source));
    }
    for mount in record.mounts.iter().filter(|mount| mount.kind == MountKind::Image) {
        ready.mounts.push((mount.destination.clone(), image(parts, record, mount)?));
    }
    Ok(ready)
}

/// Makes sources of `-v` that are missing, as Docker does.
pub(super) fn make_missing_sources(record: &ContainerRecord) -> Result<()> {
    for mount in record.mounts.iter().filter(|mount| mount.kind == MountKind::Bind) {
        let asked = mount.spec.as_ref();
        let make = asked.is_none_or(|s| s.bind.as_ref().is_some_and(|b| b.create_mountpoint));
        if make && !Path::new(&mount.source).exists() {
            fs_err::create_dir_all(&mount.source).map_err(|e| {
                Error::Internal(format!("error while creating mount source path '{}': {e}", mount.source))
            })?;
        }
    }
    Ok(())
}

/// A detached view of an image, or of a path in it.
fn image(parts: &Parts, record: &ContainerRecord, mount: &MountPoint) -> Result<OwnedFd> {
    let image = match &mount.image {
        Some(id) => parts.images.by_id(id)?,
        None => parts.images.get(&mount.name)?,
    };
    let chain = image.chain.ok_or_else(|| Error::Invalid(format!("image {} has no files", mount.name)))?;
    let view = parts.snapshots.view(&chain)?;
    let subpath = mount.spec.as_ref().and_then(|spec| spec.image_subpath.as_deref()).unwrap_or_default();
    if subpath.is_empty() {
        return Ok(view);
    }
    match open_inside_of(&view, &mount.name, subpath).and_then(clone_mount) {
        Err(skiff_volumes::Error::Io(e)) if Errno::from_io_error(&e) == Some(Errno::INVAL) => {}
        part => return Ok(part?),
    }
    // Before Linux 6.15 nothing is cloned from what is attached nowhere.
    let place = parts.run_dir(&record.id).join("image");
    fs_err::create_dir_all(&place)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(&view, "", rustix::fs::CWD, &place, flags).map_err(std::io::Error::from)?;
    let part = open_inside(&place, subpath).and_then(clone_mount);
    rustix::mount::unmount(&place, UnmountFlags::DETACH).map_err(std::io::Error::from)?;
    Ok(part?)
}

/// The record as the plan is to see it.
pub(super) fn with_sources(record: &ContainerRecord, ready: &Ready) -> ContainerRecord {
    let mut record = record.clone();
    set_sources(&mut record, &ready.sources);
    for mount in record.mounts.iter_mut().filter(|mount| mount.kind == MountKind::Image) {
        // Only the descriptor counts, but a bind mount has a source.
        mount.source.clone_from(&mount.name);
    }
    record
}

/// Notes where the sources are.
pub(super) fn set_sources(record: &mut ContainerRecord, sources: &[(String, String)]) {
    for (target, source) in sources {
        for mount in record.mounts.iter_mut().filter(|mount| mount.destination == *target) {
            mount.source.clone_from(source);
        }
    }
}

/// Puts descriptors, the first of which has the index `first`, in the place of the paths that name them.
pub(super) fn use_descriptors(plan: &mut Plan, mounts: &[(String, OwnedFd)], first: u32) {
    for (index, (target, _)) in (first..).zip(mounts) {
        for step in plan.mounts.iter_mut().filter(|step| step.target == *target) {
            if let StepKind::Bind { source, .. } = &mut step.kind {
                *source = MountSource::Fd(index);
            }
        }
    }
}
