//! What may go for want of room, and how it goes.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use skiff_images::{Image, Reference};
use skiff_snapshots::ChainId;
use skiff_types::{ContainerId, Digest, ImageId, human_size};

use super::measure::{Layers, Measured};
use crate::{
    Images, Result,
    container::Container,
    containers::{Parts, blocking, remove_idle},
    images::RemoveImageOptions,
    last_use,
    model::{Actor, EventKind, Status, Timestamp},
};

/// Something that nobody uses.
#[derive(Clone)]
pub(super) enum Candidate {
    /// What a pull that has ended has left of a layer's blob.
    Download { blob: Digest, used: Timestamp },
    /// A container that has ended, and that no restart policy wants.
    Container { container: Arc<Container>, used: Timestamp },
    /// An image that no container has.
    Image {
        id: ImageId,
        names: Vec<String>,
        used: Timestamp,
        /// As it is noted.
        noted: Option<Timestamp>,
    },
}

impl Candidate {
    pub(super) fn used(&self) -> Timestamp {
        match self {
            Self::Download { used, .. } | Self::Container { used, .. } | Self::Image { used, .. } => *used,
        }
    }
}

/// What has been tried, whatever came of it.
#[derive(Default)]
pub(super) struct Tried {
    downloads: BTreeSet<Digest>,
    containers: BTreeSet<ContainerId>,
    images: BTreeSet<ImageId>,
}

impl Tried {
    pub(super) fn add(&mut self, candidate: &Candidate) {
        match candidate {
            Candidate::Download { blob, .. } => drop(self.downloads.insert(*blob)),
            Candidate::Container { container, .. } => drop(self.containers.insert(container.id)),
            Candidate::Image { id, .. } => drop(self.images.insert(*id)),
        }
    }
}

/// What may go and has not been tried.
pub(super) async fn unused(parts: &Arc<Parts>, measured: &Measured, tried: &Tried) -> Result<Vec<Candidate>> {
    let downloads = measured.downloads.iter().filter(|(blob, _)| !tried.downloads.contains(*blob));
    let mut all: Vec<Candidate> =
        downloads.map(|(blob, (_, used))| Candidate::Download { blob: *blob, used: *used }).collect();
    for container in parts.registry.all() {
        if !tried.containers.contains(&container.id)
            && let Some(used) = unused_since(&container)
        {
            all.push(Candidate::Container { container, used });
        }
    }
    let images = blocking({
        let parts = parts.clone();
        move || unused_images(&parts)
    })
    .await??;
    all.extend(images.into_iter().filter(|image| match image {
        Candidate::Image { id, .. } => !tried.images.contains(id),
        _ => true,
    }));
    Ok(all)
}

/// What would be free if all of these went, and what only they keep.
pub(super) fn most_freed(parts: &Parts, measured: &Measured, layers: &Layers, unused: &[Candidate]) -> u64 {
    let mut going = HashSet::new();
    let mut freeable = HashSet::new();
    let mut free = 0;
    for candidate in unused {
        free += match candidate {
            Candidate::Download { blob, .. } => measured.downloads.get(blob).map_or(0, |(bytes, _)| *bytes),
            Candidate::Container { container, .. } => {
                going.insert(container.id);
                measured.containers.get(&container.id).copied().unwrap_or(0)
            }
            Candidate::Image { id, .. } => {
                freeable.extend(layers_of(parts, id));
                0
            }
        };
    }
    // Of containers that may go the images may, too. Layers that no image has, yet or any more, are not for the budget to free.
    freeable.extend(held(parts, |container| going.contains(&container.id)));
    let kept = held(parts, |container| !going.contains(&container.id));
    let goes = |chain: &ChainId| freeable.contains(chain) && !kept.contains(chain);
    free + layers.iter().filter(|(chain, _)| goes(chain)).map(|(_, bytes)| bytes).sum::<u64>()
}

/// The layers of images that some containers have.
fn held(parts: &Parts, some: impl Fn(&Container) -> bool) -> HashSet<ChainId> {
    let mut held = HashSet::new();
    for container in parts.registry.all().iter().filter(|container| some(container)) {
        let record = container.record();
        let mounted = record.mounts.iter().filter_map(|mount| mount.image);
        held.extend(mounted.chain([record.image]).flat_map(|id| layers_of(parts, &id)));
    }
    held
}

/// The layers of an image, if it is still there.
fn layers_of(parts: &Parts, image: &ImageId) -> Vec<ChainId> {
    parts.images.by_id(image).map_or_else(|_| Vec::new(), |image| ChainId::all(&image.config.rootfs.diff_ids))
}

/// When a container was last used that may go.
fn unused_since(container: &Container) -> Option<Timestamp> {
    let record = container.record();
    let wanted = !matches!(record.host.restart_policy.name.as_str(), "" | "no");
    let may_go = record.state.status == Status::Exited && !wanted && !container.is_needed();
    may_go.then(|| record.state.finished_at.unwrap_or(record.created))
}

/// Images whose layers are not all in use. Blocks.
fn unused_images(parts: &Parts) -> Result<Vec<Candidate>> {
    let held = held(parts, |_| true);
    let may_go = |image: &Image| {
        // Parents go with their last child.
        !parts.images.has_children(&image.id) && image.chain.is_none_or(|chain| !held.contains(&chain))
    };
    let candidate = |image: Image| {
        let noted = parts.last_use.of_image(&image.id);
        let names = image.tags.iter().chain(&image.digests).map(Reference::familiar).collect();
        let used = last_use::of_image(parts, &image);
        Candidate::Image { id: image.id, names, used, noted }
    };
    Ok(parts.images.list()?.into_iter().filter(may_go).map(candidate).collect())
}

/// Removes it for good, unless somebody has begun to use it. Whether it is gone.
pub(super) async fn evict(parts: &Arc<Parts>, candidate: &Candidate) -> Result<bool> {
    let gone = match candidate {
        Candidate::Download { blob, .. } => {
            let (images, blob) = (parts.images.clone(), *blob);
            blocking(move || images.forget_partial(&blob)).await?;
            true
        }
        Candidate::Container { container, .. } => remove_idle(parts, container).await?,
        Candidate::Image { id, names, noted, .. } => {
            let Some(_leaving) = parts.last_use.leave(id, *noted) else { return Ok(false) };
            let names = if names.is_empty() { vec![id.digest().to_string()] } else { names.clone() };
            let images = Images::new(parts);
            for name in names {
                // A container uses it now, or somebody else was quicker.
                if let Err(e) = images.remove(&name, RemoveImageOptions::default()).await {
                    tracing::debug!(image = name, "not removed: {e}");
                }
            }
            parts.images.by_id(id).is_err()
        }
    };
    if gone {
        // The room is there when the bytes are free.
        let snapshots = parts.snapshots.clone();
        blocking(move || snapshots.collect_garbage()).await??;
    }
    Ok(gone)
}

/// Tells that it is gone, and why.
pub(super) fn tell(parts: &Parts, candidate: &Candidate, reclaimed: u64) {
    let (kind, mut actor) = match candidate {
        // Nobody knew of it.
        Candidate::Download { .. } => return,
        Candidate::Container { container, .. } => (EventKind::Container, container.actor(&[])),
        Candidate::Image { id, names, .. } => {
            let id = id.digest().to_string();
            let attributes = [("name".to_owned(), names.first().unwrap_or(&id).clone())].into();
            (EventKind::Image, Actor { id, attributes })
        }
    };
    actor.attributes.insert("lastUsed".to_owned(), candidate.used().to_string());
    actor.attributes.insert("reclaimed".to_owned(), reclaimed.to_string());
    tracing::info!(
        "removed {} {} to keep the disk budget: last used {}, {} freed",
        kind.as_str(),
        actor.attributes.get("name").map_or("", String::as_str),
        candidate.used(),
        human_size(reclaimed, 4)
    );
    parts.events.publish(kind, "evict", actor);
}
