//! Prune: images that nobody uses go, those without a name or all of them, and what pulls have left that did not end well.

use std::{collections::BTreeMap, sync::Arc};

use skiff_images::Reference;
use skiff_types::ImageId;

use super::Images;
use crate::{
    Result,
    containers::blocking,
    images::RemoveImageOptions,
    model::{Actor, DeletedImage, EventKind, Filters, Pruned, Timestamp},
    prune::Selection,
};

/// An image that may go, and the names under which it goes.
struct Candidate {
    id: ImageId,
    names: Vec<String>,
}

impl Images {
    /// Removes images that no container uses: those without a name, or all with `dangling=false`. Layers that were half pulled have
    /// neither name nor labels: they go if the filters let them.
    ///
    /// # Errors
    /// Wrong filters; another prune goes on.
    pub async fn prune(&self, filters: &Filters) -> Result<Pruned<DeletedImage>> {
        let _turn = self.pruning.take()?;
        let selection = Arc::new(Selection::read(filters, &["dangling"])?);
        let dangling = filters.boolean("dangling", true)?;
        let (store, chosen) = (self.store.clone(), selection.clone());
        let (candidates, sizes) = blocking(move || -> Result<_> {
            let mut out = Vec::new();
            for image in store.list()? {
                // Parents of others go with their last child.
                let parent = image.is_untagged() && store.has_children(&image.id);
                if parent || (dangling && !image.tags.is_empty()) {
                    continue;
                }
                let created = image.config.created.unwrap_or(Timestamp::UNIX_EPOCH);
                let none = BTreeMap::new();
                let labels = image.config.config.as_ref().and_then(|c| c.labels.as_ref()).unwrap_or(&none);
                if chosen.takes(created, labels) {
                    let names = image.tags.iter().chain(&image.digests).map(Reference::familiar).collect();
                    out.push(Candidate { id: image.id, names });
                }
            }
            let snapshots = store.snapshotter();
            let size = |chain| Some((chain, snapshots.layer(&chain).ok()?.size));
            let sizes: BTreeMap<_, _> = snapshots.layers().into_iter().filter_map(size).collect();
            Ok((out, sizes))
        })
        .await??;
        let mut pruned = Pruned::default();
        for Candidate { id, names } in candidates {
            let names = if names.is_empty() { vec![id.digest().to_string()] } else { names };
            for name in names {
                match self.remove(&name, RemoveImageOptions::default()).await {
                    Ok(removed) => pruned.removed.extend(removed),
                    // A container uses it, or somebody else was quicker.
                    Err(e) => tracing::debug!(image = name, "not pruned: {e}"),
                }
            }
        }
        let gone = |step: &DeletedImage| match step {
            DeletedImage::Deleted(id) => {
                sizes.iter().find(|(chain, _)| chain.to_string() == *id).map(|(_, size)| *size)
            }
            DeletedImage::Untagged(_) => None,
        };
        pruned.space = pruned.removed.iter().filter_map(gone).sum();
        let store = self.store.clone();
        let left =
            move |then| selection.takes(Timestamp::try_from(then).unwrap_or_default(), &BTreeMap::new());
        pruned.space += blocking(move || store.remove_left_partials(left)).await??;
        let attributes = [("reclaimed".to_owned(), pruned.space.to_string())].into();
        self.events.publish(EventKind::Image, "prune", Actor { id: String::new(), attributes });
        Ok(pruned)
    }

    /// Bytes of all layers, each counted once.
    ///
    /// # Errors
    /// None so far; a layer that cannot be measured counts nothing.
    pub async fn layers_size(&self) -> Result<u64> {
        let store = self.store.clone();
        blocking(move || {
            let snapshots = store.snapshotter();
            snapshots.layers().iter().filter_map(|chain| Some(snapshots.layer(chain).ok()?.size)).sum()
        })
        .await
    }
}
