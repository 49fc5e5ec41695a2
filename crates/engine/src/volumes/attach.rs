//! Volumes of containers that run: mounted before the first starts, unmounted after the last has ended.

use std::os::fd::{AsFd, OwnedFd};

use skiff_types::ContainerId;
use skiff_volumes::{clone_mount, open_inside};

use super::{Volumes, of_container};
use crate::{
    Error, Result,
    containers::in_place,
    model::{ContainerRecord, MountPoint},
};

/// What a container gets for one of its mounts, if that is not simply a directory of the host's.
pub(crate) struct Attached {
    /// Where in the container.
    pub(crate) target: String,
    /// The path on the host that `inspect` shows.
    pub(crate) source: String,
    /// What to mount there, if only a descriptor says it safely.
    pub(crate) mount: Option<OwnedFd>,
}

impl Volumes {
    /// Makes the volumes of a container that starts ready, and answers what is to be known of those that are no plain
    /// directories. What fails leaves nothing mounted for it. Blocks.
    ///
    /// # Errors
    /// A volume or a path in it is missing, leads out, or cannot be mounted.
    pub(crate) fn acquire(&self, record: &ContainerRecord) -> Result<Vec<Attached>> {
        let mut out = Vec::new();
        for mount in of_container(&record.mounts) {
            match self.acquire_one(&record.id, mount) {
                Ok(attached) => out.extend(attached),
                Err(e) => {
                    self.release(&record.id, &record.mounts);
                    return Err(e);
                }
            }
        }
        for mount in of_container(&record.mounts) {
            let id = record.id.to_string();
            let writable = mount.rw.to_string();
            let more = [
                ("container", id.as_str()),
                ("destination", mount.destination.as_str()),
                ("propagation", mount.propagation.as_str()),
                ("read/write", writable.as_str()),
            ];
            self.tell("mount", &mount.name, &mount.driver, &more);
        }
        Ok(out)
    }

    /// Mounts those of a container's volumes that are no plain directories, for somebody who looks into it while it does not run.
    /// Blocks.
    ///
    /// # Errors
    /// A volume cannot be mounted.
    pub(crate) fn visit(&self, mounts: &[MountPoint]) -> Result<Visit> {
        let elsewhere = |mount: &&MountPoint| {
            self.known(&mount.name).is_some_and(|volume| !volume.is_local() || volume.options.needs_mount())
        };
        let mounts = of_container(mounts).filter(elsewhere).cloned().collect();
        let visit = Visit { volumes: self.clone(), id: ContainerId::random(), mounts };
        for mount in &visit.mounts {
            self.acquire_one(&visit.id, mount)?;
        }
        Ok(visit)
    }

    /// What a container sees of a volume, if that is not its whole directory: a part of it, or where a driver has mounted it. Blocks.
    pub(crate) fn open_part(&self, mount: &MountPoint) -> Result<Option<OwnedFd>> {
        let Some(volume) = self.known(&mount.name) else { return Ok(None) };
        let running = volume.running();
        let place = match (running.containers.is_empty(), volume.is_local()) {
            (false, _) if !running.place.as_os_str().is_empty() => running.place.clone(),
            (_, true) => self.inner.local.data(&mount.name),
            // Its driver has not mounted it.
            (_, false) => return Ok(None),
        };
        Ok(Some(open_inside(&place, subpath(mount).unwrap_or("."))?))
    }

    fn acquire_one(&self, id: &ContainerId, mount: &MountPoint) -> Result<Option<Attached>> {
        let volume = self.known(&mount.name).ok_or_else(|| Error::NoSuchVolume(mount.name.clone()))?;
        let subpath = subpath(mount).unwrap_or_default();
        let mut running = volume.running();
        let first = !running.containers.contains(id);
        let mounting = |e: skiff_volumes::Error| {
            Error::from(e).labelled(format!("error while mounting volume '{}'", mount.source))
        };
        if volume.is_local() {
            self.inner.local.keep_limit(&mount.name, &volume.options).map_err(mounting)?;
            if volume.options.needs_mount() {
                running.place = self.inner.local.mount(&mount.name, &volume.options).map_err(mounting)?;
            } else if subpath.is_empty() {
                running.containers.insert(*id);
                return Ok(None);
            } else {
                running.place = self.inner.local.data(&mount.name);
            }
        } else if first {
            let plugin = self.plugin(&mount.driver)?;
            running.place = plugin.mount(&mount.name, &id.to_string()).map_err(mounting)?;
        }
        running.containers.insert(*id);
        let source = running.place.to_string_lossy().into_owned();
        let fd = match subpath {
            "" if volume.is_local() => open_inside(&running.place, ".")?,
            "" => return Ok(Some(Attached { target: mount.destination.clone(), source, mount: None })),
            subpath => open_inside(&running.place, subpath)?,
        };
        let detached = clone_mount(fd.as_fd()).map_err(mounting)?;
        Ok(Some(Attached { target: mount.destination.clone(), source, mount: Some(detached) }))
    }

    /// A container has ended, or did not start; whether it had any volume. Blocks.
    pub(crate) fn release(&self, id: &ContainerId, mounts: &[MountPoint]) -> bool {
        let mut had = false;
        for mount in of_container(mounts) {
            let Some(volume) = self.known(&mount.name) else { continue };
            let mut running = volume.running();
            if !running.containers.remove(id) {
                continue;
            }
            had = true;
            let released = match volume.is_local() {
                true if running.containers.is_empty() => {
                    self.inner.local.unmount(&mount.name, &volume.options).map_err(Error::from)
                }
                true => Ok(()),
                false => self
                    .plugin(&mount.driver)
                    .and_then(|plugin| Ok(plugin.unmount(&mount.name, &id.to_string())?)),
            };
            if let Err(e) = released {
                tracing::warn!("cannot unmount volume {}: {e}", mount.name);
            }
        }
        had
    }

    /// Tells that the volumes of a container that has ended are free.
    pub(crate) fn tell_released(&self, record: &ContainerRecord) {
        for mount in of_container(&record.mounts) {
            let id = record.id.to_string();
            self.tell("unmount", &mount.name, &mount.driver, &[("container", id.as_str())]);
        }
    }
}

/// Volumes that are mounted for a visitor, who counts as one more container. Dropping it lets go of them; that blocks.
pub(crate) struct Visit {
    volumes: Volumes,
    id: ContainerId,
    mounts: Vec<MountPoint>,
}

impl Drop for Visit {
    fn drop(&mut self) {
        if self.mounts.is_empty() {
            return;
        }
        let release = || self.volumes.release(&self.id, &self.mounts);
        match tokio::runtime::Handle::try_current() {
            Ok(_) => in_place(release),
            Err(_) => release(),
        };
    }
}

/// The part of the volume that was asked for.
fn subpath(mount: &MountPoint) -> Option<&str> {
    let asked = mount.spec.as_ref()?.volume.as_ref()?.subpath.as_str();
    (!asked.is_empty()).then_some(asked)
}
