//! Prune: every container that does not run goes, if the filters let it.

use std::sync::Arc;

use super::{
    RemoveOptions, inspect,
    parts::{Parts, blocking},
    remove,
};
use crate::{
    Result,
    model::{Actor, EventKind, Filters, Pruned},
    prune::Selection,
};

pub(super) async fn prune(parts: &Arc<Parts>, filters: &Filters) -> Result<Pruned<String>> {
    let _turn = parts.pruning.take()?;
    let selection = Selection::read(filters, &[])?;
    let mut pruned = Pruned::default();
    for container in parts.registry.all() {
        let takes = {
            let record = container.record();
            !record.state.status.is_running() && selection.takes(record.created, &record.config.labels)
        };
        if !takes {
            continue;
        }
        let sizes = {
            let (parts, container) = (parts.clone(), container.clone());
            blocking(move || inspect::sizes(&parts, &container)).await?
        };
        let id = container.id.to_string();
        match remove::remove(parts, &id, RemoveOptions::default()).await {
            Ok(()) => {
                pruned.space += u64::try_from(sizes.rw).unwrap_or(0);
                pruned.removed.push(id);
            }
            // It was started or removed meanwhile: it is not ours to take.
            Err(e) => tracing::debug!(container = id, "not pruned: {e}"),
        }
    }
    let attributes = [("reclaimed".to_owned(), pruned.space.to_string())].into();
    parts.events.publish(EventKind::Container, "prune", Actor { id: String::new(), attributes });
    Ok(pruned)
}
