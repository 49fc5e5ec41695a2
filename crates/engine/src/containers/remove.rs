//! Remove: it is gone once that is committed; its garbage goes in the background.

use std::sync::{Arc, atomic::Ordering};

use super::{
    RemoveOptions, links,
    parts::{Parts, blocking, in_place, to_the_end},
    stop,
};
use crate::{Error, Result, container::Container, model::Status, records::durable};

pub(super) async fn remove(parts: &Arc<Parts>, reference: &str, options: RemoveOptions) -> Result<()> {
    if options.link {
        return links::remove(parts, reference).await;
    }
    let container = parts.registry.resolve(reference)?;
    let (parts, reference) = (parts.clone(), reference.to_owned());
    to_the_end(async move {
        if !container.claim_removal() {
            return Err(Error::Conflict(format!(
                "removal of container {} is already in progress",
                container.name()
            )));
        }
        let done = claimed(&parts, &container, &reference, options).await;
        if done.is_err() {
            container.unclaim_removal();
        }
        done
    })
    .await
}

/// Removes a container whose removal nobody waits for: `--rm`.
pub(super) async fn quietly(parts: &Arc<Parts>, container: &Arc<Container>) {
    if !container.claim_removal() {
        return;
    }
    let options = RemoveOptions { force: false, volumes: true, link: false };
    let name = container.name();
    let outcome = container.watch().borrow().last.clone();
    parts.departed.remember(container.id, outcome);
    if let Err(e) = claimed(parts, container, &name, options).await {
        container.unclaim_removal();
        tracing::warn!(container = name, "cannot remove: {e}");
    }
}

async fn claimed(
    parts: &Arc<Parts>,
    container: &Arc<Container>,
    reference: &str,
    options: RemoveOptions,
) -> Result<()> {
    let status = container.status();
    if status.is_running() {
        if !options.force {
            let why = match status {
                Status::Paused => "container is paused and must be unpaused first",
                Status::Restarting => {
                    "container is restarting: stop the container before removing or force remove"
                }
                _ => "container is running: stop the container before removing or force remove",
            };
            return Err(Error::Conflict(format!("cannot remove container {reference:?}: {why}")));
        }
        container.stopping.store(true, Ordering::Release);
        stop::kill_and_wait(parts, container).await.map_err(|e| {
            Error::Internal(format!("cannot remove container {reference:?}: could not kill container: {e}"))
        })?;
    }
    // A start that is under way finishes first.
    let _order = container.order.lock().await;
    if container.status().is_running() {
        stop::kill_and_wait(parts, container).await?;
    }
    forget(parts, container, options.volumes).await
}

/// Removes a container that does not run, and that nobody is busy with at the moment; its volumes stay. Whether it did.
///
/// # Errors
/// Its record cannot be removed.
pub(crate) async fn idle(parts: &Arc<Parts>, container: &Arc<Container>) -> Result<bool> {
    let Ok(_order) = container.order.try_lock() else { return Ok(false) };
    if container.status() != Status::Exited || container.is_needed() || !container.claim_removal() {
        return Ok(false);
    }
    let done = forget(parts, container, false).await;
    if done.is_err() {
        container.unclaim_removal();
    }
    done.map(|()| true)
}

/// The removal itself, once nothing stands in its way.
async fn forget(parts: &Arc<Parts>, container: &Arc<Container>, volumes: bool) -> Result<()> {
    if !parts.network.leaving(&container.id).is_empty() {
        // Drivers of others are told of its end before it is forgotten.
        container.tidied().await;
    }
    durable(parts.records.delete(&container.id)).await?;
    let mounts = container.record().mounts.clone();
    parts.registry.remove(&container.id);
    release_snapshot(parts, container);
    parts.last_use.of_container(&container.record());
    if volumes && mounts.iter().any(|mount| mount.anonymous) {
        // Nothing of the last run may hold them any more.
        container.tidied().await;
        parts.volumes.remove_anonymous(&mounts).await;
    }
    parts.tell(container, "destroy", &[]);
    container.gone();
    collect(parts.clone(), container.clone());
    Ok(())
}

/// Quick, and done before the answer, because the image may be removed next.
fn release_snapshot(parts: &Parts, container: &Container) {
    let id = container.id;
    match in_place(|| parts.snapshots.remove(&id.to_string())) {
        Ok(()) => parts.garbage.notify_one(),
        // It is nobody's any more: the next start of the daemon removes it.
        Err(e) => tracing::warn!("cannot remove the snapshot of {id}: {e}"),
    }
}

/// What is left of it on disk: no answer waits for this.
fn collect(parts: Arc<Parts>, container: Arc<Container>) {
    tokio::spawn(async move {
        container.tidied().await;
        let work = move || {
            drop(container.ahead().take());
            parts.secrets.remove(&container.id);
            parts.forwarders.removed(&container.id);
            for dir in [parts.dir(&container.id), parts.run_dir(&container.id)] {
                // It may never have been made.
                let _ = fs_err::remove_dir_all(dir);
            }
        };
        let _ = blocking(work).await;
    });
}
