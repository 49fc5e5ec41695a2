//! Inspect: the record, and what is known beside it.

use std::sync::Arc;

use super::{
    links,
    parts::{Parts, blocking},
};
use crate::{
    Result,
    container::Container,
    execs,
    model::{ContainerView, Sizes},
};

pub(super) async fn inspect(parts: &Arc<Parts>, reference: &str, size: bool) -> Result<ContainerView> {
    let container = parts.registry.resolve(reference)?;
    let sizes = match size {
        true => {
            let (parts, container) = (parts.clone(), container.clone());
            Some(blocking(move || self::sizes(&parts, &container)).await?)
        }
        false => None,
    };
    let mut record = container.record().clone();
    record.host.links = links::shown(parts, &record);
    let dir = parts.dir(&record.id);
    // The files are made at the first start.
    let file = |name: &str| match record.state.started_at {
        Some(_) => dir.join(name).to_string_lossy().into_owned(),
        None => String::new(),
    };
    let log_path = match record.host.log_config.kind.as_str() {
        "json-file" => parts.log_path(&record.id).to_string_lossy().into_owned(),
        _ => String::new(),
    };
    let graph = parts.snapshots.describe(&record.id.to_string()).unwrap_or_default();
    Ok(ContainerView {
        resolv_conf_path: file("resolv.conf"),
        hostname_path: file("hostname"),
        hosts_path: file("hosts"),
        log_path,
        exec_ids: execs::running(&container),
        graph_driver_data: graph
            .into_iter()
            .map(|(name, path)| (name.to_owned(), path.to_string_lossy().into_owned()))
            .collect(),
        sizes,
        image_manifest: None,
        record,
    })
}

/// What it takes on disk. What cannot be measured counts nothing. Blocks.
pub(super) fn sizes(parts: &Parts, container: &Container) -> Sizes {
    let rw = parts.snapshots.usage(&container.id.to_string()).map_or(0, |usage| usage.bytes as i64);
    let image = parts.images.by_id(&container.record().image).map_or(0, |image| image.size as i64);
    Sizes { rw, root_fs: rw + image }
}
