//! Volumes: list, create, look at, remove, prune.

use http::StatusCode;
use skiff_api::model::{PruneVolumes, VolumeCreateRequest, VolumeList};
use skiff_engine::model::VolumeCreate;
use skiff_types::ErrorKind;

use super::lifecycle::finish;
use crate::{
    convert,
    failure::{Failure, Outcome},
    reply::Reply,
    request::{Context, Request},
};

fn filters(request: &Request) -> Outcome<skiff_engine::model::Filters> {
    request
        .engine_filters()
        .map_err(|e| Failure::new(e.kind, format!("error reading volume filters: {}", e.message)))
}

pub(super) async fn list(context: &Context, request: &Request) -> Outcome<Reply> {
    let (volumes, warnings) = context.engine.volumes.list(filters(request)?).await?;
    Ok(Reply::ok(&VolumeList {
        volumes: volumes.into_iter().map(convert::volume::shown).collect(),
        warnings: (!warnings.is_empty()).then_some(warnings),
    }))
}

pub(super) async fn inspect(context: &Context, name: &str) -> Outcome<Reply> {
    Ok(Reply::ok(&convert::volume::shown(context.engine.volumes.inspect(name).await?)))
}

pub(super) async fn create(context: &Context, mut request: Request) -> Outcome<Reply> {
    let asked: VolumeCreateRequest = request.json().await?;
    if asked.cluster_volume_spec.is_some() {
        return Err(super::no_swarm());
    }
    let asked = VolumeCreate {
        name: asked.name,
        driver: asked.driver,
        options: asked.driver_opts,
        labels: asked.labels,
    };
    let volumes = context.engine.volumes.clone();
    let volume = finish(async move { volumes.create(asked).await }).await?;
    Ok(Reply::json(StatusCode::CREATED, &convert::volume::shown(volume)))
}

/// Only cluster volumes change.
pub(super) fn update() -> Failure {
    Failure::new(
        ErrorKind::Unavailable,
        "volume update only valid for cluster volumes, but swarm is unavailable",
    )
}

pub(super) async fn remove(context: &Context, request: &Request, name: String) -> Outcome<Reply> {
    let (volumes, force) = (context.engine.volumes.clone(), request.query.flag("force"));
    finish(async move { volumes.remove(&name, force).await }).await?;
    Ok(Reply::done())
}

pub(super) async fn prune(context: &Context, request: &Request) -> Outcome<Reply> {
    let mut filters = filters(request)?;
    if !request.version.at_least(42) {
        // Only then came the difference between anonymous volumes and others.
        filters.add("all", "true");
    }
    let volumes = context.engine.volumes.clone();
    let pruned = finish(async move { volumes.prune(filters).await }).await?;
    Ok(Reply::ok(&PruneVolumes { volumes_deleted: Some(pruned.deleted), space_reclaimed: pruned.reclaimed }))
}
