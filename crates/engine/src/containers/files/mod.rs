//! A container's files: looked at, copied out and in, exported, compared with the image's.
//!
//! Running or not, they are read and written from outside, through a [`View`]: no process of the container takes part, and
//! nothing of the image is run or loaded. At most one mount of a container's file system exists at a time, however many look
//! at it: [`mount`] and [`open`] find the one there is.

mod paths;
mod put;

use std::{
    os::fd::OwnedFd,
    sync::{Arc, Weak},
};

use skiff_archive::pack;
use skiff_snapshots::{Change, View, ViewMount, detached};

use self::paths::{base, rooted};
pub(super) use self::put::put;
pub use self::{paths::PathStat, put::PutOptions};
use super::{
    mounts,
    parts::{Parts, blocking},
};
use crate::{
    ArchiveWriter, Error, Result,
    container::Container,
    model::{ContainerRecord, MountKind},
    volumes::Visit,
};

/// A view, and the volumes that are mounted for as long as it is there.
struct Opened {
    // Dropped first: what it has mounted is of the volumes.
    view: Arc<View>,
    _visit: Option<Visit>,
}

impl std::ops::Deref for Opened {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}

/// The views of a container that there are at the moment.
pub(crate) type Views = Vec<Weak<View>>;

/// An archive of something in a container, and what that is.
pub struct Archived {
    /// What is archived.
    pub stat: PathStat,
    /// Writes the archive; call it on a thread that may block.
    pub write: ArchiveWriter,
}

pub(super) async fn stat(parts: &Arc<Parts>, reference: &str, path: &str) -> Result<PathStat> {
    let container = parts.registry.resolve(reference)?;
    let view = open(parts, &container, true).await?;
    let (path, name) = (path.to_owned(), reference.to_owned());
    blocking(move || paths::stat(view.root(), &path).map_err(|e| e.told(&path, &name))).await?
}

pub(super) async fn archive(parts: &Arc<Parts>, reference: &str, path: &str) -> Result<Archived> {
    let container = parts.registry.resolve(reference)?;
    let view = open(parts, &container, true).await?;
    let (path, name) = (path.to_owned(), reference.to_owned());
    let (stat, object) = blocking(move || {
        let at = rooted(&path);
        let stat = paths::stat(view.root(), &at).map_err(|e| e.told(&path, &name))?;
        let object = paths::open(view.root(), &at).map_err(|e| e.told(&path, &name))?;
        Ok::<_, Error>((stat, (view, object, base(&at).to_owned())))
    })
    .await??;
    parts.tell(&container, "archive-path", &[]);
    let write: ArchiveWriter = Box::new(move |out| {
        let (_view, object, name) = object;
        Ok(pack(std::os::fd::AsFd::as_fd(&object), name.as_bytes(), out)?)
    });
    Ok(Archived { stat, write })
}

pub(super) async fn export(parts: &Arc<Parts>, reference: &str) -> Result<ArchiveWriter> {
    let container = parts.registry.resolve(reference)?;
    let view = open(parts, &container, false).await?;
    let parts = parts.clone();
    Ok(Box::new(move |out| {
        pack(view.root(), b"", out)?;
        parts.tell(&container, "export", &[]);
        Ok(())
    }))
}

pub(super) async fn changes(parts: &Arc<Parts>, reference: &str) -> Result<Vec<Change>> {
    let container = parts.registry.resolve(reference)?;
    let parts = parts.clone();
    blocking(move || Ok(parts.snapshots.changes(&container.id.to_string())?)).await?
}

/// A detached mount of the container's file system for a start. Blocks.
pub(super) fn mount(parts: &Parts, container: &Container, record: &ContainerRecord) -> Result<OwnedFd> {
    let mut views = container.views.lock().expect("no panic under this lock");
    detach(parts, &mut views, record)
}

/// The mount that others look at, or a new one.
fn detach(parts: &Parts, views: &mut Views, record: &ContainerRecord) -> Result<OwnedFd> {
    views.retain(|view| view.strong_count() > 0);
    match views.iter().find_map(Weak::upgrade) {
        Some(view) => Ok(view.detach_root()?),
        None => Ok(parts.snapshots.mount(&record.id.to_string(), record.lifetime())?),
    }
}

/// How often a container that ends or begins at the wrong moment is looked at again.
const TRIES: u32 = 5;

/// A view of a container's file system, with or without its volumes.
async fn open(parts: &Arc<Parts>, container: &Arc<Container>, mounts: bool) -> Result<Opened> {
    let mut failure = None;
    for _ in 0..TRIES {
        // No start and no removal meanwhile.
        let order = container.order.lock().await;
        let live = container.live().ok();
        let attached = match &live {
            Some(live) => match live.link.root().await {
                Ok(attached) => Some(attached),
                // It has ended just now.
                Err(_) => {
                    drop(order);
                    // It may as well be that somebody else started it again by now.
                    let _ = tokio::time::timeout(PATIENCE, container.watch().wait_for(|p| !p.running)).await;
                    continue;
                }
            },
            None => {
                container.tidied().await;
                None
            }
        };
        let (parts, container) = (parts.clone(), container.clone());
        let built = blocking(move || build(&parts, &container, attached, mounts)).await?;
        match built {
            Err(e) if live.is_some() => failure = Some(e),
            built => return built,
        }
    }
    Err(failure.unwrap_or_else(|| Error::Conflict(format!("container {} is ending", container.id))))
}

/// How long the end of a container may take to be known.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// Builds a view of the root that is attached in a running container's namespace, or else of a mount. Blocks.
fn build(
    parts: &Parts,
    container: &Container,
    attached: Option<(OwnedFd, OwnedFd)>,
    mounts: bool,
) -> Result<Opened> {
    use std::os::fd::AsFd;
    let record = container.record().clone();
    let visit = (mounts && attached.is_none()).then(|| parts.volumes.visit(&record.mounts)).transpose()?;
    let sources = if mounts { sources(parts, &record)? } else { Vec::new() };
    // What was mounted for a start that has not come is used up. Before the views are locked: a start locks them later too.
    let ahead = container.ahead().take().map(|ahead| ahead.root);
    let mut views = container.views.lock().expect("no panic under this lock");
    let root = match (&attached, ahead) {
        (Some((root, namespace)), _) => detached(root.as_fd(), namespace.as_fd())?,
        (None, Some(root)) => root,
        (None, None) => detach(parts, &mut views, &record)?,
    };
    let view = Arc::new(View::new(root, sources, record.host.readonly_rootfs)?);
    views.push(Arc::downgrade(&view));
    Ok(Opened { view, _visit: visit })
}

/// What is mounted in a container: volumes, binds, and its files of `/etc` once it has been started.
fn sources(parts: &Parts, record: &ContainerRecord) -> Result<Vec<ViewMount>> {
    let dir = parts.dir(&record.id);
    mounts::make_missing_sources(record)?;
    let mut sources = Vec::new();
    let of_host =
        |mount: &&crate::model::MountPoint| matches!(mount.kind, MountKind::Bind | MountKind::Volume);
    for mount in record.mounts.iter().filter(of_host) {
        let bind = mount.spec.as_ref().and_then(|s| s.bind.as_ref());
        sources.push(ViewMount {
            path: mount.source.clone().into(),
            part: if mount.kind == MountKind::Volume { parts.volumes.open_part(mount)? } else { None },
            target: mount.destination.clone(),
            writable: mount.rw,
            recursive: !bind.is_some_and(|b| b.non_recursive),
        });
    }
    let started = record.state.started_at.is_some();
    for name in ["resolv.conf", "hostname", "hosts"].iter().filter(|_| started) {
        let (path, target) = (dir.join(name), format!("/etc/{name}"));
        if path.is_file() && !record.mounts.iter().any(|m| m.destination == target) {
            let writable = !record.host.readonly_rootfs;
            sources.push(ViewMount { path, part: None, target, writable, recursive: false });
        }
    }
    Ok(sources)
}
